-- So many messages of an organisation are accepted a day (UTC) at most: what a stolen key or a loop in a customer's system can cost.
ALTER TABLE message_settings ADD COLUMN most_per_day integer CHECK (most_per_day >= 0);     -- in parts; null: no limit
CREATE TABLE message_days (
    org_id uuid NOT NULL REFERENCES orgs,
    day date NOT NULL,
    parts bigint NOT NULL,                  -- accepted that day, while there is a limit
    PRIMARY KEY (org_id, day)
);
CALL isolate_tenants('message_days');
GRANT SELECT, INSERT, UPDATE ON message_days TO hushwire_api, hushwire_gateway;
GRANT SELECT, DELETE ON message_days TO hushwire_worker;
