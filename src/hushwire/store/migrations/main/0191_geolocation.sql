-- Whether a carrier is told the caller's address of an emergency call by RFC 6442: a PIDF-LO document beside the session description.
ALTER TABLE trunks ADD COLUMN geolocation boolean NOT NULL DEFAULT false;
