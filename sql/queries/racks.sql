-- name: racks_seen
SELECT r.id, r.name, f.code AS facility, r.units, r.created_at,
       (SELECT count(*) FROM machine AS m WHERE m.rack_id = r.id AND m.state <> 'retired') AS machines,
       (SELECT count(*) FROM machine AS m WHERE m.rack_id = r.id AND m.state = 'ready') AS ready,
       (SELECT count(*) FROM leaf AS l WHERE l.rack_id = r.id) AS leaves
FROM rack AS r JOIN facility AS f ON f.id = r.facility_id
WHERE ($1::text IS NULL OR f.code = $1) AND ($2::text IS NULL OR r.id::text = $2 OR r.name = $2)
ORDER BY f.code, length(r.name), r.name

-- name: in_racks
SELECT m.rack_id, m.rack_unit AS unit, 'machine' AS kind, m.name, m.state, p.slug AS plan, d.hostname AS device
FROM machine AS m JOIN plan AS p ON p.id = m.plan_id LEFT JOIN device AS d ON d.id = m.device_id
WHERE m.rack_id = ANY ($1::uuid[]) AND m.state <> 'retired'
UNION ALL
SELECT l.rack_id, l.rack_unit, 'leaf', l.name, l.state, NULL, NULL FROM leaf AS l WHERE l.rack_id = ANY ($1::uuid[])
ORDER BY unit DESC NULLS LAST, kind, name

-- name: add_rack
INSERT INTO rack (facility_id, name, units) SELECT id, $2, $3 FROM facility WHERE code = $1 OR id::text = $1
RETURNING id

-- name: change_rack
UPDATE rack SET name = coalesce($2, name), units = coalesce($3::int, units) WHERE id = $1

-- name: remove_rack
DELETE FROM rack WHERE id = $1

-- name: put_machine_into_rack
UPDATE machine SET rack_id = $2, rack_unit = $3 FROM rack AS r
WHERE (machine.name = $1 OR machine.id::text = $1) AND r.id = $2 AND r.facility_id = machine.facility_id
RETURNING machine.name

-- name: put_leaf_into_rack
UPDATE leaf SET rack_id = $2, rack_unit = $3 FROM rack AS r
WHERE (leaf.name = $1 OR leaf.id::text = $1) AND r.id = $2 AND r.facility_id = leaf.facility_id
RETURNING leaf.name

-- name: ports_listed
SELECT l.name AS leaf, f.code AS facility, o.name, o.profile, o.generation, o.applied, o.fault, o.changed_at,
       o.take_over, o.seen_mac::text AS seen_mac, o.seen_name, o.seen_at, o.booted_mac::text AS booted_mac, o.booted_at,
       m.name AS machine, m.mac::text AS machine_mac, m.state AS machine_state, d.hostname AS device, d.id AS device_id,
       d.state AS device_state
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN machine AS m ON m.port_id = o.id AND m.state <> 'retired'
LEFT JOIN device AS d ON d.id = o.device_id
WHERE ($1::text IS NULL OR l.name = $1 OR l.id::text = $1) AND ($2::text IS NULL OR o.name = $2)
  AND ($3::text IS NULL OR f.code = $3) AND ($4::text IS NULL OR o.profile = $4)
  AND ($5::text IS NULL OR CASE $5 WHEN 'pending' THEN o.applied < o.generation WHEN 'faulty' THEN o.fault IS NOT NULL
                                   WHEN 'free' THEN m.id IS NULL WHEN 'used' THEN m.id IS NOT NULL END)
ORDER BY f.code, l.name, length(o.name), o.name
