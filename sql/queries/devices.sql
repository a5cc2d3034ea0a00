-- name: devices_by_ids
SELECT d.id, d.project_id, d.facility_id, d.plan_id, d.operating_system, d.hostname, d.description, d.tags,
       d.customdata, d.userdata, d.ipxe_script_url, d.always_pxe, d.locked, d.billing_cycle, d.ssh_key_ids,
       d.root_password, d.state, d.failure, d.host_keys, d.created_by, d.created_at, d.updated_at, d.deadline,
       d.active_at, d.engine, d.storage, d.storage_passphrase, d.reservation_id, d.termination_time, d.spot_price_max,
       d.network_frozen, m.mac::text AS mac, m.name AS machine, l.id AS leaf_id
FROM device AS d
JOIN project AS p ON p.id = d.project_id
LEFT JOIN machine AS m ON m.device_id = d.id
LEFT JOIN leaf_port AS o ON o.id = m.port_id
LEFT JOIN leaf AS l ON l.id = o.leaf_id
WHERE ($1::bool OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[])) AND d.id = ANY($4::uuid[])
  AND (d.deleted_at IS NULL OR $5::bool)

-- name: lock_device
SELECT d.id, d.state, d.locked, d.operating_system, d.plan_id, d.spot_price_max,
       d.outbid_at IS NOT NULL AS outbid
FROM device AS d JOIN project AS p ON p.id = d.project_id
WHERE d.id = $4 AND d.deleted_at IS NULL AND ($1::bool OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[]))
FOR UPDATE OF d

-- name: lock_capacity
SELECT pg_advisory_xact_lock(hashtextextended('capacity', 0) # hashtextextended($1, 0))

-- name: add_device
INSERT INTO device (id, project_id, facility_id, plan_id, operating_system, hostname, description, tags, customdata,
                    userdata, ipxe_script_url, always_pxe, locked, billing_cycle, ssh_key_ids, ssh_keys, root_password,
                    password_hash, created_by, created_at, updated_at, deadline, engine, storage, storage_passphrase,
                    reservation_id, termination_time, spot_price_max, spot_request_id, links, wanted_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20, $21, $22, $23,
        $24, $25, $26, $27, $28, $29, $30)

-- name: change_device
UPDATE device SET hostname = coalesce($2::text, hostname),
                  description = CASE WHEN $3::bool THEN $4::text ELSE description END,
                  tags = coalesce($5::text[], tags), userdata = coalesce($6::text, userdata),
                  locked = coalesce($7::bool, locked), always_pxe = coalesce($8::bool, always_pxe),
                  ipxe_script_url = CASE WHEN $9::bool THEN $10::text ELSE ipxe_script_url END,
                  billing_cycle = coalesce($11::text, billing_cycle), customdata = coalesce($12::jsonb, customdata),
                  updated_at = $13
WHERE id = $1

-- name: change_terms
UPDATE device SET network_frozen = coalesce($2::bool, network_frozen),
                  termination_time = CASE WHEN $3::bool THEN $4::timestamptz ELSE termination_time END,
                  spot_price_max = CASE WHEN $5::bool THEN NULL ELSE spot_price_max END,
                  outbid_at = CASE WHEN $5 THEN NULL ELSE outbid_at END,
                  left_spot_at = CASE WHEN $5 THEN $6::timestamptz ELSE left_spot_at END
WHERE id = $1

-- name: change_installation
UPDATE device SET engine = $2, storage = $3, storage_passphrase = $4, updated_at = $5 WHERE id = $1

-- name: provisioning_events
SELECT id, device_id, type, body, created_at FROM event
WHERE device_id = ANY($1::uuid[]) AND type = ANY($2::text[]) AND NOT private
ORDER BY seq

-- name: events_by_ids
SELECT e.id, e.seq, e.project_id, e.device_id, e.machine_id, e.type, e.state, e.body, e.private, e.data, e.created_at
FROM event AS e LEFT JOIN project AS p ON p.id = e.project_id
WHERE ($1::bool OR ((p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[])) AND NOT e.private))
  AND e.id = ANY($4::uuid[])

-- name: devices_of_tenures
SELECT t.id, t.owner AS device_id
FROM tenure AS t JOIN device AS d ON d.id = t.owner JOIN project AS p ON p.id = d.project_id
WHERE t.id = ANY($4::uuid[]) AND upper_inf(t.during) AND t.corrected_at IS NULL AND d.deleted_at IS NULL
  AND ($1::bool OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[]))

-- name: steps_of_device
SELECT s.run_id, r.workflow, r.state AS run_state, r.created_at, r.deadline, r.finished_at, r.reason AS waits_for,
       r.failure, s.step, s.attempt, s.state, s.reason, s.started_at, s.finished_at AS step_finished_at
FROM run AS r JOIN run_step AS s ON s.run_id = r.id
WHERE r.subject = $1
ORDER BY r.created_at, s.started_at, s.attempt

-- name: lock_course
SELECT id FROM run WHERE subject = $1 AND finished_at IS NULL FOR UPDATE

-- name: progress_of_device
SELECT w.run_id, w.kind, w.state, w.stage, w.percent, w.bytes_done, w.bytes_total
FROM agent_work AS w JOIN run AS r ON r.id = w.run_id
WHERE r.subject = $1 ORDER BY w.created_at
