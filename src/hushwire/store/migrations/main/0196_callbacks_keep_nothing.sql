-- What carriers bring by https becomes a message of its organisation before it is acknowledged, or is not acknowledged; what they say of
-- messages stands among the receipts, as what others say by SMPP. Nothing of either is kept elsewhere: only the mark of a request, as
-- long as it could come again, so that the same once more changes nothing, also of what was erased meanwhile.
DROP TABLE carrier_callbacks;
CREATE TABLE carrier_callbacks (
    centre_id uuid NOT NULL REFERENCES message_centres ON DELETE CASCADE,
    request_hash bytea NOT NULL,            -- of the request's id
    taken_at timestamptz NOT NULL,
    PRIMARY KEY (centre_id, request_hash)
);
CREATE INDEX carrier_callbacks_by_time ON carrier_callbacks (taken_at);
GRANT SELECT, INSERT ON carrier_callbacks TO hushwire_api;
GRANT SELECT (taken_at), DELETE ON carrier_callbacks TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE ON message_receipts TO hushwire_api;
SET LOCAL ROLE hushwire_finder;
GRANT EXECUTE ON FUNCTION homes_among(text[]), find_numbers_at_home(bytea[], text[]) TO hushwire_api;
RESET ROLE;
