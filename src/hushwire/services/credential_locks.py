"""Which credentials the fraud breaker has locked: those whose rows say so, and those that it locked here a moment ago."""

from collections.abc import Container, Iterable
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId

Lock = tuple[AgentId, UUID]
"""Whose credential, and which; `EVERYTHING` (store/fraud.py) for what leaves the house on the agent's wish."""


class CredentialLocks:
    """A lock holds from the moment on in which it is asked for; once its row stands, that one alone tells."""

    def __init__(self) -> None:
        self._of_rows: dict[OrgId, frozenset[Lock]] = {}
        self._here: dict[Lock, float | None] = {}  # and when its row was written

    @property
    def has_any(self) -> bool:
        """Whether anything is locked at all."""
        return bool(self._here) or any(self._of_rows.values())

    def hold(self, org_id: OrgId | None, lock: Lock) -> bool:
        """Whether this is locked; `org_id` is the agent's organisation, None where nobody knows the agent."""
        return lock in self._here or (org_id is not None and lock in self._of_rows.get(org_id, ()))

    def lock(self, lock: Lock) -> None:
        """Lock it here and now."""
        self._here[lock] = None

    def written(self, lock: Lock, at_s: float) -> None:
        """The row stands since this monotonic second: from the next reading on, that one tells."""
        if lock in self._here:
            self._here[lock] = at_s

    def read(self, org_id: OrgId, found: Iterable[Lock], agents: Container[AgentId], began_s: float) -> None:
        """What an organisation's rows say, by a reading that began at this monotonic second; `agents` are the organisation's."""
        self._of_rows[org_id] = frozenset(found)
        for lock, written_s in list(self._here.items()):
            if written_s is not None and written_s < began_s and lock[0] in agents:
                del self._here[lock]

    def forget(self, org_id: OrgId) -> None:
        """The organisation is gone, and its rows with it."""
        self._of_rows.pop(org_id, None)
