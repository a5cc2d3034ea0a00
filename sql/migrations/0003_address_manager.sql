-- The tree ------------------------------------------------------------------------------------------------------

ALTER TABLE prefix
    ADD COLUMN description text NOT NULL DEFAULT '',
    -- What was said of this node; `standing` is the strictest of it and of all nodes above, kept by set_standing().
    ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'draining', 'frozen', 'retired')),
    ADD COLUMN standing text NOT NULL DEFAULT 'active' CHECK (standing IN ('active', 'draining', 'frozen', 'retired')),
    -- Whose space it is; the provider's own when both are NULL. A node serves nobody but its owner.
    ADD COLUMN organization_id uuid REFERENCES organization,
    ADD COLUMN project_id uuid REFERENCES project,
    ADD COLUMN parent_role text CHECK (parent_role = 'container'),
    ADD CONSTRAINT prefix_has_one_owner CHECK (num_nonnulls(organization_id, project_id) <= 1),
    ADD CONSTRAINT prefix_identity UNIQUE (id, vrf_id, cidr),
    ADD CONSTRAINT prefix_kind UNIQUE (id, cidr, role);

UPDATE prefix SET parent_role = 'container' WHERE parent_id IS NOT NULL;

ALTER TABLE prefix
    DROP CONSTRAINT prefix_role_check,
    ADD CONSTRAINT prefix_role_check CHECK (role IN (
        'container', 'boot', 'public', 'private', 'ipv6', 'elastic', 'anycast', 'loopback', 'uplink', 'management',
        'infrastructure')),
    DROP CONSTRAINT prefix_parent,
    DROP CONSTRAINT prefix_has_whole_parent,
    -- Only a container has children: what hands out blocks hands out all of itself.
    ADD CONSTRAINT prefix_parent_is_container FOREIGN KEY (parent_id, parent_cidr, parent_role)
        REFERENCES prefix (id, cidr, role),
    ADD CONSTRAINT prefix_has_whole_parent CHECK (num_nonnulls(parent_id, parent_cidr, parent_role) IN (0, 3)),
    DROP CONSTRAINT prefix_sibling_overlap,
    -- Deferrable: a container that is put between a node and its children takes the children over.
    ADD CONSTRAINT prefix_sibling_overlap
        EXCLUDE USING gist (int8range(scope, scope, '[]') WITH &&, cidr inet_ops WITH &&)
        WHERE (status <> 'retired') DEFERRABLE INITIALLY IMMEDIATE;
CREATE INDEX prefix_by_parent ON prefix (parent_id);

-- Free space ----------------------------------------------------------------------------------------------------

-- What no tenure holds, as aligned blocks. Free blocks and open `held` tenures together are the whole prefix, always.
ALTER TABLE free_block
    -- Tagged for abuse: not handed out until the tag is cleared.
    ADD COLUMN tagged boolean NOT NULL DEFAULT false,
    ALTER COLUMN free_since SET DEFAULT '-infinity';

-- What of `whole` is left when its first `used` blocks of /`length` are gone.
CREATE FUNCTION pg_temp.left_of(whole cidr, length int, used numeric) RETURNS SETOF cidr LANGUAGE plpgsql AS $$
DECLARE
    half numeric;
    lower_half cidr;
    upper_half cidr;
BEGIN
    IF used <= 0 THEN
        RETURN NEXT whole;
    ELSIF masklen(whole) < length THEN
        half := 2.0 ^ (length - masklen(whole) - 1);
        lower_half := set_masklen(whole, masklen(whole) + 1);
        upper_half := network(set_masklen(broadcast(whole), masklen(whole) + 1));
        IF used < half THEN
            RETURN QUERY SELECT * FROM pg_temp.left_of(lower_half, length, used);
            RETURN NEXT upper_half;
        ELSE
            RETURN QUERY SELECT * FROM pg_temp.left_of(upper_half, length, used - half);
        END IF;
    END IF;
END $$;

INSERT INTO free_block (prefix_id, block)
SELECT prefix.id, rest.block
FROM prefix, pg_temp.left_of(prefix.cidr, prefix.block_length, prefix.cursor) AS rest (block)
WHERE prefix.role <> 'container';

