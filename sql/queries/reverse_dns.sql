-- name: reverse_roots
-- The top of the tree, from which the reverse zones follow.
SELECT p.id, p.vrf_id, p.cidr FROM prefix AS p JOIN vrf ON vrf.id = p.vrf_id
WHERE vrf.name = $1 AND p.parent_id IS NULL AND p.status <> 'retired' ORDER BY p.cidr

-- name: reverse_wanted
SELECT address, given, hostname, facility, device_id
FROM ptr_wanted($1::int, $2::cidr, $3::text) ORDER BY address

-- name: reverse_differences
-- What should be ($1 to $3) and is not what the server has confirmed for the zone ($4), or the other way round.
SELECT coalesce(wanted.address, pushed.address) AS address, wanted.source, wanted.given, wanted.hostname,
       wanted.facility, wanted.device_id, pushed.name AS pushed
FROM ptr_wanted($1::int, $2::cidr, $3::text) AS wanted
FULL JOIN (SELECT address, source, name FROM ptr_pushed WHERE zone = $4) AS pushed
    ON pushed.address = wanted.address
WHERE wanted.source IS DISTINCT FROM pushed.source
LIMIT $5

-- name: reverse_confirmed
INSERT INTO ptr_pushed (zone, address, source, name, confirmed_at)
SELECT $1, done.address, done.source, done.name, $5
FROM unnest($2::inet[], $3::text[], $4::text[]) AS done (address, source, name)
ON CONFLICT (zone, address)
DO UPDATE SET source = excluded.source, name = excluded.name, confirmed_at = excluded.confirmed_at

-- name: reverse_removed
DELETE FROM ptr_pushed WHERE zone = $1 AND address = ANY($2::inet[])

-- name: reverse_zones_gone
WITH gone AS (DELETE FROM dns_zone WHERE name <> ALL($1::text[]))
DELETE FROM ptr_pushed WHERE zone <> ALL($1)

-- name: reverse_zones_tried
INSERT INTO dns_zone (name, fault, tried_at, confirmed_at)
SELECT zone, $2, $3::timestamptz, CASE WHEN $2::text IS NULL THEN $3 END FROM unnest($1::text[]) AS zone
ON CONFLICT (name) DO UPDATE
SET fault = excluded.fault, tried_at = excluded.tried_at,
    confirmed_at = coalesce(excluded.confirmed_at, dns_zone.confirmed_at)

-- name: reverse_zones_fine
UPDATE dns_zone SET fault = NULL WHERE name = ANY($1::text[]) AND fault IS NOT NULL

-- name: reverse_zone_states
SELECT coalesce(z.name, p.zone) AS name, z.fault, z.tried_at, z.confirmed_at, coalesce(p.names, 0) AS names
FROM dns_zone AS z
FULL JOIN (SELECT zone, count(name) AS names FROM ptr_pushed GROUP BY zone) AS p ON p.zone = z.name

-- name: forget_ended_ptrs
-- Names whose project holds the address no longer: they must not come back when it holds it once more.
DELETE FROM ptr WHERE NOT EXISTS (
    SELECT FROM held_in(ptr.vrf_id, ptr.address::cidr) AS t WHERE t.project_id IS NOT DISTINCT FROM ptr.project_id)

-- name: set_ptr
INSERT INTO ptr (vrf_id, address, name, project_id, set_by, set_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (vrf_id, address) DO UPDATE
SET name = excluded.name, project_id = excluded.project_id, set_by = excluded.set_by, set_at = excluded.set_at

-- name: delete_ptr
DELETE FROM ptr WHERE vrf_id = $1 AND address = $2

-- name: ptr_at
-- The name of one address, as it should be and as the server has it.
SELECT $2::inet AS address, wanted.given, wanted.hostname, wanted.facility, wanted.device_id, ptr.set_by, ptr.set_at,
       pushed.name AS pushed, pushed.confirmed_at
FROM (SELECT 1) AS always
LEFT JOIN ptr_wanted($1::int, $2::inet::cidr, $3::text) AS wanted ON wanted.address = $2
LEFT JOIN ptr ON ptr.vrf_id = $1 AND ptr.address = $2 AND wanted.given IS NOT NULL
LEFT JOIN ptr_pushed AS pushed ON pushed.zone = $4 AND pushed.address = $2

-- name: lock_reverse_dns
SELECT pg_try_advisory_lock(hashtext('reverse dns'))

-- name: unlock_reverse_dns
SELECT pg_advisory_unlock(hashtext('reverse dns'))
