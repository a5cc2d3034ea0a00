"""Layer 3 per host on Junos: desired state, rendering, verified transactions; knows nothing of tenants."""
