"""The seam between messages and carriers: what a carrier's links ask of whoever keeps messages, and what they tell it.

Who keeps messages puts parts into the outbox (`store/message_parts.py`) in the transaction that accepts the message. The links take them
from there, ask for their content when they are about to send it, and say what became of them; what comes in they hand over, and
acknowledge once it is committed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.services.message_parties import Form
from hushwire.sms.text.segmentation import Segment, Style
from hushwire.store.database import Connection

PartState = Literal["queued", "sending", "submitted", "unknown", "delivered", "failed", "expired"]


class Opened(Protocol):
    """A message opened to be sent."""

    @property
    def source(self) -> Personal[str]:
        """A canonical +E.164 number, a short code, or an alphanumeric sender."""
        ...

    @property
    def destination(self) -> Personal[str]:
        """The canonical number that the verdict allowed."""
        ...

    @property
    def parts(self) -> Sequence[Segment]:
        """As many as the outbox has rows for it, in order."""
        ...


@frozen
class Change:
    """What became of one part. `error`: a word of ours or the centre's status, such as ESME_RINVDSTADR; never a text of the centre's.

    `parts`: how many its message has; 0 where whoever tells it doesn't know.
    """

    message_id: UUID
    part: int
    state: PartState
    error: str | None
    at: datetime
    parts: int = 0


@frozen
class Inbound:
    """One short message, or one part of one, as a carrier brought it.

    The parties are as they came, with how their carrier types them and the country it is at home in (message_parties).
    `payload` begins with a user data header where `has_udh`; `sar` is (reference, parts, place from 1). `dedupe`: what the carrier
    calls this delivery, where it says so: the same once more changes nothing.
    """

    source: Personal[str]
    destination: Personal[str]
    payload: Personal[bytes]
    data_coding: int
    has_udh: bool
    sar: tuple[int, int, int] | None
    at: datetime
    dedupe: bytes | None = None
    source_form: Form = Form.UNTYPED
    destination_form: Form = Form.UNTYPED
    country: str | None = None
    untyped_is_national: bool = False


class Bodies(Protocol):
    """Whoever keeps messages, asked by the links."""

    async def open(self, org_id: OrgId, message_ids: Sequence[UUID], style: Style) -> Mapping[UUID, Opened | None]:
        """The messages, cut into parts as `style` says; without those that were erased or called back meanwhile, which then fail.

        None: it can't be opened now, for want of a key, and has to wait. Raises Unavailable.
        """
        ...

    async def advance(self, connection: Connection, org_id: OrgId, changes: Sequence[Change]) -> None:
        """Carry the parts' new states to their messages, in the transaction that wrote them."""
        ...


class Inbox(Protocol):
    """Where received messages go."""

    async def receive(self, centre_id: UUID, texts: Sequence[Inbound]) -> frozenset[int]:
        """Take what can be taken: the places of those that are committed, or concern nobody here. The others are to be brought again.

        Raises Unavailable where nothing could even be looked at.
        """
        ...
