-- What a key signed is kept beside what other keys signed. One that is no longer trusted then takes nothing with it: neither does its highest
-- version hold back what a trusted key signs, nor is the highest version of a trusted key unknown because a higher one of its stands there.
ALTER TABLE risk_packs ADD COLUMN key_id text;
UPDATE risk_packs SET key_id = coalesce(substring(encode(data, 'escape') FROM 'signature: ([0-9a-f]{16}) [A-Za-z0-9+/=]+\n*$'), '');
ALTER TABLE risk_packs ALTER COLUMN key_id SET NOT NULL;
ALTER TABLE risk_packs DROP CONSTRAINT risk_packs_pkey;
ALTER TABLE risk_packs ADD PRIMARY KEY (name, key_id);
