-- name: set_image_release
UPDATE device SET image_release = $2 WHERE id = $1

-- name: rollout_under_way
SELECT id, slug, release, baseline, plans, percent, enough, state, reason, started_at, step_since, ended_at
FROM rollout WHERE slug = $1 AND state = 'running'

-- name: rollouts
SELECT id, slug, release, baseline, plans, percent, enough, state, reason, started_at, step_since, ended_at
FROM rollout WHERE $1::text IS NULL OR slug = $1
ORDER BY ended_at IS NOT NULL, started_at DESC LIMIT 200

-- name: rollout_by_id
SELECT id, slug, release, baseline, plans, percent, enough, state, reason, started_at, step_since, ended_at
FROM rollout WHERE id = $1

-- name: start_rollout
INSERT INTO rollout (slug, release, baseline, plans, percent, enough, reason, started_at, step_since)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
RETURNING id, slug, release, baseline, plans, percent, enough, state, reason, started_at, step_since, ended_at

-- name: plan_slugs
SELECT slug FROM plan

-- name: claim_rollouts
SELECT id, slug, release, baseline, plans, percent, enough, state, reason, started_at, step_since, ended_at
FROM rollout WHERE state = 'running' ORDER BY started_at FOR UPDATE SKIP LOCKED

-- name: rollout_step
UPDATE rollout SET percent = $2, reason = $3, step_since = CASE WHEN percent = $2 THEN step_since ELSE $4 END
WHERE id = $1 AND state = 'running'

-- name: end_rollout
UPDATE rollout SET state = $2, reason = $3, ended_at = $4 WHERE id = $1 AND state = 'running' RETURNING true

-- name: begin_install
INSERT INTO image_install (run_id, attempt, device_id, machine_id, slug, release, plan, started_at)
SELECT $1, coalesce((SELECT max(attempt) FROM image_install WHERE run_id = $1), 0) + 1, $2, $3, $4, $5, $6, $7
WHERE NOT EXISTS (SELECT FROM image_install WHERE run_id = $1 AND state = 'running')

-- name: end_install
UPDATE image_install AS i
SET state = $2, reason = $4, ended_at = $5, seconds = extract(epoch FROM $5 - i.started_at),
    order_s = extract(epoch FROM $5 - r.created_at),
    failure = CASE WHEN $2 <> 'failed' THEN NULL ELSE coalesce($3, CASE
        WHEN d.phoned_home_at IS NOT NULL THEN 'prove'
        WHEN m.installed THEN 'first_boot'
        WHEN EXISTS (SELECT FROM agent_work AS w WHERE w.run_id = i.run_id AND w.kind = 'install'
                     AND w.taken_at >= i.started_at) THEN 'install'
        ELSE 'start' END) END,
    stages = coalesce((SELECT jsonb_object_agg(step, took) FROM (
        SELECT s.step, round(extract(epoch FROM sum(coalesce(s.finished_at, $5) - s.started_at)), 3) AS took
        FROM run_step AS s WHERE s.run_id = i.run_id AND s.started_at >= i.started_at GROUP BY s.step) AS taken), '{}')
FROM run AS r, device AS d, machine AS m
WHERE i.run_id = $1 AND i.state = 'running' AND r.id = i.run_id AND d.id = i.device_id AND m.id = i.machine_id
RETURNING i.slug, i.release

-- name: installs_compared
SELECT release, state, failure, seconds, ended_at
FROM image_install
WHERE slug = $1 AND state <> 'running' AND (cardinality($4::text[]) = 0 OR plan = ANY($4))
  AND (release = $2 AND started_at >= $5 OR release = $3 AND started_at >= $6)
ORDER BY ended_at DESC LIMIT 10000

-- name: install_results
SELECT i.slug, i.release, i.plan, count(*) FILTER (WHERE i.state = 'active') AS active,
       count(*) FILTER (WHERE i.failure IN ('install', 'first_boot', 'prove')) AS failed,
       count(*) FILTER (WHERE i.failure IN ('start', 'network')) AS not_begun,
       count(*) FILTER (WHERE i.state = 'running' AND r.finished_at IS NULL) AS running,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY i.seconds) FILTER (WHERE i.state = 'active') AS p50_s,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY i.seconds) FILTER (WHERE i.state = 'active') AS p99_s,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY i.order_s) FILTER (WHERE i.state = 'active') AS order_p99_s
FROM image_install AS i JOIN run AS r ON r.id = i.run_id
WHERE i.started_at >= $1
GROUP BY GROUPING SETS ((i.slug, i.release), (i.slug, i.release, i.plan)) ORDER BY i.slug, i.release, i.plan NULLS FIRST

-- name: stage_results
WITH latest AS (
    SELECT slug, release, stages, row_number() OVER (PARTITION BY slug, release ORDER BY started_at DESC) AS place
    FROM image_install WHERE state = 'active' AND started_at >= $1
)
SELECT i.slug, i.release, s.key AS step, percentile_disc(0.5) WITHIN GROUP (ORDER BY s.value::float) AS p50_s,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY s.value::float) AS p99_s
FROM latest AS i, jsonb_each_text(i.stages) AS s
WHERE i.place <= $2
GROUP BY i.slug, i.release, s.key ORDER BY i.slug, i.release, s.key

-- name: install_failures
SELECT i.slug, i.release, i.plan, i.failure, i.reason, i.ended_at, i.device_id, m.name AS machine
FROM image_install AS i JOIN machine AS m ON m.id = i.machine_id
WHERE i.state = 'failed' AND i.failure IN ('install', 'first_boot', 'prove') AND i.started_at >= $1
ORDER BY i.ended_at DESC LIMIT $2

-- name: releases_referred_to
SELECT operating_system AS slug, image_release AS release FROM device
WHERE image_release IS NOT NULL AND (deleted_at IS NULL OR EXISTS (
    SELECT FROM run WHERE subject = device.id AND finished_at IS NULL))
UNION SELECT slug, release FROM rollout WHERE state = 'running'
UNION SELECT slug, baseline FROM rollout WHERE state = 'running'
UNION SELECT i.slug, i.release FROM image_install AS i JOIN run AS r ON r.id = i.run_id
      WHERE i.state = 'running' AND r.finished_at IS NULL

-- name: tried_out
SELECT state <> 'complete' FROM rollout WHERE slug = $1 AND release = $2 ORDER BY started_at DESC LIMIT 1
