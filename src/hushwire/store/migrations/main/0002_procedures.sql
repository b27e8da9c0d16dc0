-- What every later file says of its tables and look-ups, in one word each.

-- Tenant isolation by the database: the rows of `name` are seen and written only in a transaction of their organisation.
CREATE PROCEDURE isolate_tenants(name regclass) LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %s USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
END $$;

-- A look-up across tenants (SECURITY DEFINER, returns ids): runs as hushwire_finder, and may be run by `roles` and the owner only.
-- The finder needs `GRANT SELECT (columns) ... TO hushwire_finder` and, once a table, `CALL let_finder_see('table')`.
CREATE PROCEDURE hand_to_finder(look_up regprocedure, VARIADIC roles text[]) LANGUAGE plpgsql AS
$$ DECLARE r text; BEGIN
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', look_up);
    FOREACH r IN ARRAY roles LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', look_up, r);
    END LOOP;
    GRANT CREATE ON SCHEMA public TO hushwire_finder;
    EXECUTE format('ALTER FUNCTION %s OWNER TO hushwire_finder', look_up);
    SET LOCAL ROLE hushwire_finder;             -- handing a function over takes the old owner's own right to run it
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hushwire_owner', look_up);
    RESET ROLE;
    REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
END $$;

CREATE PROCEDURE let_finder_see(name regclass) LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    EXECUTE format('CREATE POLICY look_up ON %s FOR SELECT TO hushwire_finder USING (true)', name);
END $$;

REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA public FROM PUBLIC;
-- What later files create may be run by nobody but the owner until they say otherwise.
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
