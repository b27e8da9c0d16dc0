-- Work that a role keeps going for as long as it lives, where some of it broke: for metrics and hushwire doctor.
CREATE TABLE work_states (
    node_id uuid NOT NULL,
    role text NOT NULL,
    task text NOT NULL,
    failures bigint NOT NULL,               -- since the role started
    error text NOT NULL,                    -- the class of the newest one, never its text
    failed_at timestamptz NOT NULL,
    since timestamptz,                      -- it has not worked since then; null: it works again
    PRIMARY KEY (node_id, role, task)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON work_states TO hushwire_gateway, hushwire_api, hushwire_worker;
