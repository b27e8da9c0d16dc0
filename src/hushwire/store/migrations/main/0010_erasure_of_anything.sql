-- Erasure of anything: the ledger holds objects of any kind, operations hold what a selector ("everything of this number") led to, legal
-- holds refuse, retention plans. Every erasure of anything is a row of erasure_ledger before it is anything else.

ALTER TABLE erasure_ledger RENAME COLUMN recording_id TO object_id;
ALTER TABLE erasure_ledger DROP CONSTRAINT erasure_ledger_recording_id_key;
ALTER TABLE erasure_ledger
    ADD COLUMN kind text NOT NULL DEFAULT 'recording'
        CHECK (kind IN ('recording', 'call', 'message', 'contact', 'document', 'case', 'organisation')),
    ADD COLUMN operation_id uuid,           -- the selector that it was found by; null: asked for by itself
    ADD COLUMN caused_by uuid,              -- the entry that it follows from: a bundle falls with what it contains
    ADD COLUMN evidence jsonb,              -- which places were asked after the sweep, and what each answered
    ALTER COLUMN key_fingerprint DROP NOT NULL,     -- null: nothing personal was ever sealed for it
    ALTER COLUMN bucket_id DROP NOT NULL;
ALTER TABLE erasure_ledger ALTER COLUMN kind DROP DEFAULT;
ALTER TABLE erasure_ledger ADD CONSTRAINT one_entry_an_object UNIQUE (org_id, kind, object_id);

CREATE TABLE erasure_operations (
    id uuid PRIMARY KEY,                    -- also the id of its data key, and of its receipt
    org_id uuid NOT NULL REFERENCES orgs,
    scope text NOT NULL CHECK (scope IN ('objects', 'number', 'agent', 'contact', 'time', 'organisation')),
    state text NOT NULL CHECK (state IN ('entered', 'running', 'deferred', 'done')),
    requested_at timestamptz NOT NULL,      -- what came later is not meant
    actor text NOT NULL,                    -- 'api-key:<id>', 'retention', 'hold-release:<id>': a pseudonym
    reason text NOT NULL,                   -- a code
    selector jsonb,                         -- ids and times; null once done
    selector_sealed bytea,                  -- numbers, and the salt of the commitment to them; null once done
    selector_commitment bytea NOT NULL,
    note_sealed bytea,                      -- what a person wrote about it; null once done
    planned_at timestamptz,                 -- everything that is free stands in the ledger
    unreadable_at timestamptz,              -- every key of these is destroyed
    done_at timestamptz,
    deferred bigint NOT NULL DEFAULT 0,     -- what holds kept
    follows uuid,                           -- the deferred operation that this one runs again
    receipt jsonb,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, follows) REFERENCES erasure_operations (org_id, id)
);
CREATE INDEX erasure_operations_by_time ON erasure_operations (org_id, requested_at DESC, id DESC);
CREATE INDEX erasure_operations_open ON erasure_operations (requested_at) WHERE state IN ('entered', 'running');
ALTER TABLE erasure_ledger ADD FOREIGN KEY (org_id, operation_id) REFERENCES erasure_operations (org_id, id);
CREATE INDEX erasure_by_operation ON erasure_ledger (operation_id, position) WHERE operation_id IS NOT NULL;

CREATE TABLE legal_holds (
    id uuid PRIMARY KEY,                    -- also the id of its data key
    org_id uuid NOT NULL REFERENCES orgs,
    scope text NOT NULL CHECK (scope IN ('recording', 'call', 'message', 'contact', 'document', 'case', 'number', 'agent', 'range', 'organisation')),
    object_id uuid,                         -- of the thing or agent held
    number_sealed bytea,
    number_indexes bytea[],                 -- its blind index in every column where it may stand
    since timestamptz,
    until timestamptz,
    reason text NOT NULL,                   -- a code
    authority_sealed bytea NOT NULL,        -- who demands it
    note_sealed bytea,
    placed_at timestamptz NOT NULL,
    placed_by text NOT NULL,
    released_at timestamptz,
    released_by text
);
CREATE INDEX legal_holds_in_force ON legal_holds (org_id) WHERE released_at IS NULL;

-- Which holds kept what an operation left: its release runs the operation again.
CREATE TABLE deferred_erasures (
    org_id uuid NOT NULL REFERENCES orgs,
    operation_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    deferred_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, operation_id, hold_id),
    FOREIGN KEY (org_id, operation_id) REFERENCES erasure_operations (org_id, id)
);

