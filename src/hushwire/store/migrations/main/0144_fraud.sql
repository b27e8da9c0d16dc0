-- The fraud breaker: limits that an organisation has set, what its agents did lately, what was found, and what is locked for it.
-- Who was called stands nowhere here: destinations are keyed blind indexes that lapse within the hour.

CREATE TABLE fraud_limits (
    org_id uuid NOT NULL REFERENCES orgs,
    level text NOT NULL CHECK (level IN ('organisation', 'each-team', 'each-agent', 'team', 'agent')),
    subject_id uuid NOT NULL,               -- of a team or an agent; for the others the organisation's id
    bounds jsonb NOT NULL,                  -- {"<signal>": {"most": number or null, "action": "..."}}: what differs from the defaults
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, level, subject_id)
);
CALL isolate_tenants('fraud_limits');
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON fraud_limits FOR EACH ROW EXECUTE FUNCTION touch_rules();

-- Attempts to leave the house and calls that were over at once, of the last hour: what a gateway that starts begins with, and what each
-- learns of the others.
CREATE TABLE fraud_facts (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    node_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('out', 'refused', 'short')),
    destination_index bytea,                -- as calls.remote_index, so that a person is found by one value
    tail_mark bytea,                        -- keyed marks of what was dialled: its last digits, and those before them
    head_mark bytea,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX fraud_facts_by_time ON fraud_facts (org_id, at);
CREATE INDEX fraud_facts_by_agent ON fraud_facts (org_id, agent_id);
CREATE INDEX fraud_facts_by_destination ON fraud_facts (org_id, destination_index) WHERE destination_index IS NOT NULL;
CALL isolate_tenants('fraud_facts');

-- What a day (UTC) has used. Every gateway adds to it.
CREATE TABLE fraud_days (
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,
    day date NOT NULL,
    currency text NOT NULL,                 -- of the trunk's rate table; empty: it has none
    talk_ms bigint NOT NULL,
    spent_micros bigint NOT NULL,
    PRIMARY KEY (org_id, agent_id, day, currency),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX fraud_days_by_day ON fraud_days (org_id, day);
CALL isolate_tenants('fraud_days');

-- Where and at which hours (UTC) an agent calls, as sums: what is unlike it can be told from that alone.
CREATE TABLE fraud_habits (
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('country', 'hour', 'all')),
    key text NOT NULL,                      -- ISO 3166-1, or 0 to 23
    calls bigint NOT NULL,
    days integer NOT NULL,                  -- on how many days there were any
    last_day date NOT NULL,
    PRIMARY KEY (org_id, agent_id, kind, key),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CALL isolate_tenants('fraud_habits');

CREATE TABLE fraud_alarms (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    level text NOT NULL CHECK (level IN ('agent', 'team', 'organisation')),
    subject_id uuid NOT NULL,               -- the agent, the team or the organisation
    agent_id uuid NOT NULL,                 -- whose attempt it was that was too much
    credential_id uuid,                     -- that showed it; null: none did, such as for a forwarded call
    signal text NOT NULL,
    action text NOT NULL,
    seen double precision NOT NULL,
    most double precision,
    times bigint NOT NULL,
    hour bigint NOT NULL,                   -- hours since 1970: one alarm an hour for one thing
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    undone_at timestamptz,
    undone_by text,
    replaced_at timestamptz,                -- the credential was taken away for good, and a new one made
    replacement_id uuid,
    noticed_at timestamptz,                 -- admins were told
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX fraud_alarms_standing ON fraud_alarms (org_id, subject_id, signal, hour, agent_id, coalesce(credential_id, agent_id))
    WHERE undone_at IS NULL;
CREATE INDEX fraud_alarms_by_time ON fraud_alarms (org_id, first_at DESC, id DESC);
CREATE INDEX fraud_alarms_by_agent ON fraud_alarms (org_id, agent_id);
CREATE INDEX fraud_alarms_to_tell ON fraud_alarms (org_id) WHERE noticed_at IS NULL;
CALL isolate_tenants('fraud_alarms');

CREATE TABLE fraud_locks (
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,
    credential_id uuid NOT NULL,            -- the agent's id for its own password; nil: whatever leaves the house on the agent's wish
    alarm_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, agent_id, credential_id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CALL isolate_tenants('fraud_locks');
-- Gateways learn of locks as they learn of credentials.
CREATE TRIGGER touch_devices_by_row AFTER INSERT OR DELETE ON fraud_locks FOR EACH ROW EXECUTE FUNCTION touch_devices();
GRANT EXECUTE ON FUNCTION touch_devices() TO hushwire_gateway;
GRANT UPDATE (devices_version) ON orgs TO hushwire_gateway;

-- What was undone is forgotten by the gateways' memory too; and a new alarm is told to people by the worker.
CREATE FUNCTION tell_fraud_undone() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_fraud', NEW.org_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_undone AFTER UPDATE ON fraud_alarms FOR EACH ROW
    WHEN (OLD.undone_at IS DISTINCT FROM NEW.undone_at) EXECUTE FUNCTION tell_fraud_undone();
CREATE FUNCTION tell_fraud_alarm() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_work', 'fraud');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_alarm AFTER INSERT ON fraud_alarms FOR EACH ROW EXECUTE FUNCTION tell_fraud_alarm();

GRANT EXECUTE ON FUNCTION tell_fraud_undone() TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT EXECUTE ON FUNCTION tell_fraud_alarm() TO hushwire_gateway;
GRANT SELECT ON fraud_limits TO hushwire_gateway, hushwire_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON fraud_limits TO hushwire_api;
GRANT SELECT, INSERT ON fraud_facts TO hushwire_gateway;
GRANT SELECT, DELETE ON fraud_facts TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, UPDATE (talk_ms, spent_micros) ON fraud_days TO hushwire_gateway;
GRANT SELECT, DELETE ON fraud_days TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, UPDATE (calls, days, last_day) ON fraud_habits TO hushwire_gateway;
GRANT SELECT ON fraud_habits TO hushwire_api;
GRANT SELECT, DELETE ON fraud_habits TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE (times, last_at, seen, action) ON fraud_alarms TO hushwire_gateway;
GRANT SELECT, UPDATE (undone_at, undone_by, replaced_at, replacement_id) ON fraud_alarms TO hushwire_api;
GRANT SELECT, UPDATE (noticed_at), DELETE ON fraud_alarms TO hushwire_worker;
GRANT SELECT, INSERT ON fraud_locks TO hushwire_gateway;
GRANT SELECT, DELETE ON fraud_locks TO hushwire_api, hushwire_worker;
