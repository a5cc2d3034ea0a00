-- name: add_vrf
WITH added AS (INSERT INTO vrf (name) VALUES ($1) ON CONFLICT (name) DO NOTHING RETURNING id)
SELECT id FROM added UNION ALL SELECT id FROM vrf WHERE name = $1 LIMIT 1

-- name: vrfs
SELECT id, name FROM vrf ORDER BY id

-- name: find_prefix
SELECT id, vrf_id, parent_id, cidr, role, facility, block_length, description, status, standing, organization_id,
       project_id
FROM prefix WHERE vrf_id = $1 AND cidr = $2::cidr AND status <> 'retired'

-- name: prefix_around
SELECT id, cidr, role, standing FROM prefix
WHERE vrf_id = $1 AND cidr >> $2::cidr AND status <> 'retired' ORDER BY masklen(cidr) DESC LIMIT 1

-- name: lock_tree
SELECT pg_advisory_xact_lock(hashtext('prefix tree'), $1)

-- name: add_prefix
INSERT INTO prefix (vrf_id, parent_id, parent_cidr, parent_role, cidr, role, facility, block_length, description,
                    organization_id, project_id, standing)
SELECT $1::int, parent.id, parent.cidr, parent.role, $3::cidr, $4::text, $5::text, $6::int, $7::text, $8::uuid,
       $9::uuid, coalesce(parent.standing, 'active')
FROM (SELECT 1) AS always LEFT JOIN prefix AS parent ON parent.id = $2::bigint
RETURNING id, vrf_id, parent_id, cidr, role, facility, block_length, description, status, standing, organization_id,
          project_id

-- name: overlaps_may_wait
SET CONSTRAINTS prefix_sibling_overlap DEFERRED

-- name: overlaps_must_not_wait
SET CONSTRAINTS prefix_sibling_overlap IMMEDIATE

-- name: take_children_over
UPDATE prefix SET parent_id = $1, parent_cidr = $2::cidr, parent_role = 'container'
WHERE vrf_id = $3 AND parent_id IS NOT DISTINCT FROM $4::bigint AND cidr << $2::cidr AND status <> 'retired'

-- name: free_all
INSERT INTO free_block (prefix_id, block, free_since) VALUES ($1, $2::cidr, coalesce($3::timestamptz, '-infinity'))

-- name: last_held4
SELECT max(upper(t.during)) FROM tenure AS t
WHERE span4(t.plane, t.block) && span4($1::bigint * 2, $2::cidr)
  AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL

-- name: last_held6
SELECT max(upper(t.during)) FROM tenure AS t
WHERE span6(t.block, 0) && span6($2::cidr, 0) AND span6(t.block, 1) && span6($2::cidr, 1)
  AND int8range(t.plane, t.plane, '[]') && int8range($1::bigint * 2, $1::bigint * 2, '[]')
  AND family(t.block) = 6 AND t.kind <> 'anycast' AND t.corrected_at IS NULL

-- name: tags_touching
SELECT DISTINCT block FROM abuse_tag WHERE vrf_id = $1 AND block && $2::cidr AND cleared_at IS NULL

-- name: prefixes_with_roles
SELECT id, vrf_id, parent_id, cidr, role, facility, block_length, description, status, standing, organization_id,
       project_id
FROM prefix
WHERE role = ANY($1::text[]) AND (facility = $2 OR facility IS NULL) AND standing = 'active'
  AND (organization_id IS NULL OR organization_id = $3::uuid) AND (project_id IS NULL OR project_id = $4::uuid)
ORDER BY num_nonnulls(organization_id, project_id) DESC, facility NULLS LAST, id

-- name: prefix_by_id
SELECT id, vrf_id, parent_id, cidr, role, facility, block_length, description, status, standing, organization_id,
       project_id
FROM prefix WHERE id = $1

-- name: prefixes_matching
SELECT p.id, p.vrf_id, p.parent_id, p.cidr, p.role, p.facility, p.block_length, p.description, p.status, p.standing,
       p.organization_id, p.project_id, held.tenures, held.taken
