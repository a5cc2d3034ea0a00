-- What ended lately is found without reading what ended long ago; what lasts is found by tenure_by_prefix.
CREATE INDEX tenure_ended ON tenure (upper(during)) WHERE NOT upper_inf(during) AND corrected_at IS NULL;

-- Names of addresses ---------------------------------------------------------------------------------------------

-- The name that somebody gave an address. It holds as long as the same project holds the address, the provider's own
-- (project_id is NULL) as long as the provider does.
CREATE TABLE ptr (
    vrf_id      int NOT NULL REFERENCES vrf,
    address     inet NOT NULL CHECK (address = set_masklen(address, -1)),
    name        text NOT NULL,
    project_id  uuid REFERENCES project,
    set_by      text NOT NULL,
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (vrf_id, address)
);
CREATE INDEX ptr_by_address ON ptr USING gist (address inet_ops);

-- What a DNS server has confirmed. `source` is what the name was made of; a NULL name says that there is none.
CREATE TABLE ptr_pushed (
    zone          text NOT NULL,
    address       inet NOT NULL,
    source        text NOT NULL,
    name          text,
    confirmed_at  timestamptz NOT NULL,
    PRIMARY KEY (zone, address)
);

-- How the last update of a reverse zone went.
CREATE TABLE dns_zone (
    name          text PRIMARY KEY,
    fault         text,
    tried_at      timestamptz NOT NULL,
    confirmed_at  timestamptz
);

-- What is held of a network now. Its conditions are written as the ledger's indexes have them: only what lasts without
-- an end holds infinity.
CREATE FUNCTION held_in(vrf int, network cidr) RETURNS SETOF tenure LANGUAGE sql STABLE AS $$
    SELECT * FROM tenure AS t
    WHERE family(network) = 4 AND span4(t.plane, t.block) && span4(vrf::bigint * 2, network)
      AND t.during @> timestamptz 'infinity'
      AND family(t.block) = 4 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
    UNION ALL
    SELECT * FROM tenure AS t
    WHERE family(network) = 6 AND span6(t.block, 0) && span6(network, 0) AND span6(t.block, 1) && span6(network, 1)
      AND int8range(t.plane, t.plane, '[]') && int8range(vrf::bigint * 2, vrf::bigint * 2, '[]')
      AND t.during @> timestamptz 'infinity'
      AND family(t.block) = 6 AND t.kind <> 'anycast' AND t.corrected_at IS NULL
$$;

-- The hosts' sides of the devices' links in a network: the odd address after the leaf's. STRICT and ROWS keep the planner
-- from looking inside, where it would take a whole network's tenures for a single row.
CREATE FUNCTION links_in(vrf int, network cidr) RETURNS TABLE (address inet, owner uuid)
LANGUAGE sql STABLE STRICT ROWS 100000 AS $$
    SELECT side.address, t.owner
    FROM held_in(vrf, network) AS t
    CROSS JOIN LATERAL (SELECT set_masklen(t.block::inet, -1) + 1) AS side (address)
    WHERE t.slot IN ('public', 'private', 'ipv6') AND side.address <<= network
$$;

-- The names that addresses of a network should have: those that somebody gave, and by the template the devices' own.
CREATE FUNCTION ptr_wanted(vrf int, network cidr, template text)
RETURNS TABLE (address inet, source text, given text, hostname text, facility text, device_id uuid)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(own.address, link.address), coalesce('own ' || own.name, link.source), own.name, link.hostname,
           link.facility, link.device_id
    FROM (
        SELECT ptr.address, ptr.name FROM ptr
        WHERE ptr.vrf_id = vrf AND ptr.address <<= network AND EXISTS (
            SELECT FROM held_in(vrf, ptr.address::cidr) AS t WHERE t.project_id IS NOT DISTINCT FROM ptr.project_id)
    ) AS own
    FULL JOIN (
        SELECT side.address, concat_ws(' ', template, device.hostname, facility.code) AS source, device.hostname,
               facility.code AS facility, device.id AS device_id
        FROM links_in(vrf, network) AS side
        JOIN device ON device.id = side.owner
        JOIN facility ON facility.id = device.facility_id
        WHERE template <> ''
    ) AS link ON link.address = own.address
$$;
