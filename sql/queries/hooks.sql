-- name: add_hook
INSERT INTO hook (id, organization_id, project_id, name, kind, mode, target, follows, secret, enabled, limit_s, retries,
                  on_failure, created_by, created_at, updated_at, position)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, (SELECT position FROM event_tail))
RETURNING id

-- name: hooks_of
SELECT id, organization_id, project_id, name, kind, mode, target, follows, secret, old_secret, old_secret_until,
       enabled, limit_s, retries, on_failure, created_by, created_at, updated_at, position, wanted, attempt, next_at,
       failing_since, fault, epoch
FROM hook
WHERE organization_id IS NOT DISTINCT FROM $1 AND project_id IS NOT DISTINCT FROM $2
  AND ($3::text IS NULL OR id::text = $3 OR name = $3)
ORDER BY name, id

-- name: customers_hooks
SELECT h.id, h.name, h.target, h.enabled, h.fault, h.failing_since, h.position, h.wanted, h.follows,
       coalesce(o.name, po.name || ' / ' || p.name) AS owner,
       (SELECT count(*) FROM hook_delivery AS d WHERE d.hook_id = h.id AND d.state = 'dead') AS dead
FROM hook AS h
LEFT JOIN organization AS o ON o.id = h.organization_id
LEFT JOIN project AS p ON p.id = h.project_id
LEFT JOIN organization AS po ON po.id = p.organization_id
WHERE h.organization_id IS NOT NULL OR h.project_id IS NOT NULL
ORDER BY h.fault IS NULL, owner, h.name LIMIT $1

-- name: lock_hook
SELECT id FROM hook WHERE id = $1 FOR UPDATE

-- name: count_hooks
SELECT count(*) FROM hook WHERE organization_id IS NOT DISTINCT FROM $1 AND project_id IS NOT DISTINCT FROM $2

-- name: change_hook
UPDATE hook SET name = $2, target = $3, follows = $4, enabled = $5, limit_s = $6, retries = $7, on_failure = $8,
                updated_at = $9, attempt = 0, next_at = $9,
                failing_since = CASE WHEN $5 AND NOT enabled THEN NULL ELSE failing_since END,
                fault = CASE WHEN $5 AND NOT enabled THEN NULL ELSE fault END,
                -- What was not followed before, or not told meanwhile, is told from where it stood.
                wanted = greatest(wanted, (SELECT position FROM event_tail))
WHERE id = $1

-- name: rotate_hook_secret
UPDATE hook SET old_secret = secret, old_secret_until = $3, secret = $2, updated_at = $4 WHERE id = $1

-- name: remove_hook
DELETE FROM hook WHERE id = $1

-- name: rewind_hook
UPDATE hook SET position = least($2::bigint, (SELECT position FROM event_tail)),
                wanted = (SELECT position FROM event_tail), attempt = 0, next_at = $3, epoch = epoch + 1,
                held_until = NULL, failing_since = NULL, fault = NULL
WHERE id = $1 RETURNING position

