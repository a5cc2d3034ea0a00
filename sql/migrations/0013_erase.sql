-- A machine's certificates are looked at newest first.
CREATE INDEX erase_certificate_of_machine ON erase_certificate (machine_id, created_at DESC);
