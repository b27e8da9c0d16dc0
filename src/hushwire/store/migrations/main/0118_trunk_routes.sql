-- Several trunks for one call: which is tried first, what each may carry, how it takes numbers, and how it is watched.
ALTER TABLE trunks
    ADD COLUMN priority integer NOT NULL DEFAULT 0,                 -- lowest first; among equals by weight and chance
    ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    ADD COLUMN prefixes text[] NOT NULL DEFAULT '{}',               -- of numbers that it may carry, such as '+49'; none: all
    ADD COLUMN number_format text NOT NULL DEFAULT '+e164' CHECK (number_format IN ('+e164', 'e164', 'national')),
    ADD COLUMN country text,                                        -- ISO 3166-1: where 'national' is
    ADD COLUMN caller_id text NOT NULL DEFAULT 'pass',              -- 'pass', 'anonymous', or the one number that it shows
    ADD COLUMN caller_ids text[] NOT NULL DEFAULT '{}',             -- what 'pass' lets pass: numbers, or prefixes ending in *; none: all
    ADD COLUMN caller_id_otherwise text,                            -- shown instead of what may not pass; null: nothing
    ADD COLUMN channels integer CHECK (channels > 0),               -- calls at once, both ways, of each gateway; null: no limit
    ADD COLUMN codecs text[] NOT NULL DEFAULT '{}',                 -- by name, best first; none: all
    ADD COLUMN early_media boolean NOT NULL DEFAULT true,
    ADD COLUMN silent_after_s integer NOT NULL DEFAULT 4 CHECK (silent_after_s > 0),
    ADD COLUMN options_every_s integer NOT NULL DEFAULT 0 CHECK (options_every_s >= 0), -- 0: its health is not asked for
    ADD COLUMN down_after integer NOT NULL DEFAULT 2 CHECK (down_after > 0),
    ADD COLUMN up_after integer NOT NULL DEFAULT 2 CHECK (up_after > 0),
    ADD COLUMN register_every_s integer NOT NULL DEFAULT 0 CHECK (register_every_s >= 0), -- asked-for lifetime; 0: we don't register
    ADD COLUMN pins text[] NOT NULL DEFAULT '{}',                   -- 'sha256:...' of certificates; then these count, and no authority
    ADD COLUMN networks text[] NOT NULL DEFAULT '{}';               -- private ones that its name may lead to

-- Which ways a call took: [{"trunk", "outcome", "after_ms"}], in order.
ALTER TABLE calls ADD COLUMN trunk_attempts jsonb;
