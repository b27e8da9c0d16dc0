-- Whether an agent's legs share UDP ports: as the deployment has it (auto), wherever their packets can be found at all, or never.

ALTER TABLE agents ADD COLUMN media_ports text NOT NULL DEFAULT 'auto' CHECK (media_ports IN ('auto', 'shared', 'own'));

CREATE TRIGGER touch_rules_by_media_ports AFTER UPDATE ON agents FOR EACH ROW
    WHEN (OLD.media_ports IS DISTINCT FROM NEW.media_ports) EXECUTE FUNCTION touch_rules();
GRANT SELECT (media_ports) ON agents TO hushwire_gateway;
