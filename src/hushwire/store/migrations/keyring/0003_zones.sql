-- Renewal shows how far it is, the second zone is compared, and an erasure can ask whether that zone knows of it.

ALTER TABLE buckets ADD COLUMN survivors bigint;                -- keys held when the renewal began; null before
ALTER TABLE buckets ADD COLUMN moved bigint NOT NULL DEFAULT 0; -- sealed anew so far; keys erased meanwhile never are
ALTER TABLE buckets ADD COLUMN renewing_since timestamptz;

-- The batches of a renewal read survivors in the order of their ids.
CREATE INDEX data_keys_of_bucket ON data_keys (bucket_id, id);
DROP INDEX data_keys_by_bucket;

-- Every bucket, for the comparison of the secrets' folders with the rows.
CREATE FUNCTION bucket_ids() RETURNS TABLE (org_id uuid, bucket_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT b.org_id, b.id FROM public.buckets AS b ORDER BY b.created_at $$;

-- Bytes of this server's log up to `upto` that the second zone does not have on its disk; null: no second zone is connected.
-- pg_stat_replication shows that to members of pg_read_all_stats only: the function's owner is a role that is nothing else (store/roles.py).
CREATE FUNCTION second_zone_lacks(upto pg_lsn) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT min(pg_wal_lsn_diff(upto, flush_lsn))::bigint FROM pg_stat_replication
   WHERE application_name = 'hushwire_zone2' AND state = 'streaming' AND flush_lsn IS NOT NULL $$;

REVOKE EXECUTE ON FUNCTION bucket_ids(), second_zone_lacks(pg_lsn) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bucket_ids() TO hushwire_worker;
GRANT EXECUTE ON FUNCTION second_zone_lacks(pg_lsn) TO hushwire_api, hushwire_worker;
GRANT CREATE ON SCHEMA public TO hushwire_finder, hushwire_watcher;
ALTER FUNCTION bucket_ids() OWNER TO hushwire_finder;
ALTER FUNCTION second_zone_lacks(pg_lsn) OWNER TO hushwire_watcher;
SET LOCAL ROLE hushwire_finder;             -- handing a function over takes the old owner's own right to run it
GRANT EXECUTE ON FUNCTION bucket_ids() TO hushwire_owner;
RESET ROLE;
SET LOCAL ROLE hushwire_watcher;
GRANT EXECUTE ON FUNCTION second_zone_lacks(pg_lsn) TO hushwire_owner;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder, hushwire_watcher;
