"""The sealed recording format and its playback."""
