-- The keyring: newest state only, never part of the main database's backups. What it holds is sealed; the wrapping
-- keys come from the root key, which is in no database. The gateway's role can add keys and can't open them.

CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('hushwire.org', true), '')::uuid $$;

CREATE TABLE root_key (                     -- one row: refuses a wrong root key
    only boolean PRIMARY KEY DEFAULT true CHECK (only),
    fingerprint bytea NOT NULL
);

CREATE TABLE deployment_keys (              -- 'operational', 'index': known to every role; sealed under the role wrap
    purpose text PRIMARY KEY,
    sealed bytea NOT NULL
);

CREATE TABLE org_keys (                     -- 'operational' (columns the gateway must read), 'index' (blind indexes)
    org_id uuid NOT NULL,
    purpose text NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (org_id, purpose)
);

CREATE TABLE buckets (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL,
    public_key bytea NOT NULL,              -- X25519, for HPKE
    private_sealed bytea,                   -- under the opener wrap; null once destroyed
    state text NOT NULL CHECK (state IN ('current', 'renewing', 'destroyed')),
    erasures bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz
);
CREATE UNIQUE INDEX one_current_bucket ON buckets (org_id) WHERE state = 'current';

CREATE TABLE data_keys (
    id uuid PRIMARY KEY,                    -- the id of the recording or call that it opens
    org_id uuid NOT NULL,
    bucket_id uuid NOT NULL REFERENCES buckets,
    kind text NOT NULL CHECK (kind IN ('recording', 'call')),
    sealed bytea NOT NULL,                  -- HPKE enc || ciphertext of the 32-byte key; info binds kind, organisation and id
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX data_keys_by_bucket ON data_keys (bucket_id);

CREATE TABLE signing_keys (                 -- receipts; Ed25519
    id uuid PRIMARY KEY,
    public_key bytea NOT NULL,
    private_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['org_keys', 'buckets', 'data_keys']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', t);
    END LOOP;
END $$;
