-- An organisation ends: the worker destroys its blind index key and its operational key together with its buckets.
GRANT DELETE ON org_keys TO hushwire_worker;
-- Bulk erasures look keys up by their kind's ids in one statement, and sweep an organisation's keys in batches.
CREATE INDEX data_keys_by_org ON data_keys (org_id, id);
