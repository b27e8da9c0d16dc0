-- Carriers of short messages are followed by the processes that hold their links.
CREATE TRIGGER tell_work AFTER INSERT OR UPDATE OR DELETE ON message_centres FOR EACH STATEMENT EXECUTE FUNCTION tell_work('message-centres');
