-- name: add_vrf
WITH added AS (INSERT INTO vrf (name) VALUES ($1) ON CONFLICT (name) DO NOTHING RETURNING id)
SELECT id FROM added UNION ALL SELECT id FROM vrf WHERE name = $1 LIMIT 1

-- name: find_prefix
SELECT id, vrf_id, parent_id, cidr, role, facility, block_length, cursor
FROM prefix WHERE vrf_id = $1 AND cidr = $2::cidr

-- name: add_prefix
INSERT INTO prefix (vrf_id, parent_id, parent_cidr, cidr, role, facility, block_length)
SELECT $1::int, parent.id, parent.cidr, $3::cidr, $4::text, $5::text, $6::int
FROM (SELECT 1) AS always LEFT JOIN prefix AS parent ON parent.id = $2::bigint
RETURNING id, vrf_id, parent_id, cidr, role, facility, block_length, cursor

-- name: prefix_with_role
SELECT id, vrf_id, parent_id, cidr, role, facility, block_length, cursor
FROM prefix WHERE role = $1 AND (facility = $2 OR facility IS NULL)
ORDER BY facility NULLS LAST, id

-- name: prefix_by_id
SELECT id, vrf_id, parent_id, cidr, role, facility, block_length, cursor
FROM prefix WHERE id = $1

-- name: prefixes_with_use
SELECT p.id, p.vrf_id, p.parent_id, p.cidr, p.role, p.facility, p.block_length, p.cursor,
       (SELECT count(*) FROM tenure AS t WHERE t.prefix_id = p.id AND upper_inf(t.during)) AS taken
FROM prefix AS p ORDER BY p.vrf_id, p.cidr

-- name: lock_prefix
SELECT id, vrf_id, cidr, block_length, cursor FROM prefix WHERE id = $1 FOR UPDATE

-- name: tenure_of_slot
SELECT id, prefix_id, block, owner, slot, lower(during) AS since, upper(during) AS until, note
FROM tenure WHERE owner = $1 AND slot = $2 AND upper_inf(during)

-- name: take_free_block
DELETE FROM free_block WHERE (prefix_id, block) = (
    SELECT prefix_id, block FROM free_block WHERE prefix_id = $1 AND free_since <= $2
    ORDER BY free_since LIMIT 1)
RETURNING block

-- name: prefixes_have_room
SELECT EXISTS (
    SELECT FROM prefix AS p WHERE p.id = ANY($1::bigint[])
    AND (p.cursor < 2.0 ^ (p.block_length - masklen(p.cidr))
         OR EXISTS (SELECT FROM free_block AS f WHERE f.prefix_id = p.id AND f.free_since <= $2)))

-- name: advance_cursor
UPDATE prefix SET cursor = cursor + 1 WHERE id = $1

-- name: open_tenure
INSERT INTO tenure (vrf_id, prefix_id, block, owner, slot, note, during)
VALUES ($1, $2, $3, $4, $5, $6, tstzrange($7, NULL))
RETURNING id, prefix_id, block, owner, slot, lower(during) AS since, upper(during) AS until, note

-- name: close_tenures
WITH closed AS (
    UPDATE tenure SET during = tstzrange(lower(during), greatest($2::timestamptz, lower(during) + interval '1 microsecond'))
    WHERE owner = $1 AND upper_inf(during)
    RETURNING prefix_id, block, upper(during) AS until
)
INSERT INTO free_block (prefix_id, block, free_since)
SELECT prefix_id, block, until FROM closed
RETURNING block

-- name: tenures_of_owner
SELECT id, prefix_id, block, owner, slot, lower(during) AS since, upper(during) AS until, note
FROM tenure WHERE owner = $1 AND upper_inf(during) ORDER BY slot

-- name: tenures_of_owners
SELECT id, prefix_id, block, owner, slot, lower(during) AS since, upper(during) AS until, note
FROM tenure WHERE owner = ANY($1::uuid[]) AND upper_inf(during) ORDER BY owner, slot

-- name: tenure_holding
SELECT id, prefix_id, block, owner, slot, lower(during) AS since, upper(during) AS until, note
FROM tenure WHERE block >>= $1::inet AND during @> $2::timestamptz
ORDER BY masklen(block) DESC LIMIT 1
