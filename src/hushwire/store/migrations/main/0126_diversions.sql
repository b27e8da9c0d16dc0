-- Calls that were diverted: who was called first is in `remote` or `local` as before; how it went on, and to which number outside.
ALTER TABLE calls
    ADD COLUMN diversions jsonb,                        -- [{"agent", "reason", "leads_out", "refused"}], in order
    ADD COLUMN diverted_to_sealed bytea,                -- the number outside, under the call's own key
    ADD COLUMN diverted_to_index bytea;                 -- as calls.remote_index, so that a person is found by one value
CREATE INDEX calls_by_diverted_to ON calls (org_id, diverted_to_index, started_at DESC, id DESC) WHERE diverted_to_index IS NOT NULL;

CREATE OR REPLACE FUNCTION call_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.sealed_with := NULL;
    NEW.remote_sealed := NULL;
    NEW.remote_index := NULL;
    NEW.local_sealed := NULL;
    NEW.diverted_to_sealed := NULL;
    NEW.diverted_to_index := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION org_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    IF EXISTS (SELECT 1 FROM orgs WHERE id = NEW.org_id AND erased_at IS NOT NULL) THEN
        NEW.remote_index := NULL;
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
