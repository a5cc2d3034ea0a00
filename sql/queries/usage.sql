-- name: devices_used
SELECT d.id, d.project_id, j.organization_id, j.name AS project, d.hostname, p.slug AS plan, f.code AS facility, d.plan_id,
       d.facility_id, d.active_at AS since, least(d.deleted_at, d.failed_at) AS until, d.reservation_id IS NOT NULL AS reserved,
       d.spot_price_max IS NOT NULL OR d.left_spot_at IS NOT NULL AS spot, d.left_spot_at
FROM device AS d
JOIN project AS j ON j.id = d.project_id
JOIN plan AS p ON p.id = d.plan_id
JOIN facility AS f ON f.id = d.facility_id
WHERE d.active_at < $5 AND ($4::timestamptz IS NULL OR coalesce(least(d.deleted_at, d.failed_at), 'infinity') > $4)
  AND ($1::uuid IS NULL OR d.id = $1) AND ($2::uuid IS NULL OR d.project_id = $2)
  AND ($3::uuid IS NULL OR j.organization_id = $3)
ORDER BY d.active_at, d.id

-- name: addresses_used
SELECT r.id, r.project_id, j.organization_id, j.name AS project, r.block, r.type, r.facility, r.since,
       least(r.until, r.released_at) AS until
FROM elastic_reservation AS r JOIN project AS j ON j.id = r.project_id
WHERE r.since < $4 AND ($3::timestamptz IS NULL OR coalesce(least(r.until, r.released_at), 'infinity') > $3)
  AND ($1::uuid IS NULL OR r.project_id = $1) AND ($2::uuid IS NULL OR j.organization_id = $2)
ORDER BY r.since, r.id

-- name: reservations_used
SELECT h.reservation_id AS id, h.project_id, j.organization_id, j.name AS project, m.name AS machine, p.slug AS plan,
       f.code AS facility, m.plan_id, h.custom_rate, h.since, h.until
FROM reservation_holding AS h
JOIN hardware_reservation AS r ON r.id = h.reservation_id
JOIN machine AS m ON m.id = r.machine_id
JOIN plan AS p ON p.id = m.plan_id
JOIN facility AS f ON f.id = m.facility_id
JOIN project AS j ON j.id = h.project_id
WHERE h.since < $4 AND ($3::timestamptz IS NULL OR coalesce(h.until, 'infinity') > $3)
  AND ($1::uuid IS NULL OR h.project_id = $1) AND ($2::uuid IS NULL OR j.organization_id = $2)
ORDER BY h.since, h.reservation_id

-- name: plan_prices
SELECT plan_id, price_hourly AS hourly, since FROM plan_price ORDER BY plan_id, since

-- name: address_prices
SELECT type, price_hourly AS hourly, since, set_by FROM address_price ORDER BY type, since

-- name: spot_prices_paid
SELECT facility_id, plan_id, price AS hourly, since FROM spot_price WHERE since < $1 ORDER BY facility_id, plan_id, since

-- name: set_address_price
INSERT INTO address_price (type, price_hourly, since, set_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (type, since) DO UPDATE SET price_hourly = excluded.price_hourly, set_by = excluded.set_by

-- name: organization_names
SELECT id, name FROM organization ORDER BY name, id
