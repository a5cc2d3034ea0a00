-- name: claims_on_prefix
WITH RECURSIVE above AS (
    SELECT id, parent_id, cidr, 0 AS steps FROM prefix WHERE id = $1
    UNION ALL
    SELECT parent.id, parent.parent_id, parent.cidr, above.steps + 1
    FROM above JOIN prefix AS parent ON parent.id = above.parent_id
)
SELECT (SELECT cidr FROM prefix WHERE id = $1) AS asked, above.cidr,
       claim."right"::text AS "right", claim.grant_id, claim.granted_by, claim.granted_at,
       CASE WHEN claim.organization_id IS NOT NULL THEN 'organization'
            WHEN claim.project_id IS NOT NULL THEN 'project' ELSE 'user' END AS kind,
       coalesce(organization.name, project.name, person.email) AS name
FROM above
LEFT JOIN prefix_claims_of($2::uuid, $3::uuid[], $4::uuid[]) AS claim ON claim.prefix_id = above.id
LEFT JOIN organization ON organization.id = claim.organization_id
LEFT JOIN project ON project.id = claim.project_id
LEFT JOIN user_account AS person ON person.id = claim.user_id
ORDER BY claim."right" DESC NULLS LAST, above.steps, claim.granted_at NULLS FIRST, claim.grant_id

-- name: prefixes_visible
WITH RECURSIVE seen AS (
    SELECT prefix_id AS id FROM prefix_claims_of($1::uuid, $2::uuid[], $3::uuid[])
    UNION
    SELECT child.id FROM seen JOIN prefix AS child ON child.parent_id = seen.id
)
SELECT id FROM seen

-- name: grantee
-- With the organizations that it belongs to, or is a member of, and the single projects.
SELECT name, organization_ids, project_ids, staff FROM (
    SELECT 'organization' AS kind, id, name, ARRAY[id] AS organization_ids, '{}'::uuid[] AS project_ids, false AS staff
    FROM organization
    UNION ALL
    SELECT 'project', id, name, ARRAY[organization_id], ARRAY[id], false FROM project WHERE deleted_at IS NULL
    UNION ALL
    SELECT 'user', u.id, u.email,
           array(SELECT m.organization_id FROM membership AS m WHERE m.user_id = u.id AND m.project_id IS NULL),
           array(SELECT m.project_id FROM membership AS m WHERE m.user_id = u.id AND m.organization_id IS NULL),
           u.staff_role IS NOT NULL
    FROM user_account AS u
) AS grantee WHERE kind = $1::text AND id = $2::uuid

-- name: add_grant
INSERT INTO prefix_grant (id, prefix_id, "right", organization_id, project_id, user_id, granted_by, granted_at)
SELECT $1::uuid, $2::bigint, $3::text::prefix_right, CASE $4::text WHEN 'organization' THEN $5::uuid END,
       CASE $4 WHEN 'project' THEN $5 END, CASE $4 WHEN 'user' THEN $5 END, $6::text, $7::timestamptz
-- Writing nothing new locks the row that is there and answers with it, also when it came a moment ago.
ON CONFLICT (prefix_id, "right", coalesce(organization_id, project_id, user_id)) WHERE revoked_at IS NULL
DO UPDATE SET granted_at = prefix_grant.granted_at
RETURNING id

-- name: revoke_grant
UPDATE prefix_grant SET revoked_by = $3, revoked_at = greatest($4, granted_at)
WHERE id = $2 AND prefix_id = $1 AND revoked_at IS NULL

-- name: grants_on_prefix
SELECT g.id, g.prefix_id, g."right"::text AS "right", g.granted_by, g.granted_at, g.revoked_by, g.revoked_at,
       CASE WHEN g.organization_id IS NOT NULL THEN 'organization'
            WHEN g.project_id IS NOT NULL THEN 'project' ELSE 'user' END AS kind,
       coalesce(g.organization_id, g.project_id, g.user_id) AS grantee_id,
       coalesce(organization.name, project.name, person.email) AS name,
       CASE WHEN g.user_id IS NULL THEN ARRAY[coalesce(organization.id, project.organization_id)]
            ELSE array(SELECT m.organization_id FROM membership AS m
                       WHERE m.user_id = g.user_id AND m.project_id IS NULL) END AS organization_ids
FROM prefix_grant AS g
LEFT JOIN organization ON organization.id = g.organization_id
LEFT JOIN project ON project.id = g.project_id
LEFT JOIN user_account AS person ON person.id = g.user_id
WHERE g.prefix_id = $1 AND ($2::uuid IS NULL OR g.id = $2) AND ($3::bool OR g.revoked_at IS NULL)
ORDER BY g.granted_at, g.id
