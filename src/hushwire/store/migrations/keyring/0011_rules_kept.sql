-- Beside what protects people: what narrows calls, in its newest state (docs/adr/0017). Ids, names of teams and lists; no number.
ALTER TABLE kept_protections DROP CONSTRAINT kept_protections_kind_check;
ALTER TABLE kept_protections ADD CONSTRAINT kept_protections_kind_check CHECK (kind IN ('unrecorded_numbers', 'do_not_call',
    'restricted_subjects', 'legal_holds', 'orgs', 'teams', 'team_members', 'rule_levels', 'fraud_limits'));
