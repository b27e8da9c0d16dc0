-- Deletion of an agent's account on a written application (section 3.5): registered, verified, carried out within 15 days of its receipt.

CREATE TABLE account_deletions (
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'case')
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,                 -- no reference: this row outlives the account
    state text NOT NULL CHECK (state IN ('received', 'verified', 'held', 'done', 'refused', 'withdrawn')),
    application_sealed bytea,               -- what was written; null once it is decided and carried out
    received_at timestamptz NOT NULL,
    created_by text NOT NULL,
    verified_at timestamptz,
    verified_by text,
    method text,                            -- how it was verified: a code
    operation_id uuid,                      -- the erasure of the agent's data
    decided_at timestamptz,                 -- refused or withdrawn
    decided_by text,
    refusal text,                           -- why: a code
    done_at timestamptz,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, operation_id) REFERENCES erasure_operations (org_id, id),
    -- The gate: nothing is carried out that was not verified.
    CHECK (state NOT IN ('verified', 'held', 'done') OR (verified_at IS NOT NULL AND verified_by IS NOT NULL AND method IS NOT NULL)),
    CHECK ((state = 'done') = (done_at IS NOT NULL)),
    CHECK ((state IN ('refused', 'withdrawn')) = (decided_at IS NOT NULL))
);
CREATE UNIQUE INDEX one_open_account_deletion ON account_deletions (org_id, agent_id) WHERE state IN ('received', 'verified', 'held');
CREATE INDEX account_deletions_by_time ON account_deletions (org_id, received_at DESC, id DESC);
CREATE INDEX account_deletions_open ON account_deletions (verified_at) WHERE state IN ('verified', 'held');
CALL isolate_tenants('account_deletions');
CREATE TRIGGER tell_work AFTER UPDATE OF state ON account_deletions FOR EACH STATEMENT EXECUTE FUNCTION tell_work('account-deletions');

GRANT SELECT (id, org_id, state, verified_at) ON account_deletions TO hushwire_finder;
CALL let_finder_see('account_deletions');
CREATE FUNCTION account_deletions_to_do() RETURNS TABLE (org_id uuid, deletion_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.org_id, d.id FROM public.account_deletions AS d WHERE d.state IN ('verified', 'held') ORDER BY d.verified_at $$;
CALL hand_to_finder('account_deletions_to_do()', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE (state, application_sealed, verified_at, verified_by, method, operation_id, decided_at, decided_by, refusal, done_at)
    ON account_deletions TO hushwire_api;
GRANT SELECT, UPDATE (state, application_sealed, operation_id, done_at) ON account_deletions TO hushwire_worker;
GRANT DELETE ON agents TO hushwire_worker;      -- the account itself; it was suspended when the application was verified
GRANT UPDATE (rules_version) ON orgs TO hushwire_worker;    -- what the removal of an agent is for the gateways: a change of rules
