-- name: metadata_subject
SELECT d.id::text, d.hostname, p.slug AS plan, f.code AS facility, t.code AS metro, d.tags, d.ssh_keys, d.customdata,
       d.userdata, d.state, d.password_hash, d.operating_system, m.id::text AS machine_id, m.mac::text AS mac,
       o.leaf_id::text AS leaf_id
FROM machine AS m
JOIN device AS d ON d.id = m.device_id
JOIN plan AS p ON p.id = d.plan_id
JOIN facility AS f ON f.id = d.facility_id
JOIN metro AS t ON t.id = f.metro_id
JOIN leaf_port AS o ON o.id = m.port_id
WHERE m.id = $1