-- name: claim_hook
UPDATE hook SET epoch = epoch + 1, held_until = now() + make_interval(secs => limit_s) + $2::interval
WHERE id = (SELECT id FROM hook
            WHERE enabled AND mode = 'tell' AND wanted > position AND next_at <= $1
              AND (held_until IS NULL OR held_until < now())
            ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, organization_id, project_id, name, kind, mode, target, follows, secret, old_secret, old_secret_until,
          enabled, limit_s, retries, on_failure, created_by, created_at, updated_at, position, wanted, attempt, next_at,
          failing_since, fault, epoch

-- name: hold_hook
UPDATE hook SET held_until = now() + make_interval(secs => limit_s) + $3::interval
WHERE id = $1 AND epoch = $2 AND enabled RETURNING true

-- name: let_hook_go
UPDATE hook SET held_until = NULL WHERE id = $1 AND epoch = $2

-- name: hook_caught_up
UPDATE hook SET position = greatest(position, $3), attempt = 0, held_until = NULL WHERE id = $1 AND epoch = $2

-- name: begin_delivery
INSERT INTO hook_delivery (hook_id, event_id, position, type, attempts, created_at, attempted_at)
SELECT id, $3, $4, $5, 1, $6, $6 FROM hook WHERE id = $1 AND epoch = $2
ON CONFLICT (hook_id, event_id) DO UPDATE
SET state = 'pending', attempts = hook_delivery.attempts + 1, attempted_at = $6
RETURNING id

-- name: end_delivery
UPDATE hook_delivery SET state = $2, status = $3, answer = $4, took_s = $5,
                         delivered_at = CASE WHEN $2 = 'delivered' THEN $6::timestamptz ELSE delivered_at END
WHERE id = $1

-- name: hook_told
UPDATE hook SET position = $3, attempt = 0, failing_since = NULL, fault = NULL WHERE id = $1 AND epoch = $2 RETURNING true

-- name: hook_gives_one_up
UPDATE hook SET position = $3, attempt = 0, fault = $4, failing_since = coalesce(failing_since, $5)
WHERE id = $1 AND epoch = $2 RETURNING true

-- name: hook_failed
UPDATE hook SET attempt = attempt + 1, next_at = $3, fault = $4, failing_since = coalesce(failing_since, $5),
                held_until = NULL
WHERE id = $1 AND epoch = $2 RETURNING true

-- name: disable_hook
UPDATE hook SET enabled = false, fault = $3, held_until = NULL WHERE id = $1 AND epoch = $2 AND enabled RETURNING true

-- name: deliveries_of
SELECT id, event_id, position, type, state, attempts, status, answer, took_s, created_at, attempted_at, delivered_at
FROM hook_delivery
WHERE hook_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id = $3)
ORDER BY attempted_at DESC, position DESC LIMIT $4 OFFSET $5

-- name: count_deliveries
SELECT count(*) FROM hook_delivery WHERE hook_id = $1 AND ($2::text IS NULL OR state = $2)

-- name: add_test_delivery
INSERT INTO hook_delivery (hook_id, position, type, attempts, created_at, attempted_at)
VALUES ($1, 0, 'hook.test', 1, $2, $2) RETURNING id

-- name: delivery_again
UPDATE hook_delivery SET state = 'pending', attempts = attempts + 1, attempted_at = $2 WHERE id = $1

-- name: hook_next_at
SELECT least(
    (SELECT min(next_at) FROM hook WHERE enabled AND mode = 'tell' AND wanted > position
                                     AND (held_until IS NULL OR held_until < now())),
    (SELECT min(next_at) FROM hook_question WHERE state = 'open' AND (held_until IS NULL OR held_until < now())))

-- name: prune_deliveries
DELETE FROM hook_delivery WHERE state = 'delivered' AND delivered_at < $1

-- name: subject_of_event
SELECT m.id AS machine_id, m.name AS machine, m.state AS machine_state, m.mac::text AS mac, mp.slug AS machine_plan,
       f.code AS facility, l.name AS leaf, o.name AS port, r.name AS rack, m.rack_unit, m.reason,
       d.id AS device_id, d.hostname, d.state AS device_state, dp.slug AS device_plan, d.operating_system, d.project_id
FROM (SELECT $1::uuid AS machine_id, $2::uuid AS device_id) AS asked
LEFT JOIN machine AS m ON m.id = asked.machine_id
LEFT JOIN plan AS mp ON mp.id = m.plan_id
LEFT JOIN facility AS f ON f.id = m.facility_id
LEFT JOIN leaf_port AS o ON o.id = m.port_id
LEFT JOIN leaf AS l ON l.id = o.leaf_id
LEFT JOIN rack AS r ON r.id = m.rack_id
LEFT JOIN device AS d ON d.id = asked.device_id
LEFT JOIN plan AS dp ON dp.id = d.plan_id

-- name: ask_hooks
INSERT INTO hook_question (hook_id, key, transition, machine_id, device_id, asker, asked_at, until, next_at)
SELECT id, $1, $2, $3, $4, $5, $6::timestamptz, $6::timestamptz + make_interval(secs => limit_s), $6::timestamptz
FROM hook WHERE enabled AND mode = 'ask' AND follows(follows, $2) ORDER BY name
ON CONFLICT (hook_id, key) DO NOTHING
RETURNING id

-- name: hooks_ask
SELECT EXISTS (SELECT FROM hook WHERE enabled AND mode = 'ask' AND follows(follows, $1))

