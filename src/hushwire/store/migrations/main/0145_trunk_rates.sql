-- What calls by a carrier cost, by the longest prefix: for estimates only. The operator's, as trunks are.
CREATE TABLE trunk_rates (
    trunk_id uuid NOT NULL REFERENCES trunks ON DELETE CASCADE,
    prefix text NOT NULL CHECK (prefix ~ '^[0-9]{1,15}$'),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    minute_micros bigint NOT NULL CHECK (minute_micros >= 0),
    connection_micros bigint NOT NULL CHECK (connection_micros >= 0),
    first_s integer NOT NULL CHECK (first_s BETWEEN 1 AND 3600),
    next_s integer NOT NULL CHECK (next_s BETWEEN 1 AND 3600),
    PRIMARY KEY (trunk_id, prefix)
);
ALTER TABLE trunks ADD COLUMN rates_version bigint NOT NULL DEFAULT 0;

GRANT SELECT ON trunk_rates TO hushwire_gateway, hushwire_api;
