-- Rows of the main database that protect people, as they are now and never as they were: objections, the do-not-call set, restrictions and
-- legal holds in force. Keyed indexes, ids, and words that only a data key opens. A restored main database is brought up to them.
CREATE TABLE kept_protections (
    org_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('unrecorded_numbers', 'do_not_call', 'restricted_subjects', 'legal_holds')),
    id bytea NOT NULL,
    fields bytea NOT NULL,                  -- the row, as JSON
    PRIMARY KEY (org_id, kind, id)
);
CREATE TABLE protections_kept (             -- as of how many changes (protections.changes of the main database)
    org_id uuid PRIMARY KEY,
    changes bigint NOT NULL
);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['kept_protections', 'protections_kept']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON kept_protections TO hushwire_worker;
GRANT SELECT, INSERT, UPDATE ON protections_kept TO hushwire_worker;
-- What was lifted or withdrawn shall not stay on the disk for long.
ALTER TABLE kept_protections SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0.01);
