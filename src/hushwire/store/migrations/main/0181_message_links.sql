-- How links to carriers of short messages stand, as the processes that hold them say: for metrics and hushwire doctor.
CREATE TABLE message_link_states (
    run_id uuid NOT NULL REFERENCES message_runs ON DELETE CASCADE,
    centre_id uuid NOT NULL REFERENCES message_centres ON DELETE CASCADE,
    link smallint NOT NULL,                 -- its place among its carrier's, from 1
    reason text NOT NULL,                   -- why it is not bound, in a word; empty while it is
    since timestamptz NOT NULL,
    sends boolean NOT NULL,                 -- whether messages go over it, too
    in_window integer NOT NULL,             -- messages that wait for their answers
    window_size integer NOT NULL,
    counts jsonb NOT NULL,                  -- since the process began: {"submitted": 12, "deferred": 1}
    PRIMARY KEY (run_id, centre_id, link)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON message_link_states TO hushwire_worker;
GRANT SELECT ON message_link_states, message_runs TO hushwire_api;

-- Messages that may go by another carrier: no part of theirs has left or is leaving.
CREATE FUNCTION messages_not_begun(centre uuid, now timestamptz, most integer) RETURNS TABLE (org_id uuid, message_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT DISTINCT d.org_id, d.message_id FROM message_parts_due(centre, now, most) AS d
   WHERE NOT EXISTS (SELECT FROM public.message_parts AS p WHERE p.message_id = d.message_id AND (p.state <> 'queued' OR p.attempts > 0)) $$;
GRANT SELECT (attempts) ON message_parts TO hushwire_finder;
CALL hand_to_finder('messages_not_begun(uuid, timestamptz, integer)', 'hushwire_worker');
