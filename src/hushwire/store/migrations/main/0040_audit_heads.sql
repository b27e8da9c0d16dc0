-- Signed heads of the audit chain: one each hour and organisation, whether or not anything was logged. Appended by the worker, changed
-- by nobody. Who writes to this database can take them out, and can't make one: the signing key is in the keyring, sealed.
CREATE TABLE audit_heads (
    org_id uuid NOT NULL REFERENCES orgs,
    seq bigint NOT NULL,                 -- 1, 2, 3 ... per organisation
    position bigint NOT NULL,               -- of the newest audit row then; 0: none yet
    hash bytea NOT NULL,                    -- that row's
    previous bytea NOT NULL,                -- SHA-256 of the signed head before
    at timestamptz NOT NULL,
    key_id uuid NOT NULL,
    signature bytea NOT NULL,
    PRIMARY KEY (org_id, seq)
);
CREATE INDEX audit_heads_by_time ON audit_heads (org_id, at DESC);
CREATE INDEX audit_heads_by_position ON audit_heads (org_id, position);
CALL isolate_tenants('audit_heads');

CREATE FUNCTION orgs_without_head(since timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT o.id FROM public.orgs AS o
   WHERE NOT EXISTS (SELECT 1 FROM public.audit_heads AS h WHERE h.org_id = o.id AND h.at >= since) ORDER BY o.id $$;
GRANT SELECT (org_id, at) ON audit_heads TO hushwire_finder;
CALL let_finder_see('audit_heads');
CALL hand_to_finder('orgs_without_head(timestamptz)', 'hushwire_worker');

GRANT SELECT ON audit_heads TO hushwire_api;
GRANT SELECT, INSERT ON audit_heads TO hushwire_worker;
