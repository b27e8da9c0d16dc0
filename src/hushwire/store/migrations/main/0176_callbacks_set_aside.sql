-- What a carrier said by https and can't be carried out holds up nothing else: it is tried again ever later, and set aside in the end.
ALTER TABLE carrier_callbacks ADD COLUMN attempts smallint NOT NULL DEFAULT 0;
ALTER TABLE carrier_callbacks ADD COLUMN due_at timestamptz;            -- the next try; null: at once
ALTER TABLE carrier_callbacks ADD COLUMN set_aside_at timestamptz;      -- nobody tries it any more
CREATE INDEX carrier_callbacks_aside ON carrier_callbacks (set_aside_at) WHERE set_aside_at IS NOT NULL;
GRANT UPDATE (attempts, due_at, set_aside_at) ON carrier_callbacks TO hushwire_worker;
