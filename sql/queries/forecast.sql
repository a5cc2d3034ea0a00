-- name: newest_done
SELECT finished_at FROM run WHERE workflow = $1 AND state = 'done' ORDER BY finished_at DESC LIMIT 1

-- name: stage_times
-- One look into the index a run: the planner would rather read every step that there ever was.
WITH took AS (
    SELECT coalesce(d.plan_id, m.plan_id) AS plan_id, d.operating_system, one.step, one.seconds
    FROM (
        SELECT id, subject FROM run WHERE workflow = $1 AND state = 'done' ORDER BY finished_at DESC LIMIT $2
    ) AS r
    LEFT JOIN device AS d ON d.id = r.subject LEFT JOIN machine AS m ON m.id = r.subject
    CROSS JOIN LATERAL (
        SELECT s.step, sum(extract(epoch FROM s.finished_at - s.started_at)) AS seconds FROM run_step AS s
        WHERE s.run_id = r.id AND s.finished_at IS NOT NULL AND s.step NOT IN ('await_addresses', 'place')
        GROUP BY GROUPING SETS ((s.step), ()) HAVING count(*) > 0
    ) AS one
)
SELECT plan_id, operating_system, step, count(*) AS measured,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds)::float8 AS p50_s,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds)::float8 AS p95_s
FROM took WHERE plan_id IS NOT NULL
GROUP BY plan_id, operating_system, step

-- name: machines_coming
SELECT m.facility_id, m.plan_id, r.created_at AS since, NULL::timestamptz AS freed
FROM machine AS m JOIN run AS r ON r.subject = m.id AND r.finished_at IS NULL
WHERE m.state = 'preparing' AND m.held IS NULL AND m.reservation_id IS NULL AND m.plan_id = $1
UNION ALL
SELECT m.facility_id, m.plan_id, NULL, d.termination_time
FROM machine AS m JOIN device AS d ON d.id = m.device_id
WHERE m.reservation_id IS NULL AND m.plan_id = $1 AND d.termination_time IS NOT NULL AND d.deleted_at IS NULL

-- name: pool_now
SELECT (SELECT count(*) FROM machine WHERE state = 'ready' AND held IS NULL AND reservation_id IS NULL AND facility_id = $1 AND plan_id = $2) AS ready,
       (SELECT count(*) FROM pool_queue WHERE facility_id = $1 AND plan_id = $2) AS waiting,
       (SELECT count(*) FROM pool_queue AS q WHERE facility_id = $1 AND plan_id = $2
           AND q.round <= 1 + (SELECT count(*) FROM pool_queue WHERE facility_id = $1 AND plan_id = $2 AND project_id = $3)) AS ahead

-- name: ahead_in_pool
SELECT device_id, ahead FROM pool_queue WHERE facility_id = ANY($1::uuid[]) AND plan_id = ANY($2::uuid[])

-- name: turn_in_pool
SELECT ahead < (SELECT count(*) FROM machine
                WHERE state = 'ready' AND held IS NULL AND reservation_id IS NULL AND facility_id = $2 AND plan_id = $3) AS mine, ahead
FROM pool_queue WHERE facility_id = $2 AND plan_id = $3 AND device_id = $1

-- name: steps_under_way
SELECT subject, step, step_since FROM run
WHERE subject = ANY($1::uuid[]) AND workflow = 'provision' AND finished_at IS NULL
