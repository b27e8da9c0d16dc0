-- Parts on their way to a carrier belong to their message.
ALTER TABLE message_parts ADD FOREIGN KEY (org_id, message_id) REFERENCES messages (org_id, id) ON DELETE CASCADE;

CREATE FUNCTION erased_message_is_not_sent() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS
$$ BEGIN
    DELETE FROM message_parts WHERE message_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER drop_parts AFTER UPDATE ON messages FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION erased_message_is_not_sent();
