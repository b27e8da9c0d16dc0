-- Parts that wait for keys of their organisation: told to the operator, of each organisation by itself.
CREATE INDEX message_parts_held_up ON message_parts (org_id) WHERE state = 'queued' AND error = 'key-unavailable';
CREATE FUNCTION message_parts_held_up() RETURNS TABLE (org_id uuid, parts bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, count(*) FROM public.message_parts AS p WHERE p.state = 'queued' AND p.error = 'key-unavailable' GROUP BY p.org_id $$;
GRANT SELECT (error) ON message_parts TO hushwire_finder;
CALL hand_to_finder('message_parts_held_up()', 'hushwire_worker');
