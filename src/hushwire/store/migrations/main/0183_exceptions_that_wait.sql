-- An exception that an administrator adds where two must agree waits as a row of its own, so that an erasure of its number finds it.
ALTER TABLE number_exceptions ADD COLUMN waits_for uuid;        -- the proposal by which it begins to hold; null: it holds
