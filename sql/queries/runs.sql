-- name: start_run
WITH started AS (
    INSERT INTO run (workflow, subject, step, data, deadline, wake_at, step_since)
    VALUES ($1, $2, $3, $4, $5, $6, $6)
    RETURNING id
)
INSERT INTO run_step (run_id, step, attempt, state, started_at) SELECT id, $3, 1, 'started', $6 FROM started
RETURNING run_id

-- name: supersede_runs
UPDATE run SET state = 'superseded', finished_at = $2, epoch = epoch + 1, leased_until = NULL, reason = $3
WHERE subject = $1 AND finished_at IS NULL
RETURNING id

-- name: signal_run
UPDATE run SET signals = signals + 1, wake_at = least(wake_at, $2)
WHERE subject = $1 AND finished_at IS NULL
RETURNING id, signals, coalesce(leased_until >= now(), false) AS in_hand

-- name: claim_run
UPDATE run SET epoch = epoch + 1, worker = $2, leased_until = now() + $3::interval
WHERE id = $1 AND finished_at IS NULL AND wake_at <= $4 AND (leased_until IS NULL OR leased_until < now())
RETURNING id, workflow, subject, state, step, data, attempt, signals, epoch, step_since, created_at, deadline

-- name: extend_leases
UPDATE run SET leased_until = now() + $3::interval
FROM unnest($1::uuid[], $2::bigint[]) AS held(id, epoch)
WHERE run.id = held.id AND run.epoch = held.epoch AND finished_at IS NULL AND leased_until IS NOT NULL

-- name: hold_run
SELECT true FROM run WHERE id = $1 AND epoch = $2 AND finished_at IS NULL FOR UPDATE

-- name: advance_run
WITH moved AS (
    UPDATE run SET step = $4, data = $5, state = $6, reason = NULL, attempt = 0, wake_at = $7, step_since = $7,
                   finished_at = CASE WHEN $6 IN ('done', 'failed') THEN $7::timestamptz END,
                   leased_until = CASE WHEN $6 IN ('done', 'failed') THEN NULL ELSE leased_until END,
                   failure = CASE WHEN $6 = 'undoing' AND $8 = 'failed' THEN $9 ELSE failure END
    WHERE id = $1 AND epoch = $2 AND finished_at IS NULL
    RETURNING id
), ended AS (
    UPDATE run_step SET state = $8, finished_at = $7, reason = coalesce($9, reason)
    WHERE run_id = (SELECT id FROM moved) AND step = $3
      AND attempt = (SELECT max(attempt) FROM run_step WHERE run_id = $1 AND step = $3)
), next AS (
    INSERT INTO run_step (run_id, step, attempt, state, started_at)
    SELECT moved.id, $4, coalesce((SELECT max(attempt) FROM run_step WHERE run_id = $1 AND step = $4), 0) + 1,
           'started', $7
    FROM moved WHERE $6 = 'running'
)
SELECT true FROM moved

-- name: park_run
UPDATE run SET reason = $3, data = $4, attempt = $5,
               wake_at = CASE WHEN signals > $6 THEN $7::timestamptz ELSE $8::timestamptz END,
               worker = NULL, leased_until = NULL
WHERE id = $1 AND epoch = $2 AND finished_at IS NULL
RETURNING signals > $6 AS again

-- name: runs_due
SELECT id FROM run
WHERE finished_at IS NULL AND wake_at <= $1 AND (leased_until IS NULL OR leased_until < now())
ORDER BY wake_at LIMIT 500

-- name: run_under_way
SELECT true FROM run WHERE subject = $1 AND finished_at IS NULL

-- name: failure_of_run
SELECT failure FROM run WHERE id = $1
