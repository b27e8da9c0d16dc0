-- Which gateway has a conference's room: rooms are the organisation's, over all gateways. A row goes with its room; one of a gateway that was
-- not heard of for too long counts for nothing, and who dials the room next opens it anew.
CREATE TABLE conference_rooms (
    org_id uuid NOT NULL REFERENCES orgs,
    room text NOT NULL CHECK (room ~ '^[0-9]{1,6}$'),
    node_id uuid NOT NULL,
    opening uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, room)
);
CREATE INDEX conference_rooms_by_node ON conference_rooms (node_id);
CALL isolate_tenants('conference_rooms');

-- Rooms end with their gateway: the next process on its node takes the rows away.
CREATE FUNCTION rooms_opened_by(node uuid) RETURNS TABLE (org_id uuid, opening uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.opening FROM public.conference_rooms AS r WHERE r.node_id = node $$;
GRANT SELECT (org_id, node_id, opening) ON conference_rooms TO hushwire_finder;
CALL let_finder_see('conference_rooms');
CALL hand_to_finder('rooms_opened_by(uuid)', 'hushwire_gateway');

GRANT SELECT, INSERT, UPDATE, DELETE ON conference_rooms TO hushwire_gateway;
GRANT SELECT, DELETE ON conference_rooms TO hushwire_worker;
