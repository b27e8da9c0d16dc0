"""Dialog-info (RFC 4235): which calls somebody is in, as XML for a NOTIFY, whole or only what changed."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip.effects import DialogKey

CONTENT_TYPE: Final = "application/dialog-info+xml"


class DialogState(StrEnum):
    """RFC 4235 section 3.7.1, as far as a server in the middle tells them apart."""

    TRYING = "trying"
    EARLY = "early"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


@frozen(repr=False)
class DialogInfo:
    """One call of the watched party. `id` is its name in these documents alone; `remote` is who is at the other end, if that is told."""

    id: str
    state: DialogState
    is_initiator: bool
    remote: str | None = None
    named: DialogKey | None = None
    """By what an INVITE with Replaces takes the call, as the watched phone would see it; None where it can't be taken."""

    def __repr__(self) -> str:
        return f"DialogInfo({self.state}, {SHOWN})"


def changes(told: Iterable[DialogInfo], now: Iterable[DialogInfo]) -> tuple[DialogInfo, ...]:
    """What a subscriber that was told `told` has to be told to know `now`: calls that are over come first, as terminated."""
    known, present = {info.id: info for info in told}, {info.id: info for info in now}
    over = [replace(info, state=DialogState.TERMINATED) for info in known.values() if info.id not in present]
    return (*over, *(info for info in present.values() if known.get(info.id) != info))


def dialog_info(entity: str, version: int, dialogs: Iterable[DialogInfo], *, is_full: bool) -> bytes:
    """The document (RFC 4235 section 4.4). `version` is one more with each document of a subscription."""
    state = "full" if is_full else "partial"
    body = "".join(_dialog(info) for info in dialogs)
    return (
        '<?xml version="1.0"?>\r\n<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" '
        f"version={quoteattr(str(version))} state={quoteattr(state)} entity={quoteattr(entity)}>\r\n{body}</dialog-info>\r\n"
    ).encode()


def _dialog(info: DialogInfo) -> str:
    direction = "initiator" if info.is_initiator else "recipient"
    remote = ""
    if info.remote is not None:
        remote = f"<remote><identity>{escape(info.remote)}</identity><target uri={quoteattr(info.remote)}/></remote>"
    named = ""
    if info.named is not None:
        call_id, local, distant = (quoteattr(text) for text in info.named)
        named = f" call-id={call_id} local-tag={local} remote-tag={distant}"
    return f"<dialog id={quoteattr(info.id)}{named} direction={quoteattr(direction)}><state>{info.state}</state>{remote}</dialog>\r\n"
