-- Gateways take what is asked for by turns over organisations, so that one that asks for hundreds of calls at once holds up no other.
-- Organisations are found by jumping from one to the next in the index: it costs two probes each, whatever waits.
CREATE INDEX call_requests_open_of ON call_requests (org_id, asked_at, id) WHERE done_at IS NULL AND node_id IS NULL;
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION call_requests_open(node uuid) RETURNS TABLE (org_id uuid, request_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ WITH RECURSIVE waiting (org_id) AS (
       (SELECT r.org_id FROM public.call_requests AS r WHERE r.done_at IS NULL AND r.node_id IS NULL ORDER BY r.org_id LIMIT 1)
       UNION ALL
       SELECT (SELECT r.org_id FROM public.call_requests AS r
               WHERE r.done_at IS NULL AND r.node_id IS NULL AND r.org_id > w.org_id ORDER BY r.org_id LIMIT 1)
       FROM waiting AS w WHERE w.org_id IS NOT NULL
   )
   SELECT t.org_id, t.id FROM waiting AS w, LATERAL (
       SELECT o.org_id, o.id, o.asked_at, row_number() OVER (ORDER BY o.asked_at, o.id) AS turn
       FROM (SELECT r.org_id, r.id, r.asked_at FROM public.call_requests AS r
             WHERE r.org_id = w.org_id AND r.done_at IS NULL AND r.node_id IS NULL AND r.take_by > now()
             AND (r.node_wanted IS NULL OR r.node_wanted = node)
             ORDER BY r.asked_at, r.id LIMIT 100) AS o
   ) AS t
   WHERE w.org_id IS NOT NULL
   ORDER BY t.turn, t.asked_at, t.id LIMIT 100 $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
