-- Breach cases: from a credential and a time window to what was read with it (docs/breach.md).

-- The access log answers three questions of people: what happened lately, what did this credential read, who read this.
DROP INDEX access_by_time;
CREATE INDEX access_by_time ON access_log (org_id, at DESC, id DESC);
CREATE INDEX access_by_actor ON access_log (org_id, actor, at DESC, id DESC);
CREATE INDEX access_by_object ON access_log (org_id, object, at DESC, id DESC);

CREATE TABLE breach_incidents (             -- the operator's: one credential and window, whichever organisations it reached
    id uuid PRIMARY KEY,
    actor text NOT NULL,                    -- 'api-key:<id>', 'agent:<id>'
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    registered_at timestamptz NOT NULL,     -- T0
    note_sealed bytea,                      -- operational key of the deployment; null once it stands in each organisation's case
    spread_at timestamptz,                  -- each affected organisation has its case
    affected bigint,
    CHECK (since < until),
    UNIQUE (actor, since, until)
);

CREATE TABLE breaches (
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'case')
    org_id uuid NOT NULL REFERENCES orgs,
    incident_id uuid NOT NULL,              -- the operator's, or its own id
    actor text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    registered_at timestamptz NOT NULL,     -- T0
    registered_by text NOT NULL,
    note_sealed bytea,
    state text NOT NULL CHECK (state IN ('registered', 'computed', 'noticed')),
    computed_at timestamptz,
    counts jsonb,                           -- accesses, persons, agents, and records of each kind
    first_at timestamptz,
    last_at timestamptz,
    notice_id uuid,
    noticed_at timestamptz,                 -- the notice stands in the outbox
    CHECK (since < until),
    UNIQUE (org_id, id),
    UNIQUE (org_id, actor, since, until)
);
CREATE INDEX breaches_by_time ON breaches (org_id, registered_at DESC, id DESC);
CREATE INDEX breaches_open ON breaches (registered_at) WHERE state <> 'noticed';

CREATE TABLE breach_records (               -- what was read: ids, no more
    org_id uuid NOT NULL REFERENCES orgs,
    breach_id uuid NOT NULL,
    kind text NOT NULL,
    object_id uuid NOT NULL,
    accesses bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (breach_id, kind, object_id),
    FOREIGN KEY (org_id, breach_id) REFERENCES breaches (org_id, id)
);
CALL isolate_tenants('breaches');
CALL isolate_tenants('breach_records');
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE OF state ON breaches FOR EACH STATEMENT EXECUTE FUNCTION tell_work('breaches');
CREATE TRIGGER tell_work AFTER INSERT ON breach_incidents FOR EACH STATEMENT EXECUTE FUNCTION tell_work('breaches');

-- Organisations where a credential read something in a window: one probe of an index each, however much it read.
CREATE FUNCTION orgs_read_by(who text, since timestamptz, until timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT o.id FROM public.orgs AS o
   WHERE EXISTS (SELECT 1 FROM public.access_log AS a WHERE a.org_id = o.id AND a.actor = who AND a.at >= since AND a.at < until)
   ORDER BY o.id $$;
CREATE FUNCTION open_breaches() RETURNS TABLE (org_id uuid, breach_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT b.org_id, b.id FROM public.breaches AS b WHERE b.state <> 'noticed' ORDER BY b.registered_at, b.id $$;
GRANT SELECT (org_id, actor, at) ON access_log TO hushwire_finder;
GRANT SELECT (id, org_id, state, registered_at) ON breaches TO hushwire_finder;
CALL let_finder_see('access_log');
CALL let_finder_see('breaches');
CALL hand_to_finder('orgs_read_by(text, timestamptz, timestamptz)', 'hushwire_worker');
CALL hand_to_finder('open_breaches()', 'hushwire_worker');

GRANT SELECT, INSERT ON breaches, breach_records TO hushwire_api, hushwire_worker;
GRANT UPDATE (state, computed_at, counts, first_at, last_at, notice_id, noticed_at) ON breaches TO hushwire_api, hushwire_worker;
GRANT DELETE ON breach_records TO hushwire_api, hushwire_worker;    -- a computation that was cut off begins anew
GRANT SELECT, UPDATE (note_sealed, spread_at, affected) ON breach_incidents TO hushwire_worker;
