-- name: memberships
-- By id, or those that hold in an organization or a project: of a project also its organization's.
SELECT m.id, m.user_id, m.organization_id, m.project_id, m.roles, m.created_at, m.updated_at
FROM membership AS m JOIN user_account AS u ON u.id = m.user_id
WHERE ($1::uuid[] IS NULL OR m.id = ANY($1)) AND ($2::uuid IS NULL OR m.organization_id = $2)
  AND ($3::uuid IS NULL OR m.project_id = $3
       OR m.organization_id = (SELECT organization_id FROM project WHERE id = $3))
  AND ($4::text IS NULL OR position(lower($4) IN lower(u.email || ' ' || u.first_name || ' ' || u.last_name)) > 0)
ORDER BY m.created_at, m.id

-- name: add_membership
INSERT INTO membership (user_id, organization_id, project_id, roles, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (user_id, (coalesce(organization_id, project_id))) DO UPDATE SET roles = (
    SELECT array_agg(DISTINCT role) FROM unnest(membership.roles || excluded.roles) AS role), updated_at = $5
RETURNING id

-- name: change_membership
UPDATE membership SET roles = $2, updated_at = $3 WHERE id = $1

-- name: delete_membership
DELETE FROM membership WHERE id = $1 RETURNING user_id

-- name: end_memberships
DELETE FROM membership WHERE organization_id = $1 OR project_id = $2

-- name: end_invitations
DELETE FROM invitation WHERE organization_id = $1 OR project_id = $2

-- name: end_project_tokens
DELETE FROM api_token WHERE project_id = $1

-- name: rehome_users
-- Those whose organization they are no member of now belong to the first that they are a member of, if there is one.
UPDATE user_account AS u SET organization_id = other.organization_id
FROM (SELECT DISTINCT ON (m.user_id) m.user_id, m.organization_id FROM membership AS m
      WHERE m.organization_id IS NOT NULL ORDER BY m.user_id, m.created_at) AS other
WHERE other.user_id = u.id AND u.id = ANY($1::uuid[]) AND NOT EXISTS (
    SELECT FROM membership AS m WHERE m.user_id = u.id AND m.organization_id = u.organization_id)

-- name: lock_organization
SELECT id FROM organization WHERE id = $1 AND deleted_at IS NULL FOR UPDATE

-- name: owners_besides
SELECT count(*) FROM membership AS m JOIN user_account AS u ON u.id = m.user_id
WHERE m.organization_id = $1 AND m.id <> $2 AND 'owner' = ANY(m.roles) AND u.disabled_at IS NULL

-- name: invitations
SELECT i.id, i.organization_id, i.project_id, i.email, i.roles, i.project_ids, i.message, i.invited_by, i.created_at
FROM invitation AS i
WHERE ($1::uuid[] IS NULL OR i.id = ANY($1)) AND ($2::uuid IS NULL OR i.organization_id = $2)
  AND ($3::uuid IS NULL OR i.project_id = $3)
  AND ($4::uuid IS NULL OR lower(i.email) = (SELECT lower(email) FROM user_account WHERE id = $4))
ORDER BY i.created_at, i.id

-- name: add_invitation
INSERT INTO invitation (id, organization_id, project_id, email, roles, project_ids, message, invited_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: lock_invitation
SELECT i.id, i.organization_id, i.project_id, i.email, i.roles, i.project_ids, i.message, i.invited_by, i.created_at
FROM invitation AS i JOIN user_account AS u ON lower(u.email) = lower(i.email)
WHERE i.id = $1 AND u.id = $2 FOR UPDATE OF i

-- name: delete_invitation
DELETE FROM invitation WHERE id = $1 RETURNING true

-- name: projects_of_organization
SELECT id FROM project WHERE organization_id = $1 AND deleted_at IS NULL

-- name: add_organization
INSERT INTO organization (id, name, description, customdata, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)

-- name: change_organization
UPDATE organization SET name = coalesce($2::text, name),
                        description = CASE WHEN $3::bool THEN $4::text ELSE description END,
                        customdata = coalesce($5::jsonb, customdata), updated_at = $6
WHERE id = $1 AND deleted_at IS NULL

-- name: delete_organization
UPDATE organization SET deleted_at = $2, updated_at = $2 WHERE id = $1

-- name: change_user
UPDATE user_account SET first_name = coalesce($2::text, first_name), last_name = coalesce($3::text, last_name),
                        updated_at = $4
WHERE id = $1

-- name: users_seen
WITH matching AS (
    SELECT id, created_at FROM user_account
    WHERE ($1::bool OR id = $4::uuid OR id IN (SELECT members_seen($2::uuid[], $3::uuid[])))
      AND ($5::text IS NULL OR position(lower($5) IN lower(email || ' ' || first_name || ' ' || last_name)) > 0)
      AND ($6::text IS NULL OR coalesce(staff_role, '') = $6)
)
SELECT (SELECT count(*) FROM matching) AS total,
       array(SELECT id FROM matching ORDER BY created_at, id LIMIT $7 OFFSET $8) AS ids

-- name: tokens
SELECT id, user_id, project_id, read_only, description, created_at FROM api_token
WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::uuid IS NULL OR project_id = $2)
  AND ($3::text IS NULL OR position(lower($3) IN lower(description)) > 0) AND ($4::uuid IS NULL OR id = $4)
ORDER BY created_at, id

-- name: add_token
INSERT INTO api_token (id, digest, user_id, project_id, read_only, description, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: delete_token
DELETE FROM api_token WHERE id = $1 RETURNING true

-- name: add_user
INSERT INTO user_account (id, organization_id, email, first_name, last_name, staff_role, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)

-- name: set_user
UPDATE user_account SET email = coalesce($2::text, email), first_name = coalesce($3::text, first_name),
                        last_name = coalesce($4::text, last_name),
                        staff_role = CASE WHEN $5::bool THEN $6::text ELSE staff_role END,
                        disabled_at = CASE $7::bool WHEN true THEN coalesce(disabled_at, $8::timestamptz)
                                                    WHEN false THEN NULL ELSE disabled_at END,
                        updated_at = $8
WHERE id = $1

-- name: staff_role_of
SELECT staff_role FROM user_account WHERE id = $1 FOR UPDATE

-- name: user_named
SELECT id FROM user_account WHERE id::text = $1 OR lower(email) = lower($1)

-- name: organization_of_project
SELECT organization_id FROM project WHERE id = $1 AND deleted_at IS NULL

-- name: memberships_of_user
SELECT id FROM membership WHERE user_id = $1 ORDER BY created_at, id

-- name: hold_organization
SELECT id FROM organization WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE

-- name: invitation_in_words
SELECT coalesce(p.name, o.name) AS "to", u.email AS invited_by
FROM invitation AS i
LEFT JOIN project AS p ON p.id = i.project_id
LEFT JOIN organization AS o ON o.id = i.organization_id
LEFT JOIN user_account AS u ON u.id = i.invited_by
WHERE i.id = $1
