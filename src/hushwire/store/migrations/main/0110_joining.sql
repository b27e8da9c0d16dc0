-- Who joins somebody else's call: a supervisor, or a member of a conference. The joining leg is a call of its own.
ALTER TABLE calls DROP CONSTRAINT calls_direction_check;
ALTER TABLE calls ADD CONSTRAINT calls_direction_check CHECK (direction IN (
    'outbound', 'inbound', 'internal', 'echo', 'supervision', 'conference'));
ALTER TABLE calls ADD COLUMN joined_call_id uuid;       -- whose bridge it speaks in
ALTER TABLE calls ADD COLUMN joined_as text CHECK (joined_as IN ('listen', 'whisper', 'barge', 'member'));   -- the last that it was
CREATE INDEX calls_by_joined ON calls (org_id, joined_call_id) WHERE joined_call_id IS NOT NULL;

-- What the API may ask of the node of a live call: supervising too. `details` says who and for what, by ids and codes alone.
ALTER TABLE node_commands ADD COLUMN details jsonb;
ALTER TABLE node_commands DROP CONSTRAINT node_commands_action_check;
ALTER TABLE node_commands ADD CONSTRAINT node_commands_action_check CHECK (action IN (
    'hangup', 'recording.pause', 'recording.resume', 'recording.stop', 'recording.start', 'recording.wipe', 'sensitive.on', 'sensitive.off',
    'supervise.listen', 'supervise.whisper', 'supervise.barge', 'supervise.leave'));
