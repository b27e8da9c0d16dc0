-- A carrier is given parts of its organisations by turns, so that the backlog of one holds up no other. Organisations are found by jumping
-- from one to the next in the index: it costs two probes each, whatever waits.
CREATE INDEX message_parts_due_of ON message_parts (centre_id, org_id, due_at, message_id, part) WHERE state = 'queued';
DROP INDEX message_parts_due;
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION message_parts_due(centre uuid, now timestamptz, most integer) RETURNS TABLE (org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ WITH RECURSIVE waiting (org_id) AS (
       (SELECT p.org_id FROM public.message_parts AS p WHERE p.centre_id = centre AND p.state = 'queued' ORDER BY p.org_id LIMIT 1)
       UNION ALL
       SELECT (SELECT p.org_id FROM public.message_parts AS p
               WHERE p.centre_id = centre AND p.state = 'queued' AND p.org_id > w.org_id ORDER BY p.org_id LIMIT 1)
       FROM waiting AS w WHERE w.org_id IS NOT NULL
   )
   SELECT t.org_id, t.message_id, t.part::bigint FROM waiting AS w, LATERAL (
       SELECT d.org_id, d.message_id, d.part, d.due_at, row_number() OVER (ORDER BY d.due_at, d.message_id, d.part) AS turn
       FROM (SELECT p.org_id, p.message_id, p.part, p.due_at FROM public.message_parts AS p
             WHERE p.centre_id = centre AND p.org_id = w.org_id AND p.state = 'queued' AND p.due_at <= now
             ORDER BY p.due_at, p.message_id, p.part LIMIT most) AS d
   ) AS t
   WHERE w.org_id IS NOT NULL
   ORDER BY t.turn, t.due_at, t.message_id LIMIT most $$;
-- A carrier that uses an id again means the part that is still under way; of several the one that left first.
CREATE OR REPLACE FUNCTION message_parts_of_receipts(centre uuid, receipts text[])
RETURNS TABLE (place bigint, org_id uuid, message_id uuid, part bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.place, f.org_id, f.message_id, f.part::bigint FROM unnest(receipts) WITH ORDINALITY AS r (receipt_id, place), LATERAL (
       SELECT s.org_id, s.message_id, s.part FROM (
           SELECT p.org_id, p.message_id, p.part, p.state, p.changed_at FROM public.message_parts AS p
           WHERE p.centre_id = centre AND p.receipt_id = r.receipt_id LIMIT 1000) AS s
       ORDER BY s.state IN ('submitted', 'unknown') DESC, s.changed_at LIMIT 1) AS f $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
