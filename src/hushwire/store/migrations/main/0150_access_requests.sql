-- "Ask for access": what an agent was refused, who lets it through, and until when. An approved one is the permission itself.
CREATE TABLE access_requests (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,
    call_id uuid,                           -- the call that was refused
    countries text[] NOT NULL CHECK (cardinality(countries) BETWEEN 1 AND 30),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'rejected', 'revoked')),
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,        -- what is open then has lapsed
    agreed_by text,                         -- the first of the two that a guarded country takes
    decided_by text,
    decided_at timestamptz,
    ends_at timestamptz,                    -- of the permission
    noticed_at timestamptz,                 -- administrators were told of the request
    told_at timestamptz,                    -- the agent was told of the decision
    CHECK ((state = 'open') = (decided_at IS NULL)),
    CHECK (state NOT IN ('approved', 'revoked') OR ends_at IS NOT NULL),
    CHECK (agreed_by IS NULL OR decided_by IS NULL OR state <> 'approved' OR agreed_by <> decided_by),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, call_id) REFERENCES calls (org_id, id) ON DELETE SET NULL (call_id)
);
CREATE INDEX access_requests_open ON access_requests (org_id, agent_id) WHERE state = 'open';
CREATE INDEX access_requests_by_time ON access_requests (org_id, asked_at DESC, id DESC);
CREATE INDEX access_requests_granted ON access_requests (org_id, agent_id) WHERE state = 'approved';
CREATE INDEX access_requests_unnoticed ON access_requests (asked_at) WHERE noticed_at IS NULL;
CREATE INDEX access_requests_untold ON access_requests (decided_at) WHERE told_at IS NULL AND decided_at IS NOT NULL;
CALL isolate_tenants('access_requests');

CREATE TRIGGER touch_rules_by_access AFTER UPDATE ON access_requests FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER DELETE ON access_requests FOR EACH ROW WHEN (OLD.state = 'approved') EXECUTE FUNCTION touch_rules();
CREATE TRIGGER tell_work AFTER INSERT ON access_requests FOR EACH STATEMENT EXECUTE FUNCTION tell_work('access-requests');

CREATE FUNCTION access_requests_unnoticed() RETURNS TABLE (org_id uuid, request_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT a.org_id, a.id FROM public.access_requests AS a WHERE a.noticed_at IS NULL ORDER BY a.asked_at LIMIT 1000 $$;
CREATE FUNCTION access_requests_untold(since timestamptz) RETURNS TABLE (org_id uuid, request_id uuid, agent_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT a.org_id, a.id, a.agent_id FROM public.access_requests AS a
   WHERE a.told_at IS NULL AND a.decided_at > since AND a.state IN ('approved', 'rejected') ORDER BY a.decided_at LIMIT 1000 $$;
GRANT SELECT (id, org_id, agent_id, state, asked_at, decided_at, noticed_at, told_at) ON access_requests TO hushwire_finder;
CALL let_finder_see('access_requests');
CALL hand_to_finder('access_requests_unnoticed()', 'hushwire_worker');
CALL hand_to_finder('access_requests_untold(timestamptz)', 'hushwire_gateway');

GRANT SELECT, INSERT, UPDATE (told_at) ON access_requests TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (state, agreed_by, decided_by, decided_at, ends_at) ON access_requests TO hushwire_api;
GRANT SELECT, UPDATE (noticed_at) ON access_requests TO hushwire_worker;
