-- Text messages: whose, with whom, in which state. What was said and the numbers are sealed under a data key of the message's own
-- (keyring, kind message). Parts on their way to a carrier stand in message_parts, those of one that arrives here.
CREATE TABLE message_templates (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    body_sealed bytea NOT NULL,             -- operational key
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (org_id, name)
);
CALL isolate_tenants('message_templates');

CREATE TABLE message_batches (              -- messages that were handed in together
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    accepted integer NOT NULL DEFAULT 0,
    refused jsonb NOT NULL DEFAULT '{}',    -- {reason: how many}
    UNIQUE (org_id, id)
);
CREATE INDEX message_batches_by_time ON message_batches (org_id, created_at DESC, id DESC);
CALL isolate_tenants('message_batches');

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    direction text NOT NULL CHECK (direction IN ('outbound', 'inbound', 'internal')),
    channel text NOT NULL CHECK (channel IN ('sms', 'sip')),
    state text NOT NULL CHECK (state IN (
        'queued', 'submitted', 'unknown', 'delivered', 'failed', 'expired', 'receiving', 'received')),
    agent_id uuid,                          -- who sent it, or whom it is for
    peer_agent_id uuid,                     -- a colleague
    number_id uuid,                         -- the number of ours
    batch_id uuid,
    centre_id uuid,                         -- the carrier's message centre
    created_at timestamptz NOT NULL,
    submitted_at timestamptz,
    ended_at timestamptz,                   -- delivered, failed, expired, received
    read_at timestamptz,
    encoding text,                          -- sms/text/encoding.py; null: not text (is_binary)
    parts smallint NOT NULL DEFAULT 1,
    is_marketing boolean NOT NULL DEFAULT false,
    is_incomplete boolean NOT NULL DEFAULT false,   -- parts of it never came
    is_binary boolean NOT NULL DEFAULT false,       -- of no alphabet: the body is hexadecimal digits
    keyword text CHECK (keyword IN ('stop', 'start', 'help')),     -- what it asked for, where it was one of these
    sent_by text,                           -- a pseudonym: api-key:<id>, agent:<id>, system:opt-out
    country text,
    number_class text,
    rules_version bigint,
    error text,                             -- why it failed, a code
    sealed_with uuid,                       -- the message's data key; null once erased
    remote_sealed bytea,
    remote_index bytea,                     -- as calls.remote_index, so that a person is found by one value
    local_sealed bytea,                     -- our number or name
    body_sealed bytea,
    thread_id uuid,                         -- the pair: a keyed hash of both numbers
    assembly_index bytea,                   -- of one that still arrives: where from, whom for, the sender's reference
    received_as bytea,                      -- keyed hash of the delivery, so that one that is repeated changes nothing
    erased_at timestamptz,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (agent_id),
    FOREIGN KEY (org_id, peer_agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (peer_agent_id),
    FOREIGN KEY (org_id, number_id) REFERENCES numbers (org_id, id) ON DELETE SET NULL (number_id),
    FOREIGN KEY (org_id, batch_id) REFERENCES message_batches (org_id, id) ON DELETE SET NULL (batch_id)
);
CREATE INDEX messages_by_time ON messages (org_id, created_at DESC, id DESC);
CREATE INDEX messages_by_agent ON messages (org_id, agent_id, created_at DESC, id DESC) WHERE agent_id IS NOT NULL;
CREATE INDEX messages_by_peer_agent ON messages (org_id, peer_agent_id, created_at DESC, id DESC) WHERE peer_agent_id IS NOT NULL;
CREATE INDEX messages_by_remote ON messages (org_id, remote_index, created_at DESC, id DESC) WHERE remote_index IS NOT NULL;
CREATE INDEX messages_by_thread ON messages (org_id, thread_id, created_at DESC, id DESC) WHERE thread_id IS NOT NULL;
CREATE INDEX messages_by_batch ON messages (org_id, batch_id, state) WHERE batch_id IS NOT NULL;
CREATE INDEX messages_by_state ON messages (org_id, state, created_at DESC, id DESC) WHERE state IN ('queued', 'submitted', 'unknown', 'failed');
CREATE UNIQUE INDEX messages_arriving ON messages (org_id, assembly_index) WHERE assembly_index IS NOT NULL;
CREATE UNIQUE INDEX messages_received_as ON messages (org_id, received_as) WHERE received_as IS NOT NULL;
CALL isolate_tenants('messages');

