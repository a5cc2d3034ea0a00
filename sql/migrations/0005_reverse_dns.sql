-- What ended lately is found without reading what ended long ago; what lasts is found by tenure_by_prefix.
CREATE INDEX tenure_ended ON tenure (upper(during)) WHERE NOT upper_inf(during) AND corrected_at IS NULL;
