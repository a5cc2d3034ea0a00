-- name: console_bmc
SELECT bmc_url, bmc_username, bmc_secret, bmc_host_key FROM machine WHERE id = $1

-- name: pin_bmc_host_key
UPDATE machine SET bmc_host_key = $2 WHERE id = $1 AND bmc_host_key IS NULL

-- name: forget_bmc_host_key
UPDATE machine SET bmc_host_key = NULL WHERE id = $1

-- name: consoles_to_follow
SELECT id AS machine_id, device_id, state = 'installing' AS installing FROM machine WHERE id = ANY($1::uuid[])
UNION
(SELECT id, device_id, true FROM machine WHERE state = 'installing' AND device_id IS NOT NULL
 ORDER BY state_since DESC LIMIT $2)

-- name: console_by_device
SELECT d.id AS device_id, d.project_id, d.hostname AS name, d.state, m.id AS machine_id, staff.user_id, staff.email
FROM device AS d
LEFT JOIN machine AS m ON m.device_id = d.id
LEFT JOIN LATERAL (
    SELECT u.id AS user_id, u.email FROM ssh_key AS k JOIN user_account AS u ON u.id = k.user_id
    WHERE u.staff_role IS NOT NULL AND split_part(k.key, ' ', 1) || ' ' || split_part(k.key, ' ', 2) = $2
    LIMIT 1
) AS staff ON true
WHERE d.id = $1 AND d.deleted_at IS NULL
  AND (staff.user_id IS NOT NULL OR EXISTS (
      SELECT FROM unnest(d.ssh_keys) AS given (key)
      WHERE split_part(given.key, ' ', 1) || ' ' || split_part(given.key, ' ', 2) = $2))

-- name: console_by_machine
SELECT NULL::uuid AS device_id, NULL::uuid AS project_id, m.name, m.state, m.id AS machine_id, u.id AS user_id, u.email
FROM machine AS m
JOIN ssh_key AS k ON split_part(k.key, ' ', 1) || ' ' || split_part(k.key, ' ', 2) = $2
JOIN user_account AS u ON u.id = k.user_id
WHERE m.name = $1 AND u.staff_role IS NOT NULL
LIMIT 1

-- name: begin_console_session
INSERT INTO console_session (machine_id, device_id, user_id, fingerprint, source, started_at, seen_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)
RETURNING id

-- name: end_dead_console_sessions
UPDATE console_session SET ended_at = seen_at, writes = false
WHERE ended_at IS NULL AND seen_at < $1

-- name: console_session_seen
UPDATE console_session SET seen_at = $2, machine_id = $3, writes = writes AND machine_id IS NOT DISTINCT FROM $3
WHERE id = $1 AND ended_at IS NULL
RETURNING writes

-- name: put_down_console_keyboard
UPDATE console_session SET writes = false WHERE machine_id = $1 AND id <> $2 AND writes AND ended_at IS NULL

-- name: take_console_keyboard
UPDATE console_session SET writes = true WHERE id = $1 AND ended_at IS NULL AND machine_id = $2

-- name: console_writer
SELECT s.started_at, s.source, u.email
FROM console_session AS s LEFT JOIN user_account AS u ON u.id = s.user_id
WHERE s.machine_id = $1 AND s.writes AND s.ended_at IS NULL

-- name: console_session_wrote
UPDATE console_session SET wrote = true WHERE id = $1

-- name: end_console_session
UPDATE console_session SET ended_at = $2, writes = false WHERE id = $1 AND ended_at IS NULL
RETURNING machine_id, device_id, started_at, wrote

-- name: open_console_sessions_count
SELECT count(*) FROM console_session
WHERE ended_at IS NULL AND (machine_id = $1 OR ($1::uuid IS NULL AND device_id = $2))

-- name: machine_for_console
SELECT m.id, m.name, f.code AS facility FROM machine AS m JOIN facility AS f ON f.id = m.facility_id
WHERE m.name = $1 OR m.id::text = $1

-- name: console_sessions
SELECT s.id, m.name AS machine, s.device_id, u.email, s.fingerprint, s.source, s.writes, s.wrote, s.started_at,
       s.seen_at, s.ended_at, s.ended_at IS NULL AND s.seen_at >= $1 AS open
FROM console_session AS s
LEFT JOIN machine AS m ON m.id = s.machine_id
LEFT JOIN user_account AS u ON u.id = s.user_id
ORDER BY s.started_at DESC, s.id LIMIT 200

-- name: take_console
INSERT INTO console_lease (machine_id, holder, host, port, held_until) VALUES ($1, $2, $3, $4, now() + $5::interval)
ON CONFLICT (machine_id) DO UPDATE SET holder = $2, host = $3, port = $4, held_until = now() + $5::interval
WHERE console_lease.holder = $2 OR console_lease.held_until < now()
RETURNING true

-- name: console_holder
SELECT host, port FROM console_lease WHERE machine_id = $1

-- name: keep_console
UPDATE console_lease SET held_until = now() + $3::interval WHERE machine_id = $1 AND holder = $2 RETURNING true

-- name: leave_console
DELETE FROM console_lease WHERE machine_id = $1 AND holder = $2

-- name: own_address
SELECT host(inet_client_addr())
