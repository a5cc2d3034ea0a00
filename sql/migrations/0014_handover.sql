-- How a machine is handed over from the installer to the system on its disk, by hardware model.
CREATE TABLE handover_rule (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- What the rule is about; null and '' stand for any. Vendor and product are as the firmware tells them.
    plan_id     uuid REFERENCES plan,
    vendor      text NOT NULL DEFAULT '',
    product     text NOT NULL DEFAULT '',
    -- In order of preference.
    ways        text[] NOT NULL,
    note        text NOT NULL DEFAULT '',
    changed_at  timestamptz NOT NULL,
    changed_by  text NOT NULL,
    CONSTRAINT handover_ways CHECK (ways <@ ARRAY['switch_root', 'kexec', 'reboot'] AND cardinality(ways) > 0),
    CONSTRAINT handover_one_rule UNIQUE NULLS NOT DISTINCT (plan_id, vendor, product)
);
