-- Rules at three levels: the organisation's own row, its teams, its agents; and terms, hours, short codes, exceptions.
-- `terms` is a JSON object, `hours` a JSON list, both in the one spelling that hushwire writes (docs/voice-security.md): text compares.
ALTER TABLE orgs ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';          -- IANA name: in which hours are meant
ALTER TABLE orgs ADD COLUMN terms text NOT NULL DEFAULT '{}';
ALTER TABLE orgs ADD COLUMN hours text NOT NULL DEFAULT '[]';
ALTER TABLE orgs ADD COLUMN short_codes text[] NOT NULL DEFAULT '{}';
ALTER TABLE orgs ADD COLUMN risk_packs_off text[] NOT NULL DEFAULT '{}';    -- names of packs that are not obeyed
CREATE TRIGGER raise_version_by_terms BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN ((OLD.time_zone, OLD.terms, OLD.hours, OLD.short_codes, OLD.risk_packs_off)
        IS DISTINCT FROM (NEW.time_zone, NEW.terms, NEW.hours, NEW.short_codes, NEW.risk_packs_off))
    EXECUTE FUNCTION raise_rules_version();

CREATE TABLE teams (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (org_id, id),
    UNIQUE (org_id, name)
);
CALL isolate_tenants('teams');

CREATE TABLE team_members (
    org_id uuid NOT NULL REFERENCES orgs,
    team_id uuid NOT NULL,
    agent_id uuid PRIMARY KEY,              -- of one team at most
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX team_members_by_team ON team_members (org_id, team_id);
CALL isolate_tenants('team_members');

-- What a team or an agent narrows. Null: as the level above has it.
CREATE TABLE rule_levels (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    team_id uuid UNIQUE,
    agent_id uuid UNIQUE,
    countries text[],
    classes text[],
    short_codes text[],
    terms text NOT NULL DEFAULT '{}',
    hours text NOT NULL DEFAULT '[]',
    time_zone text,                         -- an agent's own
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK (num_nonnulls(team_id, agent_id) = 1),
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX rule_levels_by_org ON rule_levels (org_id);
CALL isolate_tenants('rule_levels');

-- Numbers for which one rule does not hold: that no plan knows them, or that they lie in a range of a risk pack.
CREATE TABLE number_exceptions (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('unassigned', 'risk')),
    said_sealed bytea NOT NULL,             -- operational key, JSON: number or prefix, country, reason
    remote_index bytea,                     -- as calls.remote_index, of one whole number: an erasure of its person finds it
    ends_at timestamptz,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL
);
CREATE INDEX number_exceptions_by_org ON number_exceptions (org_id);
CREATE INDEX number_exceptions_by_remote ON number_exceptions (org_id, remote_index) WHERE remote_index IS NOT NULL;
CALL isolate_tenants('number_exceptions');

CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON teams FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON team_members FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON rule_levels FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON number_exceptions FOR EACH ROW EXECUTE FUNCTION touch_rules();

GRANT SELECT ON teams, team_members, rule_levels, number_exceptions TO hushwire_gateway, hushwire_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON teams, team_members, rule_levels, number_exceptions TO hushwire_api;
GRANT DELETE ON number_exceptions TO hushwire_worker;
