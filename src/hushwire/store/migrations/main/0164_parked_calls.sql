-- Which call waits in which slot, and which gateway holds it: slots are the organisation's, over all gateways. A row goes when the call is
-- in its slot no more; one of a gateway that was not heard of for too long counts for nothing, and who wants the slot takes it.
CREATE TABLE parked_calls (
    org_id uuid NOT NULL REFERENCES orgs,
    slot text NOT NULL CHECK (slot ~ '^[0-9]{1,2}$'),
    node_id uuid NOT NULL,
    call_id uuid NOT NULL,
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, slot)
);
CREATE INDEX parked_calls_by_node ON parked_calls (node_id);
CALL isolate_tenants('parked_calls');

-- What a gateway that died left: the next process on its node frees what it does not go on with.
CREATE FUNCTION calls_parked_by(node uuid) RETURNS TABLE (org_id uuid, call_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT p.org_id, p.call_id FROM public.parked_calls AS p WHERE p.node_id = node $$;
GRANT SELECT (org_id, node_id, call_id) ON parked_calls TO hushwire_finder;
CALL let_finder_see('parked_calls');
CALL hand_to_finder('calls_parked_by(uuid)', 'hushwire_gateway');

GRANT SELECT, INSERT, UPDATE, DELETE ON parked_calls TO hushwire_gateway;
GRANT SELECT, DELETE ON parked_calls TO hushwire_worker;
