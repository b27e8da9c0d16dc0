-- Clocks: deadlines and periods of the agreement as rows (privacy/clocks.py says how long each kind runs).

-- Which laws apply to the organisation (privacy/jurisdictions.py); empty: those of its home country.
ALTER TABLE orgs ADD COLUMN jurisdictions text[] NOT NULL DEFAULT '{}';

CREATE TABLE clocks (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL,
    subject_kind text NOT NULL,             -- 'request', 'breach', 'number', 'organisation', ...
    subject_id uuid NOT NULL,
    jurisdictions text[] NOT NULL,          -- as they were when it started: a later change moves no running clock
    started_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    warn_at timestamptz[] NOT NULL,
    act_at timestamptz,                     -- when hushwire begins to do by itself what is due
    warned integer NOT NULL DEFAULT 0,      -- warnings given
    alarmed_at timestamptz,                 -- when it was found to be due and not ended
    look_at timestamptz,                    -- when the worker has to look at it next; null: never again
    ended_at timestamptz,
    outcome text,
    evidence jsonb NOT NULL DEFAULT '{}',   -- ids, digests and codes only
    UNIQUE (org_id, id),
    UNIQUE (org_id, kind, subject_kind, subject_id),
    CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CHECK (due_at > started_at)
);
CREATE INDEX clocks_by_due ON clocks (org_id, due_at, id);
CREATE INDEX clocks_by_subject ON clocks (org_id, subject_id);
CREATE INDEX clocks_to_look_at ON clocks (look_at) WHERE ended_at IS NULL AND look_at IS NOT NULL;
CREATE INDEX clocks_running ON clocks (kind, due_at) WHERE ended_at IS NULL;
CALL isolate_tenants('clocks');
CREATE TRIGGER tell_work AFTER INSERT ON clocks FOR EACH STATEMENT EXECUTE FUNCTION tell_work('clocks');

-- Ended is ended: what came of a clock is evidence, and is not written over.
CREATE FUNCTION stay_ended() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    RAISE EXCEPTION 'a clock that has ended is not changed' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER stay_ended BEFORE UPDATE ON clocks FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL AND (OLD.*) IS DISTINCT FROM (NEW.*)) EXECUTE FUNCTION stay_ended();

CREATE FUNCTION clocks_to_look_at(moment timestamptz) RETURNS TABLE (org_id uuid, clock_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id, c.id FROM public.clocks AS c
   WHERE c.ended_at IS NULL AND c.look_at <= moment ORDER BY c.look_at $$;

CREATE FUNCTION count_due_clocks(wanted text, moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT count(*) FROM public.clocks AS c WHERE c.ended_at IS NULL AND c.kind = wanted AND c.due_at <= moment $$;

GRANT SELECT (id, org_id, kind, due_at, look_at, ended_at) ON clocks TO hushwire_finder;
CALL let_finder_see('clocks');
CALL hand_to_finder('clocks_to_look_at(timestamptz)', 'hushwire_worker');
CALL hand_to_finder('count_due_clocks(text, timestamptz)', 'hushwire_api', 'hushwire_worker');

-- A clock is started and ended where the thing happens, and never removed by anyone here.
GRANT SELECT, INSERT, UPDATE (warned, alarmed_at, look_at, ended_at, outcome, evidence) ON clocks TO hushwire_api, hushwire_worker;
