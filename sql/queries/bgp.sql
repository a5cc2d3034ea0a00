-- name: bgp_config_of_project
SELECT id, project_id, deployment_type, asn, md5, use_case, status, requested_at, lower(during) AS since
FROM bgp_config WHERE project_id = $1 AND upper_inf(during)

-- name: lock_project_bgp
SELECT true FROM project WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: end_bgp_config
UPDATE bgp_config
SET during = tstzrange(lower(during), greatest($2::timestamptz, lower(during) + interval '1 microsecond'))
WHERE project_id = $1 AND upper_inf(during)
RETURNING upper(during)

-- name: add_bgp_config
INSERT INTO bgp_config (id, project_id, deployment_type, asn, md5, use_case, status, requested_at, set_by, during)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, tstzrange($10, NULL))

-- name: bgp_sessions
SELECT s.id, s.device_id, d.project_id, s.address_family, s.default_route, s.created_at, lower(s.during) AS since
FROM bgp_session AS s JOIN device AS d ON d.id = s.device_id JOIN project AS j ON j.id = d.project_id
WHERE ($1::bool OR j.organization_id = ANY($2::uuid[]) OR j.id = ANY($3::uuid[]))
  AND ($4::uuid IS NULL OR s.id = $4) AND ($5::uuid IS NULL OR s.device_id = $5)
  AND ($6::uuid IS NULL OR d.project_id = $6) AND upper_inf(s.during) AND d.deleted_at IS NULL
ORDER BY s.created_at, s.address_family, s.id

-- name: bgp_sessions_by_ids
SELECT s.id, s.device_id, d.project_id, s.address_family, s.default_route, s.created_at, lower(s.during) AS since
FROM bgp_session AS s JOIN device AS d ON d.id = s.device_id JOIN project AS j ON j.id = d.project_id
WHERE ($1::bool OR j.organization_id = ANY($2::uuid[]) OR j.id = ANY($3::uuid[]))
  AND s.id = ANY($4::uuid[]) AND upper_inf(s.during) AND d.deleted_at IS NULL

-- name: add_bgp_session
INSERT INTO bgp_session (id, device_id, address_family, default_route, created_at, set_by, during)
VALUES ($1, $2, $3, $4, $5, $6, tstzrange($7, NULL))

-- name: end_bgp_sessions
UPDATE bgp_session
SET during = tstzrange(lower(during), greatest($3::timestamptz, lower(during) + interval '1 microsecond')),
    ended_by = $4
WHERE (id = $1::uuid OR device_id = $2::uuid) AND upper_inf(during)
RETURNING upper(during)

-- name: bgp_of_device
SELECT d.project_id, f.code AS facility
FROM device AS d JOIN facility AS f ON f.id = d.facility_id WHERE d.id = $1

-- name: bgp_of_devices
SELECT s.device_id, d.project_id, f.code AS facility, s.address_family, s.default_route, c.asn, c.md5
FROM bgp_session AS s
JOIN device AS d ON d.id = s.device_id
JOIN facility AS f ON f.id = d.facility_id
JOIN bgp_config AS c ON c.project_id = d.project_id AND upper_inf(c.during) AND c.status = 'enabled'
WHERE s.device_id = ANY($1::uuid[]) AND upper_inf(s.during)
ORDER BY s.device_id, s.address_family

-- name: bgp_ports_changed
WITH concerned AS (
    SELECT o.id FROM leaf_port AS o JOIN device AS d ON d.id = o.device_id
    WHERE d.project_id = $1
      AND EXISTS (SELECT FROM bgp_session AS s WHERE s.device_id = d.id AND upper_inf(s.during))
    ORDER BY o.id FOR UPDATE OF o
), changed AS (
    UPDATE leaf_port AS o SET generation = o.generation + 1, changed_at = $2, fault = NULL
    FROM concerned WHERE o.id = concerned.id
    RETURNING o.id, o.leaf_id
)
SELECT id, pg_notify('roundhouse', 'leaf:' || leaf_id) FROM changed
