-- What the parties owe each other: sub-processors and objections, cases, policies, instructions, safeguards, the end of the agreement.

-- The operator's list of sub-processors: public, and versioned (a row of subprocessor_lists for each version).
CREATE TABLE subprocessors (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    purpose text NOT NULL,
    country text NOT NULL,                  -- ISO 3166-1: where it processes
    categories text[] NOT NULL,             -- classes of data that reach it
    safeguard text,                         -- for a transfer out of a region: 'scc-module-3', 'uk-addendum', ... ; null: none
    announced_at timestamptz NOT NULL,
    withdrawn_at timestamptz
);
CREATE TABLE subprocessor_lists (
    version bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    list jsonb NOT NULL,
    digest bytea NOT NULL                   -- SHA-256 of the canonical JSON of the list
);
ALTER TABLE trunks ADD COLUMN subprocessor text REFERENCES subprocessors (name) ON UPDATE CASCADE;

-- How a sub-processor stands with one customer: told when, free to be used from when.
CREATE TABLE subprocessor_standings (
    org_id uuid NOT NULL REFERENCES orgs,
    subprocessor_id uuid NOT NULL REFERENCES subprocessors,
    notified_at timestamptz NOT NULL,
    active_from timestamptz NOT NULL,
    activated_at timestamptz,               -- when the gateways were told
    PRIMARY KEY (org_id, subprocessor_id)
);

CREATE TABLE objections (
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'case')
    org_id uuid NOT NULL REFERENCES orgs,
    subprocessor_id uuid NOT NULL REFERENCES subprocessors,
    actor text NOT NULL,
    grounds_sealed bytea NOT NULL,
    objected_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'withdrawn', 'resolved', 'unresolved')),
    decided_at timestamptz,
    UNIQUE (org_id, id)
);
CREATE UNIQUE INDEX one_standing_objection ON objections (org_id, subprocessor_id) WHERE state IN ('open', 'unresolved');

CREATE TABLE cases (                        -- regulators' questions, complaints, disputes
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'case')
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('regulator', 'complaint', 'dispute')),
    state text NOT NULL CHECK (state IN ('open', 'authorised', 'compelled', 'answered', 'closed')),
    actor text NOT NULL,
    text_sealed bytea NOT NULL,
    opened_at timestamptz NOT NULL,
    released_at timestamptz,                -- the customer authorised an answer, or the law compels it
    released_by text,
    compulsion_sealed bytea,                -- the legal compulsion's reason, where the customer did not authorise
    answer_sealed bytea,
    answered_at timestamptz,
    closed_at timestamptz,
    outcome text,
    UNIQUE (org_id, id),
    CHECK (answer_sealed IS NULL OR released_at IS NOT NULL)
);
CREATE INDEX cases_by_time ON cases (org_id, opened_at DESC, id DESC);

CREATE TABLE policies (                     -- the operator's: agreement, privacy statement, undertaking ...
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    version text NOT NULL,
    text text NOT NULL,
    digest bytea NOT NULL,
    published_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    UNIQUE (kind, version)
);
CREATE TABLE policy_notices (
    org_id uuid NOT NULL REFERENCES orgs,
    policy_id uuid NOT NULL REFERENCES policies,
    notified_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    PRIMARY KEY (org_id, policy_id)
);

CREATE TABLE instructions (                 -- the customer's, as its processor must follow them; newest version counts
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'case')
    org_id uuid NOT NULL REFERENCES orgs,
    version bigint NOT NULL,
    text_sealed bytea NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (org_id, version)
);

CREATE TABLE safeguards (                   -- what is on file for a transfer out of the organisation's region
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    country text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('scc-module-1', 'scc-module-2', 'scc-module-3', 'scc-module-4', 'uk-addendum', 'swiss-fadp',
                                       'pdpa', 'app', 'eu-us-dpf')),
    document_digest bytea NOT NULL,         -- SHA-256 of the signed paper
    actor text NOT NULL,
    filed_at timestamptz NOT NULL,
    expires_at timestamptz,
    withdrawn_at timestamptz,
    UNIQUE (org_id, id)
);
CREATE INDEX safeguards_by_country ON safeguards (org_id, country) WHERE withdrawn_at IS NULL;

