-- Extensions that several agents answer, and numbers that lead there.
CREATE TABLE ring_groups (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    dialled text NOT NULL,                  -- its extension, which is nobody's own
    strategy text NOT NULL CHECK (strategy IN ('parallel', 'serial')),
    ring_s integer NOT NULL CHECK (ring_s BETWEEN 5 AND 300),
    follows_forwarding boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (org_id, id),
    UNIQUE (org_id, name),
    UNIQUE (org_id, dialled)
);
CALL isolate_tenants('ring_groups');

CREATE TABLE ring_group_members (
    org_id uuid NOT NULL REFERENCES orgs,
    group_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    position integer NOT NULL,              -- in which order they are rung, one after the other
    PRIMARY KEY (group_id, agent_id),
    FOREIGN KEY (org_id, group_id) REFERENCES ring_groups (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id) ON DELETE CASCADE
);
CREATE INDEX ring_group_members_by_agent ON ring_group_members (org_id, agent_id);
CALL isolate_tenants('ring_group_members');

ALTER TABLE numbers ADD COLUMN group_id uuid;                              -- it rings a group
ALTER TABLE numbers ADD CONSTRAINT numbers_ring_group FOREIGN KEY (org_id, group_id) REFERENCES ring_groups (org_id, id)
    ON DELETE SET NULL (group_id);
ALTER TABLE numbers ADD CONSTRAINT numbers_one_party CHECK (agent_id IS NULL OR group_id IS NULL);

CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON ring_groups FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_row AFTER INSERT OR UPDATE OR DELETE ON ring_group_members FOR EACH ROW EXECUTE FUNCTION touch_rules();
CREATE TRIGGER touch_rules_by_group AFTER UPDATE ON numbers FOR EACH ROW
    WHEN (OLD.group_id IS DISTINCT FROM NEW.group_id) EXECUTE FUNCTION touch_rules();

GRANT SELECT ON ring_groups, ring_group_members TO hushwire_gateway, hushwire_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ring_groups, ring_group_members TO hushwire_api;
