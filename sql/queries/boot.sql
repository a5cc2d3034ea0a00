-- name: boot_facts
SELECT * FROM boot_port WHERE port_id = ANY($1::uuid[])

-- name: all_boot_facts
SELECT * FROM boot_port

-- name: lock_booted_machines
SELECT id FROM machine WHERE port_id = ANY($1::uuid[]) OR mac = ANY($2::text[]::macaddr[]) ORDER BY id FOR UPDATE

-- name: lock_booted
SELECT id, booted_mac::text AS mac FROM leaf_port WHERE id = ANY($1::uuid[]) OR booted_mac = ANY($2::text[]::macaddr[]) ORDER BY id FOR UPDATE

-- name: doubtful_sightings
SELECT given.id, given.mac
FROM unnest($1::uuid[], $2::text[]) AS given (id, mac) JOIN machine AS m ON m.port_id = given.id
WHERE m.state = 'in_use' AND m.mac <> given.mac::macaddr

-- name: card_moved
UPDATE leaf_port SET booted_mac = NULL, booted_at = $3
WHERE booted_mac = ANY($2::text[]::macaddr[]) AND NOT id = ANY($1::uuid[])

-- name: card_booted
UPDATE leaf_port AS o SET booted_mac = given.mac::macaddr, booted_at = $3
FROM unnest($1::uuid[], $2::text[]) AS given (id, mac)
WHERE o.id = given.id

-- name: card_settled
UPDATE leaf_port SET booted_mac = CASE WHEN id = $1 THEN $2::text::macaddr END, booted_at = $3
WHERE (id = $1 AND booted_mac IS DISTINCT FROM $2::text::macaddr) OR (id <> $1 AND booted_mac = $2::text::macaddr)

-- name: wrong_cables_of
SELECT o.id AS port_id, l.name AS leaf, o.name AS port, given.mac AS seen_mac, m.id AS machine_id, m.name AS machine,
       m.mac::text AS mac, m.device_id, h.id AS home_id, h.name AS home_machine,
       h.device_id AS home_device_id, hl.name AS home_leaf, hp.name AS home_port
FROM unnest($1::uuid[], $2::text[]) AS given (id, mac)
JOIN leaf_port AS o ON o.id = given.id
JOIN leaf AS l ON l.id = o.leaf_id
LEFT JOIN machine AS m ON m.port_id = o.id
LEFT JOIN machine AS h ON h.mac = given.mac::macaddr AND h.state <> 'retired'
LEFT JOIN leaf_port AS hp ON hp.id = h.port_id
LEFT JOIN leaf AS hl ON hl.id = hp.leaf_id
WHERE CASE WHEN m.id IS NULL THEN h.id IS NOT NULL ELSE given.mac::macaddr <> m.mac END
ORDER BY l.name, length(o.name), o.name

-- name: booted_elsewhere
SELECT o.id, o.booted_mac::text AS mac
FROM leaf_port AS o LEFT JOIN machine AS m ON m.port_id = o.id
WHERE o.booted_mac IS NOT NULL AND m.mac IS DISTINCT FROM o.booted_mac

-- name: boot_link_of_address
SELECT t.owner AS port_id, m.id AS machine_id, m.mac::text AS mac
FROM vrf AS v
JOIN tenure AS t ON span4(t.plane, t.block) && span4(v.id::bigint * 2, $1::cidr)
LEFT JOIN machine AS m ON m.port_id = t.owner
WHERE v.name = 'default' AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
  AND upper_inf(t.during) AND t.slot = 'boot'

-- name: boot_link_of_address6
SELECT t.owner AS port_id, m.id AS machine_id, m.mac::text AS mac
FROM vrf AS v
JOIN tenure AS t ON span6(t.block, 0) && span6($1::cidr, 0) AND span6(t.block, 1) && span6($1::cidr, 1)
    AND int8range(t.plane, t.plane, '[]') && int8range(v.id::bigint * 2, v.id::bigint * 2, '[]')
LEFT JOIN machine AS m ON m.port_id = t.owner
WHERE v.name = 'default' AND family(t.block) = 6 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
  AND upper_inf(t.during) AND t.slot = 'boot6'

-- name: custom_boot
UPDATE device AS d SET allow_pxe = false FROM plan AS p WHERE d.id = $1 AND p.id = d.plan_id
RETURNING d.ipxe_script_url, d.userdata, p.slug AS plan

-- name: begin_session
INSERT INTO agent_session (machine_id, token, session, issued_at, started_at, seen_at)
VALUES ($1, $2, $3, $4, $5, $5)
-- The answer to a hello may have been lost: the same one again is no second use.
ON CONFLICT (token) DO UPDATE SET seen_at = excluded.seen_at WHERE agent_session.ended_at IS NULL
RETURNING id

