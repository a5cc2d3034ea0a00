-- The certificate that a machine's BMC showed first (SHA-256, in hexadecimal), and a password that a BMC is being given.
ALTER TABLE machine ADD COLUMN bmc_fingerprint text CHECK (bmc_fingerprint ~ '^[0-9a-f]{64}$');
CREATE TABLE bmc_password (
    service   text NOT NULL,   -- scheme and address, as in machine.bmc_url: several machines may share a service
    username  text NOT NULL,
    secret    bytea NOT NULL,  -- sealed
    since     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, username)
);

-- Until when a customer waits for a machine that is not free yet (NULL: as long as the promise says), and when the
-- device was given one last.
ALTER TABLE device ADD COLUMN wanted_by timestamptz, ADD COLUMN placed_at timestamptz;
CREATE INDEX device_placed ON device (facility_id, plan_id, project_id, placed_at) WHERE placed_at IS NOT NULL;
CREATE INDEX run_done ON run (workflow, finished_at DESC) WHERE state = 'done';

-- Orders that wait for a machine of the pool, in the order in which they get one: each project's first before any
-- project's second, and of these whoever's project was served longest ago. `ahead` is how many come before.
CREATE VIEW pool_queue AS
SELECT device_id, run_id, facility_id, plan_id, project_id, created_at, round,
       row_number() OVER (PARTITION BY facility_id, plan_id
                          ORDER BY round, served NULLS FIRST, created_at, device_id) - 1 AS ahead
FROM (
    SELECT d.id AS device_id, r.id AS run_id, d.facility_id, d.plan_id, d.project_id, d.created_at,
           row_number() OVER (PARTITION BY d.facility_id, d.plan_id, d.project_id ORDER BY d.created_at, d.id) AS round,
           (SELECT max(o.placed_at) FROM device AS o
            WHERE o.facility_id = d.facility_id AND o.plan_id = d.plan_id AND o.project_id = d.project_id
              AND o.placed_at IS NOT NULL) AS served
    FROM run AS r JOIN device AS d ON d.id = r.subject
    WHERE r.workflow = 'provision' AND r.step = 'place' AND r.finished_at IS NULL AND d.reservation_id IS NULL
) AS waiting;
