-- name: metadata_subject
SELECT d.id::text, d.hostname, p.slug AS plan, f.code AS facility, t.code AS metro, d.tags, d.ssh_keys, d.customdata,
       d.userdata, d.state, d.password_hash, d.operating_system, m.id::text AS machine_id, m.mac::text AS mac,
       o.leaf_id::text AS leaf_id, coalesce(m.inventory ->> 'firmware' = 'uefi', false) AS uefi,
       d.reservation_id IS NOT NULL AS reserved, d.spot_price_max IS NOT NULL AS spot, d.termination_time
FROM machine AS m
JOIN device AS d ON d.id = m.device_id
JOIN plan AS p ON p.id = d.plan_id
JOIN facility AS f ON f.id = d.facility_id
JOIN metro AS t ON t.id = f.metro_id
JOIN leaf_port AS o ON o.id = m.port_id
WHERE m.id = $1

-- name: machine_at_source
SELECT m.id AS machine_id, m.device_id, m.state
FROM vrf AS v
JOIN tenure AS t ON span4(t.plane, t.block) && span4(v.id::bigint * 2, $1::cidr)
JOIN machine AS m ON CASE WHEN t.slot = 'boot' THEN m.port_id = t.owner ELSE m.device_id = t.owner END
WHERE v.name = 'default' AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
  AND upper_inf(t.during)

-- name: machine_at_source6
SELECT m.id AS machine_id, m.device_id, m.state
FROM vrf AS v
JOIN tenure AS t ON span6(t.block, 0) && span6($1::cidr, 0) AND span6(t.block, 1) && span6($1::cidr, 1)
    AND int8range(t.plane, t.plane, '[]') && int8range(v.id::bigint * 2, v.id::bigint * 2, '[]')
JOIN machine AS m ON CASE WHEN t.slot = 'boot6' THEN m.port_id = t.owner ELSE m.device_id = t.owner END
WHERE v.name = 'default' AND family(t.block) = 6 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
  AND upper_inf(t.during)

-- name: service_secret
SELECT sealed FROM service_secret WHERE name = $1

-- name: add_service_secret
INSERT INTO service_secret (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING

-- name: set_root_password
UPDATE device SET root_password = $2, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL

-- name: latest_event
SELECT id FROM event
WHERE type = $3 AND CASE WHEN $1::uuid IS NOT NULL THEN device_id = $1 ELSE machine_id = $2::uuid END
ORDER BY seq DESC LIMIT 1

-- name: allow_pxe
UPDATE device SET allow_pxe = $2 WHERE id = $1

-- name: pxe_allowed
SELECT allow_pxe FROM device WHERE id = $1
