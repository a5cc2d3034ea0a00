-- What of the devices does not drive a spot price is little; the rest is counted already (device_tally).
CREATE INDEX device_beside_the_market ON device (facility_id, plan_id)
    WHERE deleted_at IS NULL AND (state = 'failed' OR reservation_id IS NOT NULL OR spot_price_max IS NOT NULL);
