-- The main database. It holds no key that opens anything: those live in the keyring, a database of its own.
-- *_sealed columns are AES-256-GCM under a key of the keyring, with table, column, row and organisation as
-- authenticated context; *_index columns are keyed blind indexes (HMAC-SHA-256, key per organisation and column).
-- Every tenant table has FORCE ROW LEVEL SECURITY on hushwire.org, which a transaction sets first.
-- The roles hushwire_gateway, hushwire_api and hushwire_worker exist before this file runs (see store/roles.py).

CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('hushwire.org', true), '')::uuid $$;

CREATE TABLE orgs (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    home_country text NOT NULL,
    residency text NOT NULL,
    record text NOT NULL CHECK (record IN ('all', 'none', 'on-demand')),
    agent_srtp text NOT NULL CHECK (agent_srtp IN ('required', 'optional')),
    allow_sdes_in_clear boolean NOT NULL DEFAULT false,
    without_recording text NOT NULL DEFAULT 'refuse' CHECK (without_recording IN ('refuse', 'unrecorded')),
    outside_prefix text,
    allowed_countries text[] NOT NULL DEFAULT '{}',
    classes text[] NOT NULL DEFAULT '{}',
    rules_version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE trunks (                       -- the operator's, shared by all organisations
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    uri text NOT NULL,
    srtp text NOT NULL CHECK (srtp IN ('never', 'optional', 'required')),
    username text,
    password_sealed bytea,                  -- operational key of the deployment
    realm text,
    addresses text[] NOT NULL DEFAULT '{}',
    media_ports text NOT NULL DEFAULT 'auto' CHECK (media_ports IN ('auto', 'shared', 'own')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE agents (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    username_sealed bytea NOT NULL,
    username_index bytea NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'supervisor', 'agent', 'auditor')),
    extension_sealed bytea,
    extension_index bytea,
    caller_id_sealed bytea,
    ha1_sealed bytea,                       -- JSON {"<algorithm>/<form>": hex}: all that digest needs, never the password
    password_hash text,                     -- argon2id, for the console
    suspended boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (org_id, username_index),
    UNIQUE (org_id, extension_index)
);

CREATE TABLE numbers (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    number_sealed bytea NOT NULL,
    number_index bytea NOT NULL,
    lookup bytea NOT NULL UNIQUE,           -- blind index under the deployment's key: inbound calls know no organisation yet
    agent_id uuid REFERENCES agents,
    created_at timestamptz NOT NULL,
    UNIQUE (org_id, number_index)
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'supervisor', 'agent', 'auditor')),
    purpose text NOT NULL DEFAULT 'customer-service',
    secret_hash bytea NOT NULL UNIQUE,      -- SHA-256 of a 256-bit random secret
    revoked_at timestamptz,
    created_at timestamptz NOT NULL,
    UNIQUE (org_id, name)
);

CREATE TABLE registrations (                -- the location service: one row per device's contact
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL REFERENCES agents,
    node_id uuid NOT NULL,
    contact_sealed bytea NOT NULL,          -- JSON: contact URI, received address, transport, path; operational key
    contact_index bytea NOT NULL,
    call_id_hash bytea NOT NULL,
    cseq bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (agent_id, contact_index)
);

CREATE TABLE nodes (                        -- gateways: heartbeat, and the fence for media control
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    media_instance uuid
);
CREATE SEQUENCE media_epoch AS bigint;

CREATE TABLE calls (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid REFERENCES agents,
    peer_agent_id uuid REFERENCES agents,   -- agent -> agent
    trunk_id uuid REFERENCES trunks,
    node_id uuid NOT NULL,
    bridge_id uuid,
    recording_id uuid,
    direction text NOT NULL CHECK (direction IN ('outbound', 'inbound', 'internal', 'echo')),
    state text NOT NULL CHECK (state IN ('ringing', 'active', 'ended', 'refused', 'failed')),
    started_at timestamptz NOT NULL,
    answered_at timestamptz,
    ended_at timestamptz,
    duration_ms bigint,
    sip_status integer,
    end_reason text,                        -- bye-agent, bye-peer, cancelled, busy, declined, no-answer, orphaned, media-lost, ...
    verdict text,
    verdict_reason text,
    country text,
    number_class text,
    rules_version bigint,
    sealed_with uuid,                       -- the call's data key in the keyring; null: no personal column was written
    remote_sealed bytea,                    -- the number or name on the far side
    remote_index bytea,
    local_sealed bytea,                     -- the number presented by or dialled to our side
    agent_leg jsonb,                        -- {"transport", "tls", "media", "suite", "codec"}: the truth about protection
    peer_leg jsonb,
    quality jsonb                           -- per leg: packets, loss, jitter_ms
);
CREATE INDEX calls_by_time ON calls (org_id, started_at DESC, id DESC);
CREATE INDEX calls_by_agent ON calls (org_id, agent_id, started_at DESC, id DESC);
CREATE INDEX calls_by_remote ON calls (org_id, remote_index, started_at DESC, id DESC);
CREATE INDEX calls_live ON calls (node_id) WHERE state IN ('ringing', 'active');

