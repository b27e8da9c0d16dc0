"""Subscriptions that outlive this process: what the next one needs to go on telling a subscriber, in a journal of their own.

Written when a subscription is taken or refreshed, before the subscriber reads the answer, and dropped when it ends. NOTIFYs are not: their
number in the dialog and the version of the document go on so far above what was written that nothing said since comes up to it.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from pydantic import ConfigDict, TypeAdapter, ValidationError

from hushwire.core.ids import AgentId, OrgId
from hushwire.core.personal import SHOWN
from hushwire.core.plain import as_json, hides, shown
from hushwire.sip.dialog import Dialog
from hushwire.vault.journal import Journal

VERSION: Final = 1
NAME: Final = "subscriptions.journal"
AHEAD: Final = 10_000
"""More than the NOTIFYs of the longest time between two refreshes: one a second for an hour."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class KeptWatch:
    """One subscription. `event` is the package and its id as the subscriber named them."""

    package: str
    event: str
    org_id: OrgId
    watcher_id: AgentId
    agent_id: AgentId
    credential_id: UUID
    expires_at: datetime
    dialog: Dialog
    document: int
    ends_at: datetime | None = None
    binding_id: UUID | None = None
    version: int = field(default=VERSION)

    @property
    def name(self) -> UUID:
        """Its name in the journal: that of its dialog and event."""
        key = self.dialog.key
        said = "\0".join((key.call_id, key.local_tag, key.remote_tag, self.event))
        return UUID(bytes=hashlib.sha256(said.encode("utf-8", "surrogateescape")).digest()[:16])

    def later(self) -> "KeptWatch":
        """As another process goes on with it."""
        dialog = replace(self.dialog, local_cseq=self.dialog.local_cseq + AHEAD)
        return replace(self, dialog=dialog, document=self.document + AHEAD)

    def __repr__(self) -> str:
        return f"KeptWatch({self.package}, {SHOWN})"


_FORM: Final = TypeAdapter(tuple[KeptWatch], config=ConfigDict(val_json_bytes="base64"))


class SubscriptionJournal:
    """Subscriptions in a journal. Without one (`None`) they end with this process."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal

    def recover(self, now: datetime) -> list[KeptWatch]:
        """What the process before this one left and is not over; what can't be read is dropped: its subscriber subscribes anew."""
        if self._journal is None:
            return []
        found = []
        for name, parts in self._journal.recover().items():
            kept = _read(parts[0])
            if kept is None:
                _log.error("journal.subscription_unreadable", why="another version wrote it")
            if kept is None or kept.expires_at <= now:
                self._journal.drop(name)
            else:
                found.append(kept.later())
        return found

    def put(self, kept: KeptWatch) -> UUID:
        """Have this as the newest word about a subscription; its name."""
        name = kept.name
        if self._journal is not None:
            self._journal.put(name, as_json((kept,)))
        return name

    def drop(self, name: UUID) -> None:
        """It is over."""
        if self._journal is not None:
            self._journal.drop(name)

    def commit(self) -> None:
        """Write what is new. Called before anything is sent."""
        if self._journal is not None and self._journal.pending:
            self._journal.commit()

    def tidy(self) -> None:
        """Let nothing of what is over stand in the file."""
        if self._journal is not None:
            self._journal.tidy()

    def close(self) -> None:
        """Write nothing more."""
        if self._journal is not None:
            self._journal.close()


def _read(data: bytes) -> KeptWatch | None:
    try:
        (kept,) = _FORM.validate_json(data)
    except ValidationError:
        return None
    if kept.version != VERSION:
        return None
    found: KeptWatch = shown(kept) if hides(data) else kept
    return found
