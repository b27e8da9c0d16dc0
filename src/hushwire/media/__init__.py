"""The client of the media process."""
