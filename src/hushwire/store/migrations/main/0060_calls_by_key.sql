-- Keys that no call uses are found by this, however many calls there are.
CREATE INDEX calls_by_key ON calls (sealed_with) WHERE sealed_with IS NOT NULL;
