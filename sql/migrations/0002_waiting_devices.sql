-- Capacity is what is ready less what waits for it; the wait is short, so this index stays small for ever.
CREATE INDEX device_waiting ON device (facility_id, plan_id) WHERE state IN ('queued', 'provisioning');
