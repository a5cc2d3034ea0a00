-- name: offered_facilities
SELECT f.id, f.code, f.name, m.id AS metro_id, m.code AS metro_code, m.name AS metro_name, m.country,
       array(SELECT p.cidr::text FROM prefix AS p WHERE p.role = 'public' AND (p.facility = f.code OR p.facility IS NULL)
             ORDER BY p.cidr) AS ip_ranges
FROM facility AS f JOIN metro AS m ON m.id = f.metro_id
ORDER BY f.code

-- name: offered_plans
SELECT p.id, p.slug, p.aliases, p.name, p.description, p.specs, p.price_hourly,
       array(SELECT DISTINCT m.facility_id FROM machine AS m WHERE m.plan_id = p.id AND m.state <> 'retired') AS facility_ids
FROM plan AS p ORDER BY p.slug

-- name: offered_operating_systems
SELECT slug, id FROM operating_system ORDER BY slug

-- name: free_capacity
WITH ready AS (
    SELECT facility_id, plan_id, count(*) AS machines FROM machine
    WHERE state = 'ready' AND held IS NULL AND reservation_id IS NULL GROUP BY facility_id, plan_id
), waiting AS (
    SELECT d.facility_id, d.plan_id, count(*) AS devices
    FROM device AS d
    WHERE d.state IN ('queued', 'provisioning') AND d.deleted_at IS NULL AND d.reservation_id IS NULL
      AND NOT EXISTS (SELECT FROM machine AS m WHERE m.device_id = d.id)
    GROUP BY d.facility_id, d.plan_id
)
SELECT facility_id, plan_id, greatest(ready.machines - coalesce(waiting.devices, 0), 0) AS machines
FROM ready LEFT JOIN waiting USING (facility_id, plan_id)
