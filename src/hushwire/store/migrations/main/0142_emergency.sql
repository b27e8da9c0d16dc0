-- Emergency calls: which carriers take them, what these are told of where the caller is, whether they are recorded, and that they are told of.
ALTER TABLE trunks ADD COLUMN emergency boolean;             -- null: where no trunk is marked, and it is of the caller's country or of none
ALTER TABLE trunks ADD COLUMN location_header text;          -- by which the carrier takes the caller's address
ALTER TABLE agents ADD COLUMN address_sealed bytea;          -- operational key: where the agent calls from, JSON by RFC 5139's names
CREATE TRIGGER touch_rules_by_address AFTER UPDATE ON agents FOR EACH ROW
    WHEN (OLD.address_sealed IS DISTINCT FROM NEW.address_sealed) EXECUTE FUNCTION touch_rules();
GRANT SELECT (address_sealed) ON agents TO hushwire_gateway;
ALTER TABLE orgs ADD COLUMN record_emergency boolean NOT NULL DEFAULT false;    -- where the law of the home country says so
CREATE TRIGGER raise_version_by_record_emergency BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN (OLD.record_emergency IS DISTINCT FROM NEW.record_emergency) EXECUTE FUNCTION raise_rules_version();

ALTER TABLE calls ADD COLUMN emergency_told_at timestamptz;  -- when the organisation's contacts were told of it
CREATE INDEX calls_emergency_untold ON calls (started_at) WHERE verdict = 'emergency' AND emergency_told_at IS NULL;
CREATE FUNCTION emergencies_untold() RETURNS TABLE (org_id uuid, call_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.org_id, c.id FROM public.calls AS c WHERE c.verdict = 'emergency' AND c.emergency_told_at IS NULL ORDER BY c.started_at $$;
GRANT SELECT (verdict, emergency_told_at) ON calls TO hushwire_finder;
CALL hand_to_finder('emergencies_untold()', 'hushwire_worker');
