-- name: seed_organization
WITH added AS (
    INSERT INTO organization (name) SELECT $1 WHERE NOT EXISTS (SELECT FROM organization WHERE name = $1) RETURNING id
)
SELECT id FROM added UNION ALL SELECT id FROM organization WHERE name = $1 LIMIT 1

-- name: seed_user
INSERT INTO user_account (organization_id, email, first_name, last_name, staff_role) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (lower(email)) DO UPDATE SET staff_role = excluded.staff_role
RETURNING id

-- name: seed_owner
INSERT INTO membership (user_id, organization_id, roles) VALUES ($1, $2, '{owner}')
ON CONFLICT (user_id, (coalesce(organization_id, project_id))) DO NOTHING

-- name: seed_project
WITH added AS (
    INSERT INTO project (organization_id, name, created_by)
    SELECT $1, $2::text, $3 WHERE NOT EXISTS (
        SELECT FROM project WHERE organization_id = $1 AND name = $2 AND deleted_at IS NULL)
    RETURNING id
)
SELECT id FROM added
UNION ALL SELECT id FROM project WHERE organization_id = $1 AND name = $2 AND deleted_at IS NULL LIMIT 1

-- name: seed_token
INSERT INTO api_token (digest, user_id, description) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING

-- name: seed_metro
INSERT INTO metro (code, name, country) VALUES ($1, $2, $3) ON CONFLICT (code) DO NOTHING

-- name: seed_facility
INSERT INTO facility (metro_id, code, name) SELECT id, $1, $2 FROM metro WHERE code = $3 ON CONFLICT (code) DO NOTHING

-- name: seed_plan
INSERT INTO plan (slug, aliases, name, description, specs, price_hourly) VALUES ($1, $2, $1, $3, $4, $5)
ON CONFLICT (slug) DO NOTHING

-- name: seed_operating_systems
INSERT INTO operating_system (slug) SELECT unnest($1::text[]) ON CONFLICT (slug) DO NOTHING

-- name: any_token
SELECT EXISTS (SELECT FROM api_token)
