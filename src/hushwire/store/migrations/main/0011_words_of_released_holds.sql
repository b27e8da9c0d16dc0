-- What a released hold says of a person goes with that person's erasure; while it is in force it says whom it covers.
GRANT UPDATE (number_sealed, number_indexes, note_sealed) ON legal_holds TO hushwire_api, hushwire_worker;
