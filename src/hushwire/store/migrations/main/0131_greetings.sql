-- Agents' own greetings, recorded by phone. Each is a recording like any other: this says whose greeting it is, and whether it is played.
CREATE TABLE voicemail_greetings (
    org_id uuid NOT NULL REFERENCES orgs,
    recording_id uuid PRIMARY KEY,
    agent_id uuid NOT NULL,                 -- whose callers hear it
    made_at timestamptz NOT NULL,
    -- draft: its owner has not said that it is to be played; used: it is; over: it goes the way of every erasure; held: it would, but a
    -- legal hold keeps it, whose release runs the erasure
    state text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'used', 'over', 'held')),
    FOREIGN KEY (org_id, recording_id) REFERENCES recordings (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX greeting_of_agent ON voicemail_greetings (org_id, agent_id) WHERE state = 'used';
CREATE INDEX greetings_to_erase ON voicemail_greetings (made_at) WHERE state IN ('draft', 'over');
CALL isolate_tenants('voicemail_greetings');
CREATE TRIGGER tell_erase AFTER UPDATE OF state ON voicemail_greetings FOR EACH ROW WHEN (NEW.state = 'over')
    EXECUTE FUNCTION tell_work('voicemail');

-- Replaced and removed ones, and drafts that nobody decided about, since who asked died.
CREATE FUNCTION greetings_to_erase(drafts_before timestamptz) RETURNS TABLE (org_id uuid, recording_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT g.org_id, g.recording_id FROM public.voicemail_greetings AS g
   WHERE g.state = 'over' OR (g.state = 'draft' AND g.made_at < drafts_before) ORDER BY g.recording_id LIMIT 1000 $$;
GRANT SELECT (org_id, recording_id, made_at, state) ON voicemail_greetings TO hushwire_finder;
CALL let_finder_see('voicemail_greetings');
CALL hand_to_finder('greetings_to_erase(timestamptz)', 'hushwire_worker');

-- Who is to hear what is asked for: the agent itself, or somebody who calls it.
ALTER TABLE voicemail_readings ADD COLUMN for_caller boolean NOT NULL DEFAULT false;

GRANT SELECT, INSERT, UPDATE (state) ON voicemail_greetings TO hushwire_gateway;
GRANT SELECT ON voicemail_greetings TO hushwire_api;
GRANT SELECT, UPDATE (state), DELETE ON voicemail_greetings TO hushwire_worker;
