-- name: rdap_prefixes
-- All that a block lies in, the largest first.
SELECT p.vrf_id, p.cidr AS block, p.standing, p.created_at, metro.country,
       coalesce(organization.id, home.id) AS organization_id, coalesce(organization.name, home.name) AS organization
FROM prefix AS p
JOIN vrf ON vrf.id = p.vrf_id
LEFT JOIN facility ON facility.code = p.facility
LEFT JOIN metro ON metro.id = facility.metro_id
LEFT JOIN organization ON organization.id = p.organization_id
LEFT JOIN project ON project.id = p.project_id
LEFT JOIN organization AS home ON home.id = project.organization_id
WHERE vrf.name = $1 AND p.cidr >>= $2::cidr AND p.status <> 'retired'
ORDER BY masklen(p.cidr)

-- name: rdap_tenure
-- What a project holds itself, rather than one of its devices.
SELECT t.block, lower(t.during) AS since, t.recorded_at, organization.id AS organization_id,
       organization.name AS organization
FROM tenure AS t
JOIN project ON project.id = t.project_id
JOIN organization ON organization.id = project.organization_id
WHERE t.id = ANY($1::uuid[]) AND t.owner = t.project_id AND t.kind = 'held' AND t.block >>= $2::cidr

-- name: rdap_asn
-- The pool that a number is in, and the project that holds it itself.
SELECT p.name, p.first, p.last, p.created_at, lower(t.during) AS since, organization.id AS organization_id,
       organization.name AS organization
FROM asn_pool AS p
LEFT JOIN asn_tenure AS t ON t.pool_id = p.id AND t.asn = $1 AND upper_inf(t.during)
LEFT JOIN project ON project.id = t.owner
LEFT JOIN organization ON organization.id = project.organization_id
WHERE $1::bigint BETWEEN p.first AND p.last
