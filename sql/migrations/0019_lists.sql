-- Lists that cost the same however long they are: what they are sorted by is indexed, and how much there is of what is
-- kept rather than counted.

DROP INDEX device_by_project;
CREATE INDEX device_by_project ON device (project_id, created_at DESC, id) INCLUDE (facility_id, plan_id, state)
    WHERE deleted_at IS NULL;
CREATE INDEX device_by_age ON device (created_at DESC, id) INCLUDE (project_id, facility_id, plan_id, state)
    WHERE deleted_at IS NULL;
CREATE INDEX device_by_change ON device (project_id, updated_at DESC, created_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX device_by_state ON device (project_id, state, created_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX device_by_name ON device (project_id, hostname, created_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX device_named ON device (hostname) WHERE deleted_at IS NULL;
CREATE INDEX device_tagged ON device USING gin (tags) WHERE deleted_at IS NULL AND tags <> '{}';

-- How many devices there are. Several rows may say the same: their sum counts. Whoever changes it takes a row that
-- nobody else has at the moment, or begins another one, so that nobody waits for anybody.
CREATE TABLE device_tally (
    project_id uuid NOT NULL,
    facility_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    devices bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX device_tally_by_project ON device_tally (project_id);

CREATE FUNCTION count_device(in_project uuid, at_facility uuid, of_plan uuid, more integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    place tid;
BEGIN
    SELECT ctid INTO place FROM device_tally
    WHERE project_id = in_project AND facility_id = at_facility AND plan_id = of_plan
    LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE device_tally SET devices = devices + more WHERE ctid = place;
    ELSE
        INSERT INTO device_tally VALUES (in_project, at_facility, of_plan, more);
    END IF;
END
$$;

CREATE FUNCTION devices_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_device(project_id, facility_id, plan_id, count(*)::integer)
    FROM added WHERE deleted_at IS NULL GROUP BY project_id, facility_id, plan_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER devices_added AFTER INSERT ON device REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION devices_added();

CREATE FUNCTION device_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.deleted_at IS NULL THEN
        PERFORM count_device(OLD.project_id, OLD.facility_id, OLD.plan_id, -1);
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.deleted_at IS NULL THEN
        PERFORM count_device(NEW.project_id, NEW.facility_id, NEW.plan_id, 1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER device_changed AFTER DELETE OR UPDATE OF project_id, facility_id, plan_id, deleted_at ON device
    FOR EACH ROW EXECUTE FUNCTION device_changed();

INSERT INTO device_tally
SELECT project_id, facility_id, plan_id, count(*) FROM device WHERE deleted_at IS NULL GROUP BY 1, 2, 3;

-- The same of events, which are only ever added. Those of machines alone belong to no project.
CREATE TABLE event_tally (
    project_id uuid,
    private boolean NOT NULL,
    events bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX event_tally_by_project ON event_tally (project_id);

CREATE FUNCTION count_events(in_project uuid, are_private boolean, more bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    place tid;
BEGIN
    IF in_project IS NULL THEN
        SELECT ctid INTO place FROM event_tally
        WHERE project_id IS NULL AND private = are_private LIMIT 1 FOR UPDATE SKIP LOCKED;
    ELSE
        SELECT ctid INTO place FROM event_tally
        WHERE project_id = in_project AND private = are_private LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    IF FOUND THEN
        UPDATE event_tally SET events = events + more WHERE ctid = place;
    ELSE
        INSERT INTO event_tally VALUES (in_project, are_private, more);
    END IF;
END
$$;

CREATE FUNCTION events_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_events(project_id, private, count(*)) FROM added GROUP BY project_id, private;
    RETURN NULL;
END
$$;
CREATE TRIGGER events_added AFTER INSERT ON event REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION events_added();

INSERT INTO event_tally SELECT project_id, private, count(*) FROM event GROUP BY 1, 2;
