-- Who hides the own number, which carriers are trusted with identities (RFC 3325), and from which devices a call was made and taken.
ALTER TABLE agents ADD COLUMN hides_identity boolean NOT NULL DEFAULT false;
CREATE TRIGGER touch_rules_by_hides_identity AFTER UPDATE ON agents FOR EACH ROW
    WHEN (OLD.hides_identity IS DISTINCT FROM NEW.hides_identity) EXECUTE FUNCTION touch_rules();
GRANT SELECT (hides_identity) ON agents TO hushwire_gateway;

ALTER TABLE trunks ADD COLUMN trusted boolean NOT NULL DEFAULT false;

ALTER TABLE calls
    ADD COLUMN caller_hidden boolean NOT NULL DEFAULT false,    -- the caller's number was shown to nobody; from outside: it is not kept
    ADD COLUMN device_id uuid,                                  -- whose credential the agent's phone showed; the agent's id: its own password
    ADD COLUMN peer_device_id uuid;                             -- and the peer agent's
