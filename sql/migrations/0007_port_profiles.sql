ALTER TABLE leaf_port
    DROP CONSTRAINT leaf_port_profile_check,
    ADD CONSTRAINT leaf_port_profile_check
        CHECK (profile IN ('quarantine', 'provisioning', 'active', 'rescue', 'maintenance'));
