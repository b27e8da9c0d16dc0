-- Whose hands an API key is in: keys of one person are one person to what two must agree to.
ALTER TABLE api_keys ADD COLUMN agent_id uuid;          -- null: nobody was named, and the key stands for itself
ALTER TABLE api_keys ADD FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (agent_id);

-- What else waits for a second person: short codes, hours, and what teams and agents narrow no more.
ALTER TABLE rule_proposals
    ADD COLUMN short_codes text[] NOT NULL DEFAULT '{}',
    ADD COLUMN hours text,                              -- as orgs.hours spells them; null: as they are
    ADD COLUMN subject text,                            -- team:<id> or agent:<id>; null: the organisation's own lists
    ADD COLUMN wanted text,                             -- JSON: what the team's or agent's level, or the team, is to be
    ADD COLUMN base bytea,                              -- SHA-256 of what stood there when it was proposed
    ADD CHECK ((subject IS NULL) = (wanted IS NULL) AND (subject IS NULL) = (base IS NULL));
ALTER TABLE rule_proposals DROP CONSTRAINT rule_proposals_state_check;
ALTER TABLE rule_proposals ADD CONSTRAINT rule_proposals_state_check CHECK (state IN ('open', 'approved', 'rejected', 'outdated'));

-- Who narrows something while a proposal about the same waits means it: the proposal has lapsed, whoever changes the row, and by whatever.
CREATE FUNCTION outdate_rule_proposals() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ DECLARE touched text[];
BEGIN
    SELECT array_agg(name) INTO touched FROM (
        SELECT unnest(OLD.allowed_countries) AS name EXCEPT SELECT unnest(NEW.allowed_countries)
        UNION SELECT * FROM (SELECT unnest(OLD.classes) EXCEPT SELECT unnest(NEW.classes)) AS classes
        UNION SELECT * FROM (SELECT unnest(OLD.short_codes) EXCEPT SELECT unnest(NEW.short_codes)) AS codes
        UNION SELECT coalesce(o.key, n.key) FROM jsonb_each(OLD.terms::jsonb) AS o FULL JOIN jsonb_each(NEW.terms::jsonb) AS n ON o.key = n.key
            WHERE o.value IS DISTINCT FROM n.value
        UNION SELECT * FROM (SELECT unnest(NEW.four_eyes) EXCEPT SELECT unnest(OLD.four_eyes)) AS guarded
    ) AS changed;
    UPDATE rule_proposals AS p SET state = 'outdated', decided_by = 'system', decided_at = now()
        WHERE p.org_id = NEW.id AND p.state = 'open'
        AND (p.countries && touched OR p.classes && touched OR p.short_codes && touched OR p.released && touched
            OR EXISTS (SELECT 1 FROM jsonb_object_keys(p.terms::jsonb) AS k WHERE k = ANY (touched))
            OR ((OLD.hours, OLD.time_zone) IS DISTINCT FROM (NEW.hours, NEW.time_zone) AND (p.hours IS NOT NULL OR p.subject IS NOT NULL)));
    RETURN NULL;
END $$;
CREATE TRIGGER outdate_proposals AFTER UPDATE ON orgs FOR EACH ROW
    WHEN ((OLD.allowed_countries, OLD.classes, OLD.short_codes, OLD.terms, OLD.hours, OLD.time_zone, OLD.four_eyes)
        IS DISTINCT FROM (NEW.allowed_countries, NEW.classes, NEW.short_codes, NEW.terms, NEW.hours, NEW.time_zone, NEW.four_eyes))
    EXECUTE FUNCTION outdate_rule_proposals();
GRANT EXECUTE ON FUNCTION outdate_rule_proposals() TO hushwire_api, hushwire_worker;
GRANT UPDATE (state, decided_by, decided_at) ON rule_proposals TO hushwire_worker;
