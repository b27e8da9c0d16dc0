"""One request of ours on its way, through all its digest tries: what it says, and how far it came."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey
from hushwire.sip.flow import Hop
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr

if TYPE_CHECKING:
    from hushwire.sip.core import Session
    from hushwire.sip.uac import ClientTx


class Outgoing:
    """One request of ours through all its digest tries; `session` is None outside dialogs."""

    __slots__ = (
        "acks",
        "body",
        "call_id",
        "cancel_lines",
        "contact",
        "content_type",
        "credentials",
        "cseq",
        "early",
        "follow_contact",
        "from_",
        "has_progress",
        "headers",
        "hop",
        "id",
        "is_cancel_sent",
        "is_ended",
        "is_quiet",
        "is_raised",
        "max_forwards",
        "method",
        "nonce",
        "on_done",
        "progress_s",
        "session",
        "silence_s",
        "to",
        "tries",
        "tx",
        "uri",
        "winner",
    )

    def __init__(
        self,
        id_: int,
        method: str,
        *,
        hop: Hop,
        uri: str,
        from_: NameAddr,
        to: NameAddr,
        call_id: str,
        cseq: int,
        headers: list[Line],
        body: bytes,
        content_type: str,
        contact: NameAddr,
        credentials: Credentials | None,
        session: "Session | None" = None,
        max_forwards: int = 70,
        silence_s: float | None = None,
        progress_s: float | None = None,
        follow_contact: bool = False,
    ) -> None:
        self.id = id_
        self.method = method
        self.hop = hop
        self.uri = uri
        self.from_ = from_
        self.to = to
        self.call_id = call_id
        self.cseq = cseq
        self.headers = headers
        self.body = body
        self.content_type = content_type
        self.contact = contact
        self.credentials = credentials
        self.session = session
        self.max_forwards = max_forwards
        self.silence_s = silence_s
        self.progress_s = progress_s
        self.has_progress = False
        self.follow_contact = follow_contact
        self.tx: ClientTx | None = None
        self.tries = 0
        self.nonce: str | None = None
        self.is_ended = False
        # The peer wanted a longer interval once already.
        self.is_raised = False
        # Told the final status, and when (None: nobody answered). A quiet request is nobody's business above.
        self.on_done: Callable[[int, float | None], None] | None = None
        self.is_quiet = False
        self.cancel_lines: list[Line] | None = None
        self.is_cancel_sent = False
        self.early: dict[str, DialogKey] = {}
        self.winner: str | None = None
        self.acks: dict[str, tuple[Hop, bytes]] = {}

    @property
    def is_initial_invite(self) -> bool:
        """Whether it makes dialogs rather than lives in one."""
        return self.method == "INVITE" and self.session is None