FROM prefix AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS tenures, coalesce(sum(power(2::float8, p.block_length - masklen(t.block))), 0) AS taken
    FROM tenure AS t
    WHERE t.prefix_id = p.id AND upper_inf(t.during) AND t.corrected_at IS NULL AND t.kind = 'held'
) AS held
WHERE ($1::bigint[] IS NULL OR p.id = ANY($1)) AND ($2::int IS NULL OR p.vrf_id = $2)
  AND ($3::text IS NULL OR p.role = $3) AND ($4::text IS NULL OR p.facility = $4)
  AND ($5::text IS NULL OR p.standing = $5) AND ($5 IS NOT NULL OR p.status <> 'retired')
  AND ($6::cidr IS NULL OR p.cidr <<= $6)
ORDER BY p.vrf_id, p.cidr

-- name: describe_prefix
UPDATE prefix SET description = coalesce($2::text, description), facility = coalesce($3::text, facility)
WHERE id = $1

-- name: prefixes_below
WITH RECURSIVE below AS (
    SELECT id, 0 AS depth FROM prefix WHERE id = $1
    UNION ALL
    SELECT p.id, below.depth + 1 FROM prefix AS p JOIN below ON p.parent_id = below.id
)
SELECT prefix.id FROM prefix JOIN below USING (id) ORDER BY prefix.id FOR UPDATE OF prefix

-- name: prefix_and_below
WITH RECURSIVE below AS (
    SELECT id FROM prefix WHERE id = $1
    UNION ALL
    SELECT p.id FROM prefix AS p JOIN below ON p.parent_id = below.id
)
SELECT id FROM below

-- name: set_prefix_status
UPDATE prefix SET status = $2 WHERE id = $1

-- name: spread_standing
WITH RECURSIVE ranks (status, rank) AS (VALUES ('active', 0), ('draining', 1), ('frozen', 2), ('retired', 3)),
below AS (
    SELECT p.id, greatest(own.rank, coalesce(above.rank, 0)) AS rank
    FROM prefix AS p
    JOIN ranks AS own ON own.status = p.status
    LEFT JOIN prefix AS parent ON parent.id = p.parent_id
    LEFT JOIN ranks AS above ON above.status = parent.standing
    WHERE p.id = $1
    UNION ALL
    SELECT p.id, greatest(own.rank, below.rank)
    FROM prefix AS p JOIN below ON p.parent_id = below.id JOIN ranks AS own ON own.status = p.status
    WHERE p.status <> 'retired'
)
UPDATE prefix SET standing = ranks.status
FROM below JOIN ranks ON ranks.rank = below.rank
WHERE prefix.id = below.id AND prefix.standing <> ranks.status

-- name: prefix_has_life
SELECT (SELECT count(*) FROM prefix WHERE parent_id = $1 AND status <> 'retired') AS children,
       (SELECT count(*) FROM tenure WHERE prefix_id = $1 AND upper_inf(during) AND corrected_at IS NULL) AS tenures

-- name: forget_free_blocks
DELETE FROM free_block WHERE prefix_id = $1

-- name: lock_prefix
SELECT id, vrf_id, cidr, block_length, standing FROM prefix WHERE id = $1 FOR NO KEY UPDATE

-- name: lock_prefixes
SELECT id, vrf_id, cidr, block_length, standing FROM prefix WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE

-- name: lock_tenures_of_owner
-- The prefix is shared first: who tags a block for abuse waits, or is seen afterwards. So is who leads a part to a
-- device: that one has shared the tenure's row.
SELECT t.id FROM prefix AS p JOIN tenure AS t ON t.prefix_id = p.id
WHERE t.owner = $1 AND upper_inf(t.during) AND t.corrected_at IS NULL
ORDER BY p.id, t.id FOR KEY SHARE OF p FOR UPDATE OF t

-- name: block_length_of_prefix
SELECT block_length FROM prefix WHERE id = $1

-- name: lock_prefixes_of_tenures
SELECT id, cidr, standing FROM prefix WHERE id IN (SELECT prefix_id FROM tenure WHERE id = ANY($1::uuid[]))
ORDER BY id FOR NO KEY UPDATE

