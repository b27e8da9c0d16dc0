-- What happened, to be followed from outside: each domain event that leaves the outbox gets the next number of its organisation, in the
-- order of commits and without gaps, so that who has seen one number has seen all before it. Ids and states only; kept for a week.
CREATE TABLE event_feeds (
    org_id uuid PRIMARY KEY REFERENCES orgs,
    last bigint NOT NULL                    -- the row is locked while numbers are given: readers see them in order
);
CALL isolate_tenants('event_feeds');

CREATE TABLE events (
    org_id uuid NOT NULL REFERENCES orgs,
    position bigint NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    subject uuid NOT NULL,
    at timestamptz NOT NULL,
    fields jsonb NOT NULL,
    PRIMARY KEY (org_id, position),
    UNIQUE (org_id, id)
);
CREATE INDEX events_by_time ON events (org_id, at);
CREATE INDEX events_by_subject ON events (org_id, subject);     -- erasures ask what still tells of a thing
CALL isolate_tenants('events');

CREATE FUNCTION tell_events() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    PERFORM pg_notify('hushwire_events', current_org()::text);
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION tell_events() TO hushwire_worker;
CREATE TRIGGER tell_events AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION tell_events();

GRANT SELECT, INSERT, UPDATE (last), DELETE ON event_feeds TO hushwire_worker;
GRANT SELECT, INSERT, DELETE ON events TO hushwire_worker;
GRANT SELECT ON event_feeds, events TO hushwire_api;
