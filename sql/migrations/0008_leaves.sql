-- What a leaf is driven by, how it was last seen, and what operators decided about it.
ALTER TABLE leaf
    -- Which configuration database our changes go through (docs/leaves.md).
    ADD COLUMN database text NOT NULL DEFAULT 'candidate' CHECK (database IN ('candidate', 'private', 'ephemeral')),
    -- Sealed; with a key the password is not used.
    ADD COLUMN private_key bytea,
    -- Loopback, uplinks, AS number; without it these are the operator's own and never touched.
    ADD COLUMN fabric jsonb,
    -- Rises with every change of what the leaf should be that is no port's, and when a repair is asked for.
    ADD COLUMN generation bigint NOT NULL DEFAULT 1,
    ADD COLUMN applied bigint NOT NULL DEFAULT 0,
    -- Digest of how ports are rendered there; when settings or program change it, the whole leaf is applied again.
    ADD COLUMN rendering text,
    -- Seconds that the latest commit took: what is ordered meanwhile waits for the next one.
    ADD COLUMN commit_s real,
    -- Sealed: our objects, and whatever stands on our ports, as the leaf showed them last.
    ADD COLUMN running bytea,
    ADD COLUMN running_at timestamptz,
    -- An operator wants to see the leaf as it is after this moment.
    ADD COLUMN read_asked_at timestamptz,
    -- Objects that ran otherwise than desired when that was read, while nothing of ours was under way.
    ADD COLUMN drifted int NOT NULL DEFAULT 0,
    ADD COLUMN locked_since timestamptz,
    -- Numbers of our NETCONF sessions there: what one of these left behind may be ended.
    ADD COLUMN sessions text[] NOT NULL DEFAULT '{}';

ALTER TABLE leaf_port
    -- Whether a configuration of somebody else's on the interface may be replaced by ours.
    ADD COLUMN take_over boolean NOT NULL DEFAULT false,
    -- Who is seen at the other end of the cable, by LLDP, and since when.
    ADD COLUMN seen_mac macaddr,
    ADD COLUMN seen_name text,
    ADD COLUMN seen_at timestamptz;

-- What an operator accepts as it runs, for as long as ours in its place would not change.
CREATE TABLE leaf_exemption (
    leaf_id      uuid NOT NULL REFERENCES leaf,
    object       text[] NOT NULL,
    instead_of   text NOT NULL,
    -- Sealed.
    accepted     bytea NOT NULL,
    difference   text NOT NULL,
    accepted_by  text NOT NULL,
    accepted_at  timestamptz NOT NULL,
    PRIMARY KEY (leaf_id, object)
);

-- What an operator means to do to a leaf, what it would change there, and whom it would touch; done at most once.
CREATE TABLE leaf_plan (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    leaf_id     uuid NOT NULL REFERENCES leaf,
    action      text NOT NULL,
    arguments   jsonb NOT NULL,
    difference  text NOT NULL,
    touched     jsonb NOT NULL,
    -- Of the leaf as it was seen and as it would be: a plan that no longer fits is not carried out.
    digest      text NOT NULL,
    planned_by  text NOT NULL,
    planned_at  timestamptz NOT NULL,
    applied_by  text,
    applied_at  timestamptz
);
CREATE INDEX leaf_plan_of_leaf ON leaf_plan (leaf_id, planned_at);
-- Two machines that are plugged crosswise change their ports in one statement.
ALTER TABLE machine
    DROP CONSTRAINT machine_port_id_key,
    ADD CONSTRAINT machine_port_id_key UNIQUE (port_id) DEFERRABLE INITIALLY IMMEDIATE;
