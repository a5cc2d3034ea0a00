-- How a device wants to be installed, and installations by a distribution's own installer.
ALTER TABLE device
    -- Null: as the catalogue says of its operating system.
    ADD COLUMN engine text CHECK (engine IN ('image', 'native')),
    -- How its disks are used, but for the passphrase, which is sealed; null: they are not encrypted.
    ADD COLUMN storage jsonb NOT NULL DEFAULT '{"disks": [], "raid": "none", "lvm": false}',
    ADD COLUMN storage_passphrase bytea;

CREATE TABLE native_install (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id   uuid NOT NULL REFERENCES machine,
    run_id       uuid NOT NULL REFERENCES run,
    slot         text NOT NULL,
    state        text NOT NULL DEFAULT 'offered' CHECK (state IN ('offered', 'started', 'done', 'failed', 'withdrawn')),
    -- Hash of the token that the installer has which took its files last, and when that token was made.
    token        bytea,
    issued_at    timestamptz,
    -- How often an installer has begun.
    boots        int NOT NULL DEFAULT 0,
    stage        text NOT NULL DEFAULT '',
    -- What the mirror did not have when the installer asked for it last.
    missing      text,
    host_keys    text[] NOT NULL DEFAULT '{}',
    reason       text,
    created_at   timestamptz NOT NULL,
    seen_at      timestamptz,
    finished_at  timestamptz,
    UNIQUE (run_id, slot)
);
CREATE UNIQUE INDEX native_install_open ON native_install (machine_id) WHERE state IN ('offered', 'started');

CREATE OR REPLACE VIEW boot_port AS
SELECT o.id AS port_id, l.name AS leaf, o.name AS port, f.code AS facility, b.block AS link, b6.block AS link6,
       o.booted_mac::text AS booted_mac, m.id AS machine_id, m.name AS machine, m.mac::text AS mac,
       coalesce(m.arch, 'amd64') AS arch, coalesce(m.secure_boot, false) AS secure_boot, m.state,
       coalesce(m.installed, false) AS installed, d.id AS device_id, d.operating_system,
       coalesce(d.always_pxe, false) AS always_pxe, d.engine
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN tenure AS b ON b.owner = o.id AND b.slot = 'boot' AND upper_inf(b.during) AND b.corrected_at IS NULL
LEFT JOIN tenure AS b6 ON b6.owner = o.id AND b6.slot = 'boot6' AND upper_inf(b6.during) AND b6.corrected_at IS NULL
LEFT JOIN machine AS m ON m.port_id = o.id
LEFT JOIN device AS d ON d.id = m.device_id;

DROP TRIGGER device_tells_boot ON device;
CREATE TRIGGER device_tells_boot AFTER UPDATE OF operating_system, always_pxe, engine ON device
    FOR EACH ROW WHEN ((OLD.operating_system, OLD.always_pxe, OLD.engine)
                       IS DISTINCT FROM (NEW.operating_system, NEW.always_pxe, NEW.engine))
    EXECUTE FUNCTION tell_boot_device();
