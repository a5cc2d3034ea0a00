-- name: machines_on_record
SELECT f.code AS facility, r.name AS rack, m.rack_unit AS unit, m.name AS machine, p.slug AS plan, m.mac::text AS mac,
       m.arch, m.secure_boot, l.name AS leaf, o.name AS port, m.bmc_url, m.bmc_username, m.bmc_secret, m.state,
       m.device_id IS NOT NULL AS in_use
FROM machine AS m
JOIN facility AS f ON f.id = m.facility_id
JOIN plan AS p ON p.id = m.plan_id
JOIN leaf_port AS o ON o.id = m.port_id
JOIN leaf AS l ON l.id = o.leaf_id
LEFT JOIN rack AS r ON r.id = m.rack_id
WHERE m.state <> 'retired' AND ($1::text[] IS NULL OR f.code = ANY($1))
ORDER BY f.code, r.name NULLS LAST, m.rack_unit DESC NULLS LAST, m.name

-- name: leaves_on_record
SELECT f.code AS facility, r.name AS rack, l.rack_unit AS unit, l.name AS leaf, l.host, l.port AS netconf_port,
       l.username, l.host_key, l.secret, l.private_key
FROM leaf AS l JOIN facility AS f ON f.id = l.facility_id LEFT JOIN rack AS r ON r.id = l.rack_id
WHERE $1::text[] IS NULL OR f.code = ANY($1)
ORDER BY f.code, r.name NULLS LAST, l.name

-- name: free_ports_on_record
SELECT f.code AS facility, r.name AS rack, o.rack_unit AS unit, l.name AS leaf, o.name AS port, a.url AS bmc_url,
       a.username AS bmc_username, a.secret
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
JOIN facility AS f ON f.id = l.facility_id
LEFT JOIN rack AS r ON r.id = o.rack_id
LEFT JOIN bmc_access AS a ON a.port_id = o.id
WHERE NOT EXISTS (SELECT FROM machine AS m WHERE m.port_id = o.id) AND ($1::text[] IS NULL OR f.code = ANY($1))
ORDER BY f.code, l.name, length(o.name), o.name

-- name: plans_and_racks
SELECT 'plan' AS kind, p.slug AS name, p.aliases, NULL AS facility, p.rack_units AS units, p.nodes FROM plan AS p
UNION ALL
SELECT 'rack', r.name, '{}', f.code, r.units, 0 FROM rack AS r JOIN facility AS f ON f.id = r.facility_id
UNION ALL
SELECT 'facility', f.code, '{}', f.code, 0, 0 FROM facility AS f