-- name: questions_by_key
SELECT q.id, h.name AS hook, q.state, q.reason, q.decided_by, q.until, q.attempts, q.answer
FROM hook_question AS q JOIN hook AS h ON h.id = q.hook_id
WHERE q.key = $1 ORDER BY h.name

-- name: claim_question
UPDATE hook_question AS q
SET epoch = q.epoch + 1, held_until = q.until + $2::interval, attempts = q.attempts + 1
FROM hook AS h
WHERE h.id = q.hook_id AND q.id = (
    SELECT id FROM hook_question WHERE state = 'open' AND next_at <= $1 AND (held_until IS NULL OR held_until < now())
    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING q.id, q.hook_id, q.transition, q.machine_id, q.device_id, q.asker, q.attempts, q.asked_at, q.until, q.epoch,
          h.name AS hook, h.kind, h.target, h.secret, h.retries, h.on_failure, h.limit_s

-- name: question_later
UPDATE hook_question SET next_at = $3, status = $4, answer = $5, held_until = NULL
WHERE id = $1 AND epoch = $2 AND state = 'open' RETURNING true

-- name: decide_question
UPDATE hook_question SET state = $2, decided_by = $3, reason = $4, decided_at = $5, held_until = NULL,
                         status = coalesce($6, status), answer = coalesce($7, answer)
WHERE id = $1 AND state = 'open'
RETURNING machine_id, device_id, transition, asker, hook_id, key

-- name: name_of_machine
SELECT name FROM machine WHERE id = $1

-- name: questions_seen
SELECT q.id, h.name AS hook, q.transition, q.machine_id, m.name AS machine, q.device_id, q.state, q.decided_by, q.reason,
       q.attempts, q.status, q.answer, q.asked_at, q.until, q.decided_at, q.key
FROM hook_question AS q JOIN hook AS h ON h.id = q.hook_id JOIN machine AS m ON m.id = q.machine_id
WHERE ($1::uuid IS NULL OR q.hook_id = $1) AND ($2::uuid IS NULL OR q.machine_id = $2) AND ($3::uuid IS NULL OR q.id = $3)
  AND ($4::text IS NULL OR q.state = $4)
ORDER BY q.asked_at DESC LIMIT $5

-- name: machine_held
UPDATE machine SET held = $2 WHERE id = $1 AND state = 'ready' RETURNING true

-- name: candidate_machine
SELECT m.id FROM machine AS m
LEFT JOIN LATERAL (
    SELECT max(s.seen_at) AS seen_at FROM agent_session AS s WHERE s.machine_id = m.id AND s.ended_at IS NULL
) AS agent ON true
WHERE m.state = 'ready' AND m.held IS NULL AND m.facility_id = $1 AND m.plan_id = $2
  AND m.reservation_id IS NOT DISTINCT FROM $5::uuid
  AND NOT EXISTS (SELECT FROM hook_question AS q WHERE q.machine_id = m.id AND q.transition = 'machine.place'
                  AND q.state = 'open' AND q.asker IS NOT NULL)
ORDER BY m.id = ANY($3::uuid[]), coalesce(agent.seen_at > $4, false) DESC, m.state_since
LIMIT 1 FOR UPDATE OF m SKIP LOCKED

-- name: lock_ready_machine
SELECT id FROM machine WHERE id = $1 AND state = 'ready' AND held IS NULL FOR UPDATE SKIP LOCKED

-- name: hook_name
SELECT name FROM hook WHERE id = $1

-- name: signal_waiting_at
UPDATE run SET signals = signals + 1, wake_at = least(wake_at, $2)
FROM device AS d JOIN machine AS m ON m.facility_id = d.facility_id AND m.plan_id = d.plan_id
WHERE run.subject = d.id AND run.workflow = 'provision' AND run.step = 'place' AND run.finished_at IS NULL AND m.id = $1

-- name: is_ready
SELECT true FROM machine WHERE id = $1 AND state = 'ready' AND held IS NULL

-- name: lock_hooks_of
SELECT pg_advisory_xact_lock(hashtextextended('hooks', 0) # hashtextextended($1, 0))

-- name: held_of_machine
SELECT held FROM machine WHERE id = $1
