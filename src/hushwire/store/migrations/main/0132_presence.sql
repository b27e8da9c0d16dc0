-- What colleagues see of one another: nothing, who is in a call, or with whom as well.

ALTER TABLE orgs ADD COLUMN presence text NOT NULL DEFAULT 'state' CHECK (presence IN ('off', 'state', 'numbers'));

CREATE TRIGGER raise_version_by_presence BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN (OLD.presence IS DISTINCT FROM NEW.presence)
    EXECUTE FUNCTION raise_rules_version();
