-- Of each risk pack the highest version that this deployment has ever obeyed, as it was signed: an older file takes its place no more, and
-- a restart, another machine or a file that is gone changes nothing about that. The operator's command alone takes a row away.
CREATE TABLE risk_packs (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    data bytea NOT NULL,                    -- with its signature, which is checked each time that it is read
    kept_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON risk_packs TO hushwire_gateway, hushwire_api, hushwire_worker;
