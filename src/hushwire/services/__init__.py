"""The effects: calling, registration, provisioning, recordings."""
