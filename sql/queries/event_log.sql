-- name: lock_event_tail
SELECT position FROM event_tail FOR UPDATE SKIP LOCKED

-- name: number_events
WITH fresh AS (
    SELECT id, $1::bigint + row_number() OVER (ORDER BY seq) AS position
    FROM (SELECT id, seq FROM event WHERE position IS NULL ORDER BY seq LIMIT $2) AS waiting
), numbered AS (
    UPDATE event AS e SET position = fresh.position FROM fresh WHERE e.id = fresh.id
    RETURNING e.position, e.project_id, e.type, e.private
), tail AS (
    UPDATE event_tail SET position = (SELECT max(position) FROM fresh) WHERE EXISTS (SELECT FROM fresh)
), known AS (
    SELECT n.position, n.project_id, n.type, n.private, p.organization_id
    FROM numbered AS n LEFT JOIN project AS p ON p.id = n.project_id
), followed AS (
    SELECT h.id, max(k.position) AS position
    FROM hook AS h JOIN known AS k ON follows(h.follows, k.type) AND CASE
        WHEN h.project_id IS NOT NULL THEN k.project_id = h.project_id AND NOT k.private
        WHEN h.organization_id IS NOT NULL THEN k.organization_id = h.organization_id AND NOT k.private
        ELSE true END
    WHERE h.enabled AND h.mode = 'tell'
    GROUP BY h.id
), wanted AS (
    UPDATE hook AS h SET wanted = greatest(h.wanted, followed.position) FROM followed WHERE h.id = followed.id
), told AS (
    SELECT pg_notify('roundhouse', topic)
    FROM (SELECT DISTINCT 'log:' || project_id AS topic FROM numbered WHERE project_id IS NOT NULL
          UNION ALL SELECT 'log' WHERE EXISTS (SELECT FROM numbered)) AS topics
)
SELECT (SELECT count(*) FROM numbered) AS numbered, (SELECT count(*) FROM told) AS told

-- name: event_tail
SELECT position FROM event_tail

-- name: events_behind
SELECT e.id, e.seq, e.position, e.project_id, e.device_id, e.machine_id, e.type, e.state, e.body, e.private, e.data,
       e.created_at
FROM event AS e
WHERE e.position > $1 AND ($2::uuid IS NULL OR e.project_id = $2) AND ($3::uuid IS NULL OR e.device_id = $3)
  AND ($4::uuid IS NULL OR e.project_id IN (SELECT id FROM project WHERE organization_id = $4))
  AND ($5::bool OR NOT e.private) AND ($6::text[] IS NULL OR follows($6, e.type))
ORDER BY e.position LIMIT $7

-- name: device_events_to_number
SELECT EXISTS (SELECT FROM event WHERE device_id = $1 AND position IS NULL)

-- name: event_at
SELECT e.id, e.seq, e.position, e.project_id, e.device_id, e.machine_id, e.type, e.state, e.body, e.private, e.data,
       e.created_at
FROM event AS e WHERE e.position = $1