-- name: share_prefix
SELECT id, vrf_id, cidr, standing FROM prefix WHERE id = $1 FOR KEY SHARE

-- name: open_tenures_of_slots
-- One look into the index a slot, whatever the planner believes of a table that grows by thousands a second.
SELECT held.*
FROM unnest($1::uuid[], $2::text[]) AS wanted (owner, slot)
CROSS JOIN LATERAL (
    SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
           lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
    FROM tenure AS t
    WHERE t.owner = wanted.owner AND t.slot = wanted.slot AND upper_inf(t.during) AND t.corrected_at IS NULL
    LIMIT 1
) AS held

-- name: next_free_blocks
SELECT f.block
FROM generate_series($2::int, $3::int, -1) AS l (length)
CROSS JOIN LATERAL (
    SELECT block, free_since FROM free_block
    WHERE prefix_id = $1 AND masklen(block) = l.length AND NOT tagged AND free_since <= $4
    ORDER BY free_since, block LIMIT $5
) AS f
ORDER BY l.length DESC, f.free_since, f.block
LIMIT $5

-- name: free_blocks_touching
SELECT block, nullif(free_since, '-infinity') AS held_until, tagged FROM free_block
WHERE prefix_id = $1 AND block && $2::cidr

-- name: open_tenures
WITH gone AS (
    DELETE FROM free_block AS f USING unnest($2::cidr[]) AS used (block)
    WHERE f.prefix_id = $1 AND f.block = used.block
    RETURNING f.block, f.free_since, f.tagged
), rest AS (
    INSERT INTO free_block (prefix_id, block, free_since, tagged)
    SELECT $1, piece.block, gone.free_since, gone.tagged
    FROM unnest($3::cidr[], $4::cidr[]) AS piece (block, source) JOIN gone ON gone.block = piece.source
)
INSERT INTO tenure (vrf_id, prefix_id, prefix_cidr, block, owner, slot, project_id, opened_by, note, during)
SELECT $5, $1, $6, new.block, new.owner, new.slot, new.project_id, new.opened_by, new.note, tstzrange($7, NULL)
FROM unnest($8::cidr[], $9::uuid[], $10::text[], $11::uuid[], $12::text[], $13::jsonb[])
    AS new (block, owner, slot, project_id, opened_by, note)
RETURNING id, block

-- name: why_no_block
SELECT (SELECT count(*) FROM free_block WHERE prefix_id = $1 AND tagged) AS tagged,
       (SELECT count(*) FROM free_block WHERE prefix_id = $1 AND NOT tagged AND free_since > $2) AS cooling,
       (SELECT min(free_since) FROM free_block
        WHERE prefix_id = $1 AND NOT tagged AND free_since > $2 AND masklen(block) <= $3) AS next,
       (SELECT min(masklen(block)) FROM free_block WHERE prefix_id = $1 AND NOT tagged AND free_since <= $2) AS largest

-- name: cooled_since
-- A minute's grace: what comes back is written a little after the time that it bears, by clocks that differ a little.
SELECT EXISTS (
    SELECT FROM free_block AS f JOIN prefix AS p ON p.id = f.prefix_id
    WHERE p.id = $1 AND NOT f.tagged AND f.free_since BETWEEN p.joined_at - interval '1 minute' AND $2)

-- name: cooled_blocks
SELECT block FROM free_block WHERE prefix_id = $1 AND NOT tagged AND free_since <= $2

-- name: join_blocks
WITH gone AS (
    DELETE FROM free_block AS f USING unnest($2::cidr[], $3::cidr[]) AS part (block, whole)
    WHERE f.prefix_id = $1 AND f.block = part.block
    RETURNING part.whole, f.free_since
)
INSERT INTO free_block (prefix_id, block, free_since) SELECT $1, whole, max(free_since) FROM gone GROUP BY whole

-- name: mark_joined
UPDATE prefix SET joined_at = $2 WHERE id = $1

