-- Bindings are followed by every gateway, so that any of them can call any phone; and gateways know where to find one another.
-- A binding that ends is emptied before it is removed, so that who follows sees it end.
ALTER TABLE registrations ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX registrations_by_change ON registrations (xid);

-- Bindings that a node other than `follower` made, changed or ended in a transaction that was not over at `since`.
CREATE FUNCTION changed_registrations(since xid8, follower uuid) RETURNS TABLE (org_id uuid, registration_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT r.org_id, r.id FROM public.registrations AS r WHERE r.xid >= since AND r.node_id <> follower $$;
GRANT SELECT (node_id, xid) ON registrations TO hushwire_finder;
CALL hand_to_finder('changed_registrations(xid8, uuid)', 'hushwire_gateway');

ALTER TABLE nodes
    ADD COLUMN sip text,                    -- where other gateways send what is meant for this one's devices: a SIP URI
    ADD COLUMN registrar jsonb;             -- counts of bindings and alarms, for /metrics
