-- What carriers without links say by https: taken by the API, committed before it is acknowledged, and carried out by the process that
-- holds carriers. No organisation is known yet. The body goes once that is done; the mark of the request stays as long as it could come again.
CREATE TABLE carrier_callbacks (
    id uuid PRIMARY KEY,
    centre_id uuid NOT NULL REFERENCES message_centres ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('message', 'receipt')),
    request_hash bytea NOT NULL,            -- of the request's id: the same again changes nothing
    body_sealed bytea,                      -- operational key of the deployment
    received_at timestamptz NOT NULL,
    done_at timestamptz,
    UNIQUE (centre_id, request_hash)
);
CREATE INDEX carrier_callbacks_waiting ON carrier_callbacks (received_at) WHERE done_at IS NULL;
CREATE INDEX carrier_callbacks_done ON carrier_callbacks (done_at) WHERE done_at IS NOT NULL;
CREATE TRIGGER tell_work AFTER INSERT ON carrier_callbacks FOR EACH STATEMENT EXECUTE FUNCTION tell_work('carrier-callbacks');

-- What verifies them: beside what we send with, which the API has no business with.
CREATE TABLE carrier_secrets (
    centre_id uuid PRIMARY KEY REFERENCES message_centres ON DELETE CASCADE,
    secret_sealed bytea NOT NULL            -- operational key of the deployment
);
GRANT SELECT ON carrier_secrets TO hushwire_api, hushwire_worker;
GRANT SELECT (id, centre_id, request_hash), INSERT ON carrier_callbacks TO hushwire_api;
GRANT SELECT, UPDATE (body_sealed, done_at), DELETE ON carrier_callbacks TO hushwire_worker;