CREATE TABLE terminations (                 -- the end of an organisation's agreement: one row, from its notice to the last erasure
    org_id uuid PRIMARY KEY REFERENCES orgs,
    id uuid NOT NULL UNIQUE,
    requested_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    actor text NOT NULL,
    suspended_at timestamptz,               -- effective: no calls any more, numbers restricted, the return window is open
    content_erased_at timestamptz,
    erased_at timestamptz,                  -- number data and everything else
    cancelled_at timestamptz
);

CALL isolate_tenants('subprocessor_standings');
CALL isolate_tenants('objections');
CALL isolate_tenants('cases');
CALL isolate_tenants('policy_notices');
CALL isolate_tenants('instructions');
CALL isolate_tenants('safeguards');
CALL isolate_tenants('terminations');

-- Whatever changes where an organisation's calls may go is a change of its rules.
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON subprocessor_standings FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON objections FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON safeguards FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER UPDATE OF suspended_at ON terminations FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER tell_trunks AFTER INSERT OR UPDATE ON subprocessors FOR EACH STATEMENT EXECUTE FUNCTION tell_trunks();
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE ON subprocessors FOR EACH STATEMENT EXECUTE FUNCTION tell_work('agreement');
CREATE TRIGGER tell_work AFTER INSERT ON policies FOR EACH STATEMENT EXECUTE FUNCTION tell_work('agreement');
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE ON terminations FOR EACH STATEMENT EXECUTE FUNCTION tell_work('agreement');

CREATE FUNCTION open_terminations() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT t.org_id FROM public.terminations AS t WHERE t.erased_at IS NULL AND t.cancelled_at IS NULL ORDER BY t.effective_at $$;
GRANT SELECT (org_id, effective_at, erased_at, cancelled_at) ON terminations TO hushwire_finder;
CALL let_finder_see('terminations');
CALL hand_to_finder('open_terminations()', 'hushwire_worker');

-- The operator provisions lists and policies (hushwire_owner); customers object, acknowledge, instruct; the gateway reads where it may go.
GRANT SELECT ON subprocessors TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT SELECT ON subprocessor_lists, policies TO hushwire_api, hushwire_worker;
GRANT SELECT ON subprocessor_standings TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT INSERT, UPDATE (activated_at) ON subprocessor_standings TO hushwire_worker;
GRANT SELECT (org_id, subprocessor_id, state) ON objections TO hushwire_gateway;
GRANT SELECT (org_id, country, expires_at, withdrawn_at) ON safeguards TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (state, decided_at) ON objections TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, UPDATE (state, released_at, released_by, compulsion_sealed, answer_sealed, answered_at, closed_at, outcome) ON cases
    TO hushwire_api;
GRANT SELECT, DELETE ON cases, objections, instructions TO hushwire_worker;
GRANT SELECT, UPDATE (acknowledged_at, acknowledged_by) ON policy_notices TO hushwire_api;
GRANT SELECT, INSERT ON policy_notices TO hushwire_worker;
GRANT SELECT, INSERT ON instructions TO hushwire_api;
GRANT SELECT, INSERT, UPDATE (withdrawn_at) ON safeguards TO hushwire_api;
GRANT SELECT, UPDATE (withdrawn_at) ON safeguards TO hushwire_worker;
GRANT SELECT (org_id, suspended_at, cancelled_at) ON terminations TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (effective_at, cancelled_at, requested_at, actor, id) ON terminations TO hushwire_api;
GRANT SELECT, UPDATE (suspended_at, content_erased_at, erased_at) ON terminations TO hushwire_worker;
GRANT UPDATE (rules_version) ON orgs TO hushwire_worker;     -- what it changes of standings, objections and agents is a change of rules
