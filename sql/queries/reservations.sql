-- name: usable_reservations
SELECT r.id, m.facility_id, m.plan_id,
       CASE WHEN r.spare THEN 'it is a spare; activate it first'
            WHEN d.id IS NOT NULL THEN 'device ' || d.hostname || ' has it'
            WHEN m.state <> 'ready' THEN 'its machine is ' || m.state || ' and not ready'
       END AS why_not
FROM reservation_holding AS h
JOIN hardware_reservation AS r ON r.id = h.reservation_id
JOIN machine AS m ON m.reservation_id = r.id
LEFT JOIN device AS d ON d.reservation_id = r.id AND d.deleted_at IS NULL
WHERE h.project_id = $1 AND h.until IS NULL AND ($2::text IS NULL OR r.id::text = $2)
ORDER BY r.created_at, r.id

-- name: lock_holdings
SELECT reservation_id FROM reservation_holding WHERE project_id = $1 AND until IS NULL
ORDER BY reservation_id FOR UPDATE

-- name: reservations_of_projects
SELECT r.id, r.machine_id, h.project_id, m.facility_id, m.plan_id, h.custom_rate, r.spare, r.note, r.created_at, r.ends_at,
       r.ended_at, m.name AS machine, m.state AS machine_state, o.leaf_id, d.id AS device_id
FROM hardware_reservation AS r
JOIN LATERAL (
    SELECT * FROM reservation_holding WHERE reservation_id = r.id ORDER BY since DESC LIMIT 1
) AS h ON true
JOIN machine AS m ON m.id = r.machine_id
JOIN leaf_port AS o ON o.id = m.port_id
LEFT JOIN device AS d ON d.reservation_id = r.id AND d.deleted_at IS NULL
WHERE ($1::uuid IS NULL OR h.project_id = $1) AND ($2::uuid IS NULL OR r.id = $2) AND ($3::bool OR r.ended_at IS NULL)
  AND ($4::bool IS NULL
       OR (NOT r.spare AND r.ended_at IS NULL AND m.state = 'ready' AND d.id IS NULL) = $4)
ORDER BY r.created_at DESC, r.id LIMIT $5 OFFSET $6

-- name: count_reservations
SELECT count(*)
FROM reservation_holding AS h
JOIN hardware_reservation AS r ON r.id = h.reservation_id
JOIN machine AS m ON m.id = r.machine_id
LEFT JOIN device AS d ON d.reservation_id = r.id AND d.deleted_at IS NULL
WHERE h.project_id = $1 AND h.until IS NULL AND r.ended_at IS NULL
  AND ($2::bool IS NULL OR (NOT r.spare AND m.state = 'ready' AND d.id IS NULL) = $2)

-- name: count_all_reservations
SELECT count(*) FROM hardware_reservation WHERE $1::bool OR ended_at IS NULL

-- name: lock_reservation
SELECT r.id, r.machine_id, r.spare, r.ends_at, h.project_id, h.custom_rate
FROM hardware_reservation AS r
JOIN reservation_holding AS h ON h.reservation_id = r.id AND h.until IS NULL
WHERE r.id = $1 AND r.ended_at IS NULL
FOR UPDATE OF r, h

-- name: lock_machine_to_reserve
SELECT id, name, state, device_id, reservation_id FROM machine WHERE name = $1 OR id::text = $1 FOR UPDATE

-- name: device_with_reservation
SELECT id, hostname FROM device WHERE reservation_id = $1 AND deleted_at IS NULL

-- name: project_named
SELECT id FROM project WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE

-- name: add_reservation
WITH added AS (
    INSERT INTO hardware_reservation (id, machine_id, spare, note, created_by, created_at, ends_at)
    VALUES ($1, $2, $4, $6, $7, $8, $9)
)
INSERT INTO reservation_holding (reservation_id, project_id, custom_rate, since) VALUES ($1, $3, $5, $8)

-- name: claim_machine
UPDATE machine SET reservation_id = $2 WHERE id = $1

-- name: end_holding
UPDATE reservation_holding SET until = greatest($2::timestamptz, since) WHERE reservation_id = $1 AND until IS NULL

-- name: begin_holding
INSERT INTO reservation_holding (reservation_id, project_id, custom_rate, since)
SELECT $1, $2, $3, greatest($4::timestamptz, max(h.since) + interval '1 microsecond')
FROM reservation_holding AS h WHERE h.reservation_id = $1

-- name: activate_reservation
UPDATE hardware_reservation SET spare = false, note = coalesce($2, note) WHERE id = $1

-- name: end_reservation
WITH freed AS (
    UPDATE machine SET reservation_id = NULL WHERE reservation_id = $1 RETURNING facility_id, plan_id
), ended AS (
    UPDATE hardware_reservation SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL
)
SELECT facility_id, plan_id FROM freed

-- name: reservations_over
SELECT r.id FROM hardware_reservation AS r
WHERE r.ended_at IS NULL AND r.ends_at <= $1
  AND NOT EXISTS (SELECT FROM device AS d WHERE d.reservation_id = r.id AND d.deleted_at IS NULL)
ORDER BY r.ends_at LIMIT 100
