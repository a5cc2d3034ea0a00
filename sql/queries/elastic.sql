-- name: elastic_prefixes
WITH RECURSIVE granted AS (
    SELECT prefix_id AS id FROM prefix_claim
    WHERE "right" >= 'assign' AND grant_id IS NOT NULL
      AND (project_id = $3::uuid OR user_id = $5::uuid OR (organization_id = $4::uuid AND $5 IS NOT NULL))
    UNION
    SELECT child.id FROM granted JOIN prefix AS child ON child.parent_id = granted.id
), mine AS (
    SELECT p.id, p.facility, p.organization_id IS NULL AND p.project_id IS NULL AS shared,
           p.organization_id = $4 OR p.project_id = $3 AS own, p.id IN (SELECT id FROM granted) AS granted
    FROM prefix AS p JOIN vrf AS v ON v.id = p.vrf_id
    WHERE v.name = 'default'  -- the one that leaves route in
      AND p.role = CASE $1::text WHEN 'global_ipv4' THEN 'anycast' ELSE 'elastic' END
      AND ip_type(p.cidr, p.role) = $1 AND (p.facility = $2::text OR p.facility IS NULL) AND p.standing = 'active'
)
SELECT id FROM mine WHERE shared OR own OR granted
ORDER BY coalesce(own, false) DESC, granted DESC, facility NULLS LAST, id

-- name: addresses_of_project
WITH matching AS (
    SELECT t.id, true AS management, lower(t.during) AS since, t.slot
    FROM device AS d
    JOIN facility AS f ON f.id = d.facility_id
    JOIN metro AS m ON m.id = f.metro_id
    JOIN tenure AS t ON t.owner = d.id AND upper_inf(t.during) AND t.corrected_at IS NULL AND t.kind = 'held'
    WHERE d.project_id = $1 AND d.deleted_at IS NULL
      AND CASE t.slot WHEN 'public' THEN 'public_ipv4' WHEN 'private' THEN 'private_ipv4' WHEN 'ipv6' THEN 'public_ipv6'
          END = ANY($2::text[])
      AND $3::bool IS NOT FALSE AND $4::text IS NULL
      AND ($5::text[] IS NULL OR f.code = ANY($5) OR f.id::text = ANY($5))
      AND ($6::text[] IS NULL OR m.code = ANY($6) OR m.id::text = ANY($6))
    UNION ALL
    SELECT r.id, false, r.since, r.block::text
    FROM elastic_reservation AS r
    LEFT JOIN facility AS f ON f.code = r.facility
    LEFT JOIN metro AS m ON m.id = f.metro_id
    WHERE r.project_id = $1 AND r.lasts AND r.released_at IS NULL AND r.type = ANY($2)
      AND $3 IS NOT TRUE AND ($4 IS NULL OR $4 = ANY(r.tags))
      AND ($5 IS NULL OR f.code = ANY($5) OR f.id::text = ANY($5))
      AND ($6 IS NULL OR m.code = ANY($6) OR m.id::text = ANY($6))
), page AS (
    SELECT * FROM matching ORDER BY since DESC, slot, id LIMIT $7 OFFSET $8
)
SELECT (SELECT count(*) FROM matching) AS total,
       array(SELECT id FROM page ORDER BY since DESC, slot, id) AS ids,
       array(SELECT id FROM page WHERE management) AS management_ids

-- name: reservations_by_ids
SELECT r.id, r.project_id, r.vrf_id, r.block, r.since, r.until, r.opened_by, r.global_ip, r.type, r.facility, r.details,
       r.tags, r.customdata,
       array(SELECT part.id FROM tenure AS part JOIN device AS d ON d.id = part.owner
             WHERE part.within = r.id AND upper_inf(part.during) AND part.corrected_at IS NULL AND d.deleted_at IS NULL
             ORDER BY part.block) AS assignment_ids
FROM elastic_reservation AS r JOIN project AS j ON j.id = r.project_id
WHERE ($1::bool OR ((j.organization_id = ANY($2::uuid[]) OR j.id = ANY($3::uuid[])) AND j.deleted_at IS NULL))
  AND r.id = ANY($4::uuid[]) AND ($5::bool OR (r.lasts AND r.released_at IS NULL))

-- name: reservations_left
SELECT id FROM elastic_reservation WHERE project_id = $1 AND lasts AND released_at IS NULL ORDER BY block

-- name: reservations_announced
SELECT r.project_id, r.block, r.facility,
       array(SELECT part.block FROM tenure AS part
             WHERE part.within = r.id AND upper_inf(part.during) AND part.corrected_at IS NULL) AS led
FROM elastic_reservation AS r
WHERE r.project_id = ANY($1::uuid[]) AND r.lasts AND r.released_at IS NULL ORDER BY r.project_id, r.block

-- name: reservation_around
SELECT id FROM elastic_reservation
WHERE project_id = $1 AND lasts AND released_at IS NULL AND block >>= $2::cidr

-- name: reservations_from_split
SELECT id FROM elastic_reservation WHERE project_id = $1 AND block << $2::cidr AND since = $3 ORDER BY block

-- name: assignments
SELECT part.id, part.block, part.owner AS device_id, part.within AS reservation_id, held.block AS parent,
       lower(part.during) AS since, p.role = 'anycast' AS global_ip, ip_type(part.block, p.role) AS type,
       j.id AS project_id, d.facility_id, l.details, coalesce(l.tags, '{}') AS tags,
       coalesce(l.customdata, '{}') AS customdata, coalesce(l.manageable, true) AS manageable
