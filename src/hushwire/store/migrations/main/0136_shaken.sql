-- Signed caller numbers (STIR/SHAKEN): what is signed towards a trunk, what of its calls is verified, and what came of that.
ALTER TABLE trunks
    ADD COLUMN signs boolean NOT NULL DEFAULT false,
    ADD COLUMN attest text NOT NULL DEFAULT 'A' CHECK (attest IN ('A', 'B', 'C')),              -- never more than this
    ADD COLUMN verify text NOT NULL DEFAULT 'off' CHECK (verify IN ('off', 'note', 'show'));

-- Of calls from trunks that are verified; null for all others.
ALTER TABLE calls
    ADD COLUMN caller_verdict text CHECK (caller_verdict IN ('passed', 'failed', 'unverified')),
    ADD COLUMN caller_verdict_reason text,          -- a word; null where it passed
    ADD COLUMN caller_attestation text CHECK (caller_attestation IN ('A', 'B', 'C')),
    ADD COLUMN caller_signer text;                  -- the provider codes of the certificate that signed
