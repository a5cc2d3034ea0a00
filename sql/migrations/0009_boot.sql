-- Who boots where, what a boot node answers from, and what was found at ports that nobody is recorded at.
ALTER TABLE leaf_port
    -- The card that booted there last, as DHCP saw it; LLDP's view stands beside it (seen_mac).
    ADD COLUMN booted_mac macaddr,
    ADD COLUMN booted_at timestamptz;
CREATE INDEX leaf_port_booted ON leaf_port (booted_mac) WHERE booted_mac IS NOT NULL;

ALTER TABLE machine
    -- Its firmware starts signed programs only: it is led over shim and GRUB in place of iPXE.
    ADD COLUMN secure_boot boolean NOT NULL DEFAULT false;

ALTER TABLE prefix
    DROP CONSTRAINT prefix_role_check,
    ADD CONSTRAINT prefix_role_check CHECK (role IN (
        'container', 'boot', 'boot6', 'public', 'private', 'ipv6', 'elastic', 'anycast', 'loopback', 'uplink',
        'management', 'infrastructure'));

-- A machine that nobody has enrolled, and that booted the installer at a free port.
CREATE TABLE discovery (
    port_id        uuid PRIMARY KEY REFERENCES leaf_port,
    mac            macaddr NOT NULL,
    inventory      jsonb NOT NULL,
    -- Hash of what its agent shows with each call; the agent waits until the machine is enrolled.
    session        bytea NOT NULL,
    -- Hash of the boot token that it said hello with.
    token          bytea NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL
);

-- A process that answers DHCP, TFTP and HTTP boot: how it was last heard, and what it has counted since it began.
CREATE TABLE boot_node (
    id          uuid PRIMARY KEY,
    host        text NOT NULL,
    pid         int NOT NULL,
    address     text NOT NULL,
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    ports       int NOT NULL,
    loaded_at   timestamptz,
    counters    jsonb NOT NULL
);

-- What boot decisions are made from.
CREATE VIEW boot_port AS
SELECT o.id AS port_id, l.name AS leaf, o.name AS port, f.code AS facility, b.block AS link, b6.block AS link6,
       o.booted_mac::text AS booted_mac, m.id AS machine_id, m.name AS machine, m.mac::text AS mac,
       coalesce(m.arch, 'amd64') AS arch, coalesce(m.secure_boot, false) AS secure_boot, m.state,
       coalesce(m.installed, false) AS installed, d.id AS device_id, d.operating_system,
       coalesce(d.always_pxe, false) AS always_pxe
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN tenure AS b ON b.owner = o.id AND b.slot = 'boot' AND upper_inf(b.during) AND b.corrected_at IS NULL
LEFT JOIN tenure AS b6 ON b6.owner = o.id AND b6.slot = 'boot6' AND upper_inf(b6.during) AND b6.corrected_at IS NULL
LEFT JOIN machine AS m ON m.port_id = o.id
LEFT JOIN device AS d ON d.id = m.device_id;

-- Each change of it is told by the port's id; the empty text tells that any port may have changed.
CREATE FUNCTION tell_boot_port() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('roundhouse_boot', coalesce(NEW.id, OLD.id)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER leaf_port_tells_boot AFTER INSERT OR DELETE OR UPDATE OF leaf_id, name, booted_mac ON leaf_port
    FOR EACH ROW EXECUTE FUNCTION tell_boot_port();

CREATE FUNCTION tell_boot_machine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('roundhouse_boot', OLD.port_id::text);
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.port_id <> OLD.port_id) THEN
        PERFORM pg_notify('roundhouse_boot', NEW.port_id::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER machine_tells_boot
    AFTER INSERT OR DELETE OR UPDATE OF port_id, name, mac, arch, secure_boot, state, installed, device_id ON machine
    FOR EACH ROW EXECUTE FUNCTION tell_boot_machine();

CREATE FUNCTION tell_boot_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('roundhouse_boot', port_id::text) FROM machine WHERE device_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER device_tells_boot AFTER UPDATE OF operating_system, always_pxe ON device
    FOR EACH ROW WHEN ((OLD.operating_system, OLD.always_pxe) IS DISTINCT FROM (NEW.operating_system, NEW.always_pxe))
    EXECUTE FUNCTION tell_boot_device();

CREATE FUNCTION tell_boot_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('roundhouse_boot', coalesce(NEW.owner, OLD.owner)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tenure_tells_boot_made AFTER INSERT OR UPDATE ON tenure
    FOR EACH ROW WHEN (NEW.slot IN ('boot', 'boot6')) EXECUTE FUNCTION tell_boot_link();
CREATE TRIGGER tenure_tells_boot_gone AFTER DELETE ON tenure
    FOR EACH ROW WHEN (OLD.slot IN ('boot', 'boot6')) EXECUTE FUNCTION tell_boot_link();

CREATE FUNCTION tell_boot_leaf() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('roundhouse_boot', '');
    RETURN NULL;
END $$;
CREATE TRIGGER leaf_tells_boot AFTER UPDATE OF name, facility_id ON leaf
    FOR EACH ROW WHEN ((OLD.name, OLD.facility_id) IS DISTINCT FROM (NEW.name, NEW.facility_id))
    EXECUTE FUNCTION tell_boot_leaf();
