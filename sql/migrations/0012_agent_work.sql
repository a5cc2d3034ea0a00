-- What else the agent does: burn-in, a login for people, an operator's firmware bundle.
ALTER TABLE agent_work
    DROP CONSTRAINT agent_work_kind_check,
    ADD CONSTRAINT agent_work_kind_check CHECK (
        kind IN ('install', 'erase', 'reboot', 'burn_in', 'rescue', 'firmware')),
    ADD COLUMN bytes_per_s bigint NOT NULL DEFAULT 0;
CREATE INDEX agent_work_machine ON agent_work (machine_id, created_at);

ALTER TABLE plan
    -- Limits of a burn-in that are other than the usual ones, by name.
    ADD COLUMN burn_in jsonb NOT NULL DEFAULT '{}';

ALTER TABLE machine
    -- Its device is in rescue: a network boot leads to the in-RAM installer and not to the disk.
    ADD COLUMN rescue boolean NOT NULL DEFAULT false;

CREATE OR REPLACE VIEW boot_port AS
SELECT o.id AS port_id, l.name AS leaf, o.name AS port, f.code AS facility, b.block AS link, b6.block AS link6,
       o.booted_mac::text AS booted_mac, m.id AS machine_id, m.name AS machine, m.mac::text AS mac,
       coalesce(m.arch, 'amd64') AS arch, coalesce(m.secure_boot, false) AS secure_boot, m.state,
       coalesce(m.installed, false) AS installed, d.id AS device_id, d.operating_system,
       coalesce(d.always_pxe, false) AS always_pxe, d.engine, coalesce(m.rescue, false) AS rescue
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN tenure AS b ON b.owner = o.id AND b.slot = 'boot' AND upper_inf(b.during) AND b.corrected_at IS NULL
LEFT JOIN tenure AS b6 ON b6.owner = o.id AND b6.slot = 'boot6' AND upper_inf(b6.during) AND b6.corrected_at IS NULL
LEFT JOIN machine AS m ON m.port_id = o.id
LEFT JOIN device AS d ON d.id = m.device_id;

DROP TRIGGER machine_tells_boot ON machine;
CREATE TRIGGER machine_tells_boot
    AFTER INSERT OR DELETE OR UPDATE OF port_id, name, mac, arch, secure_boot, state, installed, device_id, rescue
    ON machine FOR EACH ROW EXECUTE FUNCTION tell_boot_machine();
