-- Calls that the API asks for in an agent's name. One gateway takes a request, once: what it took and did not finish is never begun
-- again. The number stands here, sealed, until somebody takes the request or its time is over, and no longer.
CREATE TABLE call_requests (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,
    room_id uuid,                           -- the conference (a call) into which the number is called; null: the agent calls it
    node_wanted uuid,                       -- the gateway that holds the conference; null: whichever comes first
    destination_sealed bytea,               -- operational key
    answers_itself boolean NOT NULL DEFAULT false,
    is_telemarketing boolean NOT NULL DEFAULT false,
    asked_at timestamptz NOT NULL,
    take_by timestamptz NOT NULL,
    node_id uuid,                           -- who took it
    taken_at timestamptz,
    done_at timestamptz,
    outcome text,                           -- 'ok', or a code of the catalogue of refusals
    call_id uuid,                           -- what was begun, or the row of its refusal
    CHECK ((node_id IS NULL) = (taken_at IS NULL)),
    CHECK (taken_at IS NULL OR destination_sealed IS NULL),
    CHECK ((done_at IS NULL) = (outcome IS NULL)),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX call_requests_open ON call_requests (take_by) WHERE done_at IS NULL;
CREATE INDEX call_requests_by_time ON call_requests (asked_at);
CALL isolate_tenants('call_requests');

CREATE FUNCTION tell_call_request() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM pg_notify('hushwire_call_requests', '');
    ELSE
        PERFORM pg_notify('hushwire_done', NEW.id::text);
    END IF;
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tell_call_request() TO hushwire_gateway, hushwire_api, hushwire_worker;
CREATE TRIGGER tell_call_request AFTER INSERT ON call_requests FOR EACH ROW EXECUTE FUNCTION tell_call_request();
CREATE TRIGGER tell_done AFTER UPDATE ON call_requests FOR EACH ROW WHEN (OLD.done_at IS NULL AND NEW.done_at IS NOT NULL)
    EXECUTE FUNCTION tell_call_request();

-- Across tenants, ids only: what this gateway may take now, and what it took in a process before this one.
CREATE FUNCTION call_requests_open(node uuid) RETURNS TABLE (org_id uuid, request_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.call_requests AS r
   WHERE r.done_at IS NULL AND r.node_id IS NULL AND r.take_by > now() AND (r.node_wanted IS NULL OR r.node_wanted = node)
   ORDER BY r.asked_at LIMIT 100 $$;
CREATE FUNCTION call_requests_left(node uuid) RETURNS TABLE (org_id uuid, request_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.call_requests AS r WHERE r.done_at IS NULL AND r.node_id = node $$;
GRANT SELECT (id, org_id, node_wanted, asked_at, take_by, node_id, done_at) ON call_requests TO hushwire_finder;
CALL let_finder_see('call_requests');
CALL hand_to_finder('call_requests_open(uuid)', 'hushwire_gateway');
CALL hand_to_finder('call_requests_left(uuid)', 'hushwire_gateway');

GRANT SELECT, UPDATE (destination_sealed, node_id, taken_at, done_at, outcome, call_id) ON call_requests TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (destination_sealed, done_at, outcome) ON call_requests TO hushwire_api;
GRANT SELECT, DELETE ON call_requests TO hushwire_worker;
