-- name: leaf_row
SELECT l.id, l.name, f.code AS facility, l.host, l.port, l.username, l.secret, l.private_key, l.host_key, l.state,
       l.fault, l.epoch, l.database, l.fabric, l.generation, l.applied, l.rendering, l.commit_s, l.running, l.running_at,
       l.read_asked_at, l.drifted, l.locked_since, l.sessions
FROM leaf AS l JOIN facility AS f ON f.id = l.facility_id
WHERE l.id::text = $1 OR l.name = $1

-- name: lock_leaf_row
SELECT id FROM leaf WHERE id::text = $1 OR name = $1 FOR UPDATE

-- name: fabric_of_leaf
SELECT fabric FROM leaf WHERE id = $1

-- name: exemptions_of_leaf
SELECT object, instead_of, accepted, difference, accepted_by, accepted_at
FROM leaf_exemption WHERE leaf_id = $1 ORDER BY object

-- name: accept_drift
INSERT INTO leaf_exemption (leaf_id, object, instead_of, accepted, difference, accepted_by, accepted_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (leaf_id, object) DO UPDATE
SET instead_of = excluded.instead_of, accepted = excluded.accepted, difference = excluded.difference,
    accepted_by = excluded.accepted_by, accepted_at = excluded.accepted_at

-- name: revoke_exemption
DELETE FROM leaf_exemption WHERE leaf_id = $1 AND object = $2 RETURNING true

-- name: ask_leaf_read
WITH asked AS (
    UPDATE leaf SET read_asked_at = clock_timestamp() WHERE id = $1 RETURNING id, read_asked_at
)
SELECT read_asked_at, pg_notify('roundhouse', 'leaf:' || id) FROM asked

-- name: leaf_seen_since
SELECT running_at >= $2 FROM leaf WHERE id = $1

-- name: moment
SELECT clock_timestamp()

-- name: leaf_seen
WITH seen AS (
    UPDATE leaf SET running = $3, running_at = $4, drifted = $5 WHERE id = $1 AND epoch = $2 RETURNING id
)
SELECT pg_notify('roundhouse', 'leafread:' || id) FROM seen

-- name: raise_leaf
WITH raised AS (
    UPDATE leaf SET generation = generation + 1 WHERE id = $1 RETURNING id
)
SELECT pg_notify('roundhouse', 'leaf:' || id) FROM raised

-- name: mark_leaf_applied
UPDATE leaf SET applied = greatest(applied, $3), rendering = $4
WHERE id = $1 AND epoch = $2

-- name: session_opened
UPDATE leaf SET sessions = (array[$3::text] || sessions)[1:16] WHERE id = $1 AND epoch = $2

-- name: sessions_settled
UPDATE leaf SET sessions = array[$3::text] WHERE id = $1 AND epoch = $2 AND sessions <> array[$3::text]

-- name: set_commit_s
UPDATE leaf SET commit_s = $3 WHERE id = $1 AND epoch = $2

-- name: neighbors_seen
UPDATE leaf_port AS o SET seen_mac = seen.mac::macaddr, seen_name = seen.name, seen_at = $5
FROM unnest($2::text[], $3::text[], $4::text[]) AS seen (port, mac, name)
WHERE o.leaf_id = $1 AND o.name = seen.port
  AND (o.seen_mac, o.seen_name) IS DISTINCT FROM (seen.mac::macaddr, seen.name)

-- name: known_macs
SELECT mac::text FROM machine WHERE mac = ANY($1::text[]::macaddr[])

-- name: cabling
-- Who is at a port is told by LLDP and by what booted there: what was seen last counts.
SELECT o.id AS port_id, l.name AS leaf, o.name AS port, m.name AS machine, m.mac::text AS mac,
       CASE WHEN o.booted_at > coalesce(o.seen_at, '-infinity') THEN coalesce(o.booted_mac, o.seen_mac)
            ELSE coalesce(o.seen_mac, o.booted_mac) END::text AS seen_mac,
       o.seen_name, greatest(o.seen_at, o.booted_at) AS seen_at
FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id LEFT JOIN machine AS m ON m.port_id = o.id
WHERE l.facility_id = (SELECT facility_id FROM leaf WHERE id = $1)
ORDER BY l.name, length(o.name), o.name
