-- name: port_of_circuit
SELECT o.id, o.name, l.name AS leaf, m.id AS machine_id, m.name AS machine, m.mac::text AS mac
FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id LEFT JOIN machine AS m ON m.port_id = o.id
WHERE l.name = $1 AND o.name = $2

-- name: port_of_mac
SELECT l.name AS leaf, o.name, m.name AS machine
FROM machine AS m JOIN leaf_port AS o ON o.id = m.port_id JOIN leaf AS l ON l.id = o.leaf_id
WHERE m.mac = $1::macaddr

-- name: boot_link_of_address
SELECT t.owner
FROM vrf AS v JOIN tenure AS t ON span4(t.plane, t.block) && span4(v.id::bigint * 2, $1::cidr)
WHERE v.name = 'default' AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
  AND upper_inf(t.during) AND t.slot = 'boot'

-- name: machine_at_source
SELECT m.id AS machine_id, m.device_id, t.slot
FROM vrf AS v
JOIN tenure AS t ON span4(t.plane, t.block) && span4(v.id::bigint * 2, $1::cidr)
JOIN machine AS m ON CASE WHEN t.slot = 'boot' THEN m.port_id = t.owner ELSE m.device_id = t.owner END
WHERE v.name = 'default' AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
  AND upper_inf(t.during)

-- name: boot_state
SELECT m.id, m.name, m.state, m.installed, m.arch, d.id AS device_id, d.state AS device_state, d.operating_system,
       d.always_pxe, d.ipxe_script_url, d.userdata
FROM machine AS m LEFT JOIN device AS d ON d.id = m.device_id
WHERE m.id = $1

-- name: issue_boot_token
INSERT INTO agent_session (machine_id, token, issued_at) VALUES ($1, $2, $3)

-- name: begin_session
UPDATE agent_session SET session = $3, started_at = coalesce(started_at, $4), seen_at = $4
WHERE token = $1 AND machine_id = $2 AND ended_at IS NULL AND issued_at > $5 AND (session IS NULL OR session = $3)
RETURNING id, machine_id

-- name: end_other_sessions
UPDATE agent_session SET ended_at = $3 WHERE machine_id = $1 AND id <> $2 AND ended_at IS NULL

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
UPDATE agent_work SET stage = $3, percent = $4, bytes_done = $5, bytes_total = $6, progress_at = $7
WHERE id = $1 AND machine_id = $2 AND state IN ('offered', 'taken')
RETURNING run_id

-- name: finish_work
UPDATE agent_work SET state = $3, result = $4, reason = $5, percent = CASE WHEN $3 = 'done' THEN 100 ELSE percent END,
                      progress_at = $6, finished_at = $6
WHERE id = $1 AND machine_id = $2 AND state IN ('offered', 'taken')
RETURNING run_id, kind

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
