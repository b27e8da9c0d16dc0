-- Requests of data subjects, and what was disclosed to whom.

CREATE TABLE privacy_requests (
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind case)
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('access', 'know', 'rectify', 'erase', 'restrict', 'object')),
    state text NOT NULL CHECK (state IN ('received', 'identity-check', 'verified', 'working', 'answered', 'refused', 'cancelled')),
    channel text NOT NULL CHECK (channel IN ('customer', 'data-subject')),
    subject_sealed bytea,                   -- JSON: number, name, how to reach them; null once erased
    remote_index bytea,                     -- of their number, as calls.remote_index holds it
    contact_id uuid,
    asked_sealed bytea,                     -- JSON: what is to be corrected, and words that were written down
    jurisdiction text,
    received_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    created_by text NOT NULL,
    verified_at timestamptz,
    closed_at timestamptz,
    refusal_reason text,
    outcome jsonb,                          -- ids of what followed: export, restriction, erasure operation
    erased_at timestamptz,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id)
);
CREATE INDEX privacy_requests_by_time ON privacy_requests (org_id, received_at DESC, id DESC);
CREATE INDEX privacy_requests_by_number ON privacy_requests (org_id, remote_index, received_at DESC) WHERE remote_index IS NOT NULL;

CREATE TABLE privacy_request_steps (        -- evidence: appended, never changed
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    request_id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    step text NOT NULL,                     -- received, identity-asked, identity-failed, verified, working, answered, refused, cancelled
    state text NOT NULL,                    -- after it
    method text,                            -- of an identity check
    note_sealed bytea,                      -- under the request's key
    FOREIGN KEY (org_id, request_id) REFERENCES privacy_requests (org_id, id)
);
CREATE INDEX privacy_request_steps_by_request ON privacy_request_steps (org_id, request_id, at);

CREATE TABLE disclosures (                  -- who received what, when, on which basis; carriers of calls stand in calls.trunk_id
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    at timestamptz NOT NULL,
    recipient text NOT NULL,                -- a category: customer, data-subject, designated-contact, ...
    recipient_id text NOT NULL,             -- who of them, as a pseudonym (api-key:<id>)
    kind text NOT NULL,                     -- of what was given: export, report, notice, ...
    object_id uuid NOT NULL,
    basis text NOT NULL,                    -- a code: data-subject-request, contract, legal-obligation, ...
    remote_index bytea                      -- of the person it is about, where that is a number
);
CREATE INDEX disclosures_by_time ON disclosures (org_id, at DESC, id DESC);
CREATE INDEX disclosures_by_number ON disclosures (org_id, remote_index, at DESC) WHERE remote_index IS NOT NULL;

CALL isolate_tenants('privacy_requests');
CALL isolate_tenants('privacy_request_steps');
CALL isolate_tenants('disclosures');

CREATE FUNCTION request_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.subject_sealed := NULL;
    NEW.remote_index := NULL;
    NEW.asked_sealed := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON privacy_requests FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION request_stays_erased();

GRANT SELECT, INSERT, UPDATE ON privacy_requests TO hushwire_api;
GRANT SELECT, UPDATE ON privacy_requests TO hushwire_worker;
GRANT SELECT, INSERT ON privacy_request_steps, disclosures TO hushwire_api, hushwire_worker;
GRANT UPDATE (remote_index) ON disclosures TO hushwire_api, hushwire_worker;
