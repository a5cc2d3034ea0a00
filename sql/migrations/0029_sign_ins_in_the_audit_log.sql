-- The audit log also has who signed in to the console and out of it, and tells what was only tried from what was done.
ALTER TABLE audit DROP CONSTRAINT audit_action_check, DROP CONSTRAINT audit_check;
ALTER TABLE audit
    ADD CONSTRAINT audit_action_check
        CHECK (action IN ('insert', 'update', 'delete', 'request', 'dry_run', 'sign_in', 'sign_out')),
    ADD CONSTRAINT audit_status_check CHECK ((action IN ('insert', 'update', 'delete')) = (status IS NULL));
