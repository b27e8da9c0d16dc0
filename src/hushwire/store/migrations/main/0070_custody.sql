-- Who can open a recording; and the version of the custody that gateways must obey, compared as each recording begins.
-- The custody itself (mode, recipients) stands in the keyring; this is its version as of the last change that was answered.
ALTER TABLE orgs ADD COLUMN custody_version bigint NOT NULL DEFAULT 0;
ALTER TABLE recordings ADD COLUMN custody text NOT NULL DEFAULT 'hushwire' CHECK (custody IN ('hushwire', 'both', 'customer'));

-- Gateways hear of it as of any other rule.
CREATE TRIGGER raise_version_by_custody BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN (OLD.custody_version IS DISTINCT FROM NEW.custody_version) EXECUTE FUNCTION raise_rules_version();

-- Whether a recording may begin under a key that was sealed under this version, good until that time. The shared lock is held until
-- commit and a change takes it exclusively: so once a change was answered, no recording begins under an older key.
CREATE FUNCTION custody_admits(version bigint, good_until timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('custody:' || current_org()::text, 0));
    RETURN version >= (SELECT custody_version FROM orgs WHERE id = current_org())
       AND (good_until IS NULL OR good_until > clock_timestamp());
END $$;
GRANT EXECUTE ON FUNCTION custody_admits(bigint, timestamptz) TO hushwire_gateway;
GRANT UPDATE (custody_version) ON orgs TO hushwire_worker;