ALTER TABLE prefix DROP COLUMN cursor;
DROP INDEX free_block_oldest;
-- The smallest block that fits, and of those the longest free.
CREATE INDEX free_block_next ON free_block (prefix_id, masklen(block), free_since, block) WHERE NOT tagged;

-- When free neighbours were last joined: nothing is gained by doing it again before more blocks have cooled down.
ALTER TABLE prefix ADD COLUMN joined_at timestamptz NOT NULL DEFAULT '-infinity';

CREATE TABLE abuse_tag (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    vrf_id      int NOT NULL REFERENCES vrf,
    block       cidr NOT NULL,
    tag         text NOT NULL CHECK (tag ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    reason      text NOT NULL DEFAULT '',
    set_by      text NOT NULL,
    set_at      timestamptz NOT NULL,
    cleared_by  text,
    cleared_at  timestamptz
);
CREATE UNIQUE INDEX abuse_tag_once ON abuse_tag (vrf_id, block, tag) WHERE cleared_at IS NULL;
CREATE INDEX abuse_tag_block ON abuse_tag USING gist (block inet_ops) WHERE cleared_at IS NULL;

-- The ledger ----------------------------------------------------------------------------------------------------

-- Bodies are bound when they are made (RETURN): while an index is built, the search path is empty.
-- Half of an address as a number whose order is the addresses' order: 0 is the upper 64 bits, 1 the lower.
CREATE FUNCTION half_of(address inet, half int) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (('x' || encode(substr(inet_send(address), 5 + 8 * half, 8), 'hex'))::bit(64)
              # x'8000000000000000'::bit(64))::bigint;

CREATE FUNCTION span_of(first bigint, last bigint) RETURNS int8range LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN last = 9223372036854775807 THEN int8range(first, NULL) ELSE int8range(first, last, '[]') END;

-- Blocks as ranges of numbers: GiST stays flat on those, and does not on inet. An IPv4 block lies in its plane (see
-- tenure.plane), so that one column is enough; an IPv6 block is a range of the upper and a range of the lower halves.
CREATE FUNCTION span4(plane bigint, block cidr) RETURNS int8range LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN family(block) = 4 THEN int8range(
        plane * 4294967296 + (block::inet - inet '0.0.0.0'),
        plane * 4294967296 + (block::inet - inet '0.0.0.0') + (1::bigint << (32 - masklen(block)))) END;

CREATE FUNCTION span6(block cidr, half int) RETURNS int8range LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN family(block) = 6 THEN span_of(half_of(block::inet, half), half_of(broadcast(block), half)) END;

ALTER TABLE tenure
    DROP CONSTRAINT tenure_overlap,
    DROP CONSTRAINT tenure_vrf_id_fkey,
    DROP CONSTRAINT tenure_prefix_id_fkey,
    -- held: taken out of the prefix. routed: a part of what is held, led to one device. anycast: led to many at once.
    ADD COLUMN kind text NOT NULL DEFAULT 'held' CHECK (kind IN ('held', 'routed', 'anycast')),
    ADD COLUMN project_id uuid,
    -- The held tenure that a routed one is a part of; another one after a split or a merge.
    ADD COLUMN within uuid REFERENCES tenure,
    ADD COLUMN opened_by text NOT NULL DEFAULT 'unknown',
    ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN closed_by text,
    -- When the end was written down, which may be later than the end itself.
    ADD COLUMN closed_at timestamptz,
    -- A correction puts the row right and keeps what it said before as a row of its own, marked by these four.
    ADD COLUMN corrected_at timestamptz,
    ADD COLUMN corrected_by text,
    ADD COLUMN corrected_as uuid REFERENCES tenure,
    ADD COLUMN correction text,
    ADD COLUMN prefix_cidr cidr,
    -- Tenures of one plane do not overlap: what is held in a VRF is one plane, what is routed of it another.
    ADD COLUMN plane bigint GENERATED ALWAYS AS (vrf_id::bigint * 2 + (kind <> 'held')::int) STORED;

UPDATE tenure SET prefix_cidr = prefix.cidr FROM prefix WHERE prefix.id = tenure.prefix_id;

ALTER TABLE tenure
    ALTER COLUMN prefix_cidr SET NOT NULL,
    ADD CONSTRAINT tenure_prefix FOREIGN KEY (prefix_id, vrf_id, prefix_cidr) REFERENCES prefix (id, vrf_id, cidr),
    ADD CONSTRAINT tenure_inside_prefix CHECK (block <<= prefix_cidr),
    ADD CONSTRAINT tenure_routed_is_within CHECK ((kind = 'held') = (within IS NULL)),
    ADD CONSTRAINT tenure_corrected CHECK (num_nonnulls(corrected_at, corrected_by, corrected_as, correction) IN (0, 4)),
    ADD CONSTRAINT tenure_overlap4 EXCLUDE USING gist (span4(plane, block) WITH &&, during WITH &&)
        WHERE (family(block) = 4 AND kind <> 'anycast' AND corrected_at IS NULL),
    ADD CONSTRAINT tenure_overlap6 EXCLUDE USING gist
        (span6(block, 0) WITH &&, span6(block, 1) WITH &&, int8range(plane, plane, '[]') WITH &&, during WITH &&)
        WHERE (family(block) = 6 AND kind <> 'anycast' AND corrected_at IS NULL);
DROP INDEX tenure_slot;
CREATE UNIQUE INDEX tenure_slot ON tenure (owner, slot) WHERE upper_inf(during) AND corrected_at IS NULL;
DROP INDEX tenure_by_prefix;
CREATE INDEX tenure_by_prefix ON tenure (prefix_id) WHERE upper_inf(during) AND corrected_at IS NULL;
CREATE INDEX tenure_within ON tenure (within) WHERE within IS NOT NULL;
-- What the two constraints' indexes leave out: found by the blocks that an address can lie in.
CREATE INDEX tenure_beside ON tenure (block) WHERE kind = 'anycast' OR corrected_at IS NOT NULL;

-- Numbers of autonomous systems ---------------------------------------------------------------------------------

CREATE TABLE asn_pool (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    first       bigint NOT NULL CHECK (first >= 1),
    last        bigint NOT NULL CHECK (last <= 4294967294),
    facility    text,
    -- The lowest number that was never used; what came back lies in asn_tenure.
    cursor      bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT asn_pool_order CHECK (first <= last AND cursor BETWEEN first AND last + 1),
    CONSTRAINT asn_pool_overlap EXCLUDE USING gist (int8range(first, last, '[]') WITH &&),
    CONSTRAINT asn_pool_span UNIQUE (id, first, last)
);

CREATE TABLE asn_tenure (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    pool_id     bigint NOT NULL,
    pool_first  bigint NOT NULL,
    pool_last   bigint NOT NULL,
    asn         bigint NOT NULL,
    owner       uuid NOT NULL,
    slot        text NOT NULL,
    note        jsonb NOT NULL DEFAULT '{}',
    opened_by   text NOT NULL,
    closed_by   text,
    during      tstzrange NOT NULL CHECK (NOT isempty(during) AND lower_inc(during) AND NOT lower_inf(during)),
    CONSTRAINT asn_tenure_pool FOREIGN KEY (pool_id, pool_first, pool_last) REFERENCES asn_pool (id, first, last),
    CONSTRAINT asn_tenure_in_pool CHECK (asn BETWEEN pool_first AND pool_last),
    CONSTRAINT asn_tenure_overlap EXCLUDE USING gist (int8range(asn, asn, '[]') WITH &&, during WITH &&)
);
CREATE UNIQUE INDEX asn_tenure_slot ON asn_tenure (owner, slot) WHERE upper_inf(during);

-- Numbers that came back, the longest free first.
CREATE TABLE free_asn (
    pool_id     bigint NOT NULL REFERENCES asn_pool,
    asn         bigint NOT NULL,
    free_since  timestamptz NOT NULL,
    PRIMARY KEY (pool_id, asn)
);
CREATE INDEX free_asn_oldest ON free_asn (pool_id, free_since);
