-- name: bmc_password_coming
SELECT secret FROM bmc_password WHERE service = $1 AND username = $2

-- name: begin_bmc_password
INSERT INTO bmc_password (service, username, secret) VALUES ($1, $2, $3)
ON CONFLICT (service, username) DO UPDATE SET username = excluded.username
RETURNING secret

-- name: forget_bmc_password
DELETE FROM bmc_password WHERE service = $1 AND username = $2

-- name: keep_bmc_password
WITH gone AS (
    DELETE FROM bmc_password WHERE service = $1 AND username = $2
)
UPDATE machine SET bmc_secret = $3
WHERE bmc_username = $2 AND (bmc_url = $1 OR starts_with(bmc_url, $1 || '/') OR starts_with(bmc_url, $1 || '?'))
RETURNING name

-- name: pin_bmc
UPDATE machine SET bmc_fingerprint = $2
WHERE (bmc_url = $1 OR starts_with(bmc_url, $1 || '/')) AND (bmc_fingerprint IS NULL OR $3::bool)
RETURNING id, name
