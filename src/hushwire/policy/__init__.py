"""The verdict: one pure judge of every way out."""
