-- What gateways ask the worker for is found by turns over organisations: the oldest question of each, then the second of each. Else a hundred
-- of one would be all that is seen, and the others' callers would wait behind them.
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION voicemail_to_read() RETURNS TABLE (org_id uuid, reading_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT t.org_id, t.id FROM (
       SELECT r.org_id, r.id, r.asked_at, row_number() OVER (PARTITION BY r.org_id ORDER BY r.asked_at, r.id) AS turn
       FROM public.voicemail_readings AS r WHERE r.answered_at IS NULL
   ) AS t
   ORDER BY t.turn, t.asked_at, t.id LIMIT 100 $$;
CREATE OR REPLACE FUNCTION texts_to_read() RETURNS TABLE (org_id uuid, reading_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT t.org_id, t.id FROM (
       SELECT r.org_id, r.id, r.asked_at, row_number() OVER (PARTITION BY r.org_id ORDER BY r.asked_at, r.id) AS turn
       FROM public.text_readings AS r WHERE r.answered_at IS NULL
   ) AS t
   ORDER BY t.turn, t.asked_at, t.id LIMIT 100 $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
