-- Elastic addresses as customers see them -----------------------------------------------------------------------

-- What the dialect calls a block of an elastic or anycast prefix: private is what lies in RFC 1918's space.
CREATE FUNCTION ip_type(block cidr, role text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN family(block) = 6 THEN 'public_ipv6'
            WHEN role = 'anycast' THEN 'global_ipv4'
            WHEN block <<= inet '10.0.0.0/8' OR block <<= inet '172.16.0.0/12' OR block <<= inet '192.168.0.0/16'
            THEN 'private_ipv4'
            ELSE 'public_ipv4' END;

-- What a customer says of a reservation or an assignment. Its id is the tenure's.
CREATE TABLE ip_label (
    id           uuid PRIMARY KEY REFERENCES tenure,
    details      text,
    tags         text[] NOT NULL DEFAULT '{}',
    customdata   jsonb NOT NULL DEFAULT '{}',
    manageable   boolean NOT NULL DEFAULT true,
    -- Which request made it, for the day on which that comes again.
    request_key  uuid UNIQUE,
    request      bytea,
    -- Its customer has released the reservation while a leaf may still lead a part of it to a port: it is gone for the
    -- customer, and the ledger ends it, and empties these two, as soon as no leaf does.
    released_at  timestamptz,
    released_by  text,
    CONSTRAINT ip_label_request CHECK (num_nonnulls(request_key, request) IN (0, 2)),
    CONSTRAINT ip_label_released CHECK (num_nonnulls(released_at, released_by) IN (0, 2))
);
CREATE INDEX ip_label_to_end ON ip_label (id) WHERE released_at IS NOT NULL;

CREATE VIEW elastic_reservation AS
SELECT t.id, t.owner AS project_id, t.vrf_id, t.block, lower(t.during) AS since, upper(t.during) AS until, t.opened_by,
       upper_inf(t.during) AS lasts, p.role = 'anycast' AS global_ip, ip_type(t.block, p.role) AS type,
       coalesce(p.facility, t.note->>'facility') AS facility, l.details, coalesce(l.tags, '{}') AS tags,
       coalesce(l.customdata, '{}') AS customdata, l.released_at
FROM tenure AS t JOIN prefix AS p ON p.id = t.prefix_id LEFT JOIN ip_label AS l ON l.id = t.id
WHERE t.kind = 'held' AND t.slot LIKE 'elastic %' AND t.corrected_at IS NULL;

-- What a port led somewhere and shall no more. Until the leaf was seen without it, the block goes to no other customer.
CREATE TABLE route_withdrawal (
    port_id      uuid NOT NULL REFERENCES leaf_port,
    vrf_id       int NOT NULL REFERENCES vrf,
    block        cidr NOT NULL,
    generation   bigint NOT NULL,
    PRIMARY KEY (port_id, vrf_id, block)
);

-- BGP -----------------------------------------------------------------------------------------------------------

-- One row a version: a change ends one and begins the next, and none is removed.
CREATE TABLE bgp_config (
    version          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               uuid NOT NULL,
    project_id       uuid NOT NULL REFERENCES project,
    deployment_type  text NOT NULL CHECK (deployment_type IN ('local', 'global')),
    asn              bigint NOT NULL CHECK (asn BETWEEN 1 AND 4294967294),
    md5              bytea,  -- sealed
    use_case         text,
    status           text NOT NULL CHECK (status IN ('requested', 'enabled')),
    requested_at     timestamptz NOT NULL,
    set_by           text NOT NULL,
    during           tstzrange NOT NULL CHECK (NOT isempty(during) AND NOT lower_inf(during))
);
CREATE UNIQUE INDEX bgp_config_now ON bgp_config (project_id) WHERE upper_inf(during);

CREATE TABLE bgp_session (
    version          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               uuid NOT NULL,
    device_id        uuid NOT NULL REFERENCES device,
    address_family   text NOT NULL CHECK (address_family IN ('ipv4', 'ipv6')),
    default_route    boolean NOT NULL,
    created_at       timestamptz NOT NULL,
    set_by           text NOT NULL,
    ended_by         text,
    during           tstzrange NOT NULL CHECK (NOT isempty(during) AND NOT lower_inf(during))
);
CREATE UNIQUE INDEX bgp_session_now ON bgp_session (id) WHERE upper_inf(during);
CREATE UNIQUE INDEX bgp_session_of_device ON bgp_session (device_id, address_family) WHERE upper_inf(during);
