-- Until they are analysed for the first time, the planner shall take these tables for what they become: of few organisations and carriers,
-- and large. Its plans for what is asked by key are right from the first message on then (servers before 18 learn it within a minute).
DO $$ DECLARE
    known text;
    place text[];
BEGIN
    IF current_setting('server_version_num')::integer < 180000 THEN
        RETURN;
    END IF;
    FOREACH known IN ARRAY ARRAY['messages', 'message_parts'] LOOP
        EXECUTE format('SELECT pg_restore_relation_stats(''schemaname'', ''public'', ''relname'', %L, ''relpages'', 1, ''reltuples'', 100000::real)', known);
    END LOOP;
    FOREACH place SLICE 1 IN ARRAY ARRAY[['messages', 'org_id'], ['message_parts', 'org_id'], ['message_parts', 'centre_id']] LOOP
        EXECUTE format('SELECT pg_restore_attribute_stats(''schemaname'', ''public'', ''relname'', %L, ''attname'', %L, ''inherited'', false,'
            ' ''null_frac'', 0::real, ''avg_width'', 16, ''n_distinct'', 1::real)', place[1], place[2]);
    END LOOP;
END $$;
-- Messages follow their parts all in one statement again.
DROP FUNCTION message_follows_part(uuid[], text[], text[], timestamptz);
