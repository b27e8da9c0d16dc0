-- One-time links under which a phone fetches its account. No password lies here: it is made when the link is opened.
CREATE TABLE provisioning_links (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    device_id uuid NOT NULL,
    token_hash bytea NOT NULL UNIQUE,       -- SHA-256 of a 256-bit random token
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    UNIQUE (org_id, device_id),             -- a new link makes the one before it void
    FOREIGN KEY (org_id, device_id) REFERENCES devices (org_id, id) ON DELETE CASCADE
);
CALL isolate_tenants('provisioning_links');

CREATE FUNCTION find_provisioning_link(wanted bytea) RETURNS TABLE (org_id uuid, link_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT l.org_id, l.id FROM public.provisioning_links AS l WHERE l.token_hash = wanted AND l.used_at IS NULL $$;
GRANT SELECT (id, org_id, token_hash, used_at) ON provisioning_links TO hushwire_finder;
CALL let_finder_see('provisioning_links');
CALL hand_to_finder('find_provisioning_link(bytea)', 'hushwire_api');

GRANT SELECT, INSERT, UPDATE (used_at), DELETE ON provisioning_links TO hushwire_api;
GRANT SELECT, DELETE ON provisioning_links TO hushwire_worker;
