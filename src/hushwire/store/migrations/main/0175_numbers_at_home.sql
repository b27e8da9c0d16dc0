-- Carriers without a country bring numbers in national form too: they are read as dialled where their owner is at home.
CREATE FUNCTION homes_among(countries text[]) RETURNS TABLE (place bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT c.place FROM unnest(countries) WITH ORDINALITY AS c (country, place)
   WHERE EXISTS (SELECT FROM public.orgs AS o WHERE o.home_country = c.country) $$;
CREATE FUNCTION find_numbers_at_home(lookups bytea[], countries text[]) RETURNS TABLE (place bigint, org_id uuid, number_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT w.place, n.org_id, n.id FROM unnest(lookups, countries) WITH ORDINALITY AS w (lookup, country, place)
   JOIN public.numbers AS n ON n.lookup = w.lookup
   JOIN public.orgs AS o ON o.id = n.org_id AND (w.country IS NULL OR o.home_country = w.country) $$;
GRANT SELECT (home_country) ON orgs TO hushwire_finder;
CALL hand_to_finder('homes_among(text[])', 'hushwire_worker');
CALL hand_to_finder('find_numbers_at_home(bytea[], text[])', 'hushwire_worker');
