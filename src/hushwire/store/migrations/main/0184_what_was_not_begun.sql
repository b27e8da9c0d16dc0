-- What was begun stays with its carrier, and hides nothing behind it: looked for is what may move, by turns over organisations as ever.
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION messages_not_begun(centre uuid, now timestamptz, most integer) RETURNS TABLE (org_id uuid, message_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ WITH RECURSIVE waiting (org_id) AS (
       (SELECT p.org_id FROM public.message_parts AS p WHERE p.centre_id = centre AND p.state = 'queued' ORDER BY p.org_id LIMIT 1)
       UNION ALL
       SELECT (SELECT p.org_id FROM public.message_parts AS p
               WHERE p.centre_id = centre AND p.state = 'queued' AND p.org_id > w.org_id ORDER BY p.org_id LIMIT 1)
       FROM waiting AS w WHERE w.org_id IS NOT NULL
   )
   SELECT t.org_id, t.message_id FROM waiting AS w, LATERAL (
       SELECT d.org_id, d.message_id, d.due_at, row_number() OVER (ORDER BY d.due_at, d.message_id) AS turn
       FROM (SELECT p.org_id, p.message_id, p.due_at FROM public.message_parts AS p
             WHERE p.centre_id = centre AND p.org_id = w.org_id AND p.state = 'queued' AND p.due_at <= now AND p.part = 1
             AND NOT EXISTS (SELECT FROM public.message_parts AS q
                             WHERE q.message_id = p.message_id AND (q.state <> 'queued' OR q.attempts > 0))
             ORDER BY p.due_at, p.message_id, p.part LIMIT most) AS d
   ) AS t
   WHERE w.org_id IS NOT NULL
   ORDER BY t.turn, t.due_at, t.message_id LIMIT most $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

-- What failed before this was told by its error (0179): rows of every organisation, which row-level security keeps from the owner, too.
ALTER TABLE messages NO FORCE ROW LEVEL SECURITY;
UPDATE messages SET error = 'failed' WHERE state = 'failed' AND error IS NULL AND erased_at IS NULL;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