-- name: discovered
INSERT INTO discovery (port_id, mac, inventory, session, token, first_seen_at, seen_at)
VALUES ($1, $2::text::macaddr, $3, $4, $5, $6, $6)
ON CONFLICT (port_id, mac) DO UPDATE
SET inventory = excluded.inventory, session = excluded.session, token = excluded.token, seen_at = excluded.seen_at
RETURNING first_seen_at = $6 AS news

-- name: discovery_session
UPDATE discovery SET seen_at = $3 WHERE port_id = $1 AND session = $2 RETURNING port_id

-- name: forget_discovery
WITH gone AS (
    DELETE FROM discovery WHERE port_id = $1 RETURNING port_id
), ports AS (
    SELECT DISTINCT port_id FROM gone
)
SELECT pg_notify('roundhouse', 'port:' || port_id) FROM ports

-- name: discoveries
SELECT l.name AS leaf, o.name AS port, f.code AS facility, c.mac::text AS mac, c.inventory, c.first_seen_at, c.seen_at,
       c.state, coalesce(c.reason, r.reason) AS reason, c.state_since
FROM discovery AS c
JOIN leaf_port AS o ON o.id = c.port_id
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN run AS r ON r.subject = c.port_id AND r.finished_at IS NULL
ORDER BY f.code, l.name, length(o.name), o.name, c.first_seen_at

-- name: boot_node_heard
INSERT INTO boot_node (id, host, pid, address, started_at, seen_at, ports, loaded_at, counters)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO UPDATE
SET seen_at = excluded.seen_at, ports = excluded.ports, loaded_at = excluded.loaded_at, counters = excluded.counters

-- name: boot_node_gone
DELETE FROM boot_node WHERE id = $1

-- name: forget_boot_nodes
DELETE FROM boot_node WHERE seen_at < $1

-- name: boot_nodes
SELECT id, host, pid, address, started_at, seen_at, ports, loaded_at, counters FROM boot_node
ORDER BY host, address, started_at

-- name: end_other_sessions
UPDATE agent_session SET ended_at = $3 WHERE machine_id = $1 AND id <> $2 AND ended_at IS NULL

-- name: discovery_inventory
UPDATE discovery SET inventory = inventory || $3 WHERE port_id = $1 AND session = $2

-- name: inventory_locked
SELECT inventory FROM machine WHERE id = $1 FOR NO KEY UPDATE

-- name: set_inventory
UPDATE machine SET inventory = $2 WHERE id = $1

-- name: session_of
UPDATE agent_session SET seen_at = $3 WHERE session = $1 AND machine_id = $2 AND ended_at IS NULL
RETURNING machine_id

-- name: next_work
UPDATE agent_work SET state = 'taken', taken_at = coalesce(taken_at, $2)
WHERE machine_id = $1 AND state IN ('offered', 'taken')
RETURNING id, run_id, kind, spec

-- name: work_progress
UPDATE agent_work
SET stage = $3, percent = $4, bytes_done = $5, bytes_total = $6, progress_at = $7, bytes_per_s = $8,
    result = coalesce($9, result)
WHERE id = $1 AND machine_id = $2 AND state IN ('offered', 'taken')
RETURNING run_id, kind

-- name: work_result
SELECT result FROM agent_work WHERE id = $1 AND machine_id = $2

-- name: finish_work
UPDATE agent_work SET state = $3, result = $4, reason = $5, percent = CASE WHEN $3 = 'done' THEN 100 ELSE percent END,
                      progress_at = $6, finished_at = $6
WHERE id = $1 AND machine_id = $2 AND state IN ('offered', 'taken')
RETURNING run_id, kind, (SELECT subject FROM run WHERE run.id = run_id) AS subject

-- name: work_state
SELECT state FROM agent_work WHERE id = $1 AND machine_id = $2

-- name: subject_of_run
SELECT subject FROM run WHERE id = $1

-- name: add_missing_events
WITH added AS (
    INSERT INTO event (type, body, device_id, project_id)
    SELECT given.type, given.body, d.id, d.project_id
    FROM run AS r JOIN device AS d ON d.id = r.subject,
         unnest($2::text[], $3::text[]) WITH ORDINALITY AS given (type, body, place)
    WHERE r.id = $1 AND NOT EXISTS (
        SELECT FROM event AS e WHERE e.device_id = d.id AND e.type = given.type AND e.created_at >= r.created_at)
    ORDER BY given.place
    RETURNING device_id
)
SELECT pg_notify('roundhouse', 'device:' || device_id) FROM added LIMIT 1
