-- What a link asks of its parts a thousand times a second is answered by keys alone, whatever the planner knows of tables that were
-- empty a minute ago: each destination is looked up by itself (OFFSET 0 keeps that from becoming a join over all of a carrier's parts).
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION message_parts_unanswered(centre uuid, destinations bytea[])
RETURNS TABLE (place bigint, org_id uuid, message_id uuid, part bigint, is_unknown bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.place, p.org_id, p.message_id, p.part::bigint, (p.state = 'unknown')::integer::bigint
   FROM unnest(destinations) WITH ORDINALITY AS d (destination_index, place),
        LATERAL (SELECT q.org_id, q.message_id, q.part, q.state, q.changed_at FROM public.message_parts AS q
                 WHERE q.centre_id = centre AND q.destination_index = d.destination_index AND q.state IN ('sending', 'unknown')
                 OFFSET 0) AS p
   ORDER BY p.changed_at, p.message_id, p.part $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

-- A part changes its state three times, and each change enters every index anew: the primary key begins with the message already, and
-- what is being sent stands among what has no answer.
DROP INDEX message_parts_by_org;
DROP INDEX message_parts_in_hand;
ALTER TABLE message_parts SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- The state of a message is in no index any more, so that "submitted" stays within its page: what is not over and what failed are told by
-- other columns.
UPDATE messages SET error = 'failed' WHERE state = 'failed' AND error IS NULL;
DROP INDEX messages_by_batch;
CREATE INDEX messages_by_batch ON messages (org_id, batch_id) WHERE batch_id IS NOT NULL;
DROP INDEX messages_by_state;
CREATE INDEX messages_not_over ON messages (org_id, created_at DESC, id DESC) WHERE ended_at IS NULL;
CREATE INDEX messages_failed ON messages (org_id, created_at DESC, id DESC) WHERE error IS NOT NULL;
ALTER TABLE messages SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Messages of one part follow it: one by one, each by its key.
CREATE FUNCTION message_follows_part(ids uuid[], states text[], errors text[], at timestamptz)
RETURNS TABLE (id uuid, state text, error text, direction text, channel text, agent_id uuid, number_id uuid, batch_id uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$
#variable_conflict use_column
BEGIN
    FOR n IN 1 .. cardinality(ids) LOOP
        RETURN QUERY UPDATE messages AS m SET state = states[n],
            error = CASE WHEN states[n] = 'failed' THEN coalesce(errors[n], 'failed') ELSE errors[n] END,
            submitted_at = CASE WHEN states[n] IN ('submitted', 'delivered', 'unknown') THEN coalesce(m.submitted_at, at) ELSE m.submitted_at END,
            ended_at = CASE WHEN states[n] IN ('delivered', 'failed', 'expired') THEN at END
        WHERE m.id = ids[n] AND m.state <> states[n] AND m.erased_at IS NULL
        RETURNING m.id, m.state, m.error, m.direction, m.channel, m.agent_id, m.number_id, m.batch_id;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION message_follows_part(uuid[], text[], text[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION message_follows_part(uuid[], text[], text[], timestamptz) TO hushwire_worker;
