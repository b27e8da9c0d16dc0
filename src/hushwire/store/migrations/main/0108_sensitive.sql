-- What the API may ask of the node of a live call: sensitive mode too.
ALTER TABLE node_commands DROP CONSTRAINT node_commands_action_check;
ALTER TABLE node_commands ADD CONSTRAINT node_commands_action_check CHECK (action IN (
    'hangup', 'recording.pause', 'recording.resume', 'recording.stop', 'recording.start', 'recording.wipe', 'sensitive.on', 'sensitive.off'));
