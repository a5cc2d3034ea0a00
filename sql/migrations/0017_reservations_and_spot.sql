-- Machines that are kept for one project, devices that end by themselves, the spot market, and batches of orders.

CREATE TABLE hardware_reservation (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id  uuid NOT NULL REFERENCES machine,
    spare       boolean NOT NULL DEFAULT false,  -- stands by for another reserved machine, until it is activated
    note        text,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL,
    ends_at     timestamptz CHECK (ends_at > created_at),  -- when it is going to end by itself
    ended_at    timestamptz
);

-- For which project it is, and was, at which price an hour: a move or a new price ends one row and begins the next.
CREATE TABLE reservation_holding (
    reservation_id  uuid NOT NULL REFERENCES hardware_reservation,
    project_id      uuid NOT NULL REFERENCES project,
    custom_rate     numeric(12,4) CHECK (custom_rate >= 0),  -- an hour; NULL: the plan's price at the time
    since           timestamptz NOT NULL,
    until           timestamptz CHECK (until >= since),
    PRIMARY KEY (reservation_id, since)
);
CREATE UNIQUE INDEX reservation_holding_now ON reservation_holding (reservation_id) WHERE until IS NULL;
CREATE INDEX reservation_holding_of_project ON reservation_holding (project_id, since);

-- The machine itself tells that it is reserved: whoever places an order locks that row, and sees it change.
ALTER TABLE machine ADD COLUMN reservation_id uuid UNIQUE REFERENCES hardware_reservation;
DROP INDEX machine_in_pool;
CREATE INDEX machine_in_pool ON machine (facility_id, plan_id, state_since)
    WHERE state = 'ready' AND reservation_id IS NULL;

-- Somebody's offer to take spot machines whenever they cost no more than that.
CREATE TABLE spot_market_request (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id     uuid NOT NULL REFERENCES project,
    devices_min    int NOT NULL CHECK (devices_min > 0),
    devices_max    int NOT NULL CHECK (devices_max >= devices_min),
    max_bid_price  numeric(12,4) NOT NULL CHECK (max_bid_price > 0),  -- an hour
    facilities     text[] NOT NULL DEFAULT '{}',  -- codes; empty: as the metro says
    metro          text,
    parameters     jsonb NOT NULL,  -- of each device
    reason         text,  -- why it has fewer devices than it wants
    end_at         timestamptz,
    created_by     uuid REFERENCES user_account,
    created_at     timestamptz NOT NULL,
    ended_at       timestamptz
);
CREATE INDEX spot_market_request_of_project ON spot_market_request (project_id, created_at DESC);
CREATE INDEX spot_market_request_open ON spot_market_request (created_at) WHERE ended_at IS NULL;

-- What a spot machine costs an hour, from one change to the next.
CREATE TABLE spot_price (
    facility_id  uuid NOT NULL REFERENCES facility,
    plan_id      uuid NOT NULL REFERENCES plan,
    price        numeric(12,4) NOT NULL CHECK (price >= 0),
    since        timestamptz NOT NULL,
    PRIMARY KEY (facility_id, plan_id, since)
);

ALTER TABLE device
    ADD COLUMN reservation_id   uuid REFERENCES hardware_reservation,
    ADD COLUMN termination_time timestamptz,
    ADD COLUMN spot_price_max   numeric(12,4) CHECK (spot_price_max > 0),  -- an hour; NULL: no spot instance
    ADD COLUMN spot_request_id  uuid REFERENCES spot_market_request,
    ADD COLUMN outbid_at        timestamptz,
    ADD COLUMN left_spot_at     timestamptz,  -- since when the plan's own price is paid
    ADD COLUMN network_frozen   boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT device_reserved_or_spot CHECK (reservation_id IS NULL OR spot_price_max IS NULL);
CREATE UNIQUE INDEX device_of_reservation ON device (reservation_id)
    WHERE reservation_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX device_to_terminate ON device (termination_time)
    WHERE termination_time IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX device_on_spot ON device (facility_id, plan_id) WHERE spot_price_max IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX device_of_spot_request ON device (spot_request_id) WHERE spot_request_id IS NOT NULL;

-- Orders that came together. Each device is placed in a transaction of its own, by whichever worker comes first.
CREATE TABLE device_batch (
    id          uuid PRIMARY KEY,
    request_id  uuid NOT NULL,  -- the batches of one request
    place       int NOT NULL,  -- among those
    project_id  uuid NOT NULL REFERENCES project,
    wish        jsonb NOT NULL,  -- what each device is ordered with
    created_by  uuid REFERENCES user_account,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    UNIQUE (request_id, place)
);
CREATE INDEX device_batch_of_project ON device_batch (project_id, created_at DESC) WHERE deleted_at IS NULL;

CREATE TABLE batch_device (
    batch_id    uuid NOT NULL REFERENCES device_batch,
    place       int NOT NULL,  -- from 1
    device_id   uuid NOT NULL UNIQUE,  -- of the device, once it is ordered
    hostname    text,
    facilities  text[] NOT NULL DEFAULT '{}',  -- in order of preference; empty: as the wish says
    state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'ordered', 'refused', 'cancelled')),
    error       text,
    PRIMARY KEY (batch_id, place),
    CHECK ((error IS NOT NULL) = (state = 'refused'))
);
CREATE INDEX batch_device_waiting ON batch_device (batch_id, place) WHERE state = 'waiting';
