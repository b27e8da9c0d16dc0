-- In whose hands a key is stays known when that person's agent is gone: else its keys would be as many persons to what two must agree to.
ALTER TABLE api_keys ADD COLUMN person_id uuid;         -- the agent that was named for it, there or not; null: nobody was
UPDATE api_keys SET person_id = agent_id;
CREATE FUNCTION keep_person_of_key() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    -- An agent that is deleted leaves its keys without one; an operator who names nobody any more does so while the agent is there.
    IF NEW.agent_id IS NOT NULL THEN
        NEW.person_id := NEW.agent_id;
    ELSIF EXISTS (SELECT 1 FROM public.agents WHERE id = OLD.agent_id) THEN
        NEW.person_id := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_person BEFORE UPDATE OF agent_id ON api_keys FOR EACH ROW EXECUTE FUNCTION keep_person_of_key();
CREATE FUNCTION name_person_of_key() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    NEW.person_id := NEW.agent_id;
    RETURN NEW;
END $$;
CREATE TRIGGER name_person BEFORE INSERT ON api_keys FOR EACH ROW EXECUTE FUNCTION name_person_of_key();
