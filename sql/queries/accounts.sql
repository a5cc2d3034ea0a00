-- name: principal_by_token
-- One row for each membership, and one for a token that has none.
SELECT t.id AS token_id, t.read_only, t.user_id, t.project_id,
       coalesce(u.organization_id, p.organization_id) AS organization_id, u.staff_role,
       m.organization_id AS of_organization, m.project_id AS of_project, m.roles
FROM api_token AS t
LEFT JOIN user_account AS u ON u.id = t.user_id
LEFT JOIN project AS p ON p.id = t.project_id
LEFT JOIN membership AS m ON m.user_id = t.user_id
WHERE t.digest = $1 AND p.deleted_at IS NULL AND u.disabled_at IS NULL

-- name: digest_of_token
SELECT digest FROM api_token WHERE id = $1

-- name: users_by_ids
SELECT u.id, u.organization_id, u.email, u.first_name, u.last_name, u.staff_role, u.created_at, u.updated_at,
       u.disabled_at, home.id AS default_project_id, q.projects AS max_projects
FROM user_account AS u
LEFT JOIN quota AS q ON q.organization_id = u.organization_id
LEFT JOIN LATERAL (
    SELECT p.id FROM membership AS m
    JOIN project AS p ON p.organization_id = m.organization_id OR p.id = m.project_id
    WHERE m.user_id = u.id AND p.deleted_at IS NULL
    ORDER BY p.organization_id = u.organization_id DESC, p.created_at LIMIT 1
) AS home ON true
WHERE u.id = ANY($5::uuid[])
  AND ($1::bool OR u.id = $4::uuid OR u.id IN (SELECT members_seen($2::uuid[], $3::uuid[])))

-- name: organizations_matching
WITH matching AS (
    SELECT id, created_at FROM organization WHERE deleted_at IS NULL AND ($1::bool OR id = ANY($2::uuid[]))
)
SELECT (SELECT count(*) FROM matching) AS total,
       array(SELECT id FROM matching ORDER BY created_at, id LIMIT $3 OFFSET $4) AS ids

-- name: organizations_by_ids
SELECT o.id, o.name, o.description, o.customdata, o.created_at, o.updated_at,
       array(SELECT p.id FROM project AS p WHERE p.organization_id = o.id AND p.deleted_at IS NULL
             ORDER BY p.created_at) AS project_ids,
       array(SELECT m.user_id FROM membership AS m WHERE m.organization_id = o.id
             ORDER BY m.created_at, m.id) AS member_ids,
       array(SELECT m.id FROM membership AS m WHERE m.organization_id = o.id
             ORDER BY m.created_at, m.id) AS membership_ids
FROM organization AS o
WHERE o.deleted_at IS NULL AND ($1::bool OR o.id = ANY($2::uuid[])) AND o.id = ANY($3::uuid[])

-- name: projects_matching
WITH matching AS (
    SELECT id, created_at FROM project
    WHERE deleted_at IS NULL AND ($1::bool OR organization_id = ANY($2::uuid[]) OR id = ANY($3::uuid[]))
      AND ($4::uuid IS NULL OR organization_id = $4) AND ($5::text IS NULL OR name = $5)
)
SELECT (SELECT count(*) FROM matching) AS total,
       array(SELECT id FROM matching ORDER BY created_at, id LIMIT $6 OFFSET $7) AS ids

-- name: projects_by_ids
SELECT p.id, p.organization_id, p.name, p.tags, p.customdata, p.created_at, p.updated_at,
       array(SELECT d.id FROM device AS d WHERE d.project_id = p.id AND d.deleted_at IS NULL
             ORDER BY d.created_at DESC, d.id LIMIT 250) AS device_ids,
       array(SELECT k.id FROM ssh_key AS k WHERE coalesce(k.user_id, k.project_id) = p.id
             ORDER BY k.created_at) AS ssh_key_ids,
       array(SELECT m.user_id FROM membership AS m WHERE m.organization_id = p.organization_id OR m.project_id = p.id
             GROUP BY m.user_id ORDER BY min(m.created_at), m.user_id) AS member_ids,
       array(SELECT m.id FROM membership AS m WHERE m.project_id = p.id
             ORDER BY m.created_at, m.id) AS membership_ids,
       array(SELECT i.id FROM invitation AS i WHERE i.project_id = p.id ORDER BY i.created_at, i.id) AS invitation_ids,
       (SELECT q.devices FROM quota AS q WHERE q.project_id = p.id) AS max_devices,
       EXISTS (SELECT FROM bgp_config AS b WHERE b.project_id = p.id AND upper_inf(b.during)) AS has_bgp_config,
       p.backend_transfer
