-- name: enrol_leaf
INSERT INTO leaf (facility_id, name, host, port, username, secret, host_key, private_key, fabric, rack_id, rack_unit)
SELECT f.id, $2, $3, $4, $5, coalesce($6::bytea, ''), $7, $8::bytea, $9, $10, $11 FROM facility AS f WHERE f.code = $1
-- What is no part of this inventory stays: a fabric is taken away by an action of its own.
ON CONFLICT (name) DO UPDATE
SET host = excluded.host, port = excluded.port, username = excluded.username,
    secret = coalesce($6, leaf.secret), host_key = excluded.host_key,
    private_key = CASE WHEN $6::bytea IS NULL THEN leaf.private_key ELSE excluded.private_key END,
    fabric = coalesce(excluded.fabric, leaf.fabric),
    rack_id = coalesce(excluded.rack_id, leaf.rack_id),
    rack_unit = CASE WHEN excluded.rack_id IS NULL THEN leaf.rack_unit ELSE excluded.rack_unit END,
    generation = leaf.generation
                 + CASE WHEN excluded.fabric IS DISTINCT FROM leaf.fabric AND excluded.fabric IS NOT NULL
                        THEN 1 ELSE 0 END
RETURNING id

-- name: enrol_racks
WITH given AS (
    SELECT f.id AS facility_id, named.name FROM facility AS f, unnest($2::text[]) AS named (name) WHERE f.code = $1
), added AS (
    INSERT INTO rack (facility_id, name) SELECT facility_id, name FROM given
    ON CONFLICT (facility_id, name) DO NOTHING
    RETURNING id, name
)
SELECT id, name FROM added
UNION ALL SELECT r.id, r.name FROM rack AS r JOIN given ON r.facility_id = given.facility_id AND r.name = given.name

-- name: enrol_ports
INSERT INTO leaf_port (leaf_id, name)
SELECT l.id, given.port
FROM unnest($2::text[], $3::text[]) AS given (leaf, port)
JOIN leaf AS l ON l.name = given.leaf JOIN facility AS f ON f.id = l.facility_id
WHERE f.code = $1
ON CONFLICT (leaf_id, name) DO NOTHING

-- name: enrolled_ports
SELECT l.name AS leaf, o.name AS port, o.id
FROM unnest($2::text[], $3::text[]) AS given (leaf, port)
JOIN leaf AS l ON l.name = given.leaf JOIN facility AS f ON f.id = l.facility_id
JOIN leaf_port AS o ON o.leaf_id = l.id AND o.name = given.port
WHERE f.code = $1

-- name: place_ports
UPDATE leaf_port AS o SET rack_id = given.rack_id, rack_unit = given.unit
FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS given (port_id, rack_id, unit)
WHERE o.id = given.port_id AND (o.rack_id, o.rack_unit) IS DISTINCT FROM (given.rack_id, given.unit)

-- name: set_port_bmc
WITH port AS (
    SELECT o.id, l.facility_id
    FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id JOIN facility AS f ON f.id = l.facility_id
    WHERE f.code = $1 AND l.name = $2 AND o.name = $3
), changed AS (
    UPDATE bmc_access AS a SET url = $4, username = $5, secret = coalesce($6::bytea, a.secret), changed_at = $7
    FROM port WHERE a.port_id = port.id RETURNING a.id
), added AS (
    INSERT INTO bmc_access (facility_id, port_id, url, username, secret, changed_at)
    SELECT facility_id, id, $4, $5, $6, $7 FROM port WHERE $6 IS NOT NULL AND NOT EXISTS (SELECT FROM changed)
    RETURNING id
)
SELECT id FROM changed UNION ALL SELECT id FROM added

-- name: plan_names
SELECT slug, aliases FROM plan

-- name: machines_there
SELECT name FROM machine WHERE name = ANY($1::text[]) AND state <> 'retired'

-- name: enrol_machines
INSERT INTO machine (facility_id, plan_id, port_id, name, mac, arch, bmc_url, bmc_username, bmc_secret, secure_boot,
                     rack_id, rack_unit, bmc_fingerprint)
SELECT f.id, p.id, given.port_id, given.name, given.mac::macaddr, given.arch, given.url, given.username, given.secret,
       given.secure_boot, given.rack_id, given.unit, given.fingerprint
FROM facility AS f,
     unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[],
            $10::bool[], $11::uuid[], $12::int[], $13::text[])
     AS given (plan, port_id, name, mac, arch, url, username, secret, secure_boot, rack_id, unit, fingerprint)
JOIN plan AS p ON p.slug = given.plan OR given.plan = ANY(p.aliases)
WHERE f.code = $1
ON CONFLICT (name) WHERE state <> 'retired' DO UPDATE
SET bmc_url = excluded.bmc_url, bmc_username = excluded.bmc_username, mac = excluded.mac,
    bmc_secret = CASE WHEN excluded.bmc_secret = '' THEN machine.bmc_secret ELSE excluded.bmc_secret END,
    bmc_fingerprint = coalesce(
        excluded.bmc_fingerprint, CASE WHEN machine.bmc_url = excluded.bmc_url THEN machine.bmc_fingerprint END),
    secure_boot = excluded.secure_boot,
    -- A device has what it ordered: its machine stays what it is.
    plan_id = CASE WHEN machine.device_id IS NULL THEN excluded.plan_id ELSE machine.plan_id END,
    rack_id = coalesce(excluded.rack_id, machine.rack_id),
    rack_unit = CASE WHEN excluded.rack_id IS NULL THEN machine.rack_unit ELSE excluded.rack_unit END
RETURNING id, name, state

-- name: found_at_ports
SELECT DISTINCT port_id FROM discovery WHERE port_id = ANY($1::uuid[])

-- name: start_enrolled
WITH moved AS (
    UPDATE machine SET state = 'preparing', reason = $7, state_since = $6
    WHERE id = ANY($1::uuid[]) AND state = 'enrolled'
    RETURNING id, name
), told AS (
    INSERT INTO event (type, body, machine_id, state, private, data)
    SELECT 'machine.prepare', 'Machine ' || name || ': enrolled → preparing (' || $7::text || ')', id, 'preparing', true,
           jsonb_build_object('machine', name, 'from', 'enrolled', 'to', 'preparing', 'reason', $7::text)
    FROM moved
), started AS (
    INSERT INTO run (workflow, subject, step, data, deadline, wake_at, step_since)
    SELECT $2, id, $3, $4, $5, $6, $6 FROM moved RETURNING id
)
INSERT INTO run_step (run_id, step, attempt, state, started_at) SELECT id, $3, 1, 'started', $6 FROM started
RETURNING run_id
