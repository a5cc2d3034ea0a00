-- Who did what, with before and after. A caller of the API is named by the setting roundhouse.actor of his connection:
-- a JSON object of actor, user, token, source, method, path and request. Without it nothing is written, and the
-- triggers' condition costs as much as reading a variable.
CREATE TABLE audit (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor     text NOT NULL,   -- "user:ID" or "project:ID"
    email     text,            -- the user's, as it was then
    token_id  uuid,
    source    text,            -- the address that the request came from
    method    text NOT NULL,
    path      text NOT NULL,
    request   uuid NOT NULL,   -- joins what one request did
    kind      text NOT NULL,   -- the table, or "request"
    subject   text,            -- the row's id
    name      text,            -- what people call the row
    action    text NOT NULL CHECK (action IN ('insert', 'update', 'delete', 'request')),
    before    jsonb,           -- the columns that changed
    after     jsonb,
    status    int,             -- of a request: what was answered
    CHECK ((action = 'request') = (status IS NOT NULL))
);
CREATE INDEX audit_subject ON audit (subject, seq DESC);
CREATE INDEX audit_actor ON audit (actor, seq DESC);
CREATE INDEX audit_request ON audit (request);
CREATE INDEX audit_at ON audit (at);

CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of audit are neither changed nor removed';
END $$;
CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();

-- The trigger's arguments: the column that names the row, the columns whose values are secret, and those that change by
-- themselves. Lists are separated by spaces.
CREATE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who     jsonb := current_setting('roundhouse.actor')::jsonb;
    secrets text[] := string_to_array(TG_ARGV[1], ' ');
    quiet   text[] := string_to_array(TG_ARGV[2], ' ');
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    one     jsonb := coalesce(new_row, old_row);
    was     jsonb;
    becomes jsonb;
BEGIN
    SELECT jsonb_object_agg(key, CASE WHEN key = ANY (secrets) THEN '"(secret)"' ELSE value END) INTO was
    FROM jsonb_each(old_row) WHERE key <> ALL (quiet) AND value IS DISTINCT FROM coalesce(new_row -> key, 'null');
    SELECT jsonb_object_agg(key, CASE WHEN key = ANY (secrets) THEN '"(secret)"' ELSE value END) INTO becomes
    FROM jsonb_each(new_row) WHERE key <> ALL (quiet) AND value IS DISTINCT FROM coalesce(old_row -> key, 'null');
    IF was IS NULL AND becomes IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit (actor, email, token_id, source, method, path, request, kind, subject, name, action, before, after)
    VALUES (who ->> 'actor', (SELECT email FROM user_account WHERE id = (who ->> 'user')::uuid), (who ->> 'token')::uuid,
            who ->> 'source', who ->> 'method', who ->> 'path', (who ->> 'request')::uuid, TG_TABLE_NAME,
            one ->> TG_ARGV[0],
            coalesce(one ->> 'name', one ->> 'slug', one ->> 'code', one ->> 'email', one ->> 'label', one ->> 'cidr'),
            lower(TG_OP), was, becomes);
    RETURN NULL;
END $$;

-- Have a table's changes written down from now on; once more with other lists takes the place of the first.
CREATE FUNCTION audit_table(named regclass, subject text, secrets text DEFAULT '', quiet text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW'
        ' WHEN (current_setting(''roundhouse.actor'', true) <> '''') EXECUTE FUNCTION audit_change(%L, %L, %L)',
        named, subject, secrets, quiet);
END $$;

SELECT audit_table('metro', 'id');
SELECT audit_table('facility', 'id');
SELECT audit_table('rack', 'id');
SELECT audit_table('plan', 'id');
SELECT audit_table('operating_system', 'slug');
SELECT audit_table('leaf', 'id', 'secret private_key running',
                   'epoch holder held_until running running_at read_asked_at sessions commit_s rendering applied');
SELECT audit_table('leaf_port', 'id', '', 'applied booted_mac booted_at seen_mac seen_name seen_at');
SELECT audit_table('leaf_exemption', 'leaf_id', 'accepted');
SELECT audit_table('machine', 'id', 'bmc_secret', 'inventory');
SELECT audit_table('bmc_access', 'id', 'secret');
SELECT audit_table('rma', 'id', 'signature', 'evidence inventory');
SELECT audit_table('handover_rule', 'id');
SELECT audit_table('rollout', 'id');
SELECT audit_table('vrf', 'id');
SELECT audit_table('prefix', 'id');
SELECT audit_table('prefix_grant', 'id');
SELECT audit_table('abuse_tag', 'id');
SELECT audit_table('asn_pool', 'id', '', 'cursor');
SELECT audit_table('ptr', 'address');
SELECT audit_table('bgp_config', 'id', 'md5');
SELECT audit_table('organization', 'id');
SELECT audit_table('user_account', 'id');
SELECT audit_table('project', 'id');
SELECT audit_table('api_token', 'id', 'digest');
SELECT audit_table('ssh_key', 'id');
SELECT audit_table('hardware_reservation', 'id');
SELECT audit_table('reservation_holding', 'reservation_id');
SELECT audit_table('membership', 'id');
SELECT audit_table('invitation', 'id');
SELECT audit_table('quota', 'id');
