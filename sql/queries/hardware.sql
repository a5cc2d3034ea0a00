-- name: machine_by_id
SELECT m.id, m.name, m.state, m.facility_id, f.code AS facility, m.plan_id, p.slug AS plan, m.port_id, m.mac::text AS mac,
       m.arch, m.bmc_url, m.bmc_username, m.bmc_secret, m.bmc_fingerprint, m.device_id, m.installed, m.reason, m.state_since,
       o.name AS port, o.profile, o.generation, o.applied, o.fault, l.id AS leaf_id, l.name AS leaf,
       CASE WHEN o.booted_mac <> m.mac THEN o.booted_mac::text END AS other_mac,
       e.name AS elsewhere, greatest(e.booted_at, CASE WHEN o.booted_mac <> m.mac THEN o.booted_at END) AS misplaced_at,
       m.leaving
FROM machine AS m
JOIN facility AS f ON f.id = m.facility_id
JOIN plan AS p ON p.id = m.plan_id
JOIN leaf_port AS o ON o.id = m.port_id
JOIN leaf AS l ON l.id = o.leaf_id
LEFT JOIN LATERAL (
    SELECT el.name || ' ' || eo.name AS name, eo.booted_at FROM leaf_port AS eo JOIN leaf AS el ON el.id = eo.leaf_id
    WHERE eo.booted_mac = m.mac AND eo.id <> m.port_id ORDER BY eo.booted_at DESC LIMIT 1
) AS e ON true
WHERE m.id = $1

-- name: lock_machine
SELECT id FROM machine WHERE id = $1 FOR UPDATE

-- name: machine_of_device
SELECT id FROM machine WHERE device_id = $1

-- name: machines_on_ports
SELECT id FROM machine WHERE port_id = ANY($1::uuid[])

-- name: pick_waiting_machine
-- The first whose agent waits is looked for along the index, however many machines are ready.
SELECT m.id, m.state FROM machine AS m
WHERE m.state = 'ready' AND m.held IS NULL AND m.facility_id = $1 AND m.plan_id = $2 AND m.reservation_id IS NULL
  AND m.id <> ALL($3::uuid[])
  AND EXISTS (SELECT FROM agent_session AS s WHERE s.machine_id = m.id AND s.ended_at IS NULL AND s.seen_at > $4)
ORDER BY m.state_since LIMIT 1 FOR UPDATE OF m SKIP LOCKED

-- name: pick_machine
SELECT m.id, m.state FROM machine AS m
LEFT JOIN LATERAL (
    SELECT max(s.seen_at) AS seen_at FROM agent_session AS s WHERE s.machine_id = m.id AND s.ended_at IS NULL
) AS agent ON true
WHERE m.state = 'ready' AND m.held IS NULL AND m.facility_id = $1 AND m.plan_id = $2 AND m.reservation_id IS NULL
ORDER BY m.id = ANY($3::uuid[]), coalesce(agent.seen_at > $4, false) DESC, m.state_since
LIMIT 1 FOR UPDATE OF m SKIP LOCKED

-- name: reserved_machine
SELECT id FROM machine WHERE reservation_id = $1 AND state = 'ready' AND held IS NULL FOR UPDATE SKIP LOCKED

-- name: machines_like
SELECT state, count(*) AS machines, count(held) AS held FROM machine
WHERE facility_id = $1 AND plan_id = $2 AND reservation_id IS NOT DISTINCT FROM $3::uuid
GROUP BY state ORDER BY state

-- name: move_machine
UPDATE machine SET state = $3, reason = $4, state_since = $5, held = NULL,
                   flag = CASE WHEN $3 IN ('ready', 'retired') THEN NULL ELSE flag END WHERE id = $1 AND state = $2 RETURNING true

-- name: give_machine
UPDATE machine SET device_id = $2, installed = false, rescue = false WHERE id = $1

-- name: set_installed
UPDATE machine SET installed = $2 WHERE id = $1

-- name: set_port
WITH changed AS (
    UPDATE leaf_port SET profile = $2, device_id = $3, generation = generation + 1, changed_at = $4, fault = NULL
    WHERE id = $1 AND (profile, device_id) IS DISTINCT FROM ($2::text, $3::uuid)
    RETURNING leaf_id
)
SELECT pg_notify('roundhouse', 'leaf:' || leaf_id) FROM changed

-- name: ask_port_again
WITH asked AS (
    UPDATE leaf_port SET generation = generation + 1, fault = NULL WHERE id = $1 AND fault IS NOT NULL
    RETURNING leaf_id
)
SELECT pg_notify('roundhouse', 'leaf:' || leaf_id) FROM asked

-- name: port_changed
WITH changed AS (
    UPDATE leaf_port SET generation = generation + 1, changed_at = $2, fault = NULL WHERE device_id = $1
    RETURNING leaf_id
)
SELECT pg_notify('roundhouse', 'leaf:' || leaf_id) FROM changed

-- name: port_by_id
SELECT o.id, o.name, o.profile, o.device_id, o.generation, o.applied, o.fault, l.id AS leaf_id, l.name AS leaf,
       l.state AS leaf_state, l.fault AS leaf_fault
FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id WHERE o.id = $1

-- name: leaves
SELECT id FROM leaf ORDER BY name