FROM project AS p
WHERE p.deleted_at IS NULL AND ($1::bool OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[]))
  AND p.id = ANY($4::uuid[])

-- name: sees_project
SELECT true FROM project
WHERE id = $4 AND deleted_at IS NULL AND ($1::bool OR organization_id = ANY($2::uuid[]) OR id = ANY($3::uuid[]))

-- name: lock_project
SELECT id, organization_id FROM project
WHERE id = $4 AND deleted_at IS NULL AND ($1::bool OR organization_id = ANY($2::uuid[]) OR id = ANY($3::uuid[]))
FOR KEY SHARE

-- name: add_project
INSERT INTO project (id, organization_id, name, tags, customdata, created_by, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)

-- name: change_project
UPDATE project SET name = coalesce($2::text, name), tags = coalesce($3::text[], tags),
                   customdata = coalesce($4::jsonb, customdata), updated_at = $5,
                   backend_transfer = coalesce($6::bool, backend_transfer)
WHERE id = $1 AND deleted_at IS NULL

-- name: delete_project
UPDATE project SET deleted_at = $2, updated_at = $2 WHERE id = $1 AND deleted_at IS NULL

-- name: project_has_devices
SELECT EXISTS (SELECT FROM device WHERE project_id = $1 AND deleted_at IS NULL)

-- name: lock_project_for_delete
SELECT true FROM project WHERE id = $1 AND deleted_at IS NULL FOR UPDATE

-- name: ssh_keys_of_owner
SELECT id, user_id, project_id, label, key, fingerprint, tags, created_at, updated_at
FROM ssh_key
WHERE coalesce(user_id, project_id) = $1
  AND ($2::text IS NULL OR position(lower($2) IN lower(label)) > 0 OR position($2 IN fingerprint) > 0
       OR position($2 IN key) > 0)
ORDER BY created_at, id

-- name: ssh_keys_by_ids
SELECT k.id, k.user_id, k.project_id, k.label, k.key, k.fingerprint, k.tags, k.created_at, k.updated_at
FROM ssh_key AS k
LEFT JOIN project AS p ON p.id = k.project_id AND p.deleted_at IS NULL
WHERE k.id = ANY($5::uuid[])
  AND ($1::bool OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[])
       OR k.user_id = $4::uuid OR k.user_id IN (SELECT members_seen($2, $3)))

-- name: ssh_keys_for_project
-- Those of the project ($2), and of the members who may use it.
SELECT k.id, k.user_id, k.project_id, k.key
FROM ssh_key AS k
WHERE coalesce(k.user_id, k.project_id) = ANY(
    array(SELECT m.user_id FROM membership AS m JOIN user_account AS u ON u.id = m.user_id
          WHERE (m.organization_id = $1 OR m.project_id = $2) AND u.disabled_at IS NULL AND m.roles && $3::text[])
    || $2::uuid)
ORDER BY k.created_at, k.id

-- name: add_ssh_key
INSERT INTO ssh_key (id, user_id, project_id, label, key, fingerprint, tags, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)

-- name: change_ssh_key
UPDATE ssh_key SET label = coalesce($2::text, label), key = coalesce($3::text, key),
                   fingerprint = coalesce($4::text, fingerprint), tags = coalesce($5::text[], tags), updated_at = $6
WHERE id = $1

-- name: delete_ssh_key
DELETE FROM ssh_key WHERE id = $1 RETURNING true

-- name: remember_request
INSERT INTO idempotency (scope, key, request, status, subject) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (scope, key) DO NOTHING
RETURNING true

-- name: remembered_request
SELECT request, status, subject FROM idempotency WHERE scope = $1 AND key = $2

-- name: remember_subject
UPDATE idempotency SET subject = $3 WHERE scope = $1 AND key = $2
