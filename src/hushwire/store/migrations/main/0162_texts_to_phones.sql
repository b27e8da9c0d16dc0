-- Messages on their way to an agent's phones: until one of them took it, or its time is over. What it says stays under its own key; a
-- gateway that may open nothing asks for it by a row, and gets it sealed to a key pair that it made for this one question.
CREATE TABLE text_deliveries (
    org_id uuid NOT NULL REFERENCES orgs,
    message_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    claimed_until timestamptz,              -- a gateway is bringing it; then another one may, should that one have died
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, agent_id),
    FOREIGN KEY (org_id, message_id) REFERENCES messages (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX text_deliveries_by_agent ON text_deliveries (agent_id, due_at);
CREATE INDEX text_deliveries_by_end ON text_deliveries (expires_at);
CALL isolate_tenants('text_deliveries');

CREATE FUNCTION tell_text() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_texts', NEW.agent_id::text);
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tell_text() TO hushwire_gateway, hushwire_api, hushwire_worker;
CREATE TRIGGER tell_text AFTER INSERT ON text_deliveries FOR EACH ROW EXECUTE FUNCTION tell_text();

CREATE TABLE text_readings (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,                 -- whom they are for
    message_ids uuid[] NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    asked_at timestamptz NOT NULL,
    answered_at timestamptz,
    sealed bytea,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CALL isolate_tenants('text_readings');
CREATE TRIGGER tell_work AFTER INSERT ON text_readings FOR EACH STATEMENT EXECUTE FUNCTION tell_work('text-readings');
CREATE FUNCTION tell_text_read() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_texts_read', NEW.id::text);
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tell_text_read() TO hushwire_worker;
CREATE TRIGGER tell_text_read AFTER UPDATE OF answered_at ON text_readings FOR EACH ROW EXECUTE FUNCTION tell_text_read();

-- Across tenants, ids only.
CREATE FUNCTION texts_due(agents uuid[], moment timestamptz) RETURNS TABLE (org_id uuid, agent_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT DISTINCT d.org_id, d.agent_id FROM public.text_deliveries AS d
   WHERE d.agent_id = ANY(agents) AND d.due_at <= moment AND d.expires_at > moment
   AND (d.claimed_until IS NULL OR d.claimed_until <= moment) $$;
CREATE FUNCTION texts_overdue(moment timestamptz) RETURNS TABLE (org_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT DISTINCT d.org_id FROM public.text_deliveries AS d WHERE d.expires_at <= moment $$;
CREATE FUNCTION texts_to_read() RETURNS TABLE (org_id uuid, reading_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.text_readings AS r WHERE r.answered_at IS NULL ORDER BY r.asked_at LIMIT 100 $$;
CREATE FUNCTION texts_left_unread(before timestamptz) RETURNS TABLE (org_id uuid, reading_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.text_readings AS r WHERE r.asked_at < before LIMIT 1000 $$;
GRANT SELECT (org_id, agent_id, due_at, claimed_until, expires_at) ON text_deliveries TO hushwire_finder;
GRANT SELECT (id, org_id, asked_at, answered_at) ON text_readings TO hushwire_finder;
CALL let_finder_see('text_deliveries');
CALL let_finder_see('text_readings');
CALL hand_to_finder('texts_due(uuid[], timestamptz)', 'hushwire_gateway');
CALL hand_to_finder('texts_overdue(timestamptz)', 'hushwire_worker');
CALL hand_to_finder('texts_to_read()', 'hushwire_worker');
CALL hand_to_finder('texts_left_unread(timestamptz)', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE (attempts, due_at, claimed_until), DELETE ON text_deliveries TO hushwire_gateway;
GRANT SELECT, INSERT, DELETE ON text_deliveries TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, DELETE ON text_readings TO hushwire_gateway;
GRANT SELECT, UPDATE (answered_at, sealed), DELETE ON text_readings TO hushwire_worker;
