"""Clock protocol, id types, personal values, errors and events: what every layer may use."""
