-- Consent to recording: what the organisation declares, the evidence of single consents; numbers that telemarketing must not call.

ALTER TABLE orgs
    -- How who is called comes to agree, as the organisation (the controller) says: it is the lawful basis of its recordings.
    ADD COLUMN recording_consent text NOT NULL DEFAULT 'contract' CHECK (recording_consent IN ('announced', 'contract', 'none')),
    ADD COLUMN do_not_call_version bigint NOT NULL DEFAULT 0;       -- gateways read the set anew when it rose
ALTER TABLE agents ADD COLUMN telemarketing boolean NOT NULL DEFAULT false;

CREATE TRIGGER raise_version_by_consent BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN ((OLD.recording_consent, OLD.do_not_call_version, OLD.jurisdictions)
        IS DISTINCT FROM (NEW.recording_consent, NEW.do_not_call_version, NEW.jurisdictions)) EXECUTE FUNCTION raise_rules_version();
CREATE TRIGGER touch_rules_by_telemarketing AFTER UPDATE ON agents FOR EACH ROW
    WHEN (OLD.telemarketing IS DISTINCT FROM NEW.telemarketing) EXECUTE FUNCTION touch_rules();
GRANT SELECT (telemarketing) ON agents TO hushwire_gateway;

-- Keyed indexes under a name of their own: no other table's index says who is listed, and nothing here says it in words.
CREATE TABLE do_not_call (
    org_id uuid NOT NULL REFERENCES orgs,
    number_index bytea NOT NULL,
    added_at timestamptz NOT NULL,
    added_by text NOT NULL,
    PRIMARY KEY (org_id, number_index)
);
CALL isolate_tenants('do_not_call');

CREATE FUNCTION touch_do_not_call() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    UPDATE orgs SET do_not_call_version = do_not_call_version + 1 WHERE id IN (SELECT c.org_id FROM changed AS c);
    RETURN NULL;
END $$;
CREATE TRIGGER touch_on_insert AFTER INSERT ON do_not_call REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION touch_do_not_call();
CREATE TRIGGER touch_on_delete AFTER DELETE ON do_not_call REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION touch_do_not_call();
GRANT SELECT (org_id, number_index) ON do_not_call TO hushwire_gateway;
GRANT SELECT, INSERT, DELETE ON do_not_call TO hushwire_api;
GRANT SELECT (org_id, added_at) ON do_not_call TO hushwire_worker;

CREATE TABLE consents (                     -- evidence that somebody agreed to be recorded, and that they withdrew it
    id uuid PRIMARY KEY,                    -- also the id of its data key (kind case), where words were written down
    org_id uuid NOT NULL REFERENCES orgs,
    call_id uuid,                           -- of a recording: its call too
    recording_id uuid,
    remote_index bytea,                     -- of the number, as calls.remote_index holds it
    how text NOT NULL CHECK (how IN ('announcement-played', 'key-pressed', 'spoken', 'written', 'agent-attested')),
    text_version text,                      -- of what was said or shown
    announcement_digest bytea,              -- SHA-256 of the announcement or text
    jurisdiction text,
    given_at timestamptz NOT NULL,
    noted_at timestamptz NOT NULL,
    noted_by text NOT NULL,                 -- who says so: a pseudonym
    sealed_with uuid,                       -- null where nothing was written down
    note_sealed bytea,
    withdrawn_at timestamptz,
    withdrawn_by text,
    erased_at timestamptz,
    CHECK (erased_at IS NOT NULL OR call_id IS NOT NULL OR remote_index IS NOT NULL),
    CHECK (recording_id IS NULL OR call_id IS NOT NULL),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL)),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, call_id) REFERENCES calls (org_id, id),
    FOREIGN KEY (org_id, recording_id) REFERENCES recordings (org_id, id)
);
CREATE INDEX consents_by_call ON consents (org_id, call_id) WHERE call_id IS NOT NULL;
CREATE INDEX consents_by_recording ON consents (org_id, recording_id) WHERE recording_id IS NOT NULL;
CREATE INDEX consents_by_number ON consents (org_id, remote_index) WHERE remote_index IS NOT NULL;
CALL isolate_tenants('consents');

CREATE FUNCTION consent_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.remote_index := NULL;
    NEW.sealed_with := NULL;
    NEW.note_sealed := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON consents FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION consent_stays_erased();
GRANT SELECT, INSERT, UPDATE (remote_index, sealed_with, note_sealed, withdrawn_at, withdrawn_by, erased_at) ON consents TO hushwire_api;
GRANT SELECT, UPDATE (remote_index, sealed_with, note_sealed, erased_at) ON consents TO hushwire_worker;

-- Who withdrew their consent is recorded no more; and a consent falls like anything else.
ALTER TABLE unrecorded_numbers DROP CONSTRAINT unrecorded_numbers_source_check;
ALTER TABLE unrecorded_numbers ADD CONSTRAINT unrecorded_numbers_source_check CHECK (source IN ('objection', 'minor', 'withdrawal'));
ALTER TABLE erasure_ledger DROP CONSTRAINT erasure_ledger_kind_check;
ALTER TABLE erasure_ledger ADD CONSTRAINT erasure_ledger_kind_check
    CHECK (kind IN ('recording', 'call', 'message', 'contact', 'document', 'case', 'consent', 'organisation'));
