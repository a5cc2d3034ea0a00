-- name: offer_native
INSERT INTO native_install (machine_id, run_id, slot, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (run_id, slot) DO NOTHING

-- name: native_of_run
SELECT id, machine_id, run_id, slot, state, token, issued_at, boots, stage, missing, host_keys, reason, created_at, seen_at
FROM native_install WHERE run_id = $1 AND slot = $2

-- name: native_on_machine
SELECT n.id, n.machine_id, n.run_id, n.slot, n.state, n.token, n.issued_at, n.boots, n.stage, n.missing, n.host_keys,
       n.reason, n.created_at, n.seen_at
FROM native_install AS n JOIN run AS r ON r.id = n.run_id
WHERE n.machine_id = $1 AND r.finished_at IS NULL
ORDER BY n.created_at DESC LIMIT 1

-- name: begin_native
UPDATE native_install SET state = 'started', token = $2, issued_at = $3, seen_at = $4, boots = boots + 1, stage = '',
                          missing = NULL
WHERE id = $1 AND state IN ('offered', 'started') AND (issued_at IS NULL OR issued_at < $3)
RETURNING boots

-- name: native_seen
UPDATE native_install SET seen_at = $2, stage = coalesce($3, stage), missing = coalesce($4, missing)
WHERE machine_id = $1 AND state = 'started'
RETURNING run_id

-- name: finish_native
UPDATE native_install SET state = $3, host_keys = $4, reason = $5, seen_at = $6, finished_at = $6
WHERE id = $1 AND token = $2 AND state = 'started'
RETURNING run_id
