-- Whose voices a recording may hold: more than one party may be outside (two carriers' parties after a transfer, a call that was diverted
-- out, both sides of a masked one). `remote_index` is one of them; the others stand here, so that each finds it by their own number.
ALTER TABLE recordings ADD COLUMN further_indexes bytea[];             -- as calls.remote_index; NULL where there is nobody else
-- Overlap of arrays is no condition that row security lets near an index: this one narrows it to the few rows that have any.
CREATE INDEX recordings_by_further ON recordings (org_id) WHERE further_indexes IS NOT NULL;

CREATE OR REPLACE FUNCTION stay_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.state := 'erased';
    NEW.erased_at := OLD.erased_at;
    NEW.remote_index := NULL;
    NEW.further_indexes := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION org_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF EXISTS (SELECT 1 FROM orgs WHERE id = NEW.org_id AND erased_at IS NOT NULL) THEN
        NEW.remote_index := NULL;
        IF TG_TABLE_NAME = 'recordings' THEN
            NEW.further_indexes := NULL;
        END IF;
        IF TG_TABLE_NAME = 'calls' THEN
            NEW.sealed_with := NULL;
            NEW.remote_sealed := NULL;
            NEW.local_sealed := NULL;
            NEW.diverted_to_sealed := NULL;
            NEW.diverted_to_index := NULL;
        END IF;
    END IF;
    RETURN NEW;
END $$;

-- Whether any of several numbers is restricted.
CREATE FUNCTION any_is_restricted(numbers bytea[]) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT numbers IS NOT NULL
       AND EXISTS (SELECT 1 FROM public.restricted_subjects AS s WHERE s.lifted_at IS NULL AND s.remote_index = ANY (numbers)) $$;
GRANT EXECUTE ON FUNCTION any_is_restricted(bytea[]) TO hushwire_api, hushwire_worker;
