-- People, projects and keys -------------------------------------------------------------------------------------

CREATE TABLE organization (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL CHECK (name <> ''),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE user_account (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id  uuid NOT NULL REFERENCES organization,
    email            text NOT NULL,
    first_name       text NOT NULL DEFAULT '',
    last_name        text NOT NULL DEFAULT '',
    staff            boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX user_account_email ON user_account (lower(email));

CREATE TABLE project (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id  uuid NOT NULL REFERENCES organization,
    name             text NOT NULL CHECK (name <> ''),
    tags             text[] NOT NULL DEFAULT '{}',
    customdata       jsonb NOT NULL DEFAULT '{}',
    created_by       uuid REFERENCES user_account,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    deleted_at       timestamptz
);
CREATE INDEX project_by_organization ON project (organization_id, created_at) WHERE deleted_at IS NULL;

-- A token is kept as its SHA-256 only. It speaks for a user, or for one project.
CREATE TABLE api_token (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    digest       bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    user_id      uuid REFERENCES user_account,
    project_id   uuid REFERENCES project,
    read_only    boolean NOT NULL DEFAULT false,
    description  text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_token_speaks_for_one CHECK (num_nonnulls(user_id, project_id) = 1)
);

CREATE TABLE ssh_key (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid REFERENCES user_account,
    project_id   uuid REFERENCES project,
    label        text NOT NULL CHECK (label <> ''),
    key          text NOT NULL,
    fingerprint  text NOT NULL,
    tags         text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ssh_key_has_one_owner CHECK (num_nonnulls(user_id, project_id) = 1)
);
CREATE UNIQUE INDEX ssh_key_once ON ssh_key (coalesce(user_id, project_id), fingerprint);

-- What is on offer ----------------------------------------------------------------------------------------------

CREATE TABLE metro (
    id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    code     text NOT NULL UNIQUE,
    name     text NOT NULL,
    country  text NOT NULL
);

CREATE TABLE facility (
    id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    metro_id  uuid NOT NULL REFERENCES metro,
    code      text NOT NULL UNIQUE,
    name      text NOT NULL
);

CREATE TABLE plan (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug           text NOT NULL UNIQUE,
    aliases        text[] NOT NULL DEFAULT '{}',
    name           text NOT NULL,
    description    text NOT NULL,
    specs          jsonb NOT NULL,
    price_hourly   numeric(10, 4) NOT NULL CHECK (price_hourly >= 0),
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- The catalogue file says what an operating system is; this row gives it an id that lasts.
CREATE TABLE operating_system (
    slug  text PRIMARY KEY,
    id    uuid NOT NULL UNIQUE DEFAULT gen_random_uuid()
);

-- Addresses: prefixes, and the ledger of who held what, when ----------------------------------------------------

CREATE TABLE vrf (
    id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL UNIQUE
);

CREATE TABLE prefix (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vrf_id       int NOT NULL REFERENCES vrf,
    parent_id    bigint,
    parent_cidr  cidr,
    cidr         cidr NOT NULL,
    role         text NOT NULL CHECK (role IN ('container', 'boot', 'public', 'private', 'ipv6', 'elastic',
                                               'loopback', 'uplink', 'management', 'infrastructure')),
    facility     text,
    block_length int NOT NULL,
    -- Blocks handed out so far, counted from the start: what lies behind the cursor was never used.
    cursor       bigint NOT NULL DEFAULT 0 CHECK (cursor >= 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    scope        bigint GENERATED ALWAYS AS (coalesce(parent_id, -vrf_id::bigint)) STORED,
    UNIQUE (id, cidr),
    CONSTRAINT prefix_parent FOREIGN KEY (parent_id, parent_cidr) REFERENCES prefix (id, cidr),
    CONSTRAINT prefix_has_whole_parent CHECK (num_nonnulls(parent_id, parent_cidr) IN (0, 2)),
    CONSTRAINT prefix_inside_parent CHECK (parent_cidr IS NULL OR cidr << parent_cidr),
    CONSTRAINT prefix_block_length CHECK (block_length >= masklen(cidr)
                                          AND block_length <= CASE family(cidr) WHEN 4 THEN 32 ELSE 128 END),
    CONSTRAINT prefix_sibling_overlap EXCLUDE USING gist (int8range(scope, scope, '[]') WITH &&, cidr inet_ops WITH &&)
);

-- One row a tenure: who held which block from when until when. A row is opened by `take` and closed by `give back`;
-- it is never changed otherwise and never removed.
CREATE TABLE tenure (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    vrf_id      int NOT NULL REFERENCES vrf,
    prefix_id   bigint NOT NULL REFERENCES prefix,
    block       cidr NOT NULL,
    owner       uuid NOT NULL,
    slot        text NOT NULL,
    note        jsonb NOT NULL DEFAULT '{}',
    during      tstzrange NOT NULL CHECK (NOT isempty(during) AND lower_inc(during) AND NOT lower_inf(during)),
    CONSTRAINT tenure_overlap EXCLUDE USING gist
        (int8range(vrf_id, vrf_id, '[]') WITH &&, block inet_ops WITH &&, during WITH &&)
);
CREATE UNIQUE INDEX tenure_slot ON tenure (owner, slot) WHERE upper_inf(during);
CREATE INDEX tenure_by_prefix ON tenure (prefix_id) WHERE upper_inf(during);

-- Blocks that came back; the longest free are taken first, none before its cool-down has passed.
CREATE TABLE free_block (
    prefix_id   bigint NOT NULL REFERENCES prefix,
    block       cidr NOT NULL,
    free_since  timestamptz NOT NULL,
    PRIMARY KEY (prefix_id, block)
);
CREATE INDEX free_block_oldest ON free_block (prefix_id, free_since);

-- Hardware ------------------------------------------------------------------------------------------------------

CREATE TABLE leaf (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id    uuid NOT NULL REFERENCES facility,
    name           text NOT NULL UNIQUE,
    host           text NOT NULL,
    port           int NOT NULL DEFAULT 830,
    username       text NOT NULL,
    secret         bytea NOT NULL,
    host_key       text NOT NULL,
    state          text NOT NULL DEFAULT 'unknown',
    fault          text,
    -- Fences the leaf's one writer: it rises each time another process takes the leaf over.
    epoch          bigint NOT NULL DEFAULT 0,
    holder         uuid,
    held_until     timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE leaf_port (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    leaf_id      uuid NOT NULL REFERENCES leaf,
    name         text NOT NULL,
    profile      text NOT NULL DEFAULT 'quarantine' CHECK (profile IN ('quarantine', 'provisioning', 'active')),
    -- The device whose links the port carries; none of them in quarantine.
    device_id    uuid,
    generation   bigint NOT NULL DEFAULT 1,
    applied      bigint NOT NULL DEFAULT 0,
    fault        text,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (leaf_id, name)
);

CREATE TABLE machine (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id  uuid NOT NULL REFERENCES facility,
    plan_id      uuid NOT NULL REFERENCES plan,
    port_id      uuid NOT NULL UNIQUE REFERENCES leaf_port,
    name         text NOT NULL UNIQUE,
    mac          macaddr NOT NULL UNIQUE,
    arch         text NOT NULL DEFAULT 'amd64',
    bmc_url      text NOT NULL,
    bmc_username text NOT NULL,
    bmc_secret   bytea NOT NULL,
    state        text NOT NULL DEFAULT 'enrolled',
    device_id    uuid UNIQUE,
    -- True from the moment that the installed system may be started until the machine leaves its device.
    installed    boolean NOT NULL DEFAULT false,
    inventory    jsonb NOT NULL DEFAULT '{}',
    reason       text,
    state_since  timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX machine_in_pool ON machine (facility_id, plan_id, state_since) WHERE state = 'ready';

CREATE TABLE erase_certificate (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id   uuid NOT NULL REFERENCES machine,
    run_id       uuid NOT NULL UNIQUE,
    evidence     jsonb NOT NULL,
    signature    bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Devices: what a customer ordered ------------------------------------------------------------------------------

CREATE TABLE device (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id       uuid NOT NULL REFERENCES project,
    facility_id      uuid NOT NULL REFERENCES facility,
    plan_id          uuid NOT NULL REFERENCES plan,
    operating_system text NOT NULL REFERENCES operating_system (slug),
    hostname         text NOT NULL,
    description      text,
    tags             text[] NOT NULL DEFAULT '{}',
    customdata       jsonb NOT NULL DEFAULT '{}',
    userdata         text NOT NULL DEFAULT '',
    ipxe_script_url  text,
    always_pxe       boolean NOT NULL DEFAULT false,
    locked           boolean NOT NULL DEFAULT false,
    billing_cycle    text NOT NULL DEFAULT 'hourly',
    ssh_key_ids      uuid[] NOT NULL DEFAULT '{}',
    ssh_keys         text[] NOT NULL DEFAULT '{}',
    root_password    bytea NOT NULL,
    password_hash    text NOT NULL,
    state            text NOT NULL DEFAULT 'queued',
    failure          text,
    host_keys        text[] NOT NULL DEFAULT '{}',
    phoned_home_at   timestamptz,
    created_by       uuid REFERENCES user_account,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    deadline         timestamptz NOT NULL,
    active_at        timestamptz,
    deleted_at       timestamptz
);
CREATE INDEX device_by_project ON device (project_id, created_at DESC) WHERE deleted_at IS NULL;
ALTER TABLE machine ADD CONSTRAINT machine_device FOREIGN KEY (device_id) REFERENCES device;
ALTER TABLE leaf_port ADD CONSTRAINT leaf_port_device FOREIGN KEY (device_id) REFERENCES device;

CREATE TABLE event (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    seq         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    project_id  uuid,
    device_id   uuid,
    machine_id  uuid,
    type        text NOT NULL,
    state       text,
    body        text NOT NULL,
    private     boolean NOT NULL DEFAULT false,
    data        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX event_by_device ON event (device_id, seq DESC);
CREATE INDEX event_by_project ON event (project_id, seq DESC);
CREATE INDEX event_by_machine ON event (machine_id, seq DESC);

CREATE TABLE idempotency (
    scope        uuid NOT NULL,
    key          text NOT NULL,
    request      bytea NOT NULL,
    status       int NOT NULL,
    subject      uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);

-- Runs: the truth about work under way --------------------------------------------------------------------------

CREATE TABLE run (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow     text NOT NULL,
    subject      uuid NOT NULL,
    state        text NOT NULL DEFAULT 'running'
                 CHECK (state IN ('running', 'undoing', 'done', 'failed', 'superseded')),
    step         text NOT NULL,
    data         jsonb NOT NULL DEFAULT '{}',
    reason       text,
    failure      text,
    attempt      int NOT NULL DEFAULT 0,
    -- Rises with each outside event; a worker that goes to sleep looks again if it rose meanwhile.
    signals      bigint NOT NULL DEFAULT 0,
    wake_at      timestamptz NOT NULL DEFAULT now(),
    step_since   timestamptz NOT NULL DEFAULT now(),
    deadline     timestamptz NOT NULL,
    -- Fences the run's one worker; who writes with an older epoch is refused.
    epoch        bigint NOT NULL DEFAULT 0,
    worker       uuid,
    leased_until timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CONSTRAINT run_finished CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'failed', 'superseded')))
);
CREATE UNIQUE INDEX run_one_per_subject ON run (subject) WHERE finished_at IS NULL;
CREATE INDEX run_due ON run (wake_at) WHERE finished_at IS NULL;
CREATE INDEX run_by_subject ON run (subject, created_at DESC);

-- What each step did, with its times: the waterfall is read from here.
CREATE TABLE run_step (
    run_id      uuid NOT NULL REFERENCES run,
    step        text NOT NULL,
    attempt     int NOT NULL,
    state       text NOT NULL CHECK (state IN ('started', 'done', 'failed', 'undone')),
    reason      text,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    PRIMARY KEY (run_id, step, attempt)
);

-- The agent's side ----------------------------------------------------------------------------------------------

-- One row a boot of the in-RAM installer: first a token on its command line, then the session that the token bought.
CREATE TABLE agent_session (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id  uuid NOT NULL REFERENCES machine,
    token       bytea NOT NULL UNIQUE,
    session     bytea UNIQUE,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    seen_at     timestamptz,
    ended_at    timestamptz
);
CREATE INDEX agent_session_of_machine ON agent_session (machine_id, issued_at DESC) WHERE ended_at IS NULL;

CREATE TABLE agent_work (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    machine_id   uuid NOT NULL REFERENCES machine,
    run_id       uuid NOT NULL REFERENCES run,
    slot         text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('install', 'erase', 'reboot')),
    spec         jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'offered' CHECK (state IN ('offered', 'taken', 'done', 'failed', 'withdrawn')),
    result       jsonb NOT NULL DEFAULT '{}',
    reason       text,
    stage        text,
    percent      real NOT NULL DEFAULT 0,
    bytes_done   bigint NOT NULL DEFAULT 0,
    bytes_total  bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    taken_at     timestamptz,
    progress_at  timestamptz,
    finished_at  timestamptz,
    UNIQUE (run_id, slot)
);
CREATE UNIQUE INDEX agent_work_open ON agent_work (machine_id) WHERE state IN ('offered', 'taken');
