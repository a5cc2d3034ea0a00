-- name: leaving_locked
SELECT leaving FROM machine WHERE id = $1 FOR UPDATE

-- name: set_leaving
UPDATE machine SET leaving = $2 WHERE id = $1

-- name: set_card
UPDATE machine SET mac = $2::text::macaddr WHERE id = $1

-- name: retire_machine
WITH was AS (
    SELECT id, port_id FROM machine WHERE id = $1
), freed AS (
    UPDATE leaf_port AS o SET booted_mac = NULL, booted_at = $2 FROM was WHERE o.id = was.port_id
)
UPDATE machine SET port_id = NULL, bmc_url = '', bmc_username = '', bmc_secret = '',
                   bmc_fingerprint = NULL, rack_id = NULL, rack_unit = NULL, leaving = NULL, device_id = NULL,
                   installed = false
WHERE id = $1

-- name: erased_since_used
SELECT EXISTS (
    SELECT FROM erase_certificate AS c WHERE c.machine_id = $1 AND c.created_at > coalesce(
        (SELECT max(e.created_at) FROM event AS e WHERE e.machine_id = $1 AND e.type IN ('machine.place', 'machine.activate')),
        '-infinity'))

-- name: open_rma
INSERT INTO rma (id, machine_id, reason, opened_at, opened_by, evidence, signature, inventory)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: rma_under_way
SELECT id, inventory FROM rma WHERE machine_id = $1 AND closed_at IS NULL

-- name: close_rma
UPDATE rma SET closed_at = $2, changes = $3 WHERE id = $1

-- name: rmas_of_machine
SELECT r.id, m.name AS machine, r.reason, r.opened_at, r.opened_by, r.closed_at, r.changes, r.inventory,
       m.inventory AS inventory_now
FROM rma AS r JOIN machine AS m ON m.id = r.machine_id
WHERE r.machine_id = ANY($1::uuid[]) ORDER BY r.opened_at DESC

-- name: rma_by_id
SELECT r.id, m.name AS machine, r.evidence, r.signature FROM rma AS r JOIN machine AS m ON m.id = r.machine_id
WHERE r.id = $1

-- name: machines_ever_named
SELECT id FROM machine WHERE name = $1 OR id::text = $1

-- name: told_of_machine
SELECT type, state, body, data, created_at FROM event WHERE machine_id = $1 ORDER BY seq DESC LIMIT 1000

-- name: work_told_by_machine
SELECT w.kind, w.slot, w.state, w.result, w.reason, w.created_at, w.taken_at, w.finished_at
FROM agent_work AS w WHERE w.machine_id = $1 AND w.kind IN ('burn_in', 'erase', 'firmware')
ORDER BY w.created_at DESC LIMIT 50

-- name: port_history
SELECT t.block::text AS link, t.note, lower(t.during) AS since, upper(t.during) AS until, t.corrected_at, t.correction
FROM tenure AS t WHERE t.slot IN ('boot', 'boot6') AND t.note->>'machine' = $1
ORDER BY lower(t.during), t.corrected_at NULLS LAST
