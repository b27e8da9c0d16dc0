-- What a reading of content takes besides a role: a purpose that the customer allows, and an undertaking of confidentiality.

CREATE TABLE purpose_rules (                -- the customer's instruction which purposes content may be read for; the newest counts
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    version bigint NOT NULL,
    allowed text[],                         -- null: whatever the role allows
    actor text NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (org_id, version)
);

CREATE TABLE undertakings (                 -- who undertook to keep confidential what it reads; texts: policies of the kind 'undertaking'
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    signer text NOT NULL,                   -- 'api-key:<id>', 'agent:<id>'
    version text NOT NULL,
    digest bytea NOT NULL,                  -- SHA-256 of the text
    signed_at timestamptz NOT NULL,
    signed_by text NOT NULL,                -- the signer itself, or whoever provisioned it and answers for it
    withdrawn_at timestamptz,
    withdrawn_by text
);
CREATE UNIQUE INDEX undertakings_in_force ON undertakings (org_id, signer, version) WHERE withdrawn_at IS NULL;
CREATE INDEX undertakings_by_time ON undertakings (org_id, signed_at DESC, id DESC);

CALL isolate_tenants('purpose_rules');
CALL isolate_tenants('undertakings');
GRANT SELECT, INSERT ON purpose_rules, undertakings TO hushwire_api;
GRANT UPDATE (withdrawn_at, withdrawn_by) ON undertakings TO hushwire_api;
GRANT SELECT ON purpose_rules, undertakings TO hushwire_worker;
