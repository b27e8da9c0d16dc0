"""Requests and responses (RFC 3261 section 7): frozen values whose headers are split once and typed on demand.

Text is UTF-8 with surrogate escapes, so that a message which nobody changed goes out byte for byte as it came in.
"""

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any, Final, TypeVar

from hushwire.core.values import frozen, replace
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import CSeq, Headers, Line, Via, parse_cseq, parse_number, parse_via
from hushwire.sip.uri import NameAddr, SipUri, Uri, parse_name_addr, parse_sip_uri, parse_uri, split_quoted

T = TypeVar("T")
_NONE: Final = [""]

REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}


class _Message:
    """What requests and responses share: typed headers, parsed at the first look and kept.

    Each property raises ParseError where its header is absent or malformed. `parse` has already looked at Via, From, To, Call-ID
    and CSeq, so that these five don't raise on received messages.
    """

    __slots__ = ()
    headers: Headers
    body: bytes
    _typed: dict[str, Any]

    def _once(self, name: str, parse: Callable[[str], T]) -> T:
        found = self._typed.get(name)
        if found is None:
            value = self.headers.get(name)
            if value is None:
                raise ParseError(f"{name} is missing")
            found = self._typed[name] = parse(value)
        return found

    def _list(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        found = self._typed.get(name)
        if found is None:
            values = self.headers.listed(name)
            found = self._typed[name] = tuple([parse(value) for value in values]) if values else ()
        return found

    def _number(self, name: str) -> int | None:
        if name not in self._typed:
            value = self.headers.get(name)
            self._typed[name] = None if value is None else parse_number(value, name)
        found: int | None = self._typed[name]
        return found

    @property
    def via(self) -> Via:
        """The topmost Via."""
        found: Via | None = self._typed.get("Via")
        return self._once("Via", _parse_top_via) if found is None else found

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Vias, topmost first."""
        found = self._typed.get("vias")
        if found is None:
            found = self._typed["vias"] = tuple(parse_via(value) for value in self.headers.listed("Via"))
        return found

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        found: NameAddr | None = self._typed.get("From")
        return self._once("From", parse_name_addr) if found is None else found

    @property
    def to(self) -> NameAddr:
        """The To header."""
        found: NameAddr | None = self._typed.get("To")
        return self._once("To", parse_name_addr) if found is None else found

    @property
    def from_tag(self) -> str:
        """The From tag; empty where an RFC 2543 peer sent none."""
        tag: str | None = self._typed.get("from_tag")
        if tag is None:
            tag = self._typed["from_tag"] = self.from_.tag or ""
        return tag

    @property
    def to_tag(self) -> str:
        """The To tag; empty outside dialogs."""
        tag: str | None = self._typed.get("to_tag")
        if tag is None:
            tag = self._typed["to_tag"] = self.to.tag or ""
        return tag

    @property
    def call_id(self) -> str:
        """The Call-ID as it came."""
        found: str | None = self._typed.get("Call-ID")
        return self._once("Call-ID", str) if found is None else found

    @property
    def cseq(self) -> CSeq:
        """The CSeq header."""
        found: CSeq | None = self._typed.get("CSeq")
        return self._once("CSeq", parse_cseq) if found is None else found

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All Contact values; empty also for `*` (see `is_contact_star`)."""
        found: tuple[NameAddr, ...] | None = self._typed.get("Contact")
        if found is not None:
            return found
        return () if self.is_contact_star else self._list("Contact", parse_name_addr)

    @property
    def is_contact_star(self) -> bool:
        """Whether Contact is `*` alone (RFC 3261 section 10.2.2)."""
        return self.headers.index.get("contact") == ["*"]

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact, or None."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """All Route values, topmost first."""
        return self._list("Route", _parse_route)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """All Record-Route values, topmost first."""
        return self._list("Record-Route", _parse_route)

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, or None."""
        return self._number("Max-Forwards")

    @property
    def expires(self) -> int | None:
        """Expires in seconds, or None."""
        return self._number("Expires")

    @property
    def require(self) -> frozenset[str]:
        """Option tags of Require, in lower case."""
        found: frozenset[str] | None = self._typed.get("require")
        if found is None:
            found = self._typed["require"] = self.headers.tokens("Require")
        return found

    @property
    def supported(self) -> frozenset[str]:
        """Option tags of Supported, in lower case."""
        found: frozenset[str] | None = self._typed.get("supported")
        if found is None:
            found = self._typed["supported"] = self.headers.tokens("Supported")
        return found

    @property
    def content_type(self) -> str | None:
        """The media type in lower case without parameters, or None."""
        values = self.headers.index.get("content-type")
        return None if values is None else values[0].partition(";")[0].replace(" ", "").lower()


@frozen(repr=False)
class Request(_Message):
    """A request. `uri` is the Request-URI's text; `request_uri` is it parsed."""

    method: str
    uri: str
    headers: Headers
    body: bytes = b""
    _typed: dict[str, Any] = field(default_factory=dict, init=False, compare=False)

    @property
    def request_uri(self) -> Uri:
        """The Request-URI. Raises ParseError."""
        found = self._typed.get("request_uri")
        if found is None:
            found = self._typed["request_uri"] = parse_uri(self.uri)
        return found

    @property
    def data(self) -> bytes | None:
        """The bytes that a REGISTER was read from; of other requests, and of those of our own making, None."""
        found: bytes | None = self._typed.get("data")
        return found

    @property
    def sip_uri(self) -> SipUri:
        """The Request-URI where it must be SIP. Raises ParseError with status 416."""
        return parse_sip_uri(self.uri)

    def with_headers(self, headers: Headers) -> "Request":
        """The same with other headers."""
        return replace(self, headers=headers)

    def to_bytes(self) -> bytes:
        """The message as sent, Content-Length made true. Raises ValueError when a value would break its line."""
        return _serialise(f"{self.method} {self.uri} SIP/2.0", _without_length(self.headers), self.body)

    def __repr__(self) -> str:
        return f"<Request {self.method}>"


@frozen(repr=False)
class Response(_Message):
    """A response."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    _typed: dict[str, Any] = field(default_factory=dict, init=False, compare=False)

    @property
    def is_provisional(self) -> bool:
        """1xx."""
        return self.status < 200

    @property
    def is_final(self) -> bool:
        """2xx to 6xx."""
        return self.status >= 200

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def with_headers(self, headers: Headers) -> "Response":
        """The same with other headers."""
        return replace(self, headers=headers)

    def to_bytes(self) -> bytes:
        """The message as sent, Content-Length made true. Raises ValueError when a value would break its line."""
        return _serialise(f"SIP/2.0 {self.status} {self.reason}", _without_length(self.headers), self.body)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


Message = Request | Response


def response_to(request: Request, status: int, reason: str | None = None, *, to_tag: str | None = None) -> Response:
    """A response with the headers that RFC 3261 section 8.2.6.2 copies, in the request's own spelling.

    `to_tag` is added to To where it has none; 100 carries none.
    """
    return Response(status, REASONS.get(status, "Unknown") if reason is None else reason, Headers(copied(request, status, to_tag)))


def copied(request: Request, status: int, to_tag: str | None = None) -> list[Line]:
    """The lines of such a response."""
    index = request.headers.index
    lines: list[Line] = [("Via", value) for value in index.get("via", ())]
    to = index.get("to", _NONE)[0]
    if to_tag is not None and status != 100 and not request.to_tag:
        to = f"{to};tag={to_tag}"
    lines += [("From", index.get("from", _NONE)[0]), ("To", to), ("Call-ID", request.call_id), ("CSeq", index.get("cseq", _NONE)[0])]
    if status == 100 and "timestamp" in index:
        lines.append(("Timestamp", index["timestamp"][0]))
    return lines


def response_bytes(status: int, reason: str | None, lines: Iterable[Line], body: bytes = b"") -> bytes:
    """A response as sent, of lines that nobody looks up any more. Raises ValueError when a value would break its line."""
    return _serialise(f"SIP/2.0 {status} {REASONS.get(status, 'Unknown') if reason is None else reason}", lines, body)


def _parse_top_via(text: str) -> Via:
    return parse_via(split_quoted(text, ",")[0].strip(" \t") if "," in text else text)


def _parse_route(text: str) -> NameAddr:
    """A route that can be followed: any other scheme would only fail once a dialog is to be ended by it."""
    route = parse_name_addr(text)
    if not isinstance(route.uri, SipUri):
        raise ParseError("a route is not a SIP URI")
    return route


def _without_length(headers: Headers) -> Iterable[Line]:
    if "content-length" not in headers.index:
        return headers.lines
    return [line for line in headers.lines if line[0] != "Content-Length"]


def _serialise(start: str, lines: Iterable[Line], body: bytes) -> bytes:
    parts = [start, *map(": ".join, lines), f"Content-Length: {len(body)}\r\n\r\n"]
    text = "\r\n".join(parts)
    # Nobody's value may end its line and begin another: header injection would otherwise need only one careless caller.
    breaks = len(parts) + 1
    if text.count("\n") != breaks or text.count("\r") != breaks:
        raise ValueError("a header value holds a line break")
    return text.encode("utf-8", "surrogateescape") + body
