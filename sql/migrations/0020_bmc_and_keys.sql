-- The certificate that a machine's BMC shows, and a password of it that is on its way.
ALTER TABLE machine
    ADD COLUMN bmc_fingerprint text CHECK (bmc_fingerprint ~ '^[0-9a-f]{64}$'),
    ADD COLUMN bmc_secret_next bytea;
