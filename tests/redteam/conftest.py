"""Fixtures of all red-team tests."""

from tests.redteam.house import house, running

__all__ = ["house", "running"]
