"""From bytes to messages (RFC 3261 section 7 and 25, RFC 4475): datagrams whole, streams cut by Content-Length (section 18.3).

Strict where two readers could see two messages: bare CR or LF, a name that is no token, single headers that stand twice,
Content-Length that contradicts itself or the datagram. Lenient where only taste is hurt: folding, white space around the colon,
compact forms, bytes after the body of a datagram, methods and headers that nobody knows.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hushwire.core.values import frozen
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import SPELLINGS, Headers, Line, display_name, header_key, is_token, parse_cseq, parse_number, parse_via
from hushwire.sip.message import Message, Request, Response
from hushwire.sip.uri import parse_name_addr, parse_uri, split_quoted

MAX_MESSAGE: Final = 65536
MAX_HEADERS: Final = 128

# Headers that may stand only once (RFC 3261 section 7.3.1); a second one is how two readers are made to disagree.
_SINGLE: Final = frozenset(
    ("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type", "expires", "refer-to", "replaces")
)


def parse(data: bytes, *, is_stream: bool = False) -> Message:
    """One message. `is_stream`: Content-Length must be there and exact. Raises ParseError and nothing else."""
    if len(data) > MAX_MESSAGE:
        raise ParseError("the message is too long", status=None)
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        raise ParseError("the header section does not end", status=None)
    text = data[start:end].decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    first = lines.pop(0)
    # As many of each as there are ends of lines: then none stands bare within one.
    is_clean = text.count("\n") == len(lines) == text.count("\r")
    headers, defect = _usual_headers(lines) if is_clean else None, None
    if headers is None:
        headers, defect = _headers(lines)
    body = data[end + 4 :]
    if first.startswith("SIP/"):
        if defect is not None:
            raise defect
        return _response(first, headers, body, is_stream)
    request = _request(first, headers, body, is_stream, defect)
    if request.method == "REGISTER":
        request._typed["data"] = data  # the next one may say the same (sip/repeated.py)
    return request


def _usual_headers(lines: list[str]) -> Headers | None:
    """Headers that are all known, each there once, nothing folded. None: they are to be looked at line by line."""
    try:
        pairs = [line.split(":", 1) for line in lines]
        index = {SPELLINGS[name]: [value.strip(" \t")] for name, value in pairs}
    except (KeyError, ValueError):
        return None
    return Headers.of(pairs, index) if len(index) == len(pairs) < MAX_HEADERS else None


def _headers(lines: list[str]) -> tuple[Headers, ParseError | None]:
    """All headers, and the first defect: a request that has one is still answered where its other headers allow."""
    found: list[Line] = []
    index: dict[str, list[str]] = {}
    defect: ParseError | None = None
    if len(lines) >= MAX_HEADERS:
        raise ParseError("there are too many headers", status=None)
    known = _SPELLINGS.get
    for line in lines:
        name, colon, value = line.partition(":")
        pair = known(name) if colon else None
        if pair is None:
            if line[:1] in (" ", "\t"):
                # Folding (RFC 3261 section 7.3.1): the line continues the one above.
                if not found:
                    raise ParseError("a continuation line continues nothing", status=None)
                if "\n" in line or "\r" in line:
                    defect = defect or ParseError("a header holds a bare line break")
                    continue
                above, text = found[-1]
                text = f"{text} {line.strip(' 	')}".strip(" \t")
                found[-1] = (above, text)
                index[header_key(above)][-1] = text
                continue
            name = name.rstrip(" \t")
            if not colon or not is_token(name):
                defect = defect or ParseError("a header line has no proper name")
                continue
            pair = known(name) or (header_key(name), display_name(name))
        key, name = pair
        value = value.strip(" \t")
        if "\n" in value or "\r" in value:
            defect = defect or ParseError("a header holds a bare line break")
            continue
        found.append((name, value))
        values = index.get(key)
        if values is None:
            index[key] = [value]
        else:
            if key in _SINGLE:
                defect = defect or ParseError(f"{name} stands twice")
            values.append(value)
    return Headers.of(found, index), defect


def _request(first: str, headers: Headers, body: bytes, is_stream: bool, defect: ParseError | None) -> Request:
    start = first.rstrip(" \t")
    if start != first:
        defect = defect or ParseError("white space ends the start line")
    method, _, rest = start.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if (method not in _METHODS and not is_token(method)) or version[:4].upper() != "SIP/":
        raise ParseError("the start line is neither a request nor a response", status=None)
    request = Request(method, uri, headers, body)
    typed = request._typed
    index = headers.index
    try:
        # Via first: without it nobody can be answered.
        if "via" not in index:
            raise ParseError("Via is missing", status=None)
        via = index["via"][0]
        typed["Via"] = parse_via(split_quoted(via, ",")[0].strip(" \t") if "," in via else via)
    except ParseError as error:
        raise ParseError(error.words, status=None) from None
    try:
        try:
            from_, to, call_id, numbered = index["from"][0], index["to"][0], index["call-id"][0], index["cseq"][0]
        except KeyError as missing:
            raise ParseError(f"{display_name(missing.args[0])} is missing") from None
        if defect is not None:
            raise defect
        if version != "SIP/2.0" and version.upper() != "SIP/2.0":
            raise ParseError("the version is not SIP/2.0", status=505)
        typed["From"] = parse_name_addr(from_)
        typed["To"] = parse_name_addr(to)
        typed["Call-ID"] = call_id
        if not call_id:
            raise ParseError("Call-ID is empty")
        cseq = typed["CSeq"] = parse_cseq(numbered)
        if cseq.method != method:
            raise ParseError("CSeq names another method")
        typed["request_uri"] = parse_uri(uri)
        length = _length(index, body, is_stream)
    except ParseError as error:
        raise ParseError(error.words, status=error.status, request=request, is_fatal=error.is_fatal) from None
    if length == len(body):
        return request
    shorter = Request(method, uri, headers, body[:length])
    shorter._typed.update(typed)
    return shorter


def _response(first: str, headers: Headers, body: bytes, is_stream: bool) -> Response:
    version, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0":
        raise ParseError("the version is not SIP/2.0", status=None)
    if len(code) != 3 or not (code.isascii() and code.isdigit()) or not 100 <= int(code) < 700:
        raise ParseError("the status is not a number from 100 to 699", status=None)
    if "\n" in reason or "\r" in reason:
        raise ParseError("the reason phrase holds a bare line break", status=None)
    try:
        index = headers.index
        length = _length(index, body, is_stream)
        response = Response(int(code), reason, headers, body if length == len(body) else body[:length])
        typed = response._typed
        # Read now, so that later looks at these don't raise.
        via = index["via"][0]
        typed["Via"] = parse_via(split_quoted(via, ",")[0].strip(" \t") if "," in via else via)
        typed["From"] = parse_name_addr(index["from"][0])
        typed["To"] = parse_name_addr(index["to"][0])
        typed["Call-ID"] = index["call-id"][0]
        typed["CSeq"] = parse_cseq(index["cseq"][0])
    except KeyError as missing:
        raise ParseError(f"{display_name(missing.args[0])} is missing", status=None) from None
    except ParseError as error:
        raise ParseError(error.words, status=None, is_fatal=error.is_fatal) from None
    return response


def _length(index: dict[str, list[str]], body: bytes, is_stream: bool) -> int:
    values = index.get("content-length")
    if values is None:
        if is_stream:
            raise ParseError("Content-Length is missing", is_fatal=True)
        return len(body)
    if values[0] == str(len(body)):
        return len(body)
    length = parse_number(values[0], "Content-Length")
    if length > len(body) or (is_stream and length != len(body)):
        # RFC 3261 section 18.3: a datagram that ends before its body does is a 400.
        raise ParseError("Content-Length does not fit the message", is_fatal=is_stream)
    return length


_METHODS: Final = frozenset(
    ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PRACK", "UPDATE")
)
_SPELLINGS: Final = {spelling: (key, display_name(spelling)) for spelling, key in SPELLINGS.items()}


@frozen
class Ping:
    """A double CRLF between messages, which asks for one CRLF back (RFC 5626 section 3.5.1)."""


@dataclass(slots=True)
class StreamParser:
    """Cuts a byte stream into messages; what a segment holds, many messages or part of one, does not matter.

    A ParseError among the results is to be answered like a datagram's; after one that is fatal the connection must end,
    and nothing more comes out. `may_take` is asked before each message is parsed; what it refuses is passed over.
    """

    max_message: int = MAX_MESSAGE
    may_take: Callable[[bytes], bool] = lambda _message: True
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _searched: int = field(default=0, init=False)
    _needed: int = field(default=0, init=False)
    _has_length: bool = field(default=False, init=False)
    _is_broken: bool = field(default=False, init=False)

    @property
    def is_idle(self) -> bool:
        """Whether no message is half received."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[Message | ParseError | Ping]:
        """What the bytes complete."""
        if self._is_broken:
            return
        self._buffer += data
        while self._buffer and not self._is_broken:
            if self._searched == 0 and self._needed == 0 and self._buffer[0] == 0x0D:
                if self._buffer.startswith(b"\r\n\r\n"):
                    del self._buffer[:4]
                    yield Ping()
                    continue
                if b"\r\n\r\n".startswith(self._buffer):
                    return
                if self._buffer.startswith(b"\r\n"):
                    # RFC 3261 section 7.5: CRLF before the start line is ignored; also the pong of our own ping.
                    del self._buffer[:2]
                    continue
            if self._needed == 0:
                ready = self._find_end()
                if isinstance(ready, ParseError):
                    self._is_broken = True
                    yield ready
                    return
                if not ready:
                    return
            if len(self._buffer) < self._needed:
                return
            whole = bytes(self._buffer[: self._needed])
            del self._buffer[: self._needed]
            self._searched = self._needed = 0
            # Without a proper length nobody knows where the next message begins, whatever else is wrong with this one.
            self._is_broken = not self._has_length
            if not self.may_take(whole):
                if self._is_broken:
                    yield ParseError("Content-Length is missing", status=None, is_fatal=True)
                continue
            try:
                yield parse(whole, is_stream=True)
            except ParseError as error:
                self._is_broken = self._is_broken or error.is_fatal
                yield ParseError(error.words, status=error.status, request=error.request, is_fatal=self._is_broken)

    def _find_end(self) -> bool | ParseError:
        end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > self.max_message:
                return ParseError("the message is too long", status=None, is_fatal=True)
            return False
        found = _CONTENT_LENGTH.findall(self._buffer, 0, end + 2)
        lengths = {int(digits) for digits in found}
        if len(lengths) > 1 or len(found) != len(_LENGTH_LINE.findall(self._buffer, 0, end + 2)):
            # One of them is not what we read: whoever reads the other sees the next message begin elsewhere.
            return ParseError("Content-Length stands twice or is no number", status=None, is_fatal=True)
        # Where no length is found the message ends here, and the stream with it.
        self._has_length = bool(lengths)
        self._needed = end + 4 + (lengths.pop() if lengths else 0)
        if self._needed > self.max_message:
            return ParseError("the message is too long", status=None, is_fatal=True)
        return True


_LENGTH_LINE: Final = re.compile(rb"\n[ \t]*(?:content-length|l)[ \t]*:", re.IGNORECASE)
_CONTENT_LENGTH: Final = re.compile(
    rb"\r\n(?:[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]|[Ll])[ \t]*:(?:[ \t]|\r\n[ \t])*([0-9]{1,9})(?=[ \t]*\r\n(?![ \t]))"
)
