-- Documents that hushwire makes: sealed as one object of the organisation's region under a data key of the kind document. What is inside
-- stands in rows, so that the erasure of a thing is the end of every document that contains it.

CREATE TABLE documents (
    id uuid PRIMARY KEY,                    -- also the id of its data key
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('export')),
    request_id uuid,
    state text NOT NULL CHECK (state IN ('queued', 'building', 'ready', 'failed', 'erased')),
    region text NOT NULL,
    key_fingerprint bytea NOT NULL,
    object_key text,                        -- in the region's store, once ready
    node_id uuid,                           -- whose spool holds what was built so far
    planned_at timestamptz,                 -- its contents stand in document_contents
    contents bigint NOT NULL DEFAULT 0,
    done bigint NOT NULL DEFAULT 0,
    sealed_bytes bigint,
    plain_bytes bigint,
    digest bytea,                           -- SHA-256 of the sealed object
    failure text,
    created_at timestamptz NOT NULL,
    ready_at timestamptz,
    expires_at timestamptz,
    token_hash bytea,                       -- SHA-256 of the download token; the token is shown once
    erased_at timestamptz,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, request_id) REFERENCES privacy_requests (org_id, id)
);
CREATE INDEX documents_open ON documents (created_at) WHERE state IN ('queued', 'building', 'ready');
CREATE INDEX documents_by_time ON documents (org_id, created_at DESC, id DESC);

CREATE TABLE document_contents (
    org_id uuid NOT NULL REFERENCES orgs,
    document_id uuid NOT NULL,
    position bigint NOT NULL,
    kind text NOT NULL,                     -- recording, call, message, contact, case: as the erasure ledger names them
    object_id uuid NOT NULL,
    file integer,                           -- the number of the file that it went into; null: not yet
    left_out text,                          -- or why it is not in there: restricted, erased, damaged, other-person
    PRIMARY KEY (document_id, kind, object_id),
    FOREIGN KEY (org_id, document_id) REFERENCES documents (org_id, id)
);
CREATE INDEX document_contents_by_object ON document_contents (org_id, kind, object_id);
CREATE INDEX document_contents_by_position ON document_contents (document_id, position);

CREATE TABLE document_files (               -- one row for each finished file of a document: where building goes on after a crash
    org_id uuid NOT NULL REFERENCES orgs,
    document_id uuid NOT NULL,
    position integer NOT NULL,              -- document_contents.file
    entry_sealed bytea NOT NULL,            -- JSON: name, sizes, checksums, place; under the document's key
    sealed_end bigint NOT NULL,             -- length of the sealed object up to here
    frames bigint NOT NULL,
    PRIMARY KEY (document_id, position),
    FOREIGN KEY (org_id, document_id) REFERENCES documents (org_id, id)
);

CALL isolate_tenants('documents');
CALL isolate_tenants('document_contents');
CALL isolate_tenants('document_files');

CREATE FUNCTION document_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.state := 'erased';
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.token_hash := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON documents FOR EACH ROW WHEN (OLD.state = 'erased' OR NEW.state = 'erased')
    EXECUTE FUNCTION document_stays_erased();
CREATE TRIGGER tell_work AFTER INSERT ON documents FOR EACH STATEMENT EXECUTE FUNCTION tell_work('documents');

GRANT SELECT (id, org_id, state, expires_at, created_at) ON documents TO hushwire_finder;
CALL let_finder_see('documents');
CREATE FUNCTION documents_to_build() RETURNS TABLE (org_id uuid, document_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.org_id, d.id FROM public.documents AS d WHERE d.state IN ('queued', 'building') ORDER BY d.created_at $$;
CALL hand_to_finder('documents_to_build()', 'hushwire_worker');
CREATE FUNCTION documents_that_expired(moment timestamptz) RETURNS TABLE (org_id uuid, document_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.org_id, d.id FROM public.documents AS d WHERE d.state = 'ready' AND d.expires_at <= moment $$;
CALL hand_to_finder('documents_that_expired(timestamptz)', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE ON documents TO hushwire_api;
GRANT SELECT, UPDATE ON documents TO hushwire_worker;
GRANT SELECT ON document_contents TO hushwire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON document_contents, document_files TO hushwire_worker;
GRANT SELECT, DELETE ON document_contents, document_files TO hushwire_api;
