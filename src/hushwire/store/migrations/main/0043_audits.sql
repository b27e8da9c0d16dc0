-- Audits by the customer: who may look, for how long, what was handed over (agreement, section B, audit rights).
ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;         -- from then on the key opens nothing; null: until revoked

CREATE TABLE audits (
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind 'case')
    org_id uuid NOT NULL REFERENCES orgs,
    basis text NOT NULL CHECK (basis IN ('agreement', 'law', 'regulator', 'suspected-breach')),
    details_sealed bytea NOT NULL,          -- JSON: the auditor's name and firm, the reason
    independence_confirmed_at timestamptz NOT NULL,             -- neither a competitor nor in one's pay
    independence_confirmed_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    requested_by text NOT NULL,
    begins_at timestamptz NOT NULL,         -- 30 days later, sooner where law, regulator or a suspected breach ask for it
    key_id uuid,                            -- the auditor's API key
    bundled_at timestamptz,                 -- the last bundle of evidence, and its digest
    bundle_digest bytea,
    UNIQUE (org_id, id)
);
CREATE INDEX audits_by_time ON audits (org_id, requested_at DESC, id DESC);
CALL isolate_tenants('audits');
GRANT SELECT, INSERT, UPDATE (key_id, bundled_at, bundle_digest) ON audits TO hushwire_api;
GRANT SELECT ON audits TO hushwire_worker;
