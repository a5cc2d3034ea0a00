-- What a facility's own systems sign their events with. The old secret stays good for a while after a rotation.
CREATE TABLE facility_secret (
    facility_id      uuid PRIMARY KEY REFERENCES facility ON DELETE CASCADE,
    secret           bytea NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    set_by           text NOT NULL,
    set_at           timestamptz NOT NULL,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
SELECT audit_table('facility_secret', 'facility_id', 'secret old_secret old_secret_until');