-- Parts of messages that still arrive, under the message's key; gone once it is whole.
CREATE TABLE message_inbound_parts (
    org_id uuid NOT NULL REFERENCES orgs,
    message_id uuid NOT NULL,
    position smallint NOT NULL,
    total smallint NOT NULL,
    payload_sealed bytea NOT NULL,
    payload_index bytea NOT NULL,           -- keyed hash: whether the same part came again
    received_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, position),
    FOREIGN KEY (org_id, message_id) REFERENCES messages (org_id, id) ON DELETE CASCADE
);
CREATE INDEX message_inbound_parts_by_time ON message_inbound_parts (received_at);
CALL isolate_tenants('message_inbound_parts');

-- How an organisation's numbers take and give messages; without a row: to the agent whom the number rings.
CREATE TABLE message_numbers (
    org_id uuid NOT NULL REFERENCES orgs,
    number_id uuid PRIMARY KEY,
    target text NOT NULL CHECK (target IN ('agent', 'team', 'webhook', 'nobody')),
    agent_id uuid,
    group_id uuid,                          -- a ring group: its members
    is_pooled boolean NOT NULL DEFAULT false,   -- may be the sender for anybody
    updated_at timestamptz NOT NULL,
    CHECK ((target = 'agent') = (agent_id IS NOT NULL)),
    CHECK ((target = 'team') = (group_id IS NOT NULL)),
    FOREIGN KEY (org_id, number_id) REFERENCES numbers (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, group_id) REFERENCES ring_groups (org_id, id) ON DELETE CASCADE
);
CALL isolate_tenants('message_numbers');

CREATE TABLE message_settings (             -- one row an organisation; without it: what the columns default to
    org_id uuid PRIMARY KEY REFERENCES orgs,
    senders text[] NOT NULL DEFAULT '{own,pool}',       -- in this order: own, alphanumeric, pool
    alphanumeric text,                      -- a name of at most 11 characters
    languages text[] NOT NULL DEFAULT '{en,de,fr,es,it}',   -- of the words that mean stop
    folds boolean NOT NULL DEFAULT false,   -- typographic characters become plain ones
    needs_consent boolean NOT NULL DEFAULT true,        -- marketing goes to numbers that agreed to it
    prices jsonb NOT NULL DEFAULT '{}',     -- of one part, by country: {"DE": "0.075"}; "*" elsewhere
    currency text,                          -- ISO 4217
    updated_at timestamptz NOT NULL
);
CALL isolate_tenants('message_settings');

-- Erased stays erased, whoever writes late.
CREATE FUNCTION message_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.sealed_with := NULL;
    NEW.remote_sealed := NULL;
    NEW.remote_index := NULL;
    NEW.local_sealed := NULL;
    NEW.body_sealed := NULL;
    NEW.thread_id := NULL;
    NEW.assembly_index := NULL;
    NEW.received_as := NULL;
    DELETE FROM message_inbound_parts WHERE message_id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON messages FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION message_stays_erased();
CREATE FUNCTION message_of_no_organisation() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF EXISTS (SELECT 1 FROM orgs WHERE id = NEW.org_id AND erased_at IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER org_stays_erased BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION message_of_no_organisation();

CREATE FUNCTION messages_left_arriving(before timestamptz) RETURNS TABLE (org_id uuid, message_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, p.message_id FROM public.message_inbound_parts AS p GROUP BY p.org_id, p.message_id
   HAVING max(p.received_at) < before LIMIT 1000 $$;
GRANT SELECT (org_id, message_id, received_at) ON message_inbound_parts TO hushwire_finder;
CALL let_finder_see('message_inbound_parts');
CALL hand_to_finder('messages_left_arriving(timestamptz)', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE, DELETE ON message_templates, message_numbers TO hushwire_api;
GRANT SELECT, INSERT, UPDATE ON message_settings TO hushwire_api;
GRANT SELECT, INSERT, UPDATE (accepted, refused) ON message_batches TO hushwire_api;
GRANT SELECT ON message_templates, message_batches, message_numbers, message_settings TO hushwire_worker;
GRANT SELECT ON message_numbers, message_settings TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE ON messages TO hushwire_api, hushwire_worker, hushwire_gateway;
GRANT SELECT, INSERT, DELETE ON message_inbound_parts TO hushwire_worker;
GRANT SELECT (message_id), DELETE ON message_inbound_parts TO hushwire_api;     -- what the update of an erased row drops

-- Who asked for no more messages is listed where the message is read, and outlives the erasure of all else as every entry of the set.
GRANT SELECT, INSERT, DELETE ON do_not_call TO hushwire_worker;
GRANT SELECT (added_by) ON do_not_call TO hushwire_gateway;
GRANT UPDATE (do_not_call_version) ON orgs TO hushwire_worker;

-- Consent to messages of marketing is evidence like any other: of a number, given and withdrawn.
ALTER TABLE consents ADD COLUMN about text NOT NULL DEFAULT 'recording' CHECK (about IN ('recording', 'marketing-messages'));
