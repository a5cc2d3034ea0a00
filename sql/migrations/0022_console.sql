-- What machines tell and are told beyond installing, and people at their serial consoles.

-- Keys of the service itself, the same for all its processes; sealed as every secret is.
CREATE TABLE service_secret (
    name        text PRIMARY KEY,
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE device
    -- Its machine's next network boot leads into the customer's iPXE script once more.
    ADD COLUMN allow_pxe boolean NOT NULL DEFAULT false;

ALTER TABLE machine
    -- The host key that the BMC's own SSH server showed first; another one later is refused.
    ADD COLUMN bmc_host_key text;

-- One person's login at one console. Whoever writes is the only one who does; a process that died says nothing more.
CREATE TABLE console_session (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id   uuid REFERENCES machine (id) ON DELETE SET NULL,
    device_id    uuid REFERENCES device (id) ON DELETE SET NULL,
    user_id      uuid REFERENCES user_account (id) ON DELETE SET NULL,  -- of the staff; NULL: by a key of the device
    fingerprint  text NOT NULL,
    source       text NOT NULL,
    writes       boolean NOT NULL DEFAULT false,
    wrote        boolean NOT NULL DEFAULT false,
    started_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,
    ended_at     timestamptz
);
CREATE UNIQUE INDEX console_session_writer ON console_session (machine_id) WHERE writes AND ended_at IS NULL;
CREATE INDEX console_session_machine ON console_session (machine_id, started_at);
CREATE INDEX console_session_device ON console_session (device_id);
CREATE INDEX console_session_user ON console_session (user_id);
