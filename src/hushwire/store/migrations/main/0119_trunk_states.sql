-- What each gateway last said of each trunk: how it stands, and what calls met there since that gateway started.
CREATE TABLE trunk_states (
    node_id uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
    trunk_id uuid NOT NULL REFERENCES trunks ON DELETE CASCADE,
    standing text NOT NULL CHECK (standing IN ('up', 'resting', 'down')),
    reason text,                            -- a word: silent, unreachable, overloaded, unresolved, or a status
    since timestamptz NOT NULL,
    calls integer NOT NULL,                 -- both ways, now
    ways integer NOT NULL,                  -- addresses that it is reached at
    outcomes jsonb NOT NULL,                -- how often an attempt ended how: {"answered": 12, "silent": 1}
    registered_until timestamptz,           -- our registration there; null: none
    PRIMARY KEY (node_id, trunk_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON trunk_states TO hushwire_gateway;
GRANT SELECT ON trunk_states TO hushwire_api;
GRANT SELECT, DELETE ON trunk_states TO hushwire_worker;
