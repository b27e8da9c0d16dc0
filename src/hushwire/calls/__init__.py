"""The call as a pure back-to-back user agent machine: events in, effects out."""
