-- When who calls hears that the call is recorded: at the answer, or before anybody is rung.

ALTER TABLE orgs ADD COLUMN announce_at text NOT NULL DEFAULT 'answer' CHECK (announce_at IN ('answer', 'before'));

CREATE TRIGGER raise_version_by_announce_at BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN (OLD.announce_at IS DISTINCT FROM NEW.announce_at)
    EXECUTE FUNCTION raise_rules_version();
