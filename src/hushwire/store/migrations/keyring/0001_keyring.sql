-- The keyring: newest state only, never part of the main database's backups. What it holds is sealed; the wrapping
-- keys come from the root key, which is in no database. The gateway's role can add keys and can't open them.
-- A bucket's private key needs a third part beside root key and row: a secret of its own, kept as a file by the key provider and
-- destroyed on renewal. So old copies of this database, its log included, open nothing even together with the root key.

CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('hushwire.org', true), '')::uuid $$;

CREATE TABLE root_key (                     -- one row: refuses a wrong root key
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
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
    private_sealed bytea,                   -- under the opener wrap and the bucket's own secret; null once destroyed
    state text NOT NULL CHECK (state IN ('current', 'renewing', 'destroyed')),
    erasures bigint NOT NULL DEFAULT 0,     -- keys of this bucket destroyed since it was made
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz,               -- set last, when the bucket's secret is gone too
    UNIQUE (org_id, id)
);
CREATE UNIQUE INDEX one_current_bucket ON buckets (org_id) WHERE state = 'current';

CREATE TABLE data_keys (
    id uuid PRIMARY KEY,                    -- the id of the recording or call that it opens
    org_id uuid NOT NULL,
    bucket_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('recording', 'call')),
    sealed bytea NOT NULL,                  -- HPKE enc || ciphertext of the 32-byte key; info binds kind, organisation and id
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    FOREIGN KEY (org_id, bucket_id) REFERENCES buckets (org_id, id)
);
CREATE INDEX data_keys_by_bucket ON data_keys (bucket_id);

CREATE TABLE signing_keys (                 -- receipts; Ed25519
    id uuid PRIMARY KEY,
    public_key bytea NOT NULL,
    private_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz
);

-- A key sealed to a bucket that is being renewed would be lost with the bucket's private key. The shared lock is held until commit,
-- so the renewal, which takes it exclusively before its last look, either sees the key or has it refused here.
CREATE FUNCTION only_into_current_bucket() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(NEW.bucket_id::text, 0));
    IF NOT EXISTS (SELECT 1 FROM buckets WHERE id = NEW.bucket_id AND state = 'current') THEN
        RAISE EXCEPTION 'bucket is not current' USING ERRCODE = 'HW001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_into_current_bucket BEFORE INSERT OR UPDATE OF bucket_id ON data_keys FOR EACH ROW
    EXECUTE FUNCTION only_into_current_bucket();

-- Newest state only: dead rows leave as soon as the server can take them (the worker also vacuums after each renewal).
ALTER TABLE data_keys SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE buckets SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0);

-- Tenant isolation: by the database, not by the queries.
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['org_keys', 'buckets', 'data_keys']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', t);
    END LOOP;
    CREATE POLICY look_up ON buckets FOR SELECT TO hushwire_finder USING (true);
END $$;

-- Buckets that had erasures, and renewals that were interrupted.
CREATE FUNCTION buckets_to_renew() RETURNS TABLE (org_id uuid, bucket_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT b.org_id, b.id FROM public.buckets AS b
   WHERE (b.state = 'current' AND b.erasures > 0) OR b.state = 'renewing' OR (b.state = 'destroyed' AND b.destroyed_at IS NULL)
   ORDER BY b.created_at $$;

GRANT USAGE ON SCHEMA public TO hushwire_finder, hushwire_gateway, hushwire_api, hushwire_worker;
GRANT SELECT (id, org_id, state, erasures, created_at, destroyed_at) ON buckets TO hushwire_finder;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_org() TO hushwire_finder, hushwire_gateway, hushwire_api, hushwire_worker;
GRANT EXECUTE ON FUNCTION buckets_to_renew() TO hushwire_worker;
GRANT CREATE ON SCHEMA public TO hushwire_finder;
ALTER FUNCTION buckets_to_renew() OWNER TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;             -- handing a function over takes the old owner's own right to run it
GRANT EXECUTE ON FUNCTION buckets_to_renew() TO hushwire_owner;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

-- Every role needs the operational keys; the gateway adds data keys, and reads neither their sealed form nor any private key.
GRANT SELECT ON root_key, deployment_keys, org_keys TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT SELECT (id, org_id, public_key, state, erasures, created_at, destroyed_at) ON buckets TO hushwire_gateway;
GRANT SELECT (id, org_id, bucket_id, kind, fingerprint, created_at), INSERT ON data_keys TO hushwire_gateway;
GRANT SELECT (id, public_key, created_at, retired_at) ON signing_keys TO hushwire_gateway;

GRANT SELECT, DELETE ON data_keys TO hushwire_api, hushwire_worker;
GRANT INSERT, UPDATE (bucket_id, sealed) ON data_keys TO hushwire_worker;
GRANT SELECT, UPDATE (erasures) ON buckets TO hushwire_api;
GRANT SELECT, INSERT, UPDATE ON buckets TO hushwire_worker;
GRANT SELECT ON signing_keys TO hushwire_api, hushwire_worker;

DO $$
BEGIN
    -- Before version 17 only the owner may vacuum: there the settings above do it.
    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON data_keys, buckets TO hushwire_worker;
    END IF;
END $$;
