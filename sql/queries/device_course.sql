-- name: course_device
SELECT d.id, d.project_id, j.organization_id, d.facility_id, f.code AS facility, d.plan_id, p.slug AS plan, d.operating_system,
       d.image_release, d.engine, d.storage, d.storage_passphrase, d.hostname, d.userdata, d.ipxe_script_url, d.always_pxe, d.ssh_keys, d.password_hash, d.state, d.host_keys, d.phoned_home_at,
       d.deadline, d.deleted_at, d.wanted_by, d.tags, d.customdata, d.reservation_id, d.links, m.id AS machine_id
FROM device AS d
JOIN facility AS f ON f.id = d.facility_id
JOIN plan AS p ON p.id = d.plan_id
JOIN project AS j ON j.id = d.project_id
LEFT JOIN machine AS m ON m.device_id = d.id
WHERE d.id = $1

-- name: move_device
UPDATE device SET state = $3, failure = coalesce($4, failure), updated_at = $5,
                  placed_at = CASE WHEN $3 = 'provisioning' THEN $5 ELSE placed_at END,
                  active_at = CASE WHEN $3 = 'active' THEN coalesce(active_at, $5) ELSE active_at END,
                  deleted_at = CASE WHEN $3 = 'deleted' THEN $5 ELSE deleted_at END,
                  failed_at = CASE WHEN $3 = 'failed' THEN $5 ELSE failed_at END
WHERE id = $1 AND state = $2 RETURNING true

-- name: device_state_locked
SELECT state FROM device WHERE id = $1 FOR UPDATE

-- name: forget_phone_home
UPDATE device SET phoned_home_at = NULL, host_keys = '{}' WHERE id = $1

-- name: set_host_keys
UPDATE device SET host_keys = $2, updated_at = $3 WHERE id = $1

-- name: change_operating_system
UPDATE device SET operating_system = $2, updated_at = $3 WHERE id = $1

-- name: signal_waiting_for_pool
UPDATE run SET signals = signals + 1, wake_at = least(wake_at, $3)
FROM device AS d
WHERE run.subject = d.id AND run.workflow = 'provision' AND run.step = 'place' AND run.finished_at IS NULL
  AND d.facility_id = $1 AND d.plan_id = $2

-- name: record_phone_home
UPDATE device SET phoned_home_at = $2 WHERE id = $1 AND phoned_home_at IS NULL AND state IN ('provisioning', 'reinstalling')
RETURNING true
