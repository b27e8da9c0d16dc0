-- Rules that hold for calls under way too, and the hours of telemarketing.
ALTER TABLE orgs
    ADD COLUMN live_rules_version bigint NOT NULL DEFAULT 0,            -- calls that began under older rules are judged anew
    ADD COLUMN telemarketing_hours text[] NOT NULL DEFAULT '{}';        -- as in "FR mon-fri 10:00-13:00" (docs/voice-security.md)
CREATE TRIGGER raise_version_by_live_rules BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN ((OLD.live_rules_version, OLD.telemarketing_hours) IS DISTINCT FROM (NEW.live_rules_version, NEW.telemarketing_hours))
    EXECUTE FUNCTION raise_rules_version();
