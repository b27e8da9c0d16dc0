-- Masked calls: two parties who are shown a proxy number of the organisation's pool instead of each other's. Each pair is a session that
-- ends by itself. Who its parties are stands in rows of their own, which go when it ends.
ALTER TABLE numbers ADD COLUMN masks boolean NOT NULL DEFAULT false;       -- a proxy number: it rings nobody by itself
ALTER TABLE numbers ADD CONSTRAINT numbers_mask_or_ring CHECK (NOT masks OR agent_id IS NULL);
CREATE TRIGGER touch_rules_by_masks AFTER UPDATE ON numbers FOR EACH ROW
    WHEN (OLD.masks IS DISTINCT FROM NEW.masks) EXECUTE FUNCTION touch_rules();
GRANT SELECT (masks) ON numbers TO hushwire_gateway;
ALTER TABLE numbers ADD UNIQUE (org_id, id);                    -- for references that can't leave the organisation

CREATE TABLE masking_sessions (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,                 -- in whose name its calls are made, and under whose rules
    number_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, number_id) REFERENCES numbers (org_id, id) ON DELETE CASCADE
);
CREATE INDEX masking_sessions_by_number ON masking_sessions (number_id);
CALL isolate_tenants('masking_sessions');

CREATE TABLE masking_parties (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    session_id uuid NOT NULL,
    number_id uuid NOT NULL,
    number_sealed bytea NOT NULL,           -- operational key: the gateway dials it
    remote_index bytea NOT NULL,            -- as calls.remote_index, so that a person is found by one value
    UNIQUE (number_id, remote_index),       -- who calls a proxy number means one session
    FOREIGN KEY (org_id, session_id) REFERENCES masking_sessions (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, number_id) REFERENCES numbers (org_id, id) ON DELETE CASCADE
);
CREATE INDEX masking_parties_by_session ON masking_parties (org_id, session_id);
CREATE INDEX masking_parties_by_remote ON masking_parties (org_id, remote_index);
CALL isolate_tenants('masking_parties');

-- A version of their own, as devices have: sessions come and go all day.
ALTER TABLE orgs ADD COLUMN masking_version bigint NOT NULL DEFAULT 0;
CREATE FUNCTION touch_masking() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    UPDATE orgs SET masking_version = masking_version + 1 WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.org_id ELSE NEW.org_id END;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_masking_by_row AFTER INSERT OR DELETE ON masking_parties FOR EACH ROW EXECUTE FUNCTION touch_masking();
CREATE TRIGGER tell_masking AFTER UPDATE ON orgs FOR EACH ROW WHEN (OLD.masking_version IS DISTINCT FROM NEW.masking_version)
    EXECUTE FUNCTION tell_rules();

CREATE FUNCTION masking_versions() RETURNS TABLE (org_id uuid, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id, masking_version FROM public.orgs WHERE masking_version > 0 $$;
GRANT SELECT (masking_version) ON orgs TO hushwire_finder;
CALL hand_to_finder('masking_versions()', 'hushwire_gateway');

GRANT EXECUTE ON FUNCTION touch_masking() TO hushwire_api, hushwire_worker;
GRANT SELECT (id, org_id, agent_id, expires_at) ON masking_sessions TO hushwire_gateway;
GRANT SELECT ON masking_parties TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (ended_at), DELETE ON masking_sessions TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, DELETE ON masking_parties TO hushwire_api, hushwire_worker;
GRANT UPDATE (masking_version) ON orgs TO hushwire_api, hushwire_worker;

-- Which session a call belongs to: neither party's number is shown on it.
ALTER TABLE calls ADD COLUMN masking_session_id uuid;
