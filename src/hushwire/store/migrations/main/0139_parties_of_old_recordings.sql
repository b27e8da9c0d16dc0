-- Recordings that were made before 0138 name no party but one. The worker finds the others from the rows of their calls, one organisation
-- after the other, and notes here that it did (services/old_recordings.py).
ALTER TABLE orgs ADD COLUMN parties_indexed boolean NOT NULL DEFAULT false;
ALTER TABLE orgs ALTER COLUMN parties_indexed SET DEFAULT true;         -- a new organisation has no such recordings

CREATE FUNCTION orgs_to_index() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT id FROM public.orgs WHERE NOT parties_indexed $$;
GRANT SELECT (parties_indexed) ON orgs TO hushwire_finder;
CALL hand_to_finder('orgs_to_index()', 'hushwire_worker');

GRANT UPDATE (parties_indexed) ON orgs TO hushwire_worker;
