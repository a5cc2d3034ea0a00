-- A search looks into an index for every three letters of its word, and for tags as a whole. (pg_trgm does the same, but
-- not every server has it, and the owner of a database may not always create it.)

CREATE FUNCTION search_keys(words text, tags text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array(SELECT DISTINCT substr(lower(words), n, 3) FROM generate_series(1, length(words) - 2) AS n)
           || array(SELECT DISTINCT '#' || lower(tag) FROM unnest(tags) AS tag)
$$;

ALTER TABLE device ADD COLUMN search_keys text[]
    GENERATED ALWAYS AS (search_keys(hostname || ' ' || coalesce(description, ''), tags)) STORED;
CREATE INDEX device_searched ON device USING gin (search_keys) WHERE deleted_at IS NULL;