-- name: prefixes_with_room
SELECT p.id FROM prefix AS p
WHERE p.id = ANY($1::bigint[]) AND p.standing = 'active' AND EXISTS (
    SELECT FROM generate_series(p.block_length, masklen(p.cidr), -1) AS l (length)
    WHERE EXISTS (
        SELECT FROM free_block AS f
        WHERE f.prefix_id = p.id AND masklen(f.block) = l.length AND NOT f.tagged AND f.free_since <= $2))

-- name: close_tenures
WITH closed AS (
    UPDATE tenure
    SET during = tstzrange(lower(during), greatest($2::timestamptz, lower(during) + interval '1 microsecond')),
        closed_by = $3, closed_at = clock_timestamp()
    WHERE owner = $1 AND upper_inf(during) AND corrected_at IS NULL
    RETURNING vrf_id, prefix_id, block, kind, upper(during) AS until
)
INSERT INTO free_block (prefix_id, block, free_since, tagged)
SELECT prefix_id, block, until, EXISTS (
    SELECT FROM abuse_tag AS a WHERE a.vrf_id = closed.vrf_id AND a.block && closed.block AND a.cleared_at IS NULL)
FROM closed WHERE kind = 'held'
RETURNING block

-- name: close_tenure
UPDATE tenure
SET during = tstzrange(lower(during), greatest($2::timestamptz, lower(during) + interval '1 microsecond')),
    closed_by = $3, closed_at = clock_timestamp()
WHERE id = $1 AND upper_inf(during) AND corrected_at IS NULL
RETURNING upper(during) AS until

-- name: parts_routed
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t
WHERE t.within = ANY($1::uuid[]) AND upper_inf(t.during) AND t.corrected_at IS NULL
ORDER BY t.block

-- name: parts_of_owner
SELECT part.block, part.owner FROM tenure AS part JOIN tenure AS held ON held.id = part.within
WHERE held.owner = $1 AND upper_inf(held.during) AND held.corrected_at IS NULL
  AND upper_inf(part.during) AND part.corrected_at IS NULL
ORDER BY part.block LIMIT 1

-- name: move_parts
UPDATE tenure SET within = $2
WHERE within = $1 AND block <<= $3::cidr AND upper_inf(during) AND corrected_at IS NULL

-- name: open_tenure
INSERT INTO tenure (vrf_id, prefix_id, prefix_cidr, block, kind, owner, slot, project_id, within, opened_by, note,
                    during)
SELECT p.vrf_id, p.id, p.cidr, $2::cidr, $3::text, $4::uuid, $5::text, $6::uuid, $7::uuid, $8::text, $9::jsonb,
       tstzrange($10::timestamptz, NULL)
FROM prefix AS p WHERE p.id = $1
RETURNING id, vrf_id, prefix_id, block, kind, owner, slot, project_id, within, lower(during) AS since,
          upper(during) AS until, opened_by, closed_by, note

-- name: lock_tenures
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t WHERE t.id = ANY($1::uuid[]) AND upper_inf(t.during) AND t.corrected_at IS NULL
ORDER BY t.id FOR UPDATE

-- name: tenure_by_id
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t WHERE t.id = $1 AND t.corrected_at IS NULL

-- name: tenures_of_owner
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t WHERE t.owner = $1 AND upper_inf(t.during) AND t.corrected_at IS NULL ORDER BY t.slot

-- name: tenures_of_owners
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t
WHERE t.owner = ANY($1::uuid[]) AND upper_inf(t.during) AND t.corrected_at IS NULL ORDER BY t.owner, t.slot

-- name: tenures_of_prefix
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t
WHERE t.prefix_id = ANY($1::bigint[]) AND upper_inf(t.during) AND t.corrected_at IS NULL AND t.slot LIKE $4
ORDER BY t.block, t.kind OFFSET $2 LIMIT $3

-- name: count_tenures_of_prefix
SELECT count(*) FROM tenure AS t
WHERE t.prefix_id = ANY($1::bigint[]) AND upper_inf(t.during) AND t.corrected_at IS NULL AND t.slot LIKE $2

