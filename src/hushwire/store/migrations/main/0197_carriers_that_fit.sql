-- Which other carriers take messages to a number is known while the number is: where it is accepted. So a carrier of a few countries can
-- help out, and nothing is opened to decide.
ALTER TABLE message_parts ADD COLUMN others uuid[];     -- of a first part: carriers that fit it, too, the likeliest first
GRANT SELECT (others) ON message_parts TO hushwire_finder;

-- `takers` are the carriers that may take over: `floors`, ids of the time of their last change, so that messages accepted before it, when
-- they may have taken other numbers, are not theirs; `wide`, whether they take every number of `centre` anyhow. `fitted` is the first of
-- them that fitted a message when it was accepted.
DROP FUNCTION messages_not_begun(uuid, timestamptz, integer);
CREATE FUNCTION messages_not_begun(centre uuid, now timestamptz, most integer, takers uuid[], floors uuid[], wide boolean[])
RETURNS TABLE (org_id uuid, message_id uuid, fitted uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ WITH RECURSIVE waiting (org_id) AS (
       (SELECT p.org_id FROM public.message_parts AS p WHERE p.centre_id = centre AND p.state = 'queued' ORDER BY p.org_id LIMIT 1)
       UNION ALL
       SELECT (SELECT p.org_id FROM public.message_parts AS p
               WHERE p.centre_id = centre AND p.state = 'queued' AND p.org_id > w.org_id ORDER BY p.org_id LIMIT 1)
       FROM waiting AS w WHERE w.org_id IS NOT NULL
   )
   SELECT t.org_id, t.message_id, t.fitted FROM waiting AS w, LATERAL (
       SELECT d.org_id, d.message_id, d.fitted, d.due_at, row_number() OVER (ORDER BY d.due_at, d.message_id) AS turn
       FROM (SELECT p.org_id, p.message_id, f.id AS fitted, p.due_at FROM public.message_parts AS p LEFT JOIN LATERAL (
                 SELECT k.id FROM unnest(p.others) WITH ORDINALITY AS o (id, place)
                 JOIN unnest(takers, floors) AS k (id, floor) ON k.id = o.id AND p.message_id >= k.floor
                 ORDER BY o.place LIMIT 1) AS f ON true
             WHERE p.centre_id = centre AND p.org_id = w.org_id AND p.state = 'queued' AND p.due_at <= now AND p.part = 1
             AND (p.expires_at IS NULL OR p.expires_at > now)
             AND (f.id IS NOT NULL OR true = ANY(wide))
             AND NOT EXISTS (SELECT FROM public.message_parts AS q
                             WHERE q.message_id = p.message_id AND (q.state <> 'queued' OR q.attempts > 0))
             ORDER BY p.due_at, p.message_id, p.part LIMIT most) AS d
   ) AS t
   WHERE w.org_id IS NOT NULL
   ORDER BY t.turn, t.due_at, t.message_id LIMIT most $$;
CALL hand_to_finder('messages_not_begun(uuid, timestamptz, integer, uuid[], uuid[], boolean[])', 'hushwire_worker');
GRANT SELECT (updated_at) ON message_centres TO hushwire_api, hushwire_gateway;
