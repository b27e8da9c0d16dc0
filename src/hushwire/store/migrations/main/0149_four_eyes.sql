-- What opens a guarded country or class waits for a second administrator.
ALTER TABLE orgs ADD COLUMN four_eyes text[] NOT NULL DEFAULT '{}';     -- territories and classes, or *: docs/voice-security.md
CREATE TRIGGER raise_version_by_four_eyes BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN (OLD.four_eyes IS DISTINCT FROM NEW.four_eyes) EXECUTE FUNCTION raise_rules_version();

CREATE TABLE rule_proposals (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    countries text[] NOT NULL,              -- to be allowed
    classes text[] NOT NULL,
    released text[] NOT NULL,               -- to be guarded no more
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'rejected')),
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,        -- what is open then has lapsed
    decided_by text,
    decided_at timestamptz,
    CHECK ((state = 'open') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CHECK (state <> 'approved' OR decided_by <> proposed_by),
    UNIQUE (org_id, id)
);
CREATE INDEX rule_proposals_by_time ON rule_proposals (org_id, proposed_at DESC, id DESC);
CALL isolate_tenants('rule_proposals');
GRANT SELECT, INSERT, UPDATE (state, decided_by, decided_at) ON rule_proposals TO hushwire_api;
GRANT SELECT ON rule_proposals TO hushwire_worker;
