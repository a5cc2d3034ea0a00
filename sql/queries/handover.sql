-- name: handover_ways
-- The most particular rule: the product before the vendor before the plan.
SELECT r.ways FROM handover_rule AS r
JOIN machine AS m ON m.id = $1
WHERE (r.plan_id IS NULL OR r.plan_id = m.plan_id)
  AND (r.vendor = '' OR lower(r.vendor) = lower(m.inventory -> 'system' ->> 'sys_vendor'))
  AND (r.product = '' OR lower(r.product) = lower(m.inventory -> 'system' ->> 'product_name'))
ORDER BY r.product <> '' DESC, r.vendor <> '' DESC, r.plan_id IS NOT NULL DESC
LIMIT 1

-- name: handover_rules
SELECT r.id, p.slug AS plan, r.vendor, r.product, r.ways, r.note, r.changed_at, r.changed_by
FROM handover_rule AS r LEFT JOIN plan AS p ON p.id = r.plan_id
ORDER BY p.slug NULLS FIRST, r.vendor, r.product

-- name: set_handover_rule
INSERT INTO handover_rule (plan_id, vendor, product, ways, note, changed_at, changed_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT handover_one_rule DO UPDATE
SET ways = excluded.ways, note = excluded.note, changed_at = excluded.changed_at, changed_by = excluded.changed_by
RETURNING id

-- name: delete_handover_rule
DELETE FROM handover_rule WHERE id = $1 RETURNING true

-- name: plan_of_slug
SELECT id FROM plan WHERE slug = $1
