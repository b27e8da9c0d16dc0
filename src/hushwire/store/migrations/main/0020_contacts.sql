-- Contact lists. Everything that names a person is sealed under a data key of the keyring (kind contact), whose id stands in `sealed_with`:
-- a correction is sealed under a new key and the old one is destroyed, so that the old value opens nowhere, in no copy either.

CREATE TABLE contacts (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    owner_agent_id uuid,                    -- null: shared by the organisation
    sealed_with uuid,                       -- null once erased
    name_sealed bytea,
    name_index bytea,
    notes_sealed bytea,
    picture_sealed bytea,                   -- a reference to the customer's own picture store, never a picture
    is_minor boolean NOT NULL DEFAULT false,
    jurisdiction text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    erased_at timestamptz,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, owner_agent_id) REFERENCES agents (org_id, id) ON DELETE SET NULL (owner_agent_id)
);
CREATE INDEX contacts_by_name ON contacts (org_id, name_index) WHERE name_index IS NOT NULL;
CREATE INDEX contacts_by_agent ON contacts (org_id, owner_agent_id) WHERE owner_agent_id IS NOT NULL;

-- remote_index: the same blind index that calls.remote_index holds, so that a person is found in all tables by one value.
CREATE TABLE contact_numbers (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    contact_id uuid NOT NULL,
    position integer NOT NULL,
    label text NOT NULL CHECK (label IN ('mobile', 'work', 'home', 'other')),
    number_sealed bytea NOT NULL,           -- under the contact's key
    remote_index bytea NOT NULL,
    UNIQUE (contact_id, remote_index),
    FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE CASCADE
);
CREATE INDEX contact_numbers_by_number ON contact_numbers (org_id, remote_index);

-- Keys that nothing is sealed under any more: a row stands from the commit that moved the values until the key is destroyed.
CREATE TABLE retired_keys (
    key_id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('contact', 'case')),
    object_id uuid NOT NULL,                -- whose values it sealed
    retired_at timestamptz NOT NULL
);

CALL isolate_tenants('contacts');
CALL isolate_tenants('contact_numbers');
CALL isolate_tenants('retired_keys');

-- Erased stays erased, whoever writes late.
CREATE FUNCTION contact_stays_erased() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.erased_at := coalesce(OLD.erased_at, NEW.erased_at);
    NEW.sealed_with := NULL;
    NEW.name_sealed := NULL;
    NEW.name_index := NULL;
    NEW.notes_sealed := NULL;
    NEW.picture_sealed := NULL;
    NEW.jurisdiction := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER stay_erased BEFORE UPDATE ON contacts FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION contact_stays_erased();
CREATE FUNCTION erased_contact_has_no_numbers() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    DELETE FROM contact_numbers WHERE contact_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER drop_numbers AFTER UPDATE ON contacts FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION erased_contact_has_no_numbers();
CREATE TRIGGER tell_work AFTER INSERT ON retired_keys FOR EACH STATEMENT EXECUTE FUNCTION tell_work('retired-keys');

GRANT SELECT (org_id, key_id, retired_at) ON retired_keys TO hushwire_finder;
CALL let_finder_see('retired_keys');
CREATE FUNCTION keys_to_destroy() RETURNS TABLE (org_id uuid, key_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT k.org_id, k.key_id FROM public.retired_keys AS k ORDER BY k.retired_at $$;
CALL hand_to_finder('keys_to_destroy()', 'hushwire_worker');

GRANT SELECT, INSERT, UPDATE ON contacts TO hushwire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON contact_numbers TO hushwire_api;
GRANT SELECT, UPDATE ON contacts TO hushwire_worker;
GRANT SELECT, DELETE ON contact_numbers TO hushwire_worker;
GRANT SELECT, INSERT, DELETE ON retired_keys TO hushwire_api, hushwire_worker;
