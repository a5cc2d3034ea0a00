-- name: sample_traffic
INSERT INTO traffic_sample (device_id, at, port_id, inbound, outbound)
SELECT given.device_id, $3, given.port_id, given.inbound, given.outbound
FROM unnest($4::uuid[], $5::uuid[], $6::numeric[], $7::numeric[]) AS given (device_id, port_id, inbound, outbound)
WHERE EXISTS (SELECT FROM leaf WHERE id = $1 AND epoch = $2)
ON CONFLICT DO NOTHING

-- name: traffic_samples
SELECT at, port_id, inbound, outbound FROM traffic_sample
WHERE device_id = $1 AND at <= coalesce((SELECT min(later.at) FROM traffic_sample AS later
                                         WHERE later.device_id = $1 AND later.at >= $3), 'infinity')
  AND at >= coalesce((SELECT max(earlier.at) FROM traffic_sample AS earlier
                      WHERE earlier.device_id = $1 AND earlier.at <= $2), '-infinity')
ORDER BY at

-- name: forget_traffic
DELETE FROM traffic_sample WHERE at < $1