FROM tenure AS part
JOIN tenure AS held ON held.id = part.within
JOIN prefix AS p ON p.id = part.prefix_id
JOIN device AS d ON d.id = part.owner
JOIN project AS j ON j.id = d.project_id
LEFT JOIN ip_label AS l ON l.id = part.id
WHERE ($1::bool OR j.organization_id = ANY($2::uuid[]) OR j.id = ANY($3::uuid[]))
  AND (part.id = ANY($4::uuid[]) OR part.owner = ANY($5::uuid[]))
  AND part.kind <> 'held' AND upper_inf(part.during) AND part.corrected_at IS NULL AND d.deleted_at IS NULL
ORDER BY part.block, part.id

-- name: blocks_routed
SELECT block, kind FROM tenure
WHERE within = $1 AND upper_inf(during) AND corrected_at IS NULL ORDER BY block

-- name: reservations_leading_to
SELECT DISTINCT within FROM tenure
WHERE owner = $1 AND kind <> 'held' AND upper_inf(during) AND corrected_at IS NULL

-- name: owners_deleted
SELECT id FROM device WHERE id = ANY($1::uuid[]) AND deleted_at IS NOT NULL

-- name: lock_project_row
SELECT true FROM project WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE

-- name: lock_courses
SELECT id FROM run WHERE subject = ANY($1::uuid[]) AND finished_at IS NULL ORDER BY subject FOR UPDATE

-- name: lock_devices
SELECT d.id, d.state, d.project_id, f.code AS facility
FROM device AS d JOIN project AS p ON p.id = d.project_id JOIN facility AS f ON f.id = d.facility_id
WHERE d.id = ANY($4::uuid[]) AND d.deleted_at IS NULL AND ($1::bool OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[]))
ORDER BY d.id FOR UPDATE OF d

-- name: label_of_request
SELECT id, request FROM ip_label WHERE request_key = $1

-- name: add_label
INSERT INTO ip_label (id, details, tags, customdata, manageable, request_key, request)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING

-- name: change_label
INSERT INTO ip_label (id, details, tags, customdata)
VALUES ($1, CASE WHEN $2::bool THEN $3::text END, coalesce($4::text[], '{}'), coalesce($5::jsonb, '{}'))
ON CONFLICT (id) DO UPDATE
SET details = CASE WHEN $2 THEN $3 ELSE ip_label.details END, tags = coalesce($4, ip_label.tags),
    customdata = coalesce($5, ip_label.customdata)

-- name: copy_label
INSERT INTO ip_label (id, details, tags, customdata, manageable)
SELECT made.id, l.details, l.tags, l.customdata, l.manageable
FROM unnest($2::uuid[]) AS made (id), ip_label AS l WHERE l.id = $1
ON CONFLICT DO NOTHING

-- name: mark_released
INSERT INTO ip_label (id, released_at, released_by) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET released_at = $2, released_by = $3 WHERE ip_label.released_at IS NULL

-- name: unmark_released
UPDATE ip_label SET released_at = NULL, released_by = NULL WHERE id = $1

-- name: reservations_to_end
SELECT l.id, l.released_by
FROM ip_label AS l JOIN tenure AS t ON t.id = l.id
WHERE l.released_at IS NOT NULL AND upper_inf(t.during) AND t.corrected_at IS NULL
  AND NOT EXISTS (SELECT FROM tenure AS part
                  WHERE part.within = t.id AND upper_inf(part.during) AND part.corrected_at IS NULL)
  AND NOT EXISTS (SELECT FROM route_withdrawal AS w WHERE w.vrf_id = t.vrf_id AND w.block && t.block)
ORDER BY l.id

-- name: withdrawn_from_port
INSERT INTO route_withdrawal (port_id, vrf_id, block, generation)
SELECT o.id, $2, $3, o.generation
FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id
WHERE o.device_id = $1 OR (l.name = $4 AND o.name = $5)
ON CONFLICT (port_id, vrf_id, block) DO UPDATE SET generation = excluded.generation

-- name: withdrawn_from_ports
INSERT INTO route_withdrawal (port_id, vrf_id, block, generation)
SELECT o.id, v.id, gone.block, o.generation
FROM leaf_port AS o, vrf AS v, unnest($2::cidr[]) AS gone (block)
WHERE o.id = ANY($1::uuid[]) AND v.name = 'default'
ON CONFLICT (port_id, vrf_id, block) DO UPDATE SET generation = excluded.generation

-- name: announcements_withdrawn
INSERT INTO route_withdrawal (port_id, vrf_id, block, generation)
SELECT o.id, r.vrf_id, r.block, o.generation
FROM device AS d JOIN elastic_reservation AS r ON r.project_id = d.project_id AND r.lasts
JOIN leaf_port AS o ON o.id = $2::uuid OR ($2 IS NULL AND o.device_id = d.id)
WHERE d.id = $1 AND EXISTS (SELECT FROM bgp_session AS s WHERE s.device_id = d.id)
ON CONFLICT (port_id, vrf_id, block) DO UPDATE SET generation = excluded.generation

-- name: withdrawal_under_way
SELECT EXISTS (SELECT FROM route_withdrawal WHERE vrf_id = $1 AND block && $2::cidr)

-- name: forget_withdrawals
DELETE FROM route_withdrawal AS w USING leaf_port AS o
WHERE o.id = w.port_id AND o.leaf_id = $1 AND o.applied >= w.generation
