-- What was made of a recording, to be had quickly: sealed under the recording's own data key, so that it is noise once that is destroyed.

ALTER TABLE recordings ADD CONSTRAINT recordings_of_an_org UNIQUE (org_id, id);

CREATE TABLE derivatives (
    org_id uuid NOT NULL REFERENCES orgs,
    recording_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('index', 'peaks', 'timeline')),
    sealed bytea NOT NULL,
    made_at timestamptz NOT NULL,
    PRIMARY KEY (recording_id, kind),
    FOREIGN KEY (org_id, recording_id) REFERENCES recordings (org_id, id) ON DELETE CASCADE
);
ALTER TABLE derivatives ALTER COLUMN sealed SET STORAGE EXTERNAL;      -- ciphertext does not compress
CALL isolate_tenants('derivatives');

GRANT SELECT, INSERT, UPDATE (sealed, made_at) ON derivatives TO hushwire_api, hushwire_worker;
GRANT DELETE ON derivatives TO hushwire_worker;