-- name: tenures_at4
-- Each index is looked into by itself (OFFSET 0 keeps the planner from doing it otherwise).
SELECT held.*
FROM unnest($1::bigint[]) AS p (plane)
CROSS JOIN LATERAL (
    SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
           lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
    FROM tenure AS t
    WHERE span4(t.plane, t.block) && span4(p.plane, $3::cidr) AND t.during @> $4::timestamptz
      AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
    OFFSET 0
) AS held
UNION ALL
SELECT led.*
FROM unnest($2::int[]) AS v (id) CROSS JOIN unnest($5::cidr[], $6::cidr[]) AS span (first, last)
CROSS JOIN LATERAL (
    SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
           lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
    FROM tenure AS t
    WHERE t.block BETWEEN span.first AND span.last AND t.vrf_id = v.id AND t.during @> $4::timestamptz
      AND t.kind = 'anycast' AND t.corrected_at IS NULL
    OFFSET 0
) AS led

-- name: tenures_at6
SELECT held.*
FROM unnest($1::bigint[]) AS p (plane)
CROSS JOIN LATERAL (
    SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
           lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
    FROM tenure AS t
    WHERE span6(t.block, 0) && span6($3::cidr, 0) AND span6(t.block, 1) && span6($3::cidr, 1)
      AND int8range(t.plane, t.plane, '[]') && int8range(p.plane, p.plane, '[]') AND t.during @> $4::timestamptz
      AND family(t.block) = 6 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
    OFFSET 0
) AS held
UNION ALL
SELECT led.*
FROM unnest($2::int[]) AS v (id) CROSS JOIN unnest($5::cidr[], $6::cidr[]) AS span (first, last)
CROSS JOIN LATERAL (
    SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
           lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
    FROM tenure AS t
    WHERE t.block BETWEEN span.first AND span.last AND t.vrf_id = v.id AND t.during @> $4::timestamptz
      AND t.kind = 'anycast' AND t.corrected_at IS NULL
    OFFSET 0
) AS led

-- name: history4
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note,
       t.recorded_at, t.closed_at, t.corrected_at, t.corrected_by, t.correction
FROM unnest($1::bigint[]) AS p (plane) JOIN tenure AS t ON span4(t.plane, t.block) && span4(p.plane, $2::cidr)
WHERE family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL

-- name: history6
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note,
       t.recorded_at, t.closed_at, t.corrected_at, t.corrected_by, t.correction
FROM unnest($1::bigint[]) AS p (plane)
JOIN tenure AS t ON span6(t.block, 0) && span6($2::cidr, 0) AND span6(t.block, 1) && span6($2::cidr, 1)
    AND int8range(t.plane, t.plane, '[]') && int8range(p.plane, p.plane, '[]')
WHERE family(t.block) = 6 AND t.kind <> 'anycast' AND t.corrected_at IS NULL

-- name: history_beside
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note,
       t.recorded_at, t.closed_at, t.corrected_at, t.corrected_by, t.correction
FROM unnest($2::cidr[], $3::cidr[]) AS span (first, last) JOIN tenure AS t ON t.block BETWEEN span.first AND span.last
WHERE t.vrf_id = ANY($1::int[]) AND (t.kind = 'anycast' OR t.corrected_at IS NOT NULL)

-- name: keep_wrong_tenure
INSERT INTO tenure (vrf_id, prefix_id, prefix_cidr, block, kind, owner, slot, project_id, within, opened_by, closed_by,
                    recorded_at, closed_at, note, during, corrected_at, corrected_by, corrected_as, correction)
SELECT vrf_id, prefix_id, prefix_cidr, block, kind, owner, slot, project_id, within, opened_by, closed_by,
       recorded_at, closed_at, note, during, clock_timestamp(), $2, id, $3
FROM tenure WHERE id = $1

-- name: put_tenure_right
UPDATE tenure SET project_id = $2, note = $3, during = tstzrange($4, $5), recorded_at = clock_timestamp()
WHERE id = $1
RETURNING id, vrf_id, prefix_id, block, kind, owner, slot, project_id, within, lower(during) AS since,
          upper(during) AS until, opened_by, closed_by, note

