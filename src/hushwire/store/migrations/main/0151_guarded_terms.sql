-- Terms of guarded countries and classes that would be widened wait as their opening does.
ALTER TABLE rule_proposals ADD COLUMN terms text NOT NULL DEFAULT '{}';     -- as orgs.terms spells them; {} for one: no terms any more
