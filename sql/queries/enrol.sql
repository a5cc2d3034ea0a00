-- name: enrol_leaf
INSERT INTO leaf (facility_id, name, host, port, username, secret, host_key, private_key, fabric)
SELECT f.id, $2, $3, $4, $5, $6, $7, $8, $9 FROM facility AS f WHERE f.code = $1
-- What is no part of this inventory stays: a fabric is taken away by an action of its own.
ON CONFLICT (name) DO UPDATE
SET host = excluded.host, port = excluded.port, username = excluded.username, secret = excluded.secret,
    host_key = excluded.host_key, private_key = excluded.private_key, fabric = coalesce(excluded.fabric, leaf.fabric),
    generation = leaf.generation
                 + CASE WHEN excluded.fabric IS DISTINCT FROM leaf.fabric AND excluded.fabric IS NOT NULL
                        THEN 1 ELSE 0 END
RETURNING id

-- name: enrol_port
INSERT INTO leaf_port (leaf_id, name) SELECT l.id, $2 FROM leaf AS l WHERE l.name = $1
ON CONFLICT (leaf_id, name) DO UPDATE SET name = excluded.name
RETURNING id

-- name: enrol_machine
INSERT INTO machine (facility_id, plan_id, port_id, name, mac, arch, bmc_url, bmc_username, bmc_secret, secure_boot)
SELECT f.id, p.id, $3, $4, $5::text::macaddr, $6, $7, $8, $9, $10
FROM facility AS f, plan AS p WHERE f.code = $1 AND (p.slug = $2 OR $2 = ANY(p.aliases))
ON CONFLICT (name) WHERE state <> 'retired' DO UPDATE SET bmc_url = excluded.bmc_url, bmc_username = excluded.bmc_username,
                                 bmc_secret = excluded.bmc_secret, mac = excluded.mac,
                                 secure_boot = excluded.secure_boot
RETURNING id, state