CREATE TABLE retention_rules (
    org_id uuid NOT NULL REFERENCES orgs,
    id uuid PRIMARY KEY,
    class text NOT NULL CHECK (class IN ('recording', 'call', 'message', 'contact', 'document', 'case')),
    agent_id uuid,                          -- null: every agent
    keep_days integer NOT NULL CHECK (keep_days BETWEEN 0 AND 36525),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (org_id, class, agent_id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);

CREATE TABLE retention_state (              -- one row an organisation: what time retention last believed, and what it waits for
    org_id uuid PRIMARY KEY REFERENCES orgs,
    last_seen_at timestamptz NOT NULL,      -- the newest time at which retention looked
    most_percent integer NOT NULL DEFAULT 20 CHECK (most_percent BETWEEN 1 AND 100),  -- of a class, at once, without a second word
    pending_id uuid,                        -- what waits for a confirmation
    pending_reason text,                    -- 'clock-ahead', 'clock-back', 'large-share'
    pending_at timestamptz,                 -- the time that was believed when it was found
    pending_count bigint,
    confirmed_at timestamptz,
    confirmed_by text
);

ALTER TABLE calls ADD COLUMN erased_at timestamptz;
ALTER TABLE orgs ADD COLUMN erased_at timestamptz;  -- its keys are destroyed, or about to be

CALL isolate_tenants('erasure_operations');
CALL isolate_tenants('legal_holds');
CALL isolate_tenants('deferred_erasures');
CALL isolate_tenants('retention_rules');
CALL isolate_tenants('retention_state');

-- Erased stays erased, whoever writes late.
CREATE FUNCTION call_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.sealed_with := NULL;
    NEW.remote_sealed := NULL;
    NEW.remote_index := NULL;
    NEW.local_sealed := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON calls FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION call_stays_erased();

-- An organisation that was erased gets no new personal values: what a gateway still had in hand keeps its pseudonyms only.
CREATE FUNCTION org_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF EXISTS (SELECT 1 FROM orgs WHERE id = NEW.org_id AND erased_at IS NOT NULL) THEN
        NEW.remote_index := NULL;
        IF TG_TABLE_NAME = 'calls' THEN
            NEW.sealed_with := NULL;
            NEW.remote_sealed := NULL;
            NEW.local_sealed := NULL;
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER org_stays_erased BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION org_stays_erased();
CREATE TRIGGER org_stays_erased BEFORE INSERT ON recordings FOR EACH ROW EXECUTE FUNCTION org_stays_erased();

CREATE TRIGGER tell_work AFTER INSERT OR UPDATE ON erasure_operations FOR EACH STATEMENT EXECUTE FUNCTION tell_work('erasures');
CREATE TRIGGER tell_work AFTER UPDATE ON legal_holds FOR EACH STATEMENT EXECUTE FUNCTION tell_work('erasures');
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE OR DELETE ON retention_rules FOR EACH STATEMENT EXECUTE FUNCTION tell_work('retention');

GRANT SELECT (id, org_id, requested_at, state) ON erasure_operations TO hushwire_finder;
GRANT SELECT (org_id, id, released_at) ON legal_holds TO hushwire_finder;
GRANT SELECT (org_id, hold_id, operation_id) ON deferred_erasures TO hushwire_finder;
GRANT SELECT (org_id) ON retention_state TO hushwire_finder;
GRANT SELECT (erased_at) ON orgs TO hushwire_finder;
CALL let_finder_see('erasure_operations');
CALL let_finder_see('legal_holds');
CALL let_finder_see('deferred_erasures');
CALL let_finder_see('retention_state');

CREATE FUNCTION open_erasure_operations() RETURNS TABLE (org_id uuid, operation_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT o.org_id, o.id FROM public.erasure_operations AS o WHERE o.state IN ('entered', 'running') ORDER BY o.requested_at $$;
CALL hand_to_finder('open_erasure_operations()', 'hushwire_worker');

CREATE FUNCTION released_erasures() RETURNS TABLE (org_id uuid, operation_id uuid)  -- deferred by a hold that is released now
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT DISTINCT o.org_id, o.id FROM public.erasure_operations AS o
   JOIN public.deferred_erasures AS d ON d.org_id = o.org_id AND d.operation_id = o.id
   JOIN public.legal_holds AS h ON h.org_id = d.org_id AND h.id = d.hold_id
   WHERE o.state = 'deferred' AND h.released_at IS NOT NULL $$;
CALL hand_to_finder('released_erasures()', 'hushwire_worker');

CREATE FUNCTION orgs_with_retention() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT s.org_id FROM public.retention_state AS s ORDER BY s.org_id $$;
CALL hand_to_finder('orgs_with_retention()', 'hushwire_worker');

-- Gateways forget an erased organisation as if it had never been.
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION rules_versions() RETURNS TABLE (org_id uuid, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id, rules_version FROM public.orgs WHERE erased_at IS NULL $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

GRANT SELECT, INSERT, UPDATE ON erasure_operations TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT ON deferred_erasures TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, UPDATE (released_at, released_by) ON legal_holds TO hushwire_api;
GRANT SELECT ON legal_holds TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON retention_rules TO hushwire_api;
GRANT SELECT, INSERT, UPDATE ON retention_state TO hushwire_api, hushwire_worker;
GRANT SELECT ON retention_rules TO hushwire_worker;
