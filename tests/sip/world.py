"""A user agent in virtual time: what tests send in, what comes out, and the two together."""

import random
from typing import TypeVar

from hushwire.sip.effects import Effect, Send
from hushwire.sip.flow import Address, Flow, Hop, Target, Transport
from hushwire.sip.message import Message, Request
from hushwire.sip.parse import parse
from hushwire.sip.uri import parse_name_addr
from hushwire.sip.useragent import UserAgent, UserAgentConfig

E = TypeVar("E")

OURS = Address("192.0.2.1", 5060)
THEIRS = Address("192.0.2.99", 5060)
UDP = Flow(Transport.UDP, 1, OURS, THEIRS)
TCP = Flow(Transport.TCP, 2, OURS, Address("192.0.2.99", 40001))
TRUNK = Target(Transport.UDP, "192.0.2.99", 5060)
ANNA = parse_name_addr("<sip:anna@acme.example>")
BOB = parse_name_addr("<sip:+4930123@carrier.example>")
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


class SeededRandom:
    """Bytes that repeat from run to run."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int, /) -> bytes:
        return self._random.randbytes(count)


class World:
    """One user agent, its clock, and all that it ever emitted."""

    def __init__(self, seed: int = 1, **config: object) -> None:
        sent_by = {Transport.UDP: OURS, Transport.TCP: OURS, Transport.TLS: Address("192.0.2.1", 5061)}
        self.ua = UserAgent(UserAgentConfig(sent_by=sent_by, **config), SeededRandom(seed))  # type: ignore[arg-type]
        self.now = 1000.0
        self.all: list[Effect] = []

    def drain(self) -> list[Effect]:
        """What came out since the last look."""
        found = self.ua.drain()
        self.all += found
        return found

    def receive(self, message: Message | bytes | str, flow: Flow = UDP) -> list[Effect]:
        """Feed one message and return what it causes."""
        if isinstance(message, str):
            message = message.encode()
        if isinstance(message, bytes):
            message = parse(message)
        self.ua.receive(message, flow, self.now)
        return self.drain()

    def run(self, seconds: float) -> list[tuple[float, Effect]]:
        """Let time pass; what timers caused, each with the seconds since the start."""
        start, end = self.now, self.now + seconds
        found: list[tuple[float, Effect]] = []
        while (at := self.ua.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.ua.handle_timer(self.now)
            found += [(round(self.now - start, 3), effect) for effect in self.drain()]
        self.now = end
        return found


def sent(effects: list[Effect]) -> list[Message]:
    """The messages among effects."""
    return [parse(effect.data) for effect in effects if isinstance(effect, Send)]


def responses(effects: list[Effect]) -> list[int]:
    """The statuses of the responses among effects, also of those that echo what can't be parsed."""
    data = [effect.data for effect in effects if isinstance(effect, Send)]
    return [int(item.split(b" ", 2)[1]) for item in data if item.startswith(b"SIP/2.0 ")]


def requests(effects: list[Effect]) -> list[Request]:
    """The requests among effects."""
    return [message for message in sent(effects) if isinstance(message, Request)]


def events(effects: list[Effect], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def one(effects: list[Effect], kind: type[E]) -> E:
    """The only event of one kind."""
    (found,) = events(effects, kind)
    return found


def request_text(
    method: str = "INVITE",
    *,
    branch: str = "z9hG4bKone",
    call_id: str = "call-1@192.0.2.99",
    cseq: int = 1,
    from_tag: str = "theirs",
    to_tag: str | None = None,
    uri: str = "sip:+4930555@192.0.2.1",
    extra: str = "",
    body: bytes = b"",
    transport: str = "UDP",
    contact: str | None = "<sip:peer@192.0.2.99:5060>",
    via_extra: str = "",
) -> bytes:
    """A request of the peer's."""
    to = f"<{uri}>" + (f";tag={to_tag}" if to_tag else "")
    contact_line = f"Contact: {contact}\r\n" if contact else ""
    if body and "Content-Type" not in extra:
        extra += "Content-Type: application/sdp\r\n"
    head = (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} 192.0.2.99:5060;branch={branch}{via_extra}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:peer@192.0.2.99>;tag={from_tag}\r\nTo: {to}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{contact_line}{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer(
    request: Request,
    status: int,
    *,
    tag: str | None = "peer-tag",
    contact: str = "<sip:far@192.0.2.99:5070>",
    extra: str = "",
    body: bytes = b"",
) -> bytes:
    """A peer's response to a request of ours."""
    to = request.headers.get("To") or ""
    if tag and ";tag=" not in to:
        to = f"{to};tag={tag}"
    contact_line = f"Contact: {contact}\r\n" if contact and status < 300 else ""
    head = (
        f"SIP/2.0 {status} Words\r\nVia: {request.headers.get('Via')}\r\nFrom: {request.headers.get('From')}\r\nTo: {to}\r\n"
        f"Call-ID: {request.call_id}\r\nCSeq: {request.cseq}\r\n{contact_line}{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def call(world: World, hop: Hop = TRUNK, **options: object) -> tuple[int, Request]:
    """Start an INVITE; its id and what was sent."""
    options.setdefault("body", OFFER)
    invite = world.ua.invite(hop=hop, uri="sip:+4930123@carrier.example", from_=ANNA, to=BOB, now=world.now, **options)  # type: ignore[arg-type]
    (request,) = requests(world.drain())
    return invite, request
