-- name: add_event
WITH added AS (
    INSERT INTO event (type, body, device_id, machine_id, project_id, state, private, data)
    VALUES ($1::text, $2::text, $3::uuid, $4::uuid,
            coalesce($5::uuid, (SELECT project_id FROM device WHERE id = $3::uuid)), $6::text, $7::bool, $8::jsonb)
    RETURNING device_id, machine_id
)
SELECT pg_notify('roundhouse', CASE WHEN device_id IS NOT NULL THEN 'device:' || device_id
                                    WHEN machine_id IS NOT NULL THEN 'machine:' || machine_id
                                    ELSE 'events' END), pg_notify('roundhouse', 'events')
FROM added

-- name: events_of_machine
SELECT id, seq, project_id, device_id, machine_id, type, state, body, private, data, created_at
FROM event WHERE machine_id = $1 ORDER BY seq DESC LIMIT 50
