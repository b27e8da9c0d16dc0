-- An objection that was granted may be taken back by who made it.
ALTER TABLE privacy_requests DROP CONSTRAINT privacy_requests_state_check;
ALTER TABLE privacy_requests ADD CONSTRAINT privacy_requests_state_check
    CHECK (state IN ('received', 'identity-check', 'verified', 'working', 'answered', 'refused', 'cancelled', 'withdrawn'));
