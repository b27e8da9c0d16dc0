-- Restriction of processing (kept, not readable, out of statistics, reversible) and objection (no new recording of a number).

CREATE TABLE restricted_subjects (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    scope text NOT NULL CHECK (scope IN ('number', 'contact', 'call', 'recording')),
    remote_index bytea,                     -- of a number, as calls.remote_index holds it; emptied when lifted
    object_id uuid,                         -- of anything else
    request_id uuid,                        -- the data subject's request that it follows from
    since timestamptz NOT NULL,
    placed_by text NOT NULL,
    lifted_at timestamptz,
    lifted_by text,
    CHECK (lifted_at IS NOT NULL OR (scope = 'number') = (remote_index IS NOT NULL)),
    CHECK ((scope = 'number') = (object_id IS NULL))
);
CREATE UNIQUE INDEX restricted_numbers ON restricted_subjects (org_id, remote_index) WHERE lifted_at IS NULL AND remote_index IS NOT NULL;
CREATE UNIQUE INDEX restricted_objects ON restricted_subjects (org_id, object_id) WHERE lifted_at IS NULL AND object_id IS NOT NULL;

-- Asked in each read, not noted in the rows: what is restricted follows from the subjects alone. A call that begins while its number is
-- being restricted is covered as well, and lifting needs no look at what else may cover a row.
CREATE FUNCTION is_restricted(number bytea, VARIADIC objects uuid[]) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT EXISTS (SELECT 1 FROM public.restricted_subjects AS s WHERE s.lifted_at IS NULL AND s.remote_index = number)
       OR EXISTS (SELECT 1 FROM public.restricted_subjects AS s WHERE s.lifted_at IS NULL AND s.object_id = ANY (objects)) $$;

CREATE FUNCTION contact_is_restricted(contact uuid) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT public.is_restricted(NULL, contact)
       OR EXISTS (SELECT 1 FROM public.contact_numbers AS n
                  JOIN public.restricted_subjects AS s ON s.remote_index = n.remote_index AND s.lifted_at IS NULL
                  WHERE n.contact_id = contact) $$;

-- Numbers that no gateway records: their owner objected, or a contact with the number is a minor. Survives the erasure of all else.
CREATE TABLE unrecorded_numbers (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    remote_index bytea NOT NULL,
    source text NOT NULL CHECK (source IN ('objection', 'minor')),
    source_id uuid NOT NULL,                -- the request, or the contact
    created_at timestamptz NOT NULL,
    UNIQUE (org_id, remote_index, source_id)
);
CREATE INDEX unrecorded_by_source ON unrecorded_numbers (org_id, source_id);

CALL isolate_tenants('restricted_subjects');
CALL isolate_tenants('unrecorded_numbers');
CREATE TRIGGER touch_rules AFTER INSERT OR DELETE ON unrecorded_numbers FOR EACH ROW EXECUTE FUNCTION touch_rules();

GRANT EXECUTE ON FUNCTION is_restricted(bytea, uuid[]), contact_is_restricted(uuid) TO hushwire_api, hushwire_worker;
GRANT SELECT, INSERT, UPDATE (remote_index, lifted_at, lifted_by) ON restricted_subjects TO hushwire_api;
GRANT SELECT, INSERT, DELETE ON unrecorded_numbers TO hushwire_api;
GRANT SELECT, UPDATE (remote_index, lifted_at, lifted_by) ON restricted_subjects TO hushwire_worker;
GRANT SELECT ON unrecorded_numbers TO hushwire_worker;
GRANT SELECT (org_id, remote_index) ON unrecorded_numbers TO hushwire_gateway;
