-- Events are numbered a second time, in the order in which they can be seen: `seq` is taken before its transaction ends,
-- so that a reader who goes on behind the highest `seq` would miss what ends later. NULL: not numbered yet.
ALTER TABLE event ADD COLUMN position bigint;
UPDATE event SET position = seq;
CREATE UNIQUE INDEX event_position ON event (position);
CREATE INDEX event_unnumbered ON event (seq) WHERE position IS NULL;
CREATE INDEX event_project_position ON event (project_id, position);
CREATE INDEX event_device_position ON event (device_id, position);
CREATE TABLE event_tail (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    position  bigint NOT NULL  -- the highest that was given
);
INSERT INTO event_tail (position) SELECT coalesce(max(seq), 0) FROM event;

-- Whether a type of event is followed: patterns are types in which * stands for anything.
CREATE FUNCTION follows(patterns text[], type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN EXISTS (
    SELECT FROM unnest(patterns) AS p (pattern)
    WHERE type LIKE replace(replace(replace(p.pattern, '\', '\\'), '_', '\_'), '*', '%')
);

-- Who is told what happens. A customer's webhook belongs to an organization or a project, an operator's hook to neither.
CREATE TABLE hook (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id   uuid REFERENCES organization,
    project_id        uuid REFERENCES project,
    name              text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('webhook', 'executable')),
    mode              text NOT NULL DEFAULT 'tell' CHECK (mode IN ('tell', 'ask')),
    target            text NOT NULL,
    follows           text[] NOT NULL CHECK (cardinality(follows) > 0),
    secret            bytea NOT NULL,
    old_secret        bytea,
    old_secret_until  timestamptz,
    enabled           boolean NOT NULL DEFAULT true,
    limit_s           double precision NOT NULL,
    retries           int NOT NULL,
    on_failure        text NOT NULL DEFAULT 'refuse' CHECK (on_failure IN ('refuse', 'proceed')),
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    -- How far it was told, the latest event that it follows, and how that goes.
    position          bigint NOT NULL,
    wanted            bigint NOT NULL DEFAULT 0,
    attempt           int NOT NULL DEFAULT 0,
    next_at           timestamptz NOT NULL DEFAULT now(),
    failing_since     timestamptz,
    fault             text,
    -- Fencing: who has it in hand raises the epoch, and every write names it.
    epoch             bigint NOT NULL DEFAULT 0,
    held_until        timestamptz,
    CONSTRAINT hook_owner CHECK (organization_id IS NULL OR project_id IS NULL),
    CONSTRAINT hook_of_customer CHECK (
        (organization_id IS NULL AND project_id IS NULL) OR (kind = 'webhook' AND mode = 'tell'))
);
CREATE UNIQUE INDEX hook_name ON hook (name) WHERE organization_id IS NULL AND project_id IS NULL;
CREATE INDEX hook_project ON hook (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX hook_organization ON hook (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX hook_due ON hook (next_at) WHERE enabled AND mode = 'tell' AND wanted > position;
CREATE INDEX hook_asks ON hook (name) WHERE enabled AND mode = 'ask';

-- An event on its way to a hook. `event_id` is NULL for a test.
CREATE TABLE hook_delivery (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hook_id       uuid NOT NULL REFERENCES hook ON DELETE CASCADE,
    event_id      uuid REFERENCES event,
    position      bigint NOT NULL,
    type          text NOT NULL,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts      int NOT NULL DEFAULT 0,
    status        int,   -- of HTTP, or of the executable's exit; NULL without an answer
    answer        text NOT NULL DEFAULT '',
    took_s        double precision,
    created_at    timestamptz NOT NULL,
    attempted_at  timestamptz NOT NULL,
    delivered_at  timestamptz,
    UNIQUE (hook_id, event_id)
);
CREATE INDEX hook_delivery_latest ON hook_delivery (hook_id, attempted_at DESC);
CREATE INDEX hook_delivery_dead ON hook_delivery (hook_id, position) WHERE state = 'dead';

-- What a hook was asked: may this machine take this step?
CREATE TABLE hook_question (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hook_id      uuid NOT NULL REFERENCES hook ON DELETE CASCADE,
    key          text NOT NULL,  -- by which whoever asks finds it again
    transition   text NOT NULL,
    machine_id   uuid NOT NULL REFERENCES machine ON DELETE CASCADE,
    device_id    uuid,
    asker        uuid,  -- subject of the run that waits for the answer
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'allowed', 'vetoed')),
    decided_by   text,
    reason       text,
    attempts     int NOT NULL DEFAULT 0,
    status       int,
    answer       text NOT NULL DEFAULT '',
    asked_at     timestamptz NOT NULL,
    until        timestamptz NOT NULL,
    next_at      timestamptz NOT NULL,
    epoch        bigint NOT NULL DEFAULT 0,
    held_until   timestamptz,
    decided_at   timestamptz,
    UNIQUE (hook_id, key),
    CONSTRAINT hook_question_decided CHECK ((state = 'open') = (decided_at IS NULL))
);
CREATE INDEX hook_question_due ON hook_question (next_at) WHERE state = 'open';
CREATE INDEX hook_question_machine ON hook_question (machine_id, asked_at DESC);
CREATE INDEX hook_question_latest ON hook_question (hook_id, asked_at DESC);

-- Why no order gets the machine although it is ready: a hook's veto.
ALTER TABLE machine ADD COLUMN held text;
-- What an operator must know of a machine that is in use: a facility system's word.
ALTER TABLE machine ADD COLUMN flag text;

-- What systems of the facility have told, and what that led to.
CREATE TABLE facility_event (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source       text NOT NULL,  -- who told it
    given_id     text NOT NULL,  -- by which a repeat is known
    kind         text NOT NULL CHECK (kind IN ('racked', 'cabled', 'moved', 'failed', 'part_replaced', 'retired')),
    subject      text NOT NULL,  -- name, serial number or MAC address
    machine_id   uuid REFERENCES machine ON DELETE SET NULL,
    happened_at  timestamptz NOT NULL,
    content      jsonb NOT NULL,
    state        text NOT NULL CHECK (state IN ('applied', 'late', 'unknown', 'refused', 'flagged')),
    outcome      text NOT NULL,
    created_at   timestamptz NOT NULL,
    applied_at   timestamptz NOT NULL,
    UNIQUE (source, given_id)
);
CREATE INDEX facility_event_machine ON facility_event (machine_id, happened_at DESC);
CREATE INDEX facility_event_latest ON facility_event (created_at DESC);
