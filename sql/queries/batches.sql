-- name: add_batch
INSERT INTO device_batch (id, request_id, place, project_id, wish, created_by, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)

-- name: add_batch_devices
INSERT INTO batch_device (batch_id, place, device_id, hostname, facilities)
SELECT $1, given.place, given.device_id, given.hostname, string_to_array(given.facilities, ',')
FROM unnest($2::int[], $3::uuid[], $4::text[], $5::text[]) AS given (place, device_id, hostname, facilities)

-- name: batches_of_request
SELECT id FROM device_batch WHERE request_id = $1 ORDER BY place

-- name: batches
SELECT b.id, b.project_id, b.created_at, b.updated_at, d.quantity, d.waiting, d.refused, d.device_ids, d.error_messages
FROM device_batch AS b
JOIN LATERAL (
    SELECT count(*) AS quantity, count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'refused') AS refused,
           array_agg(device_id ORDER BY place) FILTER (WHERE state = 'ordered') AS device_ids,
           array_agg(coalesce(hostname || ': ', '') || error ORDER BY place) FILTER (WHERE state = 'refused')
               AS error_messages
    FROM batch_device WHERE batch_id = b.id
) AS d ON true
WHERE b.deleted_at IS NULL AND ($1::uuid IS NULL OR b.project_id = $1) AND ($2::uuid[] IS NULL OR b.id = ANY($2))
ORDER BY b.created_at DESC, b.request_id, b.place

-- name: batch_devices_waiting
SELECT i.batch_id, i.place
FROM batch_device AS i JOIN device_batch AS b ON b.id = i.batch_id
WHERE i.state = 'waiting' ORDER BY b.created_at, i.batch_id, i.place LIMIT 1000

-- name: lock_batch_device
SELECT i.device_id, i.hostname, i.facilities, b.wish, b.created_by, b.project_id, p.organization_id,
       p.deleted_at AS project_deleted_at
FROM batch_device AS i
JOIN device_batch AS b ON b.id = i.batch_id
JOIN project AS p ON p.id = b.project_id
WHERE i.batch_id = $1 AND i.place = $2 AND i.state = 'waiting'
FOR UPDATE OF b, i SKIP LOCKED

-- name: batch_device_done
WITH done AS (
    UPDATE batch_device SET state = $3, error = $4 WHERE batch_id = $1 AND place = $2
)
UPDATE device_batch SET updated_at = $5 WHERE id = $1

-- name: lock_batch
SELECT id, project_id FROM device_batch WHERE id = $1 AND deleted_at IS NULL FOR UPDATE

-- name: cancel_batch
WITH cancelled AS (
    UPDATE batch_device SET state = 'cancelled' WHERE batch_id = $1 AND state = 'waiting'
)
UPDATE device_batch SET deleted_at = $2, updated_at = $2 WHERE id = $1

-- name: devices_of_batch
SELECT d.id, d.hostname, d.locked FROM batch_device AS i JOIN device AS d ON d.id = i.device_id
WHERE i.batch_id = $1 AND i.state = 'ordered' AND d.deleted_at IS NULL ORDER BY i.place
