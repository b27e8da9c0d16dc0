-- The end of an organisation: its keys are destroyed first, then the worker removes its rows in batches. The right to do so is this one
-- function's: it removes nothing of an organisation that was not erased, and never what proves the erasure.

CREATE FUNCTION org_is_erased() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT EXISTS (SELECT 1 FROM orgs WHERE id = current_org() AND erased_at IS NOT NULL) $$;
GRANT EXECUTE ON FUNCTION org_is_erased() TO hushwire_api, hushwire_worker;

CREATE FUNCTION remove_of_ended(name regclass, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ DECLARE removed bigint; BEGIN
    IF NOT org_is_erased() OR name::text IN ('orgs', 'erasure_ledger', 'erasure_operations', 'deferred_erasures', 'legal_holds',
                                             'audit_log', 'audit_heads', 'access_log', 'clocks') THEN
        RAISE EXCEPTION 'only of an organisation that was erased, and not its proofs' USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %s WHERE org_id = current_org() LIMIT $1))', name, name)
        USING most;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
GRANT EXECUTE ON FUNCTION remove_of_ended(regclass, integer) TO hushwire_worker;

-- What says that it ended, and who it was called.
GRANT UPDATE (erased_at, rules_version, slug, name, outside_prefix, updated_at) ON orgs TO hushwire_worker;

-- An operation whose keys are all destroyed is carried on by its entries alone.
GRANT SELECT (unreadable_at) ON erasure_operations TO hushwire_finder;
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION open_erasure_operations() RETURNS TABLE (org_id uuid, operation_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT o.org_id, o.id FROM public.erasure_operations AS o
   WHERE o.state IN ('entered', 'running') AND o.unreadable_at IS NULL ORDER BY o.requested_at $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
