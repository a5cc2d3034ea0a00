-- name: exchange_vrfs
SELECT name FROM vrf ORDER BY name COLLATE "C"

-- name: exchange_prefixes
SELECT p.id, v.name AS vrf, p.cidr, p.role, p.facility, p.block_length, p.status, p.description, p.organization_id,
       p.project_id
FROM prefix AS p JOIN vrf AS v ON v.id = p.vrf_id
WHERE p.status <> 'retired'
ORDER BY v.name COLLATE "C", p.cidr

-- name: exchange_tenures
SELECT v.name AS vrf, t.block, t.owner, t.slot, t.project_id, t.note
FROM tenure AS t JOIN vrf AS v ON v.id = t.vrf_id
WHERE t.kind = 'held' AND upper_inf(t.during) AND t.corrected_at IS NULL
ORDER BY v.name COLLATE "C", t.block

-- name: exchange_held
-- A pass over a prefix is cheap, also when it is for one block; a look into an index for each of many blocks is not.
SELECT t.id, v.name AS vrf, t.block, t.owner, t.slot, t.project_id, t.note, lower(t.during) AS since
FROM unnest($1::bigint[], $2::inet[], $3::inet[]) AS touched (prefix_id, first, last)
JOIN tenure AS t ON t.prefix_id = touched.prefix_id
JOIN vrf AS v ON v.id = t.vrf_id
WHERE t.kind = 'held' AND upper_inf(t.during) AND t.corrected_at IS NULL
  AND t.block <= touched.last AND set_masklen(broadcast(t.block), masklen(touched.first)) >= touched.first

-- name: exchange_held_slots
SELECT t.id, v.name AS vrf, t.block, t.owner, t.slot, t.project_id, t.note, lower(t.during) AS since
FROM unnest($1::uuid[], $2::text[]) AS wanted (owner, slot)
JOIN tenure AS t ON t.owner = wanted.owner AND t.slot = wanted.slot
JOIN vrf AS v ON v.id = t.vrf_id
WHERE t.kind = 'held' AND upper_inf(t.during) AND t.corrected_at IS NULL

-- name: exchange_tagged
SELECT DISTINCT v.name AS vrf, a.block FROM abuse_tag AS a JOIN vrf AS v ON v.id = a.vrf_id WHERE a.cleared_at IS NULL

-- name: exchange_owners
SELECT 'organization' AS kind, id FROM organization WHERE id = ANY($1::uuid[])
UNION ALL
SELECT 'project', id FROM project WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL

-- name: exchange_organizations
SELECT id, name, count(*) OVER (PARTITION BY name) = 1 AS alone FROM organization

-- name: exchange_pools
SELECT id, name, first, last, facility, cursor FROM asn_pool ORDER BY first

-- name: exchange_asns
SELECT asn, owner, slot, note FROM asn_tenure WHERE upper_inf(during) ORDER BY asn

-- name: lock_exchange
SELECT pg_advisory_xact_lock(hashtext('address import'))

-- name: take_named_asn
-- The numbers between the last one used and this one become free ones that were never used.
WITH passed AS (
    INSERT INTO free_asn (pool_id, asn, free_since)
    SELECT p.id, number, '-infinity' FROM asn_pool AS p, generate_series(p.cursor, $2::bigint - 1) AS number
    WHERE p.id = $1
), advanced AS (
    UPDATE asn_pool SET cursor = $2 + 1 WHERE id = $1 AND cursor <= $2
)
DELETE FROM free_asn WHERE pool_id = $1 AND asn = $2

-- name: exchange_free
SELECT block FROM free_block WHERE prefix_id = $1 AND NOT tagged AND free_since <= $2 ORDER BY block
