-- name: metadata_subject
SELECT d.id::text, d.hostname, p.slug AS plan, f.code AS facility, t.code AS metro, d.tags, d.ssh_keys, d.customdata,
       d.userdata, d.state, d.password_hash, d.operating_system, m.id::text AS machine_id, m.mac::text AS mac,
       o.leaf_id::text AS leaf_id, coalesce(m.inventory ->> 'firmware' = 'uefi', false) AS uefi,
       d.reservation_id IS NOT NULL AS reserved, d.spot_price_max IS NOT NULL AS spot, d.termination_time
