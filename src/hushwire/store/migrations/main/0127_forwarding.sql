-- Each agent's wishes for calls that it does not take: JSON, sealed as its other columns. Null: none.
ALTER TABLE agents ADD COLUMN forwarding_sealed bytea;
CREATE TRIGGER touch_rules_by_forwarding AFTER UPDATE ON agents FOR EACH ROW
    WHEN (OLD.forwarding_sealed IS DISTINCT FROM NEW.forwarding_sealed) EXECUTE FUNCTION touch_rules();

-- Agents change them by feature codes, too. The gateway writes nothing else of an agent; with it the organisation's version is raised.
GRANT SELECT (forwarding_sealed), UPDATE (forwarding_sealed, updated_at) ON agents TO hushwire_gateway;
GRANT UPDATE (rules_version) ON orgs TO hushwire_gateway;
