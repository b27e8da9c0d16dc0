-- Messages heard by phone. The gateway opens nothing: it asks for one message in the codec of the owner's phone, and the worker answers,
-- sealed to a key pair that the gateway made for this one question. The row goes with the answer.
CREATE TABLE voicemail_readings (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    agent_id uuid NOT NULL,                 -- who asks: whose mailbox it is
    recording_id uuid NOT NULL,
    codec text NOT NULL CHECK (codec IN ('PCMU', 'PCMA', 'G722', 'opus')),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    asked_at timestamptz NOT NULL,
    answered_at timestamptz,
    sealed bytea,
    refusal text,                           -- why there is no answer, in a word
    FOREIGN KEY (org_id, recording_id) REFERENCES recordings (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
ALTER TABLE voicemail_readings ALTER COLUMN sealed SET STORAGE EXTERNAL;
CALL isolate_tenants('voicemail_readings');

-- What the owner deletes by phone is none from then on, and goes the way of every erasure.
ALTER TABLE voicemail_messages ADD COLUMN erase_asked_at timestamptz;
CREATE INDEX voicemail_to_erase ON voicemail_messages (recording_id) WHERE erase_asked_at IS NOT NULL;
CREATE TRIGGER tell_erase AFTER UPDATE OF erase_asked_at ON voicemail_messages FOR EACH ROW WHEN (NEW.erase_asked_at IS NOT NULL)
    EXECUTE FUNCTION tell_work('voicemail');

CREATE TRIGGER tell_work AFTER INSERT ON voicemail_readings FOR EACH STATEMENT EXECUTE FUNCTION tell_work('voicemail-readings');
CREATE FUNCTION tell_reading() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_voicemail_read', NEW.id::text);
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tell_reading() TO hushwire_worker;
CREATE TRIGGER tell_reading AFTER UPDATE OF answered_at ON voicemail_readings FOR EACH ROW EXECUTE FUNCTION tell_reading();

CREATE FUNCTION voicemail_to_read() RETURNS TABLE (org_id uuid, reading_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.voicemail_readings AS r WHERE r.answered_at IS NULL ORDER BY r.asked_at LIMIT 100 $$;
CREATE FUNCTION voicemail_left_unread(before timestamptz) RETURNS TABLE (org_id uuid, reading_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.voicemail_readings AS r WHERE r.asked_at < before LIMIT 1000 $$;
GRANT SELECT (id, org_id, asked_at, answered_at) ON voicemail_readings TO hushwire_finder;
CALL let_finder_see('voicemail_readings');
CALL hand_to_finder('voicemail_to_read()', 'hushwire_worker');
CALL hand_to_finder('voicemail_left_unread(timestamptz)', 'hushwire_worker');

-- Empty ones, and those that their owners deleted by phone.
CREATE FUNCTION messages_to_erase() RETURNS TABLE (org_id uuid, recording_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT m.org_id, m.recording_id FROM public.voicemail_messages AS m
   WHERE m.is_empty OR m.erase_asked_at IS NOT NULL ORDER BY m.recording_id LIMIT 1000 $$;
GRANT SELECT (erase_asked_at) ON voicemail_messages TO hushwire_finder;
CALL hand_to_finder('messages_to_erase()', 'hushwire_worker');
SET LOCAL ROLE hushwire_finder;
DROP FUNCTION empty_messages();
RESET ROLE;

GRANT UPDATE (erase_asked_at) ON voicemail_messages TO hushwire_gateway, hushwire_worker;
GRANT SELECT, INSERT, DELETE ON voicemail_readings TO hushwire_gateway;
GRANT SELECT, UPDATE (answered_at, sealed, refusal), DELETE ON voicemail_readings TO hushwire_worker;
