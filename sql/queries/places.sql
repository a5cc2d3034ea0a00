-- name: place_of_organization
SELECT id AS organization_id, NULL::uuid AS project_id, NULL::uuid AS user_id FROM organization
WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL

-- name: place_of_project
SELECT organization_id, id AS project_id, NULL::uuid AS user_id FROM project WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL

-- name: place_of_device
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM device AS d JOIN project AS p ON p.id = d.project_id WHERE d.id = ANY($1::uuid[])

-- name: place_of_ip
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM tenure AS t
LEFT JOIN device AS d ON d.id = t.owner
JOIN project AS p ON p.id = coalesce(d.project_id, t.project_id)
WHERE t.id = ANY($1::uuid[]) AND t.corrected_at IS NULL

-- name: place_of_key
SELECT p.organization_id, p.id AS project_id, k.user_id
FROM ssh_key AS k LEFT JOIN project AS p ON p.id = k.project_id WHERE k.id = ANY($1::uuid[])

-- name: place_of_token
SELECT p.organization_id, p.id AS project_id, t.user_id
FROM api_token AS t LEFT JOIN project AS p ON p.id = t.project_id WHERE t.id = ANY($1::uuid[])

-- name: place_of_session
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM bgp_session AS s JOIN device AS d ON d.id = s.device_id JOIN project AS p ON p.id = d.project_id
WHERE s.id = ANY($1::uuid[])

-- name: place_of_event
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM event AS e JOIN project AS p ON p.id = e.project_id WHERE e.id = ANY($1::uuid[]) AND NOT e.private

-- name: place_of_membership
SELECT coalesce(m.organization_id, p.organization_id) AS organization_id, m.project_id, NULL::uuid AS user_id
FROM membership AS m LEFT JOIN project AS p ON p.id = m.project_id WHERE m.id = ANY($1::uuid[])

-- name: place_of_own_membership
SELECT coalesce(m.organization_id, p.organization_id) AS organization_id, m.project_id, m.user_id
FROM membership AS m LEFT JOIN project AS p ON p.id = m.project_id WHERE m.id = ANY($1::uuid[])

-- name: place_of_invitation
SELECT coalesce(i.organization_id, p.organization_id) AS organization_id, i.project_id, u.id AS user_id
FROM invitation AS i
LEFT JOIN project AS p ON p.id = i.project_id
LEFT JOIN user_account AS u ON lower(u.email) = lower(i.email)
WHERE i.id = ANY($1::uuid[])

-- name: place_of_batch
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM device_batch AS b JOIN project AS p ON p.id = b.project_id WHERE b.id = ANY($1::uuid[])

-- name: place_of_spot_request
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM spot_market_request AS r JOIN project AS p ON p.id = r.project_id WHERE r.id = ANY($1::uuid[])

-- name: place_of_reservation
-- Where it was last, when it has ended.
SELECT p.organization_id, p.id AS project_id, NULL::uuid AS user_id
FROM reservation_holding AS h JOIN project AS p ON p.id = h.project_id WHERE h.reservation_id = ANY($1::uuid[])
ORDER BY h.since DESC LIMIT 1
