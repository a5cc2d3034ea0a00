-- What hangs at a free port: how it is named, checked against the plans, and reached by its BMC; and how hardware leaves.
ALTER TABLE leaf_port
    -- Where the machine at the port's cable stands, for ports at which none is enrolled yet.
    ADD COLUMN rack_id uuid REFERENCES rack, ADD COLUMN rack_unit int,
    ADD CONSTRAINT leaf_port_place CHECK (rack_unit IS NULL OR (rack_id IS NOT NULL AND rack_unit BETWEEN 1 AND 100));

ALTER TABLE plan
    -- What a machine of the plan is made of; null: what its specs say.
    ADD COLUMN bom jsonb,
    ADD COLUMN rack_units int NOT NULL DEFAULT 1 CHECK (rack_units BETWEEN 1 AND 50),
    -- How many machines share one chassis, and with it the same units of a rack.
    ADD COLUMN nodes int NOT NULL DEFAULT 1 CHECK (nodes BETWEEN 1 AND 16);

-- One row for each card that says hello at a free port: two that are heard at once are two machines at one port.
ALTER TABLE discovery
    DROP CONSTRAINT discovery_pkey,
    ADD PRIMARY KEY (port_id, mac),
    ADD COLUMN state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'quarantined')),
    ADD COLUMN reason text,
    ADD COLUMN state_since timestamptz NOT NULL DEFAULT now();

-- Where a facility's BMCs are and who we are there at first; the secret is sealed. A port's own row goes before.
CREATE TABLE bmc_access (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id  uuid NOT NULL REFERENCES facility,
    port_id      uuid REFERENCES leaf_port,
    url          text NOT NULL,
    search       cidr,
    username     text NOT NULL,
    secret       bytea NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (facility_id, port_id)
);

-- A retired machine keeps its row, for what is told of it, and gives its name, its card and its port free.
ALTER TABLE machine
    ALTER COLUMN port_id DROP NOT NULL,
    DROP CONSTRAINT machine_name_key,
    DROP CONSTRAINT machine_mac_key,
    ADD CONSTRAINT machine_has_port CHECK (port_id IS NOT NULL OR state = 'retired'),
    -- Why it leaves the pool as soon as its device is gone; null: it does not.
    ADD COLUMN leaving text;
CREATE UNIQUE INDEX machine_name ON machine (name) WHERE state <> 'retired';
CREATE UNIQUE INDEX machine_mac ON machine (mac) WHERE state <> 'retired';

-- A machine that went back to its maker, or had a part replaced: what was known of it, signed, and what changed.
CREATE TABLE rma (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id  uuid NOT NULL REFERENCES machine,
    reason      text NOT NULL,
    opened_at   timestamptz NOT NULL,
    opened_by   text NOT NULL,
    evidence    text NOT NULL,
    signature   bytea NOT NULL,
    inventory   jsonb NOT NULL,
    changes     jsonb,
    closed_at   timestamptz
);
CREATE UNIQUE INDEX rma_open ON rma (machine_id) WHERE closed_at IS NULL;
CREATE INDEX rma_by_machine ON rma (machine_id, opened_at DESC);
