-- name: lock_quotas
-- The organization's first, as whoever locks both does.
SELECT organization_id, project_id, devices, elastic_ipv4, elastic_ipv6, projects, members FROM quota
WHERE organization_id = $1 OR project_id = $2 ORDER BY organization_id IS NULL FOR UPDATE

-- name: quota_of
SELECT devices, elastic_ipv4, elastic_ipv6, projects, members FROM quota WHERE organization_id = $1 OR project_id = $2

-- name: any_quota
SELECT EXISTS (SELECT FROM quota WHERE organization_id = ANY($1::uuid[])
               OR project_id = ANY($2::uuid[])
               OR organization_id IN (SELECT organization_id FROM project WHERE id = ANY($2)))

-- name: quota_use
-- Of an organization ($1), or of a project ($2).
WITH mine AS (
    SELECT id FROM project
    WHERE deleted_at IS NULL AND CASE WHEN $2::uuid IS NULL THEN organization_id = $1::uuid ELSE id = $2 END
), elastic AS (
    SELECT family(r.block) AS family, masklen(r.block) AS length FROM elastic_reservation AS r
    WHERE r.project_id IN (SELECT id FROM mine) AND r.lasts AND r.released_at IS NULL
)
SELECT (SELECT count(*) FROM device WHERE project_id IN (SELECT id FROM mine) AND deleted_at IS NULL) AS devices,
       (SELECT coalesce(sum(power(2::numeric, 32 - length)), 0)::bigint FROM elastic WHERE family = 4) AS elastic_ipv4,
       (SELECT coalesce(ceil(sum(power(2::numeric, 64 - length))), 0)::bigint FROM elastic WHERE family = 6)
           AS elastic_ipv6,
       (SELECT count(*) FROM mine) AS projects,
       (SELECT count(DISTINCT user_id) FROM membership
        WHERE project_id IN (SELECT id FROM mine) OR organization_id = $1) AS members

-- name: set_quota
INSERT INTO quota (organization_id, project_id, devices, elastic_ipv4, elastic_ipv6, projects, members)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ((coalesce(organization_id, project_id))) DO UPDATE
SET devices = excluded.devices, elastic_ipv4 = excluded.elastic_ipv4, elastic_ipv6 = excluded.elastic_ipv6,
    projects = excluded.projects, members = excluded.members