-- name: hold_leaf
UPDATE leaf SET epoch = epoch + CASE WHEN holder = $2 THEN 0 ELSE 1 END, holder = $2, held_until = now() + $3::interval
WHERE id = $1 AND (holder = $2 OR held_until IS NULL OR held_until < now())
RETURNING epoch

-- name: release_leaf
UPDATE leaf SET held_until = NULL WHERE id = $1 AND holder = $2

-- name: ports_of_leaf
SELECT o.id, o.name, o.profile, o.device_id, o.generation, o.applied, o.take_over, m.id AS machine_id,
       m.name AS machine
FROM leaf_port AS o LEFT JOIN machine AS m ON m.port_id = o.id
WHERE o.leaf_id = $1 ORDER BY o.name

-- name: mark_ports_applied
WITH concerned AS (
    SELECT o.id, given.generation
    FROM leaf_port AS o JOIN unnest($2::uuid[], $3::bigint[]) AS given (id, generation) ON o.id = given.id
    WHERE o.applied < given.generation AND EXISTS (SELECT FROM leaf WHERE id = o.leaf_id AND epoch = $1)
    ORDER BY o.id FOR UPDATE OF o
)
UPDATE leaf_port AS o SET applied = concerned.generation, fault = NULL
FROM concerned WHERE o.id = concerned.id
RETURNING o.id, o.device_id

-- name: mark_ports_faulty
UPDATE leaf_port AS o SET fault = $4
FROM unnest($2::uuid[], $3::bigint[]) AS given (id, generation)
WHERE o.id = given.id AND o.generation = given.generation AND o.applied < given.generation
  AND EXISTS (SELECT FROM leaf WHERE id = o.leaf_id AND epoch = $1)
RETURNING o.id, o.device_id

-- name: set_leaf_state
UPDATE leaf
SET state = $3, fault = CASE $3 WHEN 'changing' THEN fault ELSE $4 END,
    locked_since = CASE $3 WHEN 'changing' THEN locked_since WHEN 'locked' THEN coalesce(locked_since, now()) END
WHERE id = $1 AND epoch = $2

-- name: agent_alive
SELECT id, started_at, seen_at FROM agent_session
WHERE machine_id = $1 AND ended_at IS NULL AND started_at IS NOT NULL AND seen_at > $2
ORDER BY started_at DESC LIMIT 1

-- name: end_agent_sessions
UPDATE agent_session SET ended_at = $2 WHERE machine_id = $1 AND ended_at IS NULL

-- name: offer_work
INSERT INTO agent_work (machine_id, run_id, slot, kind, spec) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (run_id, slot) DO NOTHING

-- name: withdraw_work
WITH native AS (
    UPDATE native_install SET state = 'withdrawn', finished_at = $2 WHERE machine_id = $1 AND state IN ('offered', 'started')
)
UPDATE agent_work SET state = 'withdrawn', finished_at = $2 WHERE machine_id = $1 AND state IN ('offered', 'taken')

-- name: work_of_run
SELECT id, kind, state, result, reason, stage, percent, bytes_done, bytes_total, bytes_per_s, created_at, taken_at, progress_at,
       finished_at
FROM agent_work WHERE run_id = $1 AND slot = $2

-- name: inventory_of_machine
SELECT inventory FROM machine WHERE id = $1

-- name: certify_erase
INSERT INTO erase_certificate (machine_id, run_id, evidence, signature) VALUES ($1, $2, $3, $4)
ON CONFLICT (run_id) DO NOTHING

-- name: certificates_of_machine
SELECT id, run_id, evidence, signature, created_at FROM erase_certificate WHERE machine_id = $1
ORDER BY created_at DESC LIMIT $2

-- name: notify
SELECT pg_notify('roundhouse', $1)

-- name: device_on_machine
SELECT device_id FROM machine WHERE id = $1

-- name: addresses_owed
SELECT (data->>'device')::uuid FROM run
WHERE subject = $1 AND workflow IN ('prepare', 'burn_in', 'firmware', 'retire') ORDER BY created_at DESC LIMIT 1

-- name: machine_named
SELECT id FROM machine WHERE (name = $1 OR id::text = $1) AND state <> 'retired'

-- name: begin_rescue
UPDATE machine SET rescue = true WHERE id = $1

-- name: leave_rescue
UPDATE machine SET rescue = false WHERE device_id = $1 AND rescue RETURNING id, port_id

-- name: work_of_machine
SELECT w.id, w.kind, w.slot, r.workflow, w.state, w.stage, w.percent, w.bytes_done, w.bytes_total, w.bytes_per_s,
       w.result, w.reason, w.created_at, w.taken_at, w.progress_at, w.finished_at
FROM agent_work AS w JOIN run AS r ON r.id = w.run_id
WHERE w.machine_id = $1 ORDER BY w.created_at DESC LIMIT 20

-- name: burn_in_limits
SELECT p.burn_in FROM machine AS m JOIN plan AS p ON p.id = m.plan_id WHERE m.id = $1

-- name: burn_in_limits_of_plan
SELECT burn_in FROM plan WHERE slug = $1

-- name: set_burn_in_limits
UPDATE plan SET burn_in = jsonb_strip_nulls(burn_in || $2) WHERE slug = $1 RETURNING burn_in
