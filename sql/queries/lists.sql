-- name: device_list_narrowed
SELECT CASE WHEN $1::bool AND $4::uuid IS NULL AND $5::uuid IS NULL THEN NULL
            ELSE array(SELECT p.id FROM project AS p
                       WHERE p.deleted_at IS NULL
                         AND ($1 OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[]))
                         AND ($4 IS NULL OR p.id = $4) AND ($5 IS NULL OR p.organization_id = $5)) END AS projects,
       CASE WHEN $6::text[] IS NULL AND $7::text[] IS NULL THEN NULL
            ELSE array(SELECT f.id FROM facility AS f JOIN metro AS m ON m.id = f.metro_id
                       WHERE ($6 IS NULL OR f.code = ANY($6) OR f.id::text = ANY($6))
                         AND ($7 IS NULL OR m.code = ANY($7) OR m.id::text = ANY($7))) END AS facilities,
       CASE WHEN $8::text[] IS NULL THEN NULL
            ELSE array(SELECT o.id FROM plan AS o WHERE o.slug = ANY($8) OR o.aliases && $8) END AS plans,
       CASE WHEN $9::text IS NOT NULL
            THEN array(SELECT f.id FROM facility AS f WHERE position(lower($9) IN lower(f.code || ' ' || f.name)) > 0)
            END AS search_facilities,
       CASE WHEN $9 IS NOT NULL
            THEN array(SELECT o.id FROM plan AS o WHERE position(lower($9) IN lower(o.slug || ' ' || o.name)) > 0)
            END AS search_plans,
       CASE WHEN $9 IS NOT NULL
            THEN array(SELECT s.slug FROM operating_system AS s WHERE position(lower($9) IN lower(s.slug)) > 0)
            END AS search_systems,
       CASE WHEN $9 IS NOT NULL THEN search_keys($9, '{}') END AS search_keys,
       CASE WHEN $10::inet IS NOT NULL
            THEN array(SELECT t.owner FROM tenure AS t
                       WHERE t.block >>= $10 AND upper_inf(t.during) AND t.corrected_at IS NULL) END AS search_owners

-- name: devices_kept_count
SELECT coalesce(sum(t.devices), 0)::bigint
FROM device_tally AS t
WHERE ($1::uuid[] IS NULL OR t.project_id = ANY($1))
  AND ($2::uuid[] IS NULL OR t.facility_id = ANY($2))
  AND ($3::uuid[] IS NULL OR t.plan_id = ANY($3))

-- name: devices_counted
SELECT count(*) FROM device AS d
WHERE d.deleted_at IS NULL

-- name: devices_listed
SELECT d.id FROM device AS d
WHERE d.deleted_at IS NULL

-- name: events_kept_count
SELECT coalesce(sum(t.events), 0)::bigint FROM event_tally AS t
WHERE ($1::uuid[] IS NULL OR t.project_id = ANY($1)) AND ($2::bool OR NOT t.private)

-- name: event_list_narrowed
SELECT CASE WHEN $1::bool AND $4::uuid IS NULL AND $5::uuid IS NULL THEN NULL
            ELSE array(SELECT p.id FROM project AS p
                       WHERE ($1 OR p.organization_id = ANY($2::uuid[]) OR p.id = ANY($3::uuid[]))
                         AND ($4 IS NULL OR p.id = $4) AND ($5 IS NULL OR p.organization_id = $5)) END AS projects

-- name: events_counted
SELECT count(*) FROM event AS e
WHERE true

-- name: events_listed
SELECT e.id, e.seq FROM event AS e
WHERE true
