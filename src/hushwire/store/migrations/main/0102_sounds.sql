-- What is played in an organisation's calls, and the evidence of announcements.

ALTER TABLE orgs
    ADD COLUMN ringback text NOT NULL DEFAULT 'phone' CHECK (ringback IN ('phone', 'early')),
    ADD COLUMN music_on_hold boolean NOT NULL DEFAULT false,
    ADD COLUMN announcement text NOT NULL DEFAULT 'off' CHECK (announcement IN ('off', 'agent', 'peer', 'both')),
    ADD COLUMN record_from text NOT NULL DEFAULT 'announcement' CHECK (record_from IN ('announcement', 'answer')),
    ADD COLUMN spoken_refusals boolean NOT NULL DEFAULT false,
    ADD COLUMN beep text NOT NULL DEFAULT 'off' CHECK (beep IN ('off', 'agent', 'peer', 'both')),
    ADD COLUMN beep_every_s integer NOT NULL DEFAULT 15 CHECK (beep_every_s BETWEEN 5 AND 300);

CREATE TRIGGER raise_version_by_sounds BEFORE UPDATE ON orgs FOR EACH ROW
    WHEN ((OLD.ringback, OLD.music_on_hold, OLD.announcement, OLD.record_from, OLD.spoken_refusals, OLD.beep, OLD.beep_every_s)
        IS DISTINCT FROM
        (NEW.ringback, NEW.music_on_hold, NEW.announcement, NEW.record_from, NEW.spoken_refusals, NEW.beep, NEW.beep_every_s))
    EXECUTE FUNCTION raise_rules_version();

-- The worker makes a consent's row of an announcement that was played to its end.
GRANT INSERT ON consents TO hushwire_worker;
