-- Carriers of short messages, and the parts of messages that are theirs to deliver (docs/sms.md).
CREATE TABLE message_centres (              -- the operator's, shared by all organisations, as trunks are
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    kind text NOT NULL DEFAULT 'smpp' CHECK (kind IN ('smpp', 'http')),
    priority integer NOT NULL DEFAULT 0,    -- lowest first; among equals by weight and chance
    weight integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    prefixes text[] NOT NULL DEFAULT '{}',  -- of numbers that it may carry, such as '+49'; none: all
    settings jsonb NOT NULL,                -- of its kind, as provisioned
    password_sealed bytea,                  -- operational key of the deployment
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
GRANT SELECT (id, name, kind, priority, weight, prefixes, settings) ON message_centres TO hushwire_gateway, hushwire_api;
GRANT SELECT ON message_centres TO hushwire_worker;

-- Processes that hold links: whose parts are in nobody's hands any more is seen by them.
CREATE TABLE message_runs (
    id uuid PRIMARY KEY,
    node_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON message_runs TO hushwire_worker;

-- The outbox: one row for each part that goes to a centre by itself. No content: that is opened when the part is sent.
--   queued -> sending (committed before a byte leaves) -> submitted -> delivered | failed | expired
--             sending -> queued (it did not leave, or the centre was busy) | unknown (it may have left: docs/sms.md) | failed
CREATE TABLE message_parts (
    org_id uuid NOT NULL REFERENCES orgs,
    message_id uuid NOT NULL,
    part smallint NOT NULL CHECK (part > 0),
    parts smallint NOT NULL CHECK (parts >= part),
    centre_id uuid NOT NULL REFERENCES message_centres,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'submitted', 'unknown', 'delivered', 'failed', 'expired')),
    run_id uuid,                            -- who is sending it
    receipt_id text,                        -- what the centre calls it, in the form that its receipts are compared in
    destination_index bytea,                -- while its receipt_id is not known: the deployment's look-up key
    error text,                             -- a word of ours or the centre's status, never its text
    attempts smallint NOT NULL DEFAULT 0,   -- times that it left, or may have
    due_at timestamptz NOT NULL,
    expires_at timestamptz,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, part)
);
CREATE INDEX message_parts_due ON message_parts (centre_id, due_at, message_id, part) WHERE state = 'queued';
CREATE INDEX message_parts_by_receipt ON message_parts (centre_id, receipt_id) WHERE receipt_id IS NOT NULL;
CREATE INDEX message_parts_in_hand ON message_parts (run_id) WHERE state = 'sending';
CREATE INDEX message_parts_unknown ON message_parts (centre_id, destination_index) WHERE state IN ('sending', 'unknown');
CREATE INDEX message_parts_by_org ON message_parts (org_id, message_id);
CALL isolate_tenants('message_parts');
GRANT SELECT, INSERT, DELETE ON message_parts TO hushwire_api, hushwire_worker;
GRANT INSERT ON message_parts TO hushwire_gateway;
GRANT UPDATE (centre_id, state, run_id, receipt_id, destination_index, error, attempts, due_at, changed_at) ON message_parts TO hushwire_worker;
CREATE TRIGGER tell_work AFTER INSERT ON message_parts FOR EACH STATEMENT EXECUTE FUNCTION tell_work('message-parts');

-- Receipts that name no part: they came before their message's answer was committed, or concern nothing of ours.
CREATE TABLE message_receipts (
    centre_id uuid NOT NULL REFERENCES message_centres ON DELETE CASCADE,
    receipt_id text NOT NULL,
    destination_index bytea NOT NULL,
    state text NOT NULL,
    error text,
    at timestamptz NOT NULL,                -- when it came
    PRIMARY KEY (centre_id, receipt_id)
);
CREATE INDEX message_receipts_by_destination ON message_receipts (centre_id, destination_index);
GRANT SELECT, INSERT, UPDATE, DELETE ON message_receipts TO hushwire_worker;

-- Across tenants: ids, and which of the given values they are about (counted from 1).
CREATE FUNCTION message_parts_due(centre uuid, now timestamptz, most integer) RETURNS TABLE (org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, p.message_id, p.part::bigint FROM public.message_parts AS p
   WHERE p.centre_id = centre AND p.state = 'queued' AND p.due_at <= now
   ORDER BY p.due_at, p.message_id, p.part LIMIT most $$;
CREATE FUNCTION message_parts_of_receipts(centre uuid, receipts text[])
RETURNS TABLE (place bigint, org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.place, p.org_id, p.message_id, p.part::bigint
   FROM unnest(receipts) WITH ORDINALITY AS r (receipt_id, place)
   JOIN public.message_parts AS p ON p.centre_id = centre AND p.receipt_id = r.receipt_id $$;
CREATE FUNCTION message_parts_unanswered(centre uuid, destinations bytea[])
RETURNS TABLE (place bigint, org_id uuid, message_id uuid, part bigint, is_unknown bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.place, p.org_id, p.message_id, p.part::bigint, (p.state = 'unknown')::integer::bigint
   FROM unnest(destinations) WITH ORDINALITY AS d (destination_index, place)
   JOIN public.message_parts AS p ON p.centre_id = centre AND p.destination_index = d.destination_index AND p.state IN ('sending', 'unknown')
   ORDER BY p.changed_at, p.message_id, p.part $$;
CREATE FUNCTION message_parts_orphaned(most integer) RETURNS TABLE (org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, p.message_id, p.part::bigint FROM public.message_parts AS p
   WHERE p.state = 'sending' AND NOT EXISTS (SELECT FROM public.message_runs AS r WHERE r.id = p.run_id) LIMIT most $$;
CREATE FUNCTION message_parts_in_doubt(centre uuid, before timestamptz, most integer) RETURNS TABLE (org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, p.message_id, p.part::bigint FROM public.message_parts AS p
   WHERE p.centre_id = centre AND p.state = 'unknown' AND p.changed_at <= before ORDER BY p.changed_at LIMIT most $$;
CREATE FUNCTION message_parts_expired(now timestamptz, most integer) RETURNS TABLE (org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, p.message_id, p.part::bigint FROM public.message_parts AS p
   WHERE p.state = 'queued' AND p.expires_at <= now LIMIT most $$;
GRANT SELECT (id) ON message_runs TO hushwire_finder;
GRANT SELECT (org_id, message_id, part, centre_id, state, run_id, receipt_id, destination_index, due_at, expires_at, changed_at)
    ON message_parts TO hushwire_finder;
CALL let_finder_see('message_parts');
CALL hand_to_finder('message_parts_due(uuid, timestamptz, integer)', 'hushwire_worker');
CALL hand_to_finder('message_parts_of_receipts(uuid, text[])', 'hushwire_worker');
CALL hand_to_finder('message_parts_unanswered(uuid, bytea[])', 'hushwire_worker');
CALL hand_to_finder('message_parts_orphaned(integer)', 'hushwire_worker');
CALL hand_to_finder('message_parts_in_doubt(uuid, timestamptz, integer)', 'hushwire_worker');
CALL hand_to_finder('message_parts_expired(timestamptz, integer)', 'hushwire_worker');
