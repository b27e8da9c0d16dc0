-- A gateway may also ask who left a message, to call them back: the number comes as a message does, sealed to this one question's key.
ALTER TABLE voicemail_readings DROP CONSTRAINT voicemail_readings_codec_check;
ALTER TABLE voicemail_readings ADD CONSTRAINT voicemail_readings_codec_check
    CHECK (codec IN ('PCMU', 'PCMA', 'G722', 'opus', 'caller'));
