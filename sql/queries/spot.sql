-- name: spot_pools
WITH there AS (
    SELECT facility_id, plan_id, count(*) AS machines FROM machine
    WHERE reservation_id IS NULL AND state IN ('ready', 'installing', 'in_use', 'preparing')
    GROUP BY facility_id, plan_id
), placed AS (
    SELECT facility_id, plan_id, sum(devices) AS devices FROM device_tally GROUP BY facility_id, plan_id
), beside AS (
    SELECT facility_id, plan_id, count(*) AS devices FROM device
    WHERE deleted_at IS NULL AND (state = 'failed' OR reservation_id IS NOT NULL OR spot_price_max IS NOT NULL)
    GROUP BY facility_id, plan_id
)
SELECT facility_id, plan_id, machines, coalesce(placed.devices, 0)::bigint - coalesce(beside.devices, 0) AS devices,
       p.price_hourly
FROM there LEFT JOIN placed USING (facility_id, plan_id) LEFT JOIN beside USING (facility_id, plan_id)
JOIN plan AS p ON p.id = plan_id

-- name: record_spot_price
INSERT INTO spot_price (facility_id, plan_id, price, since)
SELECT $1::uuid, $2::uuid, $3::numeric, $4::timestamptz
WHERE $3 IS DISTINCT FROM (
    SELECT price FROM spot_price WHERE facility_id = $1 AND plan_id = $2 ORDER BY since DESC LIMIT 1
)
ON CONFLICT DO NOTHING

-- name: spot_price_history
SELECT f.code, s.price, s.since
FROM spot_price AS s JOIN facility AS f ON f.id = s.facility_id
WHERE s.facility_id = ANY($1::uuid[]) AND s.plan_id = $2 AND s.since < $4
  AND s.since >= coalesce((SELECT max(before.since) FROM spot_price AS before
                           WHERE before.facility_id = s.facility_id AND before.plan_id = $2 AND before.since <= $3),
                          '-infinity')
ORDER BY s.since, f.code

-- name: spot_devices
SELECT id, facility_id, plan_id, spot_price_max FROM device
WHERE spot_price_max IS NOT NULL AND deleted_at IS NULL AND outbid_at IS NULL

-- name: outbid
UPDATE device SET outbid_at = $2, termination_time = least(termination_time, $3), updated_at = $2
WHERE id = $1 AND deleted_at IS NULL AND outbid_at IS NULL AND spot_price_max IS NOT NULL
RETURNING spot_price_max, termination_time

-- name: devices_to_terminate
SELECT id FROM device
WHERE termination_time <= $1 AND deleted_at IS NULL AND NOT (locked AND spot_price_max IS NULL)
ORDER BY termination_time LIMIT 200

-- name: due_for_termination
SELECT true FROM device
WHERE id = $1 AND termination_time <= $2 AND deleted_at IS NULL AND NOT (locked AND spot_price_max IS NULL)
FOR UPDATE

-- name: add_spot_request
INSERT INTO spot_market_request (id, project_id, devices_min, devices_max, max_bid_price, facilities, metro, parameters,
                                 end_at, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: spot_requests
SELECT s.id, s.project_id, s.devices_min, s.devices_max, s.max_bid_price, s.facilities, s.metro, s.parameters, s.reason,
       s.end_at, s.created_by, s.created_at,
       array(SELECT d.id FROM device AS d WHERE d.spot_request_id = s.id AND d.deleted_at IS NULL
             ORDER BY d.created_at) AS device_ids
FROM spot_market_request AS s JOIN project AS p ON p.id = s.project_id
WHERE ($1::uuid IS NULL OR s.project_id = $1) AND ($2::uuid IS NULL OR s.id = $2) AND s.ended_at IS NULL
  AND p.deleted_at IS NULL
ORDER BY s.created_at DESC, s.id

-- name: spot_requests_open
SELECT id FROM spot_market_request WHERE ended_at IS NULL ORDER BY max_bid_price DESC, created_at

-- name: lock_spot_request
SELECT s.id, s.project_id, p.organization_id, p.deleted_at AS project_deleted_at, s.devices_min, s.devices_max, s.max_bid_price,
       s.facilities, s.metro, s.parameters, s.reason, s.end_at, s.created_by,
       (SELECT count(*) FROM device AS d WHERE d.spot_request_id = s.id AND d.deleted_at IS NULL) AS devices,
       (SELECT count(*) FROM device AS d WHERE d.spot_request_id = s.id) AS ever
FROM spot_market_request AS s JOIN project AS p ON p.id = s.project_id
WHERE s.id = $1 AND s.ended_at IS NULL
FOR UPDATE OF s SKIP LOCKED

-- name: end_spot_request
UPDATE spot_market_request SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING true

-- name: spot_request_waits
UPDATE spot_market_request SET reason = $2 WHERE id = $1 AND reason IS DISTINCT FROM $2

-- name: devices_of_spot_request
SELECT id FROM device WHERE spot_request_id = $1 AND deleted_at IS NULL ORDER BY id
