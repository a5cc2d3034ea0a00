-- name: orders_seen
SELECT d.id, d.hostname, d.state, d.failure, o.name AS organization, o.id AS organization_id, p.name AS project,
       p.id AS project_id, l.slug AS plan, f.code AS facility, d.operating_system, d.created_at, d.active_at, d.deadline,
       d.deleted_at, m.name AS machine, r.id AS run_id, r.workflow, r.step, r.state AS run_state, r.step_since,
       r.reason AS waits_for
FROM device AS d
JOIN project AS p ON p.id = d.project_id
JOIN organization AS o ON o.id = p.organization_id
JOIN plan AS l ON l.id = d.plan_id
JOIN facility AS f ON f.id = d.facility_id
LEFT JOIN machine AS m ON m.device_id = d.id
LEFT JOIN run AS r ON r.subject = d.id AND r.finished_at IS NULL
WHERE ($1::bool OR r.id IS NOT NULL)
  AND ($2::text IS NULL OR d.state = $2) AND ($3::text IS NULL OR f.code = $3) AND ($4::text IS NULL OR l.slug = $4)
  AND ($5::text IS NULL OR o.name = $5 OR o.id::text = $5 OR p.name = $5 OR p.id::text = $5)
  AND ($6::text IS NULL OR d.hostname = $6 OR starts_with(d.id::text, $6))
ORDER BY d.created_at DESC, d.id LIMIT $7

-- name: usual_stages
WITH latest AS (
    SELECT r.id FROM run AS r JOIN device AS d ON d.id = r.subject
    WHERE r.workflow = $1 AND r.state = 'done' AND d.plan_id = (SELECT plan_id FROM device WHERE id = $2)
      AND r.subject <> $2
    ORDER BY r.created_at DESC LIMIT 200
)
SELECT s.step, count(*) AS measured,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM s.finished_at - s.started_at)) AS median_s,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM s.finished_at - s.started_at)) AS p95_s
FROM run_step AS s WHERE s.run_id IN (SELECT id FROM latest) AND s.state = 'done' AND s.finished_at IS NOT NULL
GROUP BY s.step

-- name: runs_starting
SELECT id FROM run WHERE starts_with(id::text, lower($1)) ORDER BY created_at DESC LIMIT 2

-- name: hurry_run
UPDATE run SET signals = signals + 1, wake_at = least(wake_at, $2), attempt = 0,
               step_since = CASE WHEN $3::bool THEN $2 ELSE step_since END,
               deadline = CASE WHEN $3::bool THEN greatest(deadline, $2 + (deadline - created_at)) ELSE deadline END
WHERE id = $1 AND finished_at IS NULL
RETURNING signals

-- name: take_run_away
UPDATE run SET epoch = epoch + 1, worker = NULL, leased_until = NULL WHERE id = $1 RETURNING epoch, data

-- name: lock_run
SELECT id, workflow, subject, state, step, finished_at FROM run WHERE id = $1 FOR UPDATE

-- name: device_with_id
SELECT id FROM device WHERE id = $1
