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
    UNIQUE (org_id, id),                    -- what other tables refer to: never to another organisation's row
    UNIQUE (org_id, username_index),
    UNIQUE (org_id, extension_index)
);

CREATE TABLE numbers (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    number_sealed bytea NOT NULL,
    number_index bytea NOT NULL,
    lookup bytea NOT NULL UNIQUE,           -- blind index under the deployment's key: inbound calls know no organisation yet
    agent_id uuid,
    created_at timestamptz NOT NULL,
    UNIQUE (org_id, number_index),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (agent_id)
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
    agent_id uuid NOT NULL,
    node_id uuid NOT NULL,
    contact_sealed bytea NOT NULL,          -- JSON: contact URI, received address, transport, path; operational key
    contact_index bytea NOT NULL,
    call_id_hash bytea NOT NULL,
    cseq bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (agent_id, contact_index),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
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
    agent_id uuid,
    peer_agent_id uuid,                     -- agent -> agent
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
    quality jsonb,                          -- per leg: packets, loss, jitter_ms
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (agent_id),
    FOREIGN KEY (org_id, peer_agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (peer_agent_id)
);
CREATE INDEX calls_by_time ON calls (org_id, started_at DESC, id DESC);
CREATE INDEX calls_by_agent ON calls (org_id, agent_id, started_at DESC, id DESC);
CREATE INDEX calls_by_peer_agent ON calls (org_id, peer_agent_id, started_at DESC, id DESC) WHERE peer_agent_id IS NOT NULL;
CREATE INDEX calls_by_remote ON calls (org_id, remote_index, started_at DESC, id DESC);
CREATE INDEX calls_by_state ON calls (org_id, state, started_at DESC, id DESC) WHERE state <> 'ended';     -- the few among the many
CREATE INDEX calls_live ON calls (node_id) WHERE state IN ('ringing', 'active');

CREATE TABLE recordings (
    id uuid PRIMARY KEY,                    -- also the id of its data key in the keyring
    org_id uuid NOT NULL REFERENCES orgs,
    call_id uuid NOT NULL,
    agent_id uuid,
    peer_agent_id uuid,
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
    frames bigint,                          -- the final one included; null once ended: it crashed, and its tail is missing
    size_bytes bigint,
    digest bytea,                           -- SHA-256 of the whole sealed file
    key_fingerprint bytea NOT NULL,
    erased_at timestamptz,
    FOREIGN KEY (org_id, call_id) REFERENCES calls (org_id, id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (agent_id),
    FOREIGN KEY (org_id, peer_agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (peer_agent_id)
);
CREATE INDEX recordings_by_time ON recordings (org_id, started_at DESC, id DESC);
CREATE INDEX recordings_by_agent ON recordings (org_id, agent_id, started_at DESC, id DESC);
CREATE INDEX recordings_by_peer_agent ON recordings (org_id, peer_agent_id, started_at DESC, id DESC) WHERE peer_agent_id IS NOT NULL;
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

-- Tenant isolation: by the database, not by the queries. The owner of the tables is bound by it too.
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

-- Rules of an organisation: any change that the gateway must know raises orgs.rules_version and tells the gateways. The row and
-- its version count; the notification is a wake-up. An empty payload means: look at every organisation.
CREATE FUNCTION raise_rules_version() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.rules_version := greatest(NEW.rules_version, OLD.rules_version + 1);
    RETURN NEW;
END $$;
CREATE TRIGGER raise_version BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN ((OLD.slug, OLD.home_country, OLD.residency, OLD.record, OLD.agent_srtp, OLD.allow_sdes_in_clear, OLD.without_recording,
           OLD.outside_prefix, OLD.allowed_countries, OLD.classes)
        IS DISTINCT FROM
          (NEW.slug, NEW.home_country, NEW.residency, NEW.record, NEW.agent_srtp, NEW.allow_sdes_in_clear, NEW.without_recording,
           NEW.outside_prefix, NEW.allowed_countries, NEW.classes))
    EXECUTE FUNCTION raise_rules_version();

CREATE FUNCTION tell_rules() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_rules', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_new_rules AFTER INSERT ON orgs FOR EACH ROW EXECUTE FUNCTION tell_rules();
CREATE TRIGGER tell_rules AFTER UPDATE ON orgs FOR EACH ROW WHEN (OLD.rules_version IS DISTINCT FROM NEW.rules_version)
    EXECUTE FUNCTION tell_rules();

CREATE FUNCTION touch_rules() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE orgs SET rules_version = rules_version + 1 WHERE id = OLD.org_id;
    ELSE
        UPDATE orgs SET rules_version = rules_version + 1 WHERE id = NEW.org_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR DELETE ON agents FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_change AFTER UPDATE ON agents FOR EACH ROW
    WHEN ((OLD.username_index, OLD.role, OLD.extension_index, OLD.caller_id_sealed, OLD.ha1_sealed, OLD.suspended)
        IS DISTINCT FROM (NEW.username_index, NEW.role, NEW.extension_index, NEW.caller_id_sealed, NEW.ha1_sealed, NEW.suspended))
    EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR DELETE ON numbers FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_change AFTER UPDATE ON numbers FOR EACH ROW
    WHEN ((OLD.number_index, OLD.agent_id) IS DISTINCT FROM (NEW.number_index, NEW.agent_id)) EXECUTE FUNCTION touch_rules();

CREATE FUNCTION tell_trunks() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_rules', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_trunks AFTER INSERT OR UPDATE OR DELETE ON trunks FOR EACH STATEMENT EXECUTE FUNCTION tell_trunks();

CREATE FUNCTION tell_commands() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM pg_notify('hushwire_commands', NEW.node_id::text);
    ELSE
        PERFORM pg_notify('hushwire_done', NEW.id::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_commands AFTER INSERT ON node_commands FOR EACH ROW EXECUTE FUNCTION tell_commands();
CREATE TRIGGER tell_done AFTER UPDATE ON node_commands FOR EACH ROW WHEN (OLD.done_at IS NULL AND NEW.done_at IS NOT NULL)
    EXECUTE FUNCTION tell_commands();

-- Erased stays erased: a node that closes a recording late can't bring back its state or its blind index.
CREATE FUNCTION stay_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.state := 'erased';
    NEW.erased_at := OLD.erased_at;
    NEW.remote_index := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON recordings FOR EACH ROW WHEN (OLD.state = 'erased') EXECUTE FUNCTION stay_erased();

CREATE FUNCTION tell_work() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_work', TG_ARGV[0]);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_work AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION tell_work('outbox');
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE ON erasure_ledger FOR EACH STATEMENT EXECUTE FUNCTION tell_work('erasures');
CREATE TRIGGER tell_work AFTER UPDATE OF state ON recordings FOR EACH STATEMENT EXECUTE FUNCTION tell_work('recordings');

-- Events below the horizon: every transaction that could still commit a lower (xid, seq) is over, so none is skipped.
CREATE FUNCTION outbox_horizon() RETURNS xid8 LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT pg_snapshot_xmin(pg_current_snapshot()) $$;

-- Look-ups across tenants. Each returns ids, and runs as hushwire_finder, which may read ids and look-up columns and nothing else.
CREATE FUNCTION find_org(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id FROM public.orgs WHERE slug = wanted $$;

CREATE FUNCTION org_ids() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id FROM public.orgs ORDER BY id $$;

CREATE FUNCTION only_org() RETURNS uuid          -- the organisation of a deployment that has exactly one, else null
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT min(id::text)::uuid FROM (SELECT id FROM public.orgs LIMIT 2) AS first_two HAVING count(*) = 1 $$;

CREATE FUNCTION rules_versions() RETURNS TABLE (org_id uuid, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id, rules_version FROM public.orgs $$;

CREATE FUNCTION find_number(wanted bytea) RETURNS TABLE (org_id uuid, number_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT n.org_id, n.id FROM public.numbers AS n WHERE n.lookup = wanted $$;

CREATE FUNCTION find_api_key(wanted bytea) RETURNS TABLE (org_id uuid, key_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT k.org_id, k.id FROM public.api_keys AS k WHERE k.secret_hash = wanted AND k.revoked_at IS NULL $$;

CREATE FUNCTION open_erasures() RETURNS TABLE (org_id uuid, ledger_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT e.org_id, e.id FROM public.erasure_ledger AS e WHERE e.closed_at IS NULL ORDER BY e.requested_at $$;

CREATE FUNCTION recordings_to_ship(node uuid) RETURNS TABLE (org_id uuid, recording_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.recordings AS r
   WHERE r.node_id = node AND r.state IN ('closed', 'crashed') ORDER BY r.started_at $$;

CREATE FUNCTION live_recordings(node uuid) RETURNS TABLE (org_id uuid, recording_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.recordings AS r WHERE r.node_id = node AND r.state = 'live' ORDER BY r.started_at $$;

CREATE FUNCTION open_commands(node uuid) RETURNS TABLE (org_id uuid, command_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id, c.id FROM public.node_commands AS c WHERE c.node_id = node AND c.done_at IS NULL ORDER BY c.created_at $$;

CREATE FUNCTION live_calls(node uuid) RETURNS TABLE (org_id uuid, call_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id, c.id FROM public.calls AS c WHERE c.node_id = node AND c.state IN ('ringing', 'active') ORDER BY c.started_at $$;

CREATE FUNCTION expired_registrations(moment timestamptz) RETURNS TABLE (org_id uuid, registration_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.registrations AS r WHERE r.expires_at < moment $$;

CREATE FUNCTION orgs_with_events() RETURNS SETOF uuid     -- organisations whose outbox holds events below the horizon
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT DISTINCT o.org_id FROM public.outbox AS o WHERE o.xid < pg_snapshot_xmin(pg_current_snapshot()) $$;

-- The finder sees every row of these tables, but only these columns; it has no password and no way to log in.
GRANT USAGE ON SCHEMA public TO hushwire_finder, hushwire_gateway, hushwire_api, hushwire_worker;
GRANT SELECT (id, slug, rules_version) ON orgs TO hushwire_finder;
GRANT SELECT (id, org_id, lookup) ON numbers TO hushwire_finder;
GRANT SELECT (id, org_id, secret_hash, revoked_at) ON api_keys TO hushwire_finder;
GRANT SELECT (id, org_id, requested_at, closed_at) ON erasure_ledger TO hushwire_finder;
GRANT SELECT (id, org_id, node_id, state, started_at) ON recordings TO hushwire_finder;
GRANT SELECT (id, org_id, node_id, created_at, done_at) ON node_commands TO hushwire_finder;
GRANT SELECT (id, org_id, node_id, state, started_at) ON calls TO hushwire_finder;
GRANT SELECT (id, org_id, expires_at) ON registrations TO hushwire_finder;
GRANT SELECT (org_id, xid) ON outbox TO hushwire_finder;

GRANT CREATE ON SCHEMA public TO hushwire_finder;
DO $$
DECLARE t text; f regprocedure;
BEGIN
    FOREACH t IN ARRAY ARRAY['orgs', 'numbers', 'api_keys', 'erasure_ledger', 'recordings', 'node_commands', 'calls',
                             'registrations', 'outbox']
    LOOP
        EXECUTE format('CREATE POLICY look_up ON %I FOR SELECT TO hushwire_finder USING (true)', t);
    END LOOP;
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO hushwire_gateway, hushwire_api, hushwire_worker;
    GRANT EXECUTE ON FUNCTION current_org() TO hushwire_finder;
    REVOKE EXECUTE ON FUNCTION find_api_key(bytea) FROM hushwire_gateway, hushwire_worker;
    REVOKE EXECUTE ON FUNCTION find_number(bytea) FROM hushwire_worker;
    REVOKE EXECUTE ON FUNCTION open_erasures(), orgs_with_events() FROM hushwire_gateway, hushwire_api;
    FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO hushwire_finder', f);
        SET LOCAL ROLE hushwire_finder;             -- handing a function over takes the old owner's own right to run it
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hushwire_owner', f);
        RESET ROLE;
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

-- What each role may touch. The gateway reads who may call and writes what happens; it can't read passwords, API keys, the ledger
-- or the logs. Ledger rows and audit rows are never deleted by anyone here, and audit rows never changed.
GRANT SELECT ON orgs, trunks, nodes TO hushwire_gateway, hushwire_api, hushwire_worker;
GRANT SELECT (id, org_id, username_sealed, username_index, role, extension_sealed, extension_index, caller_id_sealed, ha1_sealed,
              suspended, created_at, updated_at) ON agents TO hushwire_gateway;
GRANT SELECT ON numbers TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON registrations, nodes TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE ON calls, recordings TO hushwire_gateway;
GRANT SELECT, UPDATE (done_at, outcome) ON node_commands TO hushwire_gateway;
GRANT SELECT, INSERT ON outbox TO hushwire_gateway;
GRANT USAGE ON SEQUENCE media_epoch TO hushwire_gateway;

GRANT UPDATE ON orgs TO hushwire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON agents, numbers, api_keys, idempotency TO hushwire_api;
GRANT SELECT, DELETE ON registrations TO hushwire_api;
GRANT SELECT, UPDATE ON calls, recordings TO hushwire_api;
GRANT SELECT, INSERT ON node_commands, outbox, audit_log, access_log TO hushwire_api;
GRANT SELECT, INSERT, UPDATE ON erasure_ledger TO hushwire_api;

GRANT SELECT ON agents, numbers, api_keys TO hushwire_worker;
GRANT SELECT, DELETE ON registrations, nodes, idempotency TO hushwire_worker;
GRANT SELECT, UPDATE, DELETE ON calls, recordings TO hushwire_worker;
GRANT SELECT, INSERT, DELETE ON node_commands, outbox, access_log TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE ON erasure_ledger TO hushwire_worker;
GRANT SELECT, INSERT ON audit_log TO hushwire_worker;
