-- Transfers: the other party of a call goes on in another one. This row is over then; it says where its party went, on whose wish, and
-- until when, since the leg that was called by this row's agent is paid for by that agent to its end.
ALTER TABLE calls DROP CONSTRAINT calls_joined_as_check;
ALTER TABLE calls ADD CONSTRAINT calls_joined_as_check CHECK (joined_as IN ('listen', 'whisper', 'barge', 'member', 'successor'));
ALTER TABLE calls
    ADD COLUMN transferred_to uuid,             -- the call in which it goes on
    ADD COLUMN transferred_as text CHECK (transferred_as IN ('blind', 'attended', 'return', 'park', 'retrieve', 'pickup', 'move')),
    ADD COLUMN transferred_by uuid,             -- the agent who wished it
    ADD COLUMN leg_ended_at timestamptz;        -- when the party left that call too
CREATE INDEX calls_by_transfer ON calls (org_id, transferred_to) WHERE transferred_to IS NOT NULL;
