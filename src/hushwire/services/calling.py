"""Calls: events of SIP and media to the pure machine, and its effects carried out."""
