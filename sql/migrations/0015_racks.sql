-- Where the hardware stands. A machine or leaf that was enrolled without a place has none.
CREATE TABLE rack (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id  uuid NOT NULL REFERENCES facility,
    name         text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    units        int NOT NULL DEFAULT 42 CHECK (units BETWEEN 1 AND 100),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (facility_id, name)
);
ALTER TABLE machine ADD COLUMN rack_id uuid REFERENCES rack, ADD COLUMN rack_unit int,
    ADD CONSTRAINT machine_place CHECK (rack_unit IS NULL OR (rack_id IS NOT NULL AND rack_unit BETWEEN 1 AND 100));
ALTER TABLE leaf ADD COLUMN rack_id uuid REFERENCES rack, ADD COLUMN rack_unit int,
    ADD CONSTRAINT leaf_place CHECK (rack_unit IS NULL OR (rack_id IS NOT NULL AND rack_unit BETWEEN 1 AND 100));
