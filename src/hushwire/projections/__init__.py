"""Readers of the outbox of domain events."""
