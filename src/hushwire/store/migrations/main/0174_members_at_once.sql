-- A team of thousands is one change: the version of the rules rises once for all of its rows.
CREATE FUNCTION touch_rules_of_all() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    UPDATE orgs SET rules_version = rules_version + 1 WHERE id IN (SELECT org_id FROM changed);
    RETURN NULL;
END $$;
DROP TRIGGER touch_rules_by_row ON team_members;
CREATE TRIGGER touch_rules_by_insert AFTER INSERT ON team_members REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION touch_rules_of_all();
CREATE TRIGGER touch_rules_by_update AFTER UPDATE ON team_members REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION touch_rules_of_all();
CREATE TRIGGER touch_rules_by_delete AFTER DELETE ON team_members REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION touch_rules_of_all();
GRANT EXECUTE ON FUNCTION touch_rules_of_all() TO hushwire_api, hushwire_worker;
