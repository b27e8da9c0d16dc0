-- Answers to who asks for no more messages, or for help, cost money, and senders can be made up: strangers get so many a day (UTC) and no
-- more, of an organisation and of each of its numbers. They are obeyed all the same.
ALTER TABLE message_settings ADD COLUMN answers_per_day integer NOT NULL DEFAULT 500 CHECK (answers_per_day >= 0);
ALTER TABLE message_days ADD COLUMN answers integer NOT NULL DEFAULT 0;
GRANT INSERT, UPDATE (answers) ON message_days TO hushwire_worker;
CREATE TABLE message_answers (              -- of a number's last day with any
    org_id uuid NOT NULL REFERENCES orgs,
    number_id uuid PRIMARY KEY,
    day date NOT NULL,
    answers integer NOT NULL,
    FOREIGN KEY (org_id, number_id) REFERENCES numbers (org_id, id) ON DELETE CASCADE
);
CALL isolate_tenants('message_answers');
GRANT SELECT, INSERT, UPDATE ON message_answers TO hushwire_api, hushwire_worker;

-- What nobody wants to be sent any more is not due: else it is opened again and again until its state is written.
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
             AND (p.expires_at IS NULL OR p.expires_at > now)
             ORDER BY p.due_at, p.message_id, p.part LIMIT most) AS d
   ) AS t
   WHERE w.org_id IS NOT NULL
   ORDER BY t.turn, t.due_at, t.message_id LIMIT most $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;
