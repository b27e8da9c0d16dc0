-- Messages in agents' mailboxes. What was said is a recording like any other, and so is who called and when: this says only in whose
-- mailbox it lies, and whether it was heard.
ALTER TABLE calls DROP CONSTRAINT calls_direction_check;
ALTER TABLE calls ADD CONSTRAINT calls_direction_check CHECK (direction IN (
    'outbound', 'inbound', 'internal', 'echo', 'supervision', 'conference', 'voicemail'));

CREATE TABLE voicemail_messages (
    org_id uuid NOT NULL REFERENCES orgs,
    recording_id uuid PRIMARY KEY,
    agent_id uuid NOT NULL,                 -- whose mailbox
    left_at timestamptz NOT NULL,
    speech_ms integer,                      -- so much was said; null: nobody counted to its end
    is_empty boolean NOT NULL DEFAULT false,    -- nothing was said: it goes the way of every erasure, and counts as none until then
    read_at timestamptz,
    FOREIGN KEY (org_id, recording_id) REFERENCES recordings (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX voicemail_by_agent ON voicemail_messages (org_id, agent_id, left_at DESC, recording_id DESC);
CREATE INDEX voicemail_empty ON voicemail_messages (recording_id) WHERE is_empty;
CALL isolate_tenants('voicemail_messages');

-- Whatever changes a mailbox, wherever it happens, wakes who tells phones of it: what counts is the rows.
CREATE FUNCTION tell_mailbox() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF TG_TABLE_NAME = 'recordings' THEN
        PERFORM pg_notify('hushwire_mailboxes', m.agent_id::text) FROM voicemail_messages AS m WHERE m.recording_id = NEW.id;
    ELSIF TG_TABLE_NAME = 'erasure_ledger' THEN
        PERFORM pg_notify('hushwire_mailboxes', m.agent_id::text) FROM voicemail_messages AS m WHERE m.recording_id = NEW.object_id;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM pg_notify('hushwire_mailboxes', OLD.agent_id::text);
    ELSE
        PERFORM pg_notify('hushwire_mailboxes', NEW.agent_id::text);
    END IF;
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tell_mailbox() TO hushwire_gateway, hushwire_api, hushwire_worker;
CREATE TRIGGER tell_mailbox AFTER INSERT OR UPDATE OR DELETE ON voicemail_messages FOR EACH ROW EXECUTE FUNCTION tell_mailbox();
CREATE TRIGGER tell_mailbox AFTER UPDATE OF state ON recordings FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION tell_mailbox();
CREATE TRIGGER tell_mailbox AFTER INSERT ON erasure_ledger FOR EACH ROW WHEN (NEW.kind = 'recording') EXECUTE FUNCTION tell_mailbox();
CREATE TRIGGER tell_work AFTER UPDATE OF is_empty ON voicemail_messages FOR EACH ROW WHEN (NEW.is_empty)
    EXECUTE FUNCTION tell_work('voicemail');

-- The recording itself where the ledger holds its erasure: that much of the ledger a gateway may know.
CREATE FUNCTION erasing_recording(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT e.object_id FROM public.erasure_ledger AS e WHERE e.kind = 'recording' AND e.object_id = wanted LIMIT 1 $$;
GRANT SELECT (kind, object_id) ON erasure_ledger TO hushwire_finder;
CALL hand_to_finder('erasing_recording(uuid)', 'hushwire_gateway', 'hushwire_api', 'hushwire_worker');

-- Messages in which nothing was said, across organisations, ids only.
CREATE FUNCTION empty_messages() RETURNS TABLE (org_id uuid, recording_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT m.org_id, m.recording_id FROM public.voicemail_messages AS m WHERE m.is_empty ORDER BY m.recording_id LIMIT 1000 $$;
GRANT SELECT (org_id, recording_id, is_empty) ON voicemail_messages TO hushwire_finder;
CALL let_finder_see('voicemail_messages');
CALL hand_to_finder('empty_messages()', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE (speech_ms, is_empty, read_at) ON voicemail_messages TO hushwire_gateway;
GRANT SELECT, UPDATE (read_at) ON voicemail_messages TO hushwire_api;
GRANT SELECT, UPDATE (is_empty, read_at), DELETE ON voicemail_messages TO hushwire_worker;
