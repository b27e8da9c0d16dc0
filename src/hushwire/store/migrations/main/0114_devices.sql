-- An agent's devices, each with a credential of its own that can be taken away alone. The agent's own password (`agents.ha1_sealed`, as
-- provisioned) is its first device, and has no row here.
CREATE TABLE devices (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,
    login text NOT NULL,                    -- the digest's user name: random, says nothing of a person
    name_sealed bytea NOT NULL,             -- what people call it; operational key
    ha1_sealed bytea,                       -- as agents.ha1_sealed; null: not handed out yet, or revoked
    created_at timestamptz NOT NULL,
    expires_at timestamptz,                 -- a short-lived credential ends by itself
    revoked_at timestamptz,
    UNIQUE (org_id, id),
    UNIQUE (org_id, login),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX devices_by_agent ON devices (org_id, agent_id, id);
CALL isolate_tenants('devices');

-- Whose credential a binding was made with; null: the agent's own.
ALTER TABLE registrations ADD COLUMN device_id uuid;

-- Credentials have a version of their own: a web phone that signs in every hour must not make gateways learn an organisation anew.
ALTER TABLE orgs ADD COLUMN devices_version bigint NOT NULL DEFAULT 0;
CREATE FUNCTION touch_devices() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    UPDATE orgs SET devices_version = devices_version + 1 WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.org_id ELSE NEW.org_id END;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_devices_by_row AFTER INSERT OR DELETE ON devices FOR EACH ROW EXECUTE FUNCTION touch_devices();
CREATE TRIGGER touch_devices_by_change AFTER UPDATE ON devices FOR EACH ROW
    WHEN ((OLD.login, OLD.ha1_sealed, OLD.expires_at, OLD.revoked_at)
        IS DISTINCT FROM (NEW.login, NEW.ha1_sealed, NEW.expires_at, NEW.revoked_at)) EXECUTE FUNCTION touch_devices();
CREATE TRIGGER tell_devices AFTER UPDATE ON orgs FOR EACH ROW WHEN (OLD.devices_version IS DISTINCT FROM NEW.devices_version)
    EXECUTE FUNCTION tell_rules();

CREATE FUNCTION devices_versions() RETURNS TABLE (org_id uuid, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id, devices_version FROM public.orgs $$;
GRANT SELECT (devices_version) ON orgs TO hushwire_finder;
CALL hand_to_finder('devices_versions()', 'hushwire_gateway');

GRANT EXECUTE ON FUNCTION touch_devices() TO hushwire_api, hushwire_worker;
GRANT SELECT (id, org_id, agent_id, login, ha1_sealed, expires_at, revoked_at) ON devices TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (ha1_sealed, revoked_at), DELETE ON devices TO hushwire_api;
GRANT SELECT, DELETE ON devices TO hushwire_worker;
GRANT UPDATE (devices_version) ON orgs TO hushwire_worker;
