-- name: place_of_port
SELECT f.code AS facility, l.name AS leaf, o.name AS port, r.name AS rack, o.rack_unit AS unit,
       o.seen_mac::text AS seen_mac, o.seen_at
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN rack AS r ON r.id = o.rack_id
WHERE o.id = $1

-- name: found_at_port
SELECT mac::text AS mac, inventory, first_seen_at, seen_at FROM discovery WHERE port_id = $1 ORDER BY first_seen_at

-- name: gone_from_port
DELETE FROM discovery WHERE port_id = $1 AND mac <> $2::text::macaddr AND seen_at < $3

-- name: known_of_cards
SELECT m.name, m.mac::text AS mac, m.state = 'retired' AS retired, l.name || ' ' || o.name AS "where",
       CASE WHEN m.mac = ANY($1::text[]::macaddr[]) THEN 'network card ' || m.mac
            ELSE 'serial number ' || $2::text END AS by
FROM machine AS m
LEFT JOIN leaf_port AS o ON o.id = m.port_id
LEFT JOIN leaf AS l ON l.id = o.leaf_id
WHERE m.mac = ANY($1::text[]::macaddr[]) OR ($2::text <> '' AND m.inventory->'system'->>'product_serial' = $2)
-- What is in use now before what was retired once.
ORDER BY m.state = 'retired', m.name

-- name: lock_port
SELECT id FROM leaf_port WHERE id = $1 FOR UPDATE

-- name: discovery_judged
UPDATE discovery SET state = $2, reason = $3, state_since = $4
WHERE port_id = $1 AND (state, reason) IS DISTINCT FROM ($2::text, $3::text)
RETURNING mac::text AS mac

-- name: ports_to_judge_again
SELECT DISTINCT c.port_id
FROM discovery AS c
JOIN leaf_port AS o ON o.id = c.port_id
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
WHERE c.state = 'quarantined' AND ($1::text IS NULL OR f.code = $1) AND ($2::text IS NULL OR l.name = $2)
  AND ($3::text IS NULL OR o.name = $3)
  AND NOT EXISTS (SELECT FROM run AS r WHERE r.subject = c.port_id AND r.finished_at IS NULL)
ORDER BY c.port_id

-- name: plans_with_bom
SELECT slug, specs, bom, rack_units, nodes FROM plan ORDER BY slug

-- name: plan_hardware
SELECT slug, specs, bom, rack_units, nodes FROM plan WHERE slug = $1 OR $1 = ANY(aliases)

-- name: set_plan_hardware
UPDATE plan SET bom = $2, rack_units = $3, nodes = $4 WHERE slug = $1 RETURNING slug

-- name: bmc_access_of_port
SELECT id, url, search, username, secret, port_id IS NOT NULL AS of_port
FROM bmc_access
WHERE port_id = $1 OR (port_id IS NULL AND facility_id = (
    SELECT l.facility_id FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id WHERE o.id = $1))
ORDER BY port_id IS NULL

-- name: bmc_accesses
SELECT f.code AS facility, l.name AS leaf, o.name AS port, a.url, a.search, a.username, a.changed_at
FROM bmc_access AS a
JOIN facility AS f ON f.id = a.facility_id
LEFT JOIN leaf_port AS o ON o.id = a.port_id
LEFT JOIN leaf AS l ON l.id = o.leaf_id
ORDER BY f.code, l.name NULLS FIRST, length(o.name), o.name

-- name: set_bmc_access
INSERT INTO bmc_access (facility_id, port_id, url, search, username, secret, changed_at)
SELECT f.id, (SELECT o.id FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id
              WHERE l.facility_id = f.id AND l.name = $2 AND o.name = $3), $4, $5, $6, $7, $8
FROM facility AS f WHERE f.code = $1
ON CONFLICT (facility_id, port_id) DO UPDATE
SET url = excluded.url, search = excluded.search, username = excluded.username, secret = excluded.secret,
    changed_at = excluded.changed_at
RETURNING id

-- name: forget_bmc_access
DELETE FROM bmc_access AS a USING facility AS f
WHERE f.id = a.facility_id AND f.code = $1
  AND a.port_id IS NOT DISTINCT FROM (SELECT o.id FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id
                                      WHERE l.facility_id = f.id AND l.name = $2 AND o.name = $3)
RETURNING a.id

-- name: bmcs_in_use
SELECT bmc_url FROM machine WHERE bmc_url = ANY($1::text[]) AND state <> 'retired'

-- name: bring_in_machine
INSERT INTO machine (facility_id, plan_id, port_id, name, mac, arch, bmc_url, bmc_username, bmc_secret, secure_boot,
                     inventory, rack_id, rack_unit)
SELECT l.facility_id, p.id, o.id, $3, $4::text::macaddr, $5, $6, $7, $8, $9, $10, o.rack_id, o.rack_unit
FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id, plan AS p
WHERE o.id = $1 AND p.slug = $2
RETURNING id

-- name: inventory_like
SELECT inventory FROM machine WHERE name = $1 AND state <> 'retired'
UNION ALL
SELECT c.inventory FROM discovery AS c JOIN leaf_port AS o ON o.id = c.port_id JOIN leaf AS l ON l.id = o.leaf_id
WHERE l.name || ' ' || o.name = $1
LIMIT 1

-- name: port_named
SELECT o.id FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id JOIN facility AS f ON f.id = l.facility_id
WHERE f.code = $1 AND l.name = $2 AND o.name = $3
