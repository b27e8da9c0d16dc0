-- What narrows calls beside the lists of countries and classes is kept in the keyring as protections are, in its newest state: terms, hours,
-- short codes, what two must agree to, what teams and agents narrow, and limits. A restore never brings back more than was allowed last.
CREATE CONSTRAINT TRIGGER note_rules AFTER UPDATE ON orgs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.terms, OLD.hours, OLD.short_codes, OLD.time_zone, OLD.four_eyes, OLD.telemarketing_hours, OLD.risk_packs_off)
        IS DISTINCT FROM (NEW.terms, NEW.hours, NEW.short_codes, NEW.time_zone, NEW.four_eyes, NEW.telemarketing_hours, NEW.risk_packs_off))
    EXECUTE FUNCTION note_protection();
-- Once a statement, after the organisation's own row was touched: everybody locks these two in this order.
CREATE TRIGGER zz_note_rules AFTER INSERT OR UPDATE OR DELETE ON teams FOR EACH STATEMENT EXECUTE FUNCTION note_protection();
CREATE TRIGGER zz_note_rules AFTER INSERT OR UPDATE OR DELETE ON team_members FOR EACH STATEMENT EXECUTE FUNCTION note_protection();
CREATE TRIGGER zz_note_rules AFTER INSERT OR UPDATE OR DELETE ON rule_levels FOR EACH STATEMENT EXECUTE FUNCTION note_protection();
CREATE TRIGGER zz_note_rules AFTER INSERT OR UPDATE OR DELETE ON fraud_limits FOR EACH STATEMENT EXECUTE FUNCTION note_protection();
-- What stands already is to be kept as well.
ALTER TABLE protections NO FORCE ROW LEVEL SECURITY;
INSERT INTO protections AS p (org_id, changes) SELECT o, 1 FROM org_ids() AS o ON CONFLICT (org_id) DO UPDATE SET changes = p.changes + 1;
ALTER TABLE protections FORCE ROW LEVEL SECURITY;
