-- name: machines_seen
SELECT m.id, m.name, f.code AS facility, p.slug AS plan, m.arch, m.mac::text AS mac, m.state, m.reason, m.state_since,
       m.leaving, l.id AS leaf_id, coalesce(l.name, '') AS leaf, o.id AS port_id, coalesce(o.name, '') AS port,
       coalesce(o.profile, '') AS profile, coalesce(o.generation, 0) AS generation, coalesce(o.applied, 0) AS applied,
       o.fault, d.id AS device_id, d.hostname, d.state AS device_state, m.inventory,
       (SELECT max(s.seen_at) FROM agent_session AS s WHERE s.machine_id = m.id AND s.ended_at IS NULL) AS agent_seen_at,
       r.workflow, r.step, r.reason AS waits_for, r.step_since, k.name AS rack, m.rack_unit, m.held, m.flag
FROM machine AS m
JOIN facility AS f ON f.id = m.facility_id
JOIN plan AS p ON p.id = m.plan_id
LEFT JOIN leaf_port AS o ON o.id = m.port_id
LEFT JOIN leaf AS l ON l.id = o.leaf_id
LEFT JOIN device AS d ON d.id = m.device_id
LEFT JOIN run AS r ON r.finished_at IS NULL AND r.subject = m.id
LEFT JOIN rack AS k ON k.id = m.rack_id
-- One that was retired is shown to whoever asks for it.
WHERE CASE WHEN $1::text IS NOT NULL THEN m.state = $1 ELSE m.state <> 'retired' OR $4::text IS NOT NULL END
  AND ($2::text IS NULL OR f.code = $2) AND ($3::text IS NULL OR p.slug = $3)
  AND ($4::text IS NULL OR m.id::text = $4 OR m.name = $4) AND ($5::text IS NULL OR l.name = $5)
ORDER BY m.state = 'retired', f.code, l.name, length(o.name), o.name

-- name: leaves_seen
SELECT l.id, l.name, f.code AS facility, l.host, l.port, l.state, l.fault, l.held_until > now() AS held,
       (SELECT count(*) FROM leaf_port AS o WHERE o.leaf_id = l.id) AS ports,
       (SELECT count(*) FROM leaf_port AS o WHERE o.leaf_id = l.id AND o.applied < o.generation) AS pending,
       (SELECT count(*) FROM leaf_port AS o WHERE o.leaf_id = l.id AND o.fault IS NOT NULL) AS faulty,
       l.drifted, l.running_at, l.locked_since, l.commit_s, l.database, l.fabric
FROM leaf AS l JOIN facility AS f ON f.id = l.facility_id
WHERE $1::text IS NULL OR l.id::text = $1 OR l.name = $1
ORDER BY f.code, l.name

-- name: ports_seen
SELECT o.id, o.leaf_id, o.name, o.profile, o.generation, o.applied, o.fault, o.changed_at, m.id AS machine_id,
       m.name AS machine, m.state AS machine_state, d.id AS device_id, d.hostname,
       o.take_over, o.seen_mac::text AS seen_mac, o.seen_name, o.seen_at
FROM leaf_port AS o
LEFT JOIN machine AS m ON m.port_id = o.id
LEFT JOIN device AS d ON d.id = o.device_id
WHERE o.leaf_id = ANY($1::uuid[])
ORDER BY o.leaf_id, length(o.name), o.name

-- name: runs_seen
SELECT r.id, r.workflow, r.subject, r.state, r.step, r.reason, r.failure, r.attempt, r.wake_at, r.step_since,
       r.deadline, r.created_at, r.finished_at, r.worker, d.hostname, d.id AS device_id,
       coalesce(m.name, pl.name || ' ' || po.name) AS machine, m.id AS machine_id
FROM run AS r
LEFT JOIN device AS d ON d.id = r.subject
LEFT JOIN machine AS m ON m.id = r.subject
LEFT JOIN leaf_port AS po ON po.id = r.subject
LEFT JOIN leaf AS pl ON pl.id = po.leaf_id
WHERE ($1::bool OR r.finished_at IS NULL) AND ($2::text IS NULL OR r.workflow = $2)
  AND ($3::text IS NULL OR r.state = $3) AND ($5::uuid IS NULL OR r.id = $5)
ORDER BY r.created_at DESC LIMIT $4

-- name: tallies_seen
SELECT (SELECT count(*) FROM device WHERE deleted_at IS NULL) AS devices,
       (SELECT count(*) FROM device WHERE deleted_at IS NULL AND state = 'active') AS active,
       (SELECT count(*) FROM device WHERE deleted_at IS NULL AND state = 'failed') AS failed,
       (SELECT count(*) FROM machine WHERE state <> 'retired') AS machines,
       (SELECT count(*) FROM machine WHERE state = 'ready') AS ready,
       (SELECT count(*) FROM run WHERE finished_at IS NULL) AS runs,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM active_at - created_at))
        FROM (SELECT active_at, created_at FROM device WHERE active_at IS NOT NULL
              ORDER BY active_at DESC LIMIT 100) AS latest) AS median_s
