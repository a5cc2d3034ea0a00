-- name: report_prefixes
WITH RECURSIVE tree AS (
    SELECT p.id, p.vrf_id, p.parent_id, p.cidr, p.role, p.facility, p.block_length, p.standing, p.created_at,
           p.organization_id, p.project_id
    FROM prefix AS p WHERE p.parent_id IS NULL AND p.status <> 'retired'
    UNION ALL
    -- What says nothing of an owner is its parent's.
    SELECT p.id, p.vrf_id, p.parent_id, p.cidr, p.role, p.facility, p.block_length, p.standing, p.created_at,
           CASE WHEN num_nonnulls(p.organization_id, p.project_id) = 0
                THEN tree.organization_id ELSE p.organization_id END,
           CASE WHEN num_nonnulls(p.organization_id, p.project_id) = 0 THEN tree.project_id ELSE p.project_id END
    FROM tree JOIN prefix AS p ON p.parent_id = tree.id AND p.status <> 'retired'
)
SELECT tree.id, tree.vrf_id, vrf.name AS vrf, tree.parent_id, tree.cidr, tree.role, tree.facility, tree.block_length,
       tree.standing, tree.created_at,
       CASE WHEN tree.organization_id IS NOT NULL THEN 'organization'
            WHEN tree.project_id IS NOT NULL THEN 'project' ELSE 'provider' END AS owner_kind,
       coalesce(tree.organization_id, tree.project_id) AS owner_id,
       coalesce(organization.name, project.name) AS owner_name
FROM tree
JOIN vrf ON vrf.id = tree.vrf_id
LEFT JOIN organization ON organization.id = tree.organization_id
LEFT JOIN project ON project.id = tree.project_id
ORDER BY tree.vrf_id, tree.cidr

-- name: report_held
SELECT t.prefix_id, CASE WHEN t.kind = 'routed' THEN 'routed' WHEN t.slot LIKE 'reserved %' THEN 'reserved'
                         ELSE 'held' END AS class,
       masklen(t.block) AS length, count(*) AS blocks
FROM tenure AS t
WHERE upper_inf(t.during) AND t.corrected_at IS NULL AND t.kind <> 'anycast'
  AND ($1::bigint[] IS NULL OR t.prefix_id = ANY($1))
GROUP BY 1, 2, 3
UNION ALL
-- What leads to many devices at once is one block all the same.
SELECT t.prefix_id, 'routed', masklen(t.block), count(DISTINCT t.block)
FROM tenure AS t
WHERE upper_inf(t.during) AND t.corrected_at IS NULL AND t.kind = 'anycast'
  AND ($1 IS NULL OR t.prefix_id = ANY($1))
GROUP BY 1, 3

-- name: report_free
SELECT f.prefix_id, CASE WHEN f.tagged THEN 'tagged' ELSE 'cooling' END AS class, masklen(f.block) AS length,
       count(*) AS blocks
FROM free_block AS f
WHERE (f.tagged OR f.free_since > $2) AND ($1::bigint[] IS NULL OR f.prefix_id = ANY($1))
GROUP BY 1, 2, 3

-- name: report_projects
-- Which projects hold what of which prefixes: those of these organizations ($2) and these projects ($3), or all (NULL).
SELECT project.id, project.name, organization.name AS organization, held.prefix_id, held.class, held.length,
       held.blocks
FROM (
    SELECT t.project_id, t.prefix_id, CASE WHEN t.kind = 'held' THEN 'held' ELSE 'routed' END AS class,
           masklen(t.block) AS length, count(DISTINCT t.block) FILTER (WHERE t.kind = 'anycast')
                                       + count(*) FILTER (WHERE t.kind <> 'anycast') AS blocks
    FROM tenure AS t
    WHERE upper_inf(t.during) AND t.corrected_at IS NULL AND ($1::bigint[] IS NULL OR t.prefix_id = ANY($1))
    GROUP BY 1, 2, 3, 4
) AS held
JOIN project ON project.id = held.project_id
JOIN organization ON organization.id = project.organization_id
WHERE $2::uuid[] IS NULL OR organization.id = ANY($2) OR project.id = ANY($3::uuid[])

-- name: report_changes
-- How much more is held at each of the moments $2, which rise, than at the one before.
SELECT prefix_id, length, place, sum(step) AS blocks
FROM (
    SELECT t.prefix_id, masklen(t.block) AS length, 1 AS step,
           width_bucket(lower(t.during) - interval '1 microsecond', $2::timestamptz[]) AS place
    FROM tenure AS t
    WHERE t.kind = 'held' AND t.corrected_at IS NULL AND upper_inf(t.during)
      AND ($1::bigint[] IS NULL OR t.prefix_id = ANY($1))
    UNION ALL
    SELECT t.prefix_id, masklen(t.block), edge.step,
           width_bucket(edge.moment - interval '1 microsecond', $2) AS place
    FROM tenure AS t
    CROSS JOIN LATERAL (VALUES (1, lower(t.during)), (-1, upper(t.during))) AS edge (step, moment)
    WHERE t.kind = 'held' AND t.corrected_at IS NULL AND NOT upper_inf(t.during) AND upper(t.during) > ($2)[1]
      AND ($1 IS NULL OR t.prefix_id = ANY($1))
) AS change
GROUP BY 1, 2, 3

-- name: report_free_runs
-- Free space without the borders of its blocks: neighbours are joined only when somebody needs the room. A block that
-- stands alone is only counted, by its length.
WITH run AS (
    SELECT prefix_id, min(block)::cidr AS first, count(*) AS parts,
           sum(2::numeric ^ (CASE family(block) WHEN 4 THEN 32 ELSE 128 END - masklen(block)))::numeric(39) AS addresses
    FROM (
        SELECT prefix_id, block, count(*) FILTER (WHERE apart) OVER (PARTITION BY prefix_id ORDER BY block) AS number
        FROM (
            SELECT f.prefix_id, f.block,
                   (set_masklen(lag(broadcast(f.block)) OVER (PARTITION BY f.prefix_id ORDER BY f.block) + 1, -1)
                    = set_masklen(f.block::inet, -1)) IS NOT TRUE AS apart
            FROM free_block AS f
            WHERE NOT f.tagged AND ($1::bigint[] IS NULL OR f.prefix_id = ANY($1))
        ) AS beside
    ) AS numbered
    GROUP BY prefix_id, number
)
SELECT prefix_id, masklen(first) AS length, NULL::cidr AS first, NULL::numeric AS addresses, count(*) AS runs
FROM run WHERE parts = 1 GROUP BY 1, 2
UNION ALL
SELECT prefix_id, NULL, first, addresses, 1 FROM run WHERE parts > 1
