-- name: add_leaf_plan
INSERT INTO leaf_plan (leaf_id, action, arguments, difference, touched, digest, planned_by, planned_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id

-- name: leaf_plans
SELECT p.id, p.leaf_id, l.name AS leaf, p.action, p.arguments, p.difference, p.touched, p.digest,
       p.planned_by, planner.email AS planner, p.planned_at, p.applied_by, applier.email AS applier, p.applied_at
FROM leaf_plan AS p
JOIN leaf AS l ON l.id = p.leaf_id
LEFT JOIN user_account AS planner ON p.planned_by = 'user:' || planner.id
LEFT JOIN user_account AS applier ON p.applied_by = 'user:' || applier.id
WHERE ($1::uuid IS NULL OR p.leaf_id = $1) AND ($2::uuid IS NULL OR p.id = $2)
ORDER BY p.planned_at DESC LIMIT $3

-- name: lock_leaf_plan
SELECT id FROM leaf_plan WHERE id = $1 FOR UPDATE

-- name: leaf_plan_applied
UPDATE leaf_plan SET applied_by = $2, applied_at = $3, touched = touched || $4 WHERE id = $1

-- name: ports_with_customers
SELECT o.id, o.leaf_id, l.name AS leaf, o.name, o.profile, o.take_over, o.generation, o.applied, o.fault,
       m.id AS machine_id, m.name AS machine, m.state AS machine_state,
       d.id AS device_id, d.hostname, d.state AS device_state,
       p.id AS project_id, p.name AS project, g.id AS organization_id, g.name AS organization
FROM leaf_port AS o
JOIN leaf AS l ON l.id = o.leaf_id
LEFT JOIN machine AS m ON m.port_id = o.id
LEFT JOIN device AS d ON d.id = coalesce(o.device_id, m.device_id)
LEFT JOIN project AS p ON p.id = d.project_id
LEFT JOIN organization AS g ON g.id = p.organization_id
WHERE o.leaf_id = ANY($1::uuid[]) OR o.id = ANY($2::uuid[])
ORDER BY l.name, length(o.name), o.name

-- name: work_on_port
SELECT r.workflow, r.step, r.reason FROM run AS r
JOIN leaf_port AS o ON o.id = $1
LEFT JOIN machine AS m ON m.port_id = o.id
WHERE r.finished_at IS NULL AND r.subject IN (m.id, o.device_id)
LIMIT 1

-- name: take_ports_over
UPDATE leaf_port SET take_over = true, generation = generation + 1, changed_at = $2, fault = NULL
WHERE id = ANY($1::uuid[])

-- name: ports_relabelled
UPDATE leaf_port SET generation = generation + 1, changed_at = $2, fault = NULL WHERE id = ANY($1::uuid[])

-- name: set_leaf_database
UPDATE leaf SET database = $2 WHERE id = $1

-- name: set_leaf_fabric
UPDATE leaf SET fabric = $2 WHERE id = $1

-- name: lock_machines
SELECT id FROM machine WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE

-- name: plug_machines
UPDATE machine AS m SET port_id = given.port_id
FROM unnest($1::uuid[], $2::uuid[]) AS given (machine_id, port_id) WHERE m.id = given.machine_id

-- name: users_acting
SELECT 'user:' || id AS actor, email FROM user_account WHERE 'user:' || id = ANY($1::text[])

-- name: leaves_driven
SELECT id FROM leaf WHERE id = ANY($1::uuid[]) AND held_until > now()
