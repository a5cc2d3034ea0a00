-- Which process is at a machine's console: a BMC has one session, and who asks another process is led on to this one.
CREATE TABLE console_lease (
    machine_id uuid PRIMARY KEY REFERENCES machine ON DELETE CASCADE,
    holder     uuid NOT NULL,  -- a process, for as long as it runs
    host       text NOT NULL,  -- where its SSH server is reached by the others
    port       int NOT NULL,
    held_until timestamptz NOT NULL
);
