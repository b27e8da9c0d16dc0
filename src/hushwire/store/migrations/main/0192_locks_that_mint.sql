-- A lock may mint another credential in the same transaction. What was minted by itself waits here, sealed, until an administrator fetches
-- it: once, since the row goes with that. Until then it opens what its digest opens, but nobody knows it.
CREATE TABLE fraud_minted (
    org_id uuid NOT NULL REFERENCES orgs,
    device_id uuid NOT NULL,
    alarm_id uuid NOT NULL,                 -- for which the lock was made
    agent_id uuid NOT NULL,
    credential_id uuid NOT NULL,            -- that was locked
    secret_sealed bytea NOT NULL,           -- operational key: the password
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, device_id),
    FOREIGN KEY (org_id, device_id) REFERENCES devices (org_id, id) ON DELETE CASCADE
);
CREATE INDEX fraud_minted_by_agent ON fraud_minted (org_id, agent_id, credential_id);
CALL isolate_tenants('fraud_minted');

GRANT INSERT ON devices, fraud_minted TO hushwire_gateway;
GRANT UPDATE (replacement_id) ON fraud_alarms TO hushwire_gateway;
GRANT SELECT, DELETE ON fraud_minted TO hushwire_api, hushwire_worker;
-- An administrator locks by hand, too.
GRANT INSERT ON fraud_locks TO hushwire_api;
