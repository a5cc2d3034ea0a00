-- Two machines that are plugged crosswise change their ports in one statement.
ALTER TABLE machine
    DROP CONSTRAINT machine_port_id_key,
    ADD CONSTRAINT machine_port_id_key UNIQUE (port_id) DEFERRABLE INITIALLY IMMEDIATE;
