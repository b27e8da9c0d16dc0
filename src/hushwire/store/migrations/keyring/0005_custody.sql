-- Customer-held keys: who can open what an organisation records, and the public keys that its customers' private ones belong to.
-- hushwire holds no private key of a recipient. Copies are envelopes (docs/custody.md), erased with the key that they carry.

CREATE TABLE custody (                      -- no row: 'hushwire', version 0
    org_id uuid PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('hushwire', 'both', 'customer')),
    version bigint NOT NULL,                -- raised by each change of whom a new key is sealed to
    changed_at timestamptz NOT NULL
);

CREATE TABLE recipients (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL,
    name_sealed bytea NOT NULL,             -- what people call it; operational key of the organisation
    algorithm text NOT NULL CHECK (algorithm IN ('x25519', 'mlkem768-x25519', 'rsa-oaep-256')),
    public_key bytea NOT NULL,              -- in its canonical form
    fingerprint bytea NOT NULL,             -- the key id that envelopes name
    state text NOT NULL CHECK (state IN ('pending', 'active', 'retired')),
    answer_hash bytea,                      -- SHA-256 of what proves that the private key is held; null once proven
    answer_until timestamptz,
    expires_at timestamptz,                 -- nothing is sealed to it from then on
    created_at timestamptz NOT NULL,
    activated_at timestamptz,
    retired_at timestamptz,
    UNIQUE (org_id, id),
    UNIQUE (org_id, fingerprint)
);

ALTER TABLE data_keys ALTER COLUMN sealed DROP NOT NULL;    -- null: only the customer's key opens it
ALTER TABLE data_keys ADD COLUMN custody_version bigint NOT NULL DEFAULT 0;
ALTER TABLE data_keys ADD CONSTRAINT data_keys_of_org UNIQUE (org_id, id);

CREATE TABLE data_key_copies (
    org_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    sealed bytea NOT NULL,                  -- the envelope
    PRIMARY KEY (data_key_id, recipient_id),
    -- A key that is destroyed takes its copies along, whoever destroys it and however.
    FOREIGN KEY (org_id, data_key_id) REFERENCES data_keys (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, recipient_id) REFERENCES recipients (org_id, id)
);
CREATE INDEX data_key_copies_by_recipient ON data_key_copies (recipient_id);
ALTER TABLE data_key_copies SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0.01);

-- What may be held by a customer, so far.
CREATE FUNCTION may_be_held(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT kind = 'recording' $$;

-- A key that was sealed as the custody no longer wants it is refused. The shared lock is held until commit, and a change takes it
-- exclusively: so from its commit on no key of an older version comes in.
CREATE FUNCTION only_under_current_custody() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ DECLARE wanted record; BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('custody:' || NEW.org_id::text, 0));
    SELECT mode, version INTO wanted FROM custody WHERE org_id = NEW.org_id;
    IF NEW.custody_version <> coalesce(wanted.version, 0)
       OR (NEW.sealed IS NULL) <> (coalesce(wanted.mode, 'hushwire') = 'customer') THEN
        RAISE EXCEPTION 'custody is another by now' USING ERRCODE = 'HW002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_under_current_custody BEFORE INSERT ON data_keys FOR EACH ROW WHEN (may_be_held(NEW.kind))
    EXECUTE FUNCTION only_under_current_custody();
ALTER TABLE data_keys ADD CONSTRAINT ours_unless_held CHECK (sealed IS NOT NULL OR may_be_held(kind));

-- Nothing is sealed to a key that is not proven, retired or expired, by this database's clock.
CREATE FUNCTION only_to_active_recipients() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM recipients WHERE org_id = NEW.org_id AND id = NEW.recipient_id AND state = 'active'
                   AND (expires_at IS NULL OR expires_at > clock_timestamp())) THEN
        RAISE EXCEPTION 'the recipient is not active' USING ERRCODE = 'HW002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_to_active_recipients BEFORE INSERT ON data_key_copies FOR EACH ROW EXECUTE FUNCTION only_to_active_recipients();

-- A key that the customer should hold is never committed without a copy: nobody could open what it seals.
CREATE FUNCTION never_without_a_copy() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF EXISTS (SELECT 1 FROM custody WHERE org_id = NEW.org_id AND mode <> 'hushwire')
       AND NOT EXISTS (SELECT 1 FROM data_key_copies WHERE org_id = NEW.org_id AND data_key_id = NEW.id) THEN
        RAISE EXCEPTION 'a key for the customer without a copy' USING ERRCODE = 'HW002';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER never_without_a_copy AFTER INSERT ON data_keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (may_be_held(NEW.kind) AND NEW.custody_version > 0) EXECUTE FUNCTION never_without_a_copy();

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['custody', 'recipients', 'data_key_copies']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', t);
    END LOOP;
    CREATE POLICY look_up ON custody FOR SELECT TO hushwire_finder USING (true);
    CREATE POLICY look_up ON recipients FOR SELECT TO hushwire_finder USING (true);
END $$;

-- Active keys of customers that seal to them, whose end is near or past; and customers whose recordings nothing can be sealed to.
CREATE FUNCTION custody_warnings(within interval) RETURNS TABLE (org_id uuid, recipient_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id, r.id FROM public.custody AS c JOIN public.recipients AS r ON r.org_id = c.org_id
   WHERE c.mode <> 'hushwire' AND r.state = 'active' AND r.expires_at < clock_timestamp() + within
   UNION ALL
   SELECT c.org_id, NULL FROM public.custody AS c
   WHERE c.mode <> 'hushwire' AND NOT EXISTS (SELECT 1 FROM public.recipients AS r WHERE r.org_id = c.org_id AND r.state = 'active'
                                              AND (r.expires_at IS NULL OR r.expires_at > clock_timestamp())) $$;

-- Organisations whose custody was ever changed: the worker compares them with the main database.
CREATE FUNCTION custody_versions() RETURNS TABLE (org_id uuid, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id, c.version FROM public.custody AS c $$;

REVOKE EXECUTE ON FUNCTION may_be_held(text), only_under_current_custody(), only_to_active_recipients(), never_without_a_copy(),
    custody_warnings(interval), custody_versions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION may_be_held(text) TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT EXECUTE ON FUNCTION custody_warnings(interval), custody_versions() TO hushwire_worker;
GRANT SELECT (org_id, mode, version) ON custody TO hushwire_finder;
GRANT SELECT (id, org_id, state, expires_at) ON recipients TO hushwire_finder;
GRANT CREATE ON SCHEMA public TO hushwire_finder;
ALTER FUNCTION custody_warnings(interval) OWNER TO hushwire_finder;
ALTER FUNCTION custody_versions() OWNER TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
GRANT EXECUTE ON FUNCTION custody_warnings(interval), custody_versions() TO hushwire_owner;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

-- The gateway seals to public keys; it reads neither copies nor names, and changes nothing.
GRANT SELECT ON custody TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT SELECT (id, org_id, algorithm, public_key, fingerprint, state, expires_at) ON recipients TO hushwire_gateway;
GRANT SELECT (org_id, data_key_id, recipient_id), INSERT ON data_key_copies TO hushwire_gateway;
GRANT INSERT, UPDATE ON custody TO hushwire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON recipients TO hushwire_api;
GRANT SELECT, INSERT ON data_key_copies TO hushwire_api, hushwire_worker;
-- The end of an organisation.
GRANT SELECT, DELETE ON recipients TO hushwire_worker;
GRANT DELETE ON custody TO hushwire_worker;

DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON data_key_copies TO hushwire_worker;
    END IF;
END $$;
