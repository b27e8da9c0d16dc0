-- How the calls of each gateway sounded, as counts in classes since it began: for /metrics. Nothing of a call, agent or organisation is in it.
ALTER TABLE nodes ADD COLUMN quality jsonb;
