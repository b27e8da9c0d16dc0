-- Sources of SIP that get no answer, shared by all nodes. They are the operator's and belong to no organisation. An address may be a
-- person's: it stands sealed, is found by a keyed index, and goes when the ban ends.
CREATE TABLE bans (
    id uuid PRIMARY KEY,
    source_index bytea NOT NULL UNIQUE,
    source_sealed bytea NOT NULL,           -- an address or network; operational key of the deployment
    reason text NOT NULL CHECK (reason IN ('guessing', 'scanning', 'operator')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at AND expires_at <= created_at + interval '400 days')
);
CREATE INDEX bans_by_end ON bans (expires_at);

CREATE FUNCTION tell_bans() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_bans', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_bans AFTER INSERT OR UPDATE OR DELETE ON bans FOR EACH STATEMENT EXECUTE FUNCTION tell_bans();

GRANT EXECUTE ON FUNCTION tell_bans() TO hushwire_gateway;
GRANT SELECT, INSERT, UPDATE (expires_at, reason), DELETE ON bans TO hushwire_gateway;
