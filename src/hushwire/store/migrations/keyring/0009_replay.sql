-- Tombstones across tenants, by count and place only: for a main database that has to follow them.
ALTER TABLE tombstones ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX tombstones_by_writing ON tombstones (written_at);

CREATE FUNCTION tombstones_after(place bigint) RETURNS TABLE (org_id uuid, tombstones bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT t.org_id, count(*) FROM public.tombstones AS t WHERE t.seq > place GROUP BY t.org_id ORDER BY t.org_id $$;

CREATE FUNCTION last_tombstone() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT coalesce(max(t.seq), 0) FROM public.tombstones AS t $$;

-- The last place before which every tombstone was written before `moment`: what they tell of has long been carried out.
CREATE FUNCTION tombstones_settled(moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT coalesce((SELECT min(t.seq) - 1 FROM public.tombstones AS t WHERE t.written_at >= moment),
                   (SELECT max(t.seq) FROM public.tombstones AS t), 0) $$;

GRANT SELECT (org_id, seq, written_at) ON tombstones TO hushwire_finder;
CREATE POLICY look_up ON tombstones FOR SELECT TO hushwire_finder USING (true);
GRANT CREATE ON SCHEMA public TO hushwire_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['tombstones_after(bigint)', 'last_tombstone()', 'tombstones_settled(timestamptz)']
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
        IF f LIKE 'tombstones_settled%' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hushwire_worker', f);
        END IF;
        EXECUTE format('ALTER FUNCTION %s OWNER TO hushwire_finder', f);
        SET LOCAL ROLE hushwire_finder;
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hushwire_owner', f);
        RESET ROLE;
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
