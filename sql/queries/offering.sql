-- name: facilities_kept
SELECT f.id, f.code, f.name, t.code AS metro, t.name AS metro_name, t.country,
       (SELECT count(*) FROM rack AS r WHERE r.facility_id = f.id) AS racks,
       (SELECT count(*) FROM leaf AS l WHERE l.facility_id = f.id) AS leaves,
       (SELECT count(*) FROM machine AS m WHERE m.facility_id = f.id AND m.state <> 'retired') AS machines,
       (SELECT count(*) FROM machine AS m WHERE m.facility_id = f.id AND m.state = 'ready') AS ready,
       (SELECT count(*) FROM machine AS m WHERE m.facility_id = f.id AND m.state = 'quarantined') AS quarantined,
       (SELECT count(*) FROM device AS d WHERE d.facility_id = f.id AND d.deleted_at IS NULL) AS devices
FROM facility AS f JOIN metro AS t ON t.id = f.metro_id
WHERE $1::text IS NULL OR f.code = $1 OR f.id::text = $1
ORDER BY f.code

-- name: add_metro
INSERT INTO metro (code, name, country) VALUES ($1, $2, $3) ON CONFLICT (code) DO NOTHING

-- name: metro_named
SELECT id FROM metro WHERE code = $1 OR id::text = $1

-- name: add_facility
INSERT INTO facility (metro_id, code, name) VALUES ($1, $2, $3)

-- name: change_facility
UPDATE facility SET name = coalesce($2, name), metro_id = coalesce($3::uuid, metro_id) WHERE code = $1

-- name: plans_kept
SELECT p.id, p.slug, p.aliases, p.name, p.description, p.specs, p.price_hourly, p.created_at,
       (SELECT count(*) FROM machine AS m WHERE m.plan_id = p.id AND m.state <> 'retired') AS machines,
       (SELECT count(*) FROM machine AS m WHERE m.plan_id = p.id AND m.state = 'ready') AS ready,
       (SELECT count(*) FROM device AS d WHERE d.plan_id = p.id AND d.deleted_at IS NULL) AS devices,
       (SELECT count(DISTINCT d.project_id) FROM device AS d WHERE d.plan_id = p.id AND d.deleted_at IS NULL) AS projects
FROM plan AS p
WHERE $1::text IS NULL OR p.slug = $1 OR $1 = ANY (p.aliases) OR p.id::text = $1
ORDER BY p.slug

-- name: plan_by_any_name
SELECT slug FROM plan WHERE slug = ANY ($1::text[]) OR aliases && $1::text[]

-- name: add_plan
INSERT INTO plan (slug, aliases, name, description, specs, price_hourly) VALUES ($1, $2, $3, $4, $5, $6)

-- name: change_plan
UPDATE plan SET aliases = coalesce($2::text[], aliases), name = coalesce($3, name),
                description = coalesce($4, description), specs = coalesce($5::jsonb, specs),
                price_hourly = coalesce($6::numeric, price_hourly)
WHERE id = $1
