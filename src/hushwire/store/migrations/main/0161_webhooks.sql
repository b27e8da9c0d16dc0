-- Addresses of an organisation's own programs, which are told what happens, and what they were told. No gateway reads them.
CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    url_sealed bytea NOT NULL,              -- operational key: an address may hold a token
    kinds text[] NOT NULL,                  -- of events: 'call.ended', 'message.*', '*'
    grants text[] NOT NULL DEFAULT '{}' CHECK (grants <@ '{numbers,bodies}'),   -- what of content an owner lets it be told
    signs text NOT NULL CHECK (signs IN ('hmac-sha256', 'ed25519')),
    secret_sealed bytea NOT NULL,           -- 32 bytes; operational key
    former_sealed bytea,                    -- the secret before, which signs too until `former_until`
    former_until timestamptz,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'gone')),     -- gone: its server answered 410
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (org_id, id)
);
CALL isolate_tenants('webhooks');

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    webhook_id uuid NOT NULL,
    position bigint NOT NULL,               -- the event
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,            -- while it is tried: when another worker may try, should this one die
    ended_at timestamptz,
    status integer,                         -- the last answer
    failure text,                           -- or why there was none, in a word
    UNIQUE (webhook_id, position),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, position) REFERENCES events (org_id, position) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (org_id, position);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, state, position DESC);
CALL isolate_tenants('webhook_deliveries');
CREATE TRIGGER tell_work AFTER INSERT ON webhook_deliveries FOR EACH STATEMENT EXECUTE FUNCTION tell_work('webhooks');
CREATE TRIGGER tell_again AFTER UPDATE OF state ON webhook_deliveries FOR EACH ROW WHEN (OLD.state = 'dead' AND NEW.state = 'waiting')
    EXECUTE FUNCTION tell_work('webhooks');
CREATE TRIGGER tell_work AFTER UPDATE OF state ON webhooks FOR EACH STATEMENT EXECUTE FUNCTION tell_work('webhooks');

CREATE FUNCTION webhooks_due(moment timestamptz) RETURNS TABLE (org_id uuid, webhook_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT w.org_id, w.id FROM public.webhooks AS w WHERE w.state = 'active' AND EXISTS (
       SELECT 1 FROM public.webhook_deliveries AS d WHERE d.webhook_id = w.id AND d.state = 'waiting' AND d.due_at <= moment) $$;
GRANT SELECT (id, org_id, state) ON webhooks TO hushwire_finder;
GRANT SELECT (webhook_id, state, due_at) ON webhook_deliveries TO hushwire_finder;
CALL let_finder_see('webhooks');
CALL let_finder_see('webhook_deliveries');
CALL hand_to_finder('webhooks_due(timestamptz)', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks TO hushwire_api;
GRANT SELECT, UPDATE (state, updated_at), DELETE ON webhooks TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE (state, attempts, due_at, ended_at, status, failure) ON webhook_deliveries TO hushwire_api;
GRANT SELECT, INSERT, UPDATE (state, attempts, due_at, ended_at, status, failure), DELETE ON webhook_deliveries TO hushwire_worker;
