-- Who stands for an organisation, what is agreed with it, and the notices that it is sent.

CREATE TABLE org_contacts (                 -- designated contacts: who is told
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'contact')
    org_id uuid NOT NULL REFERENCES orgs,
    role text NOT NULL CHECK (role IN ('privacy', 'security', 'billing')),
    position integer NOT NULL,              -- within the role: the first is told first
    email_sealed bytea,                     -- null once removed
    email_index bytea,
    designated_at timestamptz NOT NULL,
    designated_by text NOT NULL,
    removed_at timestamptz,
    forgotten_at timestamptz,               -- its key is destroyed
    UNIQUE (org_id, id),
    CHECK ((removed_at IS NULL) = (email_sealed IS NOT NULL) AND (removed_at IS NULL) = (email_index IS NOT NULL))
);
CREATE UNIQUE INDEX org_contacts_in_force ON org_contacts (org_id, role, email_index) WHERE removed_at IS NULL;

CREATE TABLE org_records (                  -- billing details, plan, contract, settings: versions, the newest counts
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'document')
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('billing', 'plan', 'contract', 'settings')),
    version bigint NOT NULL,
    body_sealed bytea,                      -- JSON; null once a newer version took its place
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    replaced_at timestamptz,
    forgotten_at timestamptz,
    UNIQUE (org_id, kind, version),
    CHECK ((replaced_at IS NULL) = (body_sealed IS NOT NULL))
);
CREATE UNIQUE INDEX org_records_in_force ON org_records (org_id, kind) WHERE replaced_at IS NULL;

CREATE TABLE notices (                      -- the outbox of e-mail
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'document')
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL,
    subject_kind text NOT NULL,             -- what it is about: 'request', 'breach', 'case', ...
    subject_id uuid NOT NULL,
    occasion text NOT NULL DEFAULT '',      -- tells several notices of one kind about one thing apart
    clock_id uuid,                          -- what its acceptance ends
    state text NOT NULL CHECK (state IN ('queued', 'unaddressed', 'sent', 'failed', 'acknowledged')),
    content_sealed bytea NOT NULL,          -- JSON: subject and body
    contact_id uuid,                        -- whom it goes, or went, to
    recipient_sealed bytea,                 -- the address that it went to
    tried uuid[] NOT NULL DEFAULT '{}',     -- contacts whose address was refused for good
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    evidence jsonb NOT NULL DEFAULT '{}',   -- digests and codes of what the server said
    UNIQUE (org_id, id),
    UNIQUE (org_id, kind, subject_kind, subject_id, occasion),
    FOREIGN KEY (org_id, clock_id) REFERENCES clocks (org_id, id),
    FOREIGN KEY (org_id, contact_id) REFERENCES org_contacts (org_id, id),
    CHECK ((state = 'sent') <= (sent_at IS NOT NULL) AND (state = 'acknowledged') = (acknowledged_at IS NOT NULL))
);
CREATE INDEX notices_by_time ON notices (org_id, created_at DESC, id DESC);
CREATE INDEX notices_to_send_at ON notices (next_at) WHERE state = 'queued';
CREATE INDEX notices_unsent ON notices (created_at) WHERE state IN ('queued', 'unaddressed', 'failed');

CALL isolate_tenants('org_contacts');
CALL isolate_tenants('org_records');
CALL isolate_tenants('notices');
CREATE TRIGGER tell_work AFTER UPDATE OF removed_at ON org_contacts FOR EACH STATEMENT EXECUTE FUNCTION tell_work('profiles');
CREATE TRIGGER tell_work AFTER UPDATE OF replaced_at ON org_records FOR EACH STATEMENT EXECUTE FUNCTION tell_work('profiles');
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE OF state ON notices FOR EACH STATEMENT EXECUTE FUNCTION tell_work('notices');

-- A contact that was removed and a version that was replaced keep their key until somebody has destroyed it.
CREATE INDEX org_contacts_to_forget ON org_contacts (removed_at) WHERE removed_at IS NOT NULL AND forgotten_at IS NULL;
CREATE INDEX org_records_to_forget ON org_records (replaced_at) WHERE replaced_at IS NOT NULL AND forgotten_at IS NULL;
GRANT SELECT (id, org_id, removed_at, forgotten_at) ON org_contacts TO hushwire_finder;
GRANT SELECT (id, org_id, replaced_at, forgotten_at) ON org_records TO hushwire_finder;
CALL let_finder_see('org_contacts');
CALL let_finder_see('org_records');
CREATE FUNCTION orgs_to_forget_for() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id FROM public.org_contacts AS c WHERE c.removed_at IS NOT NULL AND c.forgotten_at IS NULL
   UNION SELECT r.org_id FROM public.org_records AS r WHERE r.replaced_at IS NOT NULL AND r.forgotten_at IS NULL $$;
CALL hand_to_finder('orgs_to_forget_for()', 'hushwire_worker');

GRANT SELECT (id, org_id, state, next_at, created_at) ON notices TO hushwire_finder;
CALL let_finder_see('notices');
CREATE FUNCTION notices_to_send(moment timestamptz) RETURNS TABLE (org_id uuid, notice_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT n.org_id, n.id FROM public.notices AS n WHERE n.state = 'queued' AND n.next_at <= moment ORDER BY n.next_at LIMIT 1000 $$;
CREATE FUNCTION count_notices(wanted text, before timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT count(*) FROM public.notices AS n WHERE n.state = wanted AND n.created_at <= before $$;
CALL hand_to_finder('notices_to_send(timestamptz)', 'hushwire_worker');
CALL hand_to_finder('count_notices(text, timestamptz)', 'hushwire_api', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE (position, email_sealed, email_index, removed_at, forgotten_at) ON org_contacts TO hushwire_api;
GRANT SELECT, INSERT, UPDATE (body_sealed, replaced_at, forgotten_at) ON org_records TO hushwire_api;
GRANT SELECT, INSERT, UPDATE (state, next_at, acknowledged_at, acknowledged_by) ON notices TO hushwire_api;
GRANT SELECT, UPDATE (forgotten_at) ON org_contacts, org_records TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE (state, contact_id, recipient_sealed, tried, attempts, next_at, sent_at, evidence) ON notices TO hushwire_worker;
