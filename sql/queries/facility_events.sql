-- name: machines_told_of
SELECT m.id, m.name FROM machine AS m
WHERE (m.name = $1 OR m.mac::text = lower($1) OR m.inventory #>> '{system,product_serial}' = $1)
  AND ($2::text IS NULL OR (SELECT f.code FROM facility AS f WHERE f.id = m.facility_id) = $2)

-- name: facility_event_given
SELECT id, source, given_id, kind, subject, machine_id, happened_at, content, state, outcome, created_at, applied_at
FROM facility_event WHERE source = $1 AND given_id = $2

-- name: facility_events_seen
SELECT e.id, e.source, e.given_id, e.kind, e.subject, e.machine_id, e.happened_at, e.content, e.state, e.outcome,
       e.created_at, e.applied_at
FROM facility_event AS e LEFT JOIN machine AS m ON m.id = e.machine_id
WHERE ($1::uuid IS NULL OR e.id = $1) AND ($2::text IS NULL OR m.name = $2 OR m.id::text = $2 OR e.subject = $2)
  AND ($3::text IS NULL OR e.state = $3)
ORDER BY e.created_at DESC LIMIT $4

-- name: add_facility_event
INSERT INTO facility_event (source, given_id, kind, subject, machine_id, happened_at, content, state, outcome, created_at,
                            applied_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
ON CONFLICT (source, given_id) DO NOTHING RETURNING id

-- name: change_facility_event
UPDATE facility_event SET machine_id = $2, state = $3, outcome = $4, applied_at = $5 WHERE id = $1

-- name: later_facility_event
SELECT kind, happened_at FROM facility_event
WHERE machine_id = $1 AND happened_at > $2 AND state IN ('applied', 'flagged')
ORDER BY happened_at DESC LIMIT 1

-- name: flag_machine
UPDATE machine SET flag = $2 WHERE id = $1

-- name: rack_named
SELECT r.id, r.units FROM rack AS r WHERE r.facility_id = $1 AND r.name = $2

-- name: who_stands_at
SELECT name FROM machine WHERE rack_id = $1 AND rack_unit = $2 AND id <> $3
UNION ALL SELECT name FROM leaf WHERE rack_id = $1 AND rack_unit = $2

-- name: rack_machine
UPDATE machine SET rack_id = $2, rack_unit = $3 WHERE id = $1

-- name: lock_facility_event
SELECT pg_advisory_xact_lock(hashtextextended($1, 1) # hashtextextended($2, 2))

-- name: set_facility_secret
INSERT INTO facility_secret (facility_id, secret, set_by, set_at)
SELECT id, $2, $3, $4 FROM facility WHERE code = $1 OR id::text = $1
ON CONFLICT (facility_id) DO UPDATE
SET old_secret = facility_secret.secret, old_secret_until = $5, secret = $2, set_by = $3, set_at = $4
RETURNING facility_id

-- name: facility_secret
SELECT f.code AS facility, s.secret, s.old_secret, s.old_secret_until, s.set_by, s.set_at
FROM facility AS f LEFT JOIN facility_secret AS s ON s.facility_id = f.id
WHERE f.code = $1 OR f.id::text = $1

-- name: remove_facility_secret
DELETE FROM facility_secret WHERE facility_id = (SELECT id FROM facility WHERE code = $1 OR id::text = $1)
RETURNING facility_id