-- name: tenure_to_correct
SELECT t.id, t.vrf_id, t.prefix_id, t.block, t.kind, t.owner, t.slot, t.project_id, t.within,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.note
FROM tenure AS t WHERE t.id = $1 AND t.corrected_at IS NULL FOR UPDATE

-- name: rest_from
UPDATE free_block SET free_since = greatest(free_since, $3) WHERE prefix_id = $1 AND block && $2::cidr

-- name: set_abuse_tag
INSERT INTO abuse_tag (vrf_id, block, tag, reason, set_by, set_at) VALUES ($1, $2::cidr, $3, $4, $5, $6)
ON CONFLICT (vrf_id, block, tag) WHERE cleared_at IS NULL DO NOTHING
RETURNING id

-- name: clear_abuse_tag
UPDATE abuse_tag SET cleared_by = $4, cleared_at = $5
WHERE vrf_id = $1 AND block = $2::cidr AND tag = $3 AND cleared_at IS NULL
RETURNING true

-- name: abuse_tags
SELECT id, vrf_id, block, tag, reason, set_by, set_at, cleared_by, cleared_at FROM abuse_tag
WHERE ($1::int IS NULL OR vrf_id = $1) AND ($2::cidr IS NULL OR block && $2) AND ($3 OR cleared_at IS NULL)
ORDER BY set_at, block

-- name: lock_prefixes_touching
SELECT id, cidr, block_length FROM prefix
WHERE vrf_id = $1 AND cidr && $2::cidr AND role <> 'container' AND status <> 'retired'
ORDER BY id FOR UPDATE

-- name: set_tagged
-- A free block is tagged when, and only when, a tag touches it: also a piece of one that was tagged before.
WITH gone AS (
    DELETE FROM free_block AS f USING unnest($2::cidr[]) AS used (block)
    WHERE f.prefix_id = $1 AND f.block = used.block
    RETURNING f.block, f.free_since
), rest AS (
    INSERT INTO free_block (prefix_id, block, free_since, tagged)
    SELECT $1, piece.block, gone.free_since, EXISTS (
        SELECT FROM abuse_tag AS a JOIN prefix AS p ON p.vrf_id = a.vrf_id
        WHERE p.id = $1 AND a.cleared_at IS NULL AND a.block && piece.block)
    FROM unnest($3::cidr[], $4::cidr[]) AS piece (block, source) JOIN gone ON gone.block = piece.source
)
INSERT INTO free_block (prefix_id, block, free_since, tagged)
SELECT $1, part.block, gone.free_since, true
FROM unnest($5::cidr[], $6::cidr[]) AS part (block, source) JOIN gone ON gone.block = part.source

-- name: untag_free_blocks
-- What was cut for the tag can be joined again.
WITH free AS (
    UPDATE free_block AS f SET tagged = false
    WHERE f.prefix_id = $1 AND f.tagged AND f.block && $2::cidr AND NOT EXISTS (
        SELECT FROM abuse_tag AS a JOIN prefix AS p ON p.vrf_id = a.vrf_id
        WHERE p.id = f.prefix_id AND a.cleared_at IS NULL AND a.block && f.block)
)
UPDATE prefix SET joined_at = '-infinity' WHERE id = $1

-- name: asn_pools
SELECT p.id, p.name, p.first, p.last, p.facility,
       (SELECT count(*) FROM asn_tenure AS t WHERE t.pool_id = p.id AND upper_inf(t.during)) AS taken
FROM asn_pool AS p WHERE $1::text IS NULL OR p.name = $1 ORDER BY p.first

-- name: add_asn_pool
INSERT INTO asn_pool (name, first, last, facility, cursor) VALUES ($1, $2, $3, $4, $2)

-- name: lock_asn_pool
SELECT id, name, first, last, cursor FROM asn_pool WHERE name = $1 FOR NO KEY UPDATE

-- name: asn_of_slot
SELECT id, pool_id, asn, owner, slot, lower(during) AS since, upper(during) AS until, opened_by, closed_by, note
FROM asn_tenure WHERE owner = $1 AND slot = $2 AND upper_inf(during)

