-- Keys of more kinds, and the tombstones: what must stay ended whatever the main database is restored to.
ALTER TABLE data_keys DROP CONSTRAINT data_keys_kind_check;
ALTER TABLE data_keys ADD CONSTRAINT data_keys_kind_check
    CHECK (kind IN ('recording', 'call', 'message', 'contact', 'document', 'case'));

-- One row for each thing that ended: written in the transaction that destroys its key, kept for good, copied to the second zone with
-- the keyring. A restore of the main database replays them before anything is served. Ids only.
CREATE TABLE tombstones (
    id uuid PRIMARY KEY,                    -- of an erasure: the ledger entry's id
    org_id uuid NOT NULL,
    kind text NOT NULL,                     -- 'recording', 'call', ... 'organisation', 'api-key', 'agent', 'countries'
    object uuid NOT NULL,                   -- what ended
    at timestamptz NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    fields jsonb NOT NULL DEFAULT '{}',     -- what a replay needs besides, without personal data
    UNIQUE (org_id, kind, object, id)
);
CREATE INDEX tombstones_by_object ON tombstones (org_id, object);
CREATE INDEX tombstones_in_order ON tombstones (seq);

ALTER TABLE tombstones ENABLE ROW LEVEL SECURITY;
ALTER TABLE tombstones FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tombstones USING (org_id = current_org()) WITH CHECK (org_id = current_org());

GRANT SELECT, INSERT ON tombstones TO hushwire_api, hushwire_worker;
GRANT INSERT ON data_keys TO hushwire_api;      -- contacts, cases: the API seals what it is given
