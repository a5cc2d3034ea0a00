-- What is in use, for how long, and what that cost at the time.

-- A plan's price from one change to the next; the trigger writes it down, whoever changes it.
CREATE TABLE plan_price (
    plan_id       uuid NOT NULL REFERENCES plan,
    price_hourly  numeric(12,4) NOT NULL CHECK (price_hourly >= 0),
    since         timestamptz NOT NULL,
    PRIMARY KEY (plan_id, since)
);
INSERT INTO plan_price SELECT id, price_hourly, created_at FROM plan;

CREATE FUNCTION keep_plan_price() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plan_price VALUES (NEW.id, NEW.price_hourly, clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER keep_first_price AFTER INSERT ON plan FOR EACH ROW EXECUTE FUNCTION keep_plan_price();
CREATE TRIGGER keep_new_price AFTER UPDATE OF price_hourly ON plan FOR EACH ROW
    WHEN (OLD.price_hourly IS DISTINCT FROM NEW.price_hourly) EXECUTE FUNCTION keep_plan_price();

-- What an elastic address of a type costs an hour; an IPv6 block costs as one address.
CREATE TABLE address_price (
    type          text NOT NULL CHECK (type IN ('public_ipv4', 'public_ipv6', 'private_ipv4', 'global_ipv4')),
    price_hourly  numeric(12,6) NOT NULL CHECK (price_hourly >= 0),
    since         timestamptz NOT NULL,
    set_by        text NOT NULL,
    PRIMARY KEY (type, since)
);
INSERT INTO address_price
SELECT type, price, '2000-01-01Z', 'roundhouse'
FROM (VALUES ('public_ipv4', 0.005), ('public_ipv6', 0), ('private_ipv4', 0), ('global_ipv4', 0.015)) AS v (type, price);

-- From this moment on a device that failed is nobody's to pay for: its machine is taken away then.
ALTER TABLE device ADD COLUMN failed_at timestamptz;
UPDATE device AS d SET failed_at = e.at
FROM (SELECT device_id, max(created_at) AS at FROM event WHERE type = 'provisioning.failed' GROUP BY device_id) AS e
WHERE e.device_id = d.id AND d.state = 'failed';
CREATE INDEX device_used ON device (project_id, active_at) WHERE active_at IS NOT NULL;
CREATE INDEX tenure_of_elastic ON tenure (owner) WHERE kind = 'held' AND slot LIKE 'elastic %';

-- The octets that a leaf's port had counted, as they were read. The counters begin again whenever the leaf does.
CREATE TABLE traffic_sample (
    device_id  uuid NOT NULL REFERENCES device,
    at         timestamptz NOT NULL,
    port_id    uuid NOT NULL REFERENCES leaf_port,
    inbound    numeric(20) NOT NULL CHECK (inbound >= 0),  -- to the device: what the leaf has sent
    outbound   numeric(20) NOT NULL CHECK (outbound >= 0),
    PRIMARY KEY (device_id, at)
);
CREATE INDEX traffic_sample_old ON traffic_sample USING brin (at);
