-- A greeting may be given as a file: a recording that no call brought. The API makes it, sealed as every recording is.
ALTER TABLE recordings ALTER COLUMN call_id DROP NOT NULL;
GRANT INSERT ON recordings TO hushwire_api;
GRANT INSERT, UPDATE (state) ON voicemail_greetings TO hushwire_api;
GRANT EXECUTE ON FUNCTION custody_admits(bigint, timestamptz) TO hushwire_api;