CREATE TABLE recordings (
    id uuid PRIMARY KEY,                    -- also the id of its data key in the keyring
    org_id uuid NOT NULL REFERENCES orgs,
    call_id uuid NOT NULL REFERENCES calls,
    agent_id uuid REFERENCES agents,
    peer_agent_id uuid REFERENCES agents,
    node_id uuid NOT NULL,
    segment integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('live', 'closed', 'crashed', 'stored', 'erased', 'failed')),
    remote_index bytea,
    spool_name text NOT NULL,               -- a file name inside the spool, no path
    object_key text,
    region text NOT NULL,
    lawful_basis text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    duration_ms bigint,
    frames bigint,
    size_bytes bigint,
    digest bytea,                           -- SHA-256 of the whole sealed file
    key_fingerprint bytea NOT NULL,
    erased_at timestamptz
);
CREATE INDEX recordings_by_time ON recordings (org_id, started_at DESC, id DESC);
CREATE INDEX recordings_by_agent ON recordings (org_id, agent_id, started_at DESC, id DESC);
CREATE INDEX recordings_by_remote ON recordings (org_id, remote_index, started_at DESC, id DESC);
CREATE INDEX recordings_by_call ON recordings (call_id);
CREATE INDEX recordings_to_ship ON recordings (node_id) WHERE state IN ('live', 'closed', 'crashed');

CREATE TABLE node_commands (                -- api -> gateway: what only the node of a live call can do
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    node_id uuid NOT NULL,
    call_id uuid NOT NULL,
    action text NOT NULL CHECK (action IN ('hangup', 'recording.pause', 'recording.resume', 'recording.stop', 'recording.start', 'recording.wipe')),
    created_at timestamptz NOT NULL,
    done_at timestamptz,
    outcome text                            -- 'ok', or why not
);
CREATE INDEX node_commands_open ON node_commands (node_id) WHERE done_at IS NULL;

CREATE TABLE outbox (                       -- domain events; readers go by transaction horizon, never by the highest id
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    subject uuid NOT NULL,
    at timestamptz NOT NULL,
    fields jsonb NOT NULL
);
CREATE INDEX outbox_order ON outbox (xid, seq);

CREATE TABLE erasure_ledger (               -- a row stands here before anything is destroyed; steps resume from it
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    position bigint NOT NULL,               -- 1, 2, 3 ... per organisation
    recording_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    actor text NOT NULL,                    -- 'api-key:<id>' or 'agent:<id>': a pseudonym
    reason text NOT NULL,
    commitment bytea NOT NULL,              -- salted, so that a receipt shows nothing to who guesses
    commitment_salt bytea NOT NULL,
    key_fingerprint bytea NOT NULL,
    bucket_id uuid NOT NULL,
    stopped_at timestamptz,                 -- a live recording was wiped from the media process
    unreadable_at timestamptz,              -- the key row is gone
    swept_at timestamptz,                   -- ciphertext is gone from every store, absence checked
    renewed_at timestamptz,                 -- the bucket's private key is destroyed
    closed_at timestamptz,
    receipt jsonb,
    UNIQUE (org_id, position),
    UNIQUE (recording_id)
);
CREATE INDEX erasure_open ON erasure_ledger (requested_at) WHERE closed_at IS NULL;

CREATE TABLE audit_log (                    -- hash-chained per organisation, over pseudonyms only
    org_id uuid NOT NULL REFERENCES orgs,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    fields jsonb NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (org_id, position)
);

CREATE TABLE access_log (                   -- every read of content, with its purpose
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    purpose text NOT NULL,
    object text NOT NULL
);
CREATE INDEX access_by_time ON access_log (org_id, at DESC);

CREATE TABLE idempotency (
    org_id uuid NOT NULL REFERENCES orgs,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    response jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, key)
);

-- Tenant isolation: by the database, not by the queries.
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['agents', 'numbers', 'api_keys', 'registrations', 'calls', 'recordings', 'node_commands',
                             'outbox', 'erasure_ledger', 'audit_log', 'access_log', 'idempotency']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', t);
    END LOOP;
    ALTER TABLE orgs ENABLE ROW LEVEL SECURITY;
    ALTER TABLE orgs FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON orgs USING (id = current_org()) WITH CHECK (id = current_org());
END $$;
