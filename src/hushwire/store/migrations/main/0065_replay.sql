-- How far this database has followed the keyring's tombstones. Whatever older state it is restored to, by whatever means, this row is
-- of that state too: so a start knows what ended since, and does not serve before it is carried out here (services/replay.py).
CREATE TABLE replay (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    followed bigint NOT NULL DEFAULT 0,     -- tombstones up to this seq are carried out in this database
    backup_id uuid,                         -- the backup that this database was last restored from
    backup_at timestamptz,
    restored_at timestamptz
);
INSERT INTO replay DEFAULT VALUES;

GRANT SELECT ON replay TO hushwire_worker, hushwire_api, hushwire_gateway;
GRANT UPDATE (followed) ON replay TO hushwire_worker;
