-- Releases of images: which one a device got, how the install of each went, and rollouts that lead to a new one.
ALTER TABLE device
    -- The release of its system's image. Null: not placed yet, or installed without an image.
    ADD COLUMN image_release text;

CREATE TABLE rollout (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug        text NOT NULL REFERENCES operating_system (slug),
    release     text NOT NULL,
    -- The release that was current when the rollout began, which it is compared with.
    baseline    text NOT NULL,
    -- Slugs of the plans whose orders take part; none: all plans.
    plans       text[] NOT NULL DEFAULT '{}',
    -- Of the orders that take part, so many of a hundred get the new release.
    percent     int NOT NULL CHECK (percent BETWEEN 1 AND 100),
    -- Installs that must have succeeded at one percentage before the next.
    enough      int NOT NULL CHECK (enough > 0),
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete', 'rolled_back', 'aborted')),
    -- What was decided last, and why.
    reason      text NOT NULL DEFAULT '',
    started_at  timestamptz NOT NULL,
    step_since  timestamptz NOT NULL,
    ended_at    timestamptz,
    CONSTRAINT rollout_leads_somewhere CHECK (release <> baseline),
    CONSTRAINT rollout_ended CHECK ((ended_at IS NOT NULL) = (state <> 'running'))
);
CREATE UNIQUE INDEX rollout_one_per_slug ON rollout (slug) WHERE state = 'running';

-- One row for each time that a run put an image on a machine.
CREATE TABLE image_install (
    run_id      uuid NOT NULL REFERENCES run,
    attempt     int NOT NULL,
    device_id   uuid NOT NULL REFERENCES device,
    machine_id  uuid NOT NULL REFERENCES machine,
    slug        text NOT NULL,
    release     text NOT NULL,
    plan        text NOT NULL,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'active', 'failed')),
    -- How far it came; what fails before the install begins says nothing about the image.
    failure     text CHECK (failure IN ('start', 'network', 'install', 'first_boot', 'prove')),
    reason      text,
    -- Seconds of each step of the run.
    stages      jsonb NOT NULL DEFAULT '{}',
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    -- From the machine's being chosen, and from the order.
    seconds     double precision,
    order_s     double precision,
    PRIMARY KEY (run_id, attempt),
    CONSTRAINT image_install_ended CHECK ((ended_at IS NOT NULL) = (state <> 'running')),
    CONSTRAINT image_install_failure CHECK ((failure IS NOT NULL) = (state = 'failed'))
);
CREATE INDEX image_install_of_release ON image_install (slug, release, started_at);
