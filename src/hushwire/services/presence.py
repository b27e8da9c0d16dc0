"""What colleagues may see of one another: the packages `dialog` (RFC 4235: lamps beside names) and `presence` (RFC 3856).

The organisation decides: nothing (`off`), who is busy (`state`), or with whom as well (`numbers`). Nobody is hidden from oneself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.services.colleagues import Engaged
from hushwire.services.event_packages import Watched
from hushwire.services.snapshot import Shown
from hushwire.sip import dialog_info, pidf
from hushwire.sip.dialog_info import DialogInfo, changes
from hushwire.sip.uri import SipUri, escape_user

DIALOG: Final = "dialog"
PRESENCE: Final = "presence"
EngagedIn = Callable[[AgentId], tuple[Engaged, ...]]


def _may_watch(watched: Watched) -> bool:
    return watched.watcher.id == watched.line.id or watched.org.presence is not Shown.OFF


class DialogPackage:
    """Which calls an agent is in. A change is told as partial state, all to who subscribes or refreshes."""

    name = DIALOG
    content_type = dialog_info.CONTENT_TYPE
    longest_s = 3600
    # "notifications SHOULD NOT be generated more than once a second" (RFC 4235 section 3.10).
    interval_s = 1.0

    def __init__(self, engaged: EngagedIn) -> None:
        self._engaged = engaged

    def may_watch(self, watched: Watched) -> bool:
        """As the organisation decided."""
        return _may_watch(watched)

    def state(self, watched: Watched) -> tuple[DialogInfo, ...]:
        """The calls of this moment; with the numbers for who may see them."""
        shows = watched.org.presence is Shown.NUMBERS
        _, _, host = watched.entity.rpartition("@")
        return tuple(
            DialogInfo(part.id, part.state, part.is_initiator, _uri(part.remote, host) if shows else None, part.named)
            for part in self._engaged(watched.line.id)
        )

    def write(self, watched: Watched, state: tuple[DialogInfo, ...], told: tuple[DialogInfo, ...] | None, version: int) -> bytes:
        """The document."""
        dialogs = state if told is None else changes(told, state)
        return dialog_info.dialog_info(watched.entity, version, dialogs, is_full=told is None)


@dataclass(frozen=True, slots=True)
class Reachable:
    """Whether an agent has a phone here, and is on it."""

    is_open: bool
    is_on_phone: bool


class PresencePackage:
    """Whether an agent can be reached."""

    name = PRESENCE
    content_type = pidf.CONTENT_TYPE
    longest_s = 3600
    # RFC 3856 section 6.10.
    interval_s = 5.0

    def __init__(self, engaged: EngagedIn, devices: Callable[[AgentId], int]) -> None:
        self._engaged = engaged
        self._devices = devices

    def may_watch(self, watched: Watched) -> bool:
        """As the organisation decided; nobody is present on a line of several."""
        return watched.line.agent is not None and _may_watch(watched)

    def state(self, watched: Watched) -> Reachable:
        """What is so now."""
        agent_id = watched.line.id
        return Reachable(self._devices(agent_id) > 0, bool(self._engaged(agent_id)))

    def write(self, watched: Watched, state: Reachable, told: Reachable | None, version: int) -> bytes:
        """The document, whole."""
        return pidf.presence_document(watched.entity, is_open=state.is_open, is_on_phone=state.is_on_phone)


def _uri(remote: Personal[str] | None, host: str) -> str | None:
    return None if remote is None else str(SipUri(host, escape_user(remote.reveal())))
