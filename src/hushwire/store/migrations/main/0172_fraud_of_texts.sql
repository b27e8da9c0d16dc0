-- Texts are counted as calls are: the parts that an agent, or the whole organisation, had accepted today and in this minute.
CREATE TABLE fraud_texts (
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid,                          -- null: the organisation's
    day date NOT NULL,                      -- UTC
    parts bigint NOT NULL,
    spent_micros bigint NOT NULL,           -- as the organisation states its prices
    minute bigint NOT NULL,                 -- minutes since 1970
    minute_parts bigint NOT NULL,
    before_parts bigint NOT NULL,           -- of the minute before
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX fraud_texts_by_whom ON fraud_texts (org_id, coalesce(agent_id, org_id), day);
CALL isolate_tenants('fraud_texts');
GRANT SELECT, INSERT, UPDATE ON fraud_texts TO hushwire_gateway, hushwire_api;
GRANT DELETE ON fraud_texts TO hushwire_api;
GRANT SELECT, DELETE ON fraud_texts TO hushwire_worker;

-- A text that a program sends is no agent's.
ALTER TABLE fraud_alarms ALTER COLUMN agent_id DROP NOT NULL;
CREATE UNIQUE INDEX fraud_alarms_of_no_agent ON fraud_alarms (org_id, subject_id, signal, hour) WHERE undone_at IS NULL AND agent_id IS NULL;
GRANT INSERT, UPDATE (times, last_at, seen, action) ON fraud_alarms TO hushwire_api;
GRANT EXECUTE ON FUNCTION tell_fraud_alarm() TO hushwire_api;
