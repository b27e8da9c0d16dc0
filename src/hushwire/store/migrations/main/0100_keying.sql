-- How media is protected: agents' legs may be offered protection that a phone is free not to know, and a trunk may speak DTLS.
ALTER TABLE orgs DROP CONSTRAINT orgs_agent_srtp_check;
ALTER TABLE orgs ADD CONSTRAINT orgs_agent_srtp_check CHECK (agent_srtp IN ('required', 'optional', 'best-effort'));
ALTER TABLE trunks ADD COLUMN keying text NOT NULL DEFAULT 'sdes' CHECK (keying IN ('sdes', 'best-effort', 'dtls'));
