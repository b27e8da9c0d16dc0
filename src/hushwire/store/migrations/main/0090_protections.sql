-- What protects people (objections, the do-not-call set, restrictions, legal holds) is kept in the keyring too, in its newest state only:
-- so that a restore of an older main database doesn't record or call who asked not to be (services/protections.py).
CREATE TABLE protections (                  -- one row an organisation
    org_id uuid PRIMARY KEY REFERENCES orgs,
    changes bigint NOT NULL DEFAULT 0,      -- raised in each transaction that changes what protects
    kept bigint NOT NULL DEFAULT 0          -- the keyring has it as of this many changes
);
INSERT INTO protections (org_id, changes) SELECT o, 1 FROM org_ids() AS o;
CALL isolate_tenants('protections');

CREATE FUNCTION note_protection() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    INSERT INTO protections AS p (org_id, changes) SELECT id, 1 FROM orgs WHERE id = current_org()
    ON CONFLICT (org_id) DO UPDATE SET changes = p.changes + 1;
    RETURN NULL;
END $$;
-- At the commit: the row is locked last, and by nobody who waits for anything else. The do-not-call set raises its version in orgs.
CREATE CONSTRAINT TRIGGER note_protection AFTER INSERT OR UPDATE OR DELETE ON unrecorded_numbers DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION note_protection();
CREATE CONSTRAINT TRIGGER note_protection AFTER INSERT OR UPDATE OR DELETE ON restricted_subjects DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION note_protection();
CREATE CONSTRAINT TRIGGER note_protection AFTER INSERT OR UPDATE OR DELETE ON legal_holds DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION note_protection();
CREATE CONSTRAINT TRIGGER note_protection AFTER UPDATE ON orgs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.do_not_call_version IS DISTINCT FROM NEW.do_not_call_version) EXECUTE FUNCTION note_protection();
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE OF changes ON protections FOR EACH STATEMENT EXECUTE FUNCTION tell_work('protections');

CREATE FUNCTION protections_to_keep() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id FROM public.protections AS p WHERE p.changes > p.kept ORDER BY p.org_id $$;
GRANT SELECT (org_id, changes, kept) ON protections TO hushwire_finder;
CALL let_finder_see('protections');
CALL hand_to_finder('protections_to_keep()', 'hushwire_worker');

GRANT EXECUTE ON FUNCTION note_protection() TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, UPDATE (changes) ON protections TO hushwire_api;
GRANT SELECT, INSERT, UPDATE (changes, kept) ON protections TO hushwire_worker;
GRANT SELECT ON do_not_call TO hushwire_worker;
