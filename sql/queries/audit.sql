-- name: name_actor
SELECT set_config('roundhouse.actor', $1, false)

-- name: note_request
INSERT INTO audit (actor, email, token_id, source, method, path, request, kind, action, status)
VALUES ($1, (SELECT email FROM user_account WHERE id = $2), $3, $4, $5, $6, $7, $8, $9, $10)

-- name: audit_matching
SELECT seq, at, actor, email, token_id, source, method, path, request, kind, subject, name, action, before, after, status
FROM audit
WHERE ($1::bigint IS NULL OR seq < $1)
  AND ($2::text IS NULL OR actor = $2 OR actor = 'user:' || $2 OR lower(email) = lower($2))
  AND ($3::text IS NULL OR subject = $3 OR name = $3)
  AND ($4::text IS NULL OR kind = $4)
  AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
  AND ($7::uuid IS NULL OR request = $7)
ORDER BY seq DESC LIMIT $8