-- name: take_free_asn
DELETE FROM free_asn WHERE (pool_id, asn) = (
    SELECT pool_id, asn FROM free_asn WHERE pool_id = $1 AND free_since <= $2 ORDER BY free_since, asn LIMIT 1)
RETURNING asn

-- name: advance_asn_cursor
UPDATE asn_pool SET cursor = cursor + 1 WHERE id = $1

-- name: open_asn_tenure
INSERT INTO asn_tenure (pool_id, pool_first, pool_last, asn, owner, slot, opened_by, note, during)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, tstzrange($9, NULL))
RETURNING id, pool_id, asn, owner, slot, lower(during) AS since, upper(during) AS until, opened_by, closed_by, note

-- name: close_asn_tenures
WITH closed AS (
    UPDATE asn_tenure
    SET during = tstzrange(lower(during), greatest($2::timestamptz, lower(during) + interval '1 microsecond')),
        closed_by = $3
    WHERE upper_inf(during) AND ($1::uuid IS NULL OR owner = $1) AND ($4::bigint IS NULL OR asn = $4)
    RETURNING pool_id, asn, upper(during) AS until
)
INSERT INTO free_asn (pool_id, asn, free_since) SELECT pool_id, asn, until FROM closed RETURNING asn

-- name: asn_tenures
SELECT t.id, t.pool_id, t.asn, t.owner, t.slot, lower(t.during) AS since, upper(t.during) AS until, t.opened_by,
       t.closed_by, t.note
FROM asn_tenure AS t JOIN asn_pool AS p ON p.id = t.pool_id
WHERE ($1::text IS NULL OR p.name = $1) AND ($2::bigint IS NULL OR t.asn = $2) AND t.during @> $3::timestamptz
ORDER BY t.asn

-- name: share_prefix_of_tenure
SELECT p.id FROM prefix AS p WHERE p.id = (SELECT prefix_id FROM tenure WHERE id = $1) FOR KEY SHARE

-- name: free_again
INSERT INTO free_block (prefix_id, block, free_since, tagged)
SELECT p.id, $2::cidr, $3::timestamptz, EXISTS (
    SELECT FROM abuse_tag AS a WHERE a.vrf_id = p.vrf_id AND a.block && $2::cidr AND a.cleared_at IS NULL)
FROM prefix AS p WHERE p.id = $1

-- name: ledger_names
SELECT coalesce((SELECT jsonb_object_agg(id, name) FROM project WHERE id = ANY($1::uuid[])), '{}') AS projects,
       coalesce((SELECT jsonb_object_agg(id, hostname) FROM device WHERE id = ANY($2::uuid[])), '{}') AS devices,
       coalesce((SELECT jsonb_object_agg(named.actor, named.name) FROM (
           SELECT 'user:' || id AS actor, email AS name FROM user_account
           UNION ALL
           SELECT 'run:' || id, workflow FROM run WHERE 'run:' || id = ANY($3::text[])
       ) AS named WHERE named.actor = ANY($3::text[])), '{}') AS actors

-- name: map_of_prefix
SELECT kind, block, sum(addresses)::float8 AS addresses FROM (
    SELECT 'held' AS kind, network(set_masklen(t.block, least(masklen(t.block), $2::int))) AS block,
           power(2::float8, CASE family(t.block) WHEN 4 THEN 32 ELSE 128 END - masklen(t.block)) AS addresses
    FROM tenure AS t
    WHERE t.prefix_id = $1 AND upper_inf(t.during) AND t.corrected_at IS NULL AND t.kind = 'held'
    UNION ALL
    SELECT CASE WHEN f.tagged THEN 'tagged' ELSE 'cooling' END,
           network(set_masklen(f.block, least(masklen(f.block), $2::int))),
           power(2::float8, CASE family(f.block) WHEN 4 THEN 32 ELSE 128 END - masklen(f.block))
    FROM free_block AS f
    WHERE f.prefix_id = $1 AND (f.tagged OR f.free_since > $3::timestamptz - make_interval(secs => $4))
) AS parts
GROUP BY kind, block
