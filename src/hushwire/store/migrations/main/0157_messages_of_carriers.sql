-- What a carrier brings knows no organisation yet, as an inbound call doesn't.
SET LOCAL ROLE hushwire_finder;
GRANT EXECUTE ON FUNCTION find_number(bytea) TO hushwire_worker;
RESET ROLE;
GRANT SELECT ON ring_group_members TO hushwire_worker;
