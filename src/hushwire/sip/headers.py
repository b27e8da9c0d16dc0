"""Header fields in order, found by any spelling (RFC 3261 section 7.3), and the typed values of the structural ones."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.errors import ParseError
from hushwire.sip.uri import Params, format_params, parse_host_port, parse_params, split_quoted

Line = tuple[str, str]

# Of one line: more than any peer writes, and few enough to be looked at for somebody whom we don't know yet.
_MOST_VALUES: Final = 128
_LONGEST_VIA: Final = 4096
_KEPT_LONGEST: Final = 32
_KEPT_VIA: Final = 256

# Compact forms: RFC 3261 section 20, RFC 3515, RFC 6665, RFC 4028, RFC 3892, RFC 3841, RFC 8224.
_COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_USUAL: Final = _words(
    """
    Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authentication-Info Authorization Call-ID
    Call-Info Contact Content-Disposition Content-Encoding Content-Language Content-Length Content-Type CSeq Date Diversion Error-Info
    Event Expires From History-Info Identity In-Reply-To Join Max-Forwards MIME-Version Min-Expires Min-SE Organization
    P-Asserted-Identity P-Preferred-Identity Path Priority Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason
    Record-Route Refer-To Referred-By Reject-Contact Replaces Reply-To Request-Disposition Require Retry-After Route RSeq Server
    Service-Route Session-Expires SIP-ETag SIP-If-Match Subject Subscription-State Supported Target-Dialog Timestamp To Unsupported
    User-Agent Via Warning WWW-Authenticate
    """
)
_DISPLAY: Final = {name.lower(): name for name in _USUAL}
# Every spelling that peers use in practice -> the key; others are lowered at each look-up.
SPELLINGS: Final = (
    _COMPACT
    | {short.upper(): long for short, long in _COMPACT.items()}
    | {name: name.lower() for name in _USUAL}
    | {name.lower(): name.lower() for name in _USUAL}
    | {"CSEQ": "cseq", "Call-Id": "call-id", "Cseq": "cseq", "WWW-authenticate": "www-authenticate"}
)


def header_key(name: str) -> str:
    """The lower-case long form of a header's name: equal for all spellings of one header."""
    return SPELLINGS.get(name) or name.lower()


class Headers:
    """Header lines in their order; immutable. Look-ups take any case and compact forms.

    Names of known headers are written in their usual spelling, others as they came. Values are text as on the wire, folding undone.
    """

    __slots__ = ("_given", "_lines", "index")

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._lines: tuple[Line, ...] | None = tuple(lines)
        self._given: Sequence[Sequence[str]] = ()
        index: dict[str, list[str]] = {}
        for name, value in self._lines:
            key = SPELLINGS.get(name) or name.lower()
            if key in index:
                index[key].append(value)
            else:
                index[key] = [value]
        self.index = index
        """The values by `header_key`, for readers in a hurry; not to be changed."""

    @classmethod
    def of(cls, lines: Sequence[Sequence[str]], index: dict[str, list[str]]) -> "Headers":
        """Headers whose index the parser has made already: keys as `header_key` gives them. The lines are as they came."""
        made = cls.__new__(cls)
        made._lines = None  # most of what comes is looked up, and never written again
        made._given = lines
        made.index = index
        return made

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        found = self.index.get(SPELLINGS.get(name) or name.lower())
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        """The value of each line of a header; a line may hold several values (see `listed`)."""
        return list(self.index.get(SPELLINGS.get(name) or name.lower(), ()))

    def listed(self, name: str) -> list[str]:
        """The single values of a header, across lines and commas, in order. Raises ParseError on open quotes.

        Not for headers whose values hold bare commas (WWW-Authenticate, Authorization, Date and their kin).
        """
        found = self.index.get(SPELLINGS.get(name) or name.lower())
        if found is None:
            return []
        values: list[str] = []
        for line in found:
            if "," not in line:
                values.append(line)
            else:
                parts = split_quoted(line, ",") if '"' in line or "<" in line else line.split(",")
                if len(parts) > _MOST_VALUES:
                    raise ParseError("a header has too many values")
                values += [part.strip(" \t") for part in parts]
        return values

    def tokens(self, name: str) -> frozenset[str]:
        """The values of a list of tokens in lower case: Allow, Supported, Require and their kin."""
        if (SPELLINGS.get(name) or name.lower()) not in self.index:
            return _NO_TOKENS
        return frozenset([value.lower() for value in self.listed(name) if value])

    def count(self, name: str) -> int:
        """How many lines carry the header."""
        return len(self.index.get(SPELLINGS.get(name) or name.lower(), ()))

    def with_line(self, name: str, value: str) -> "Headers":
        """The same with one line more at the end."""
        return Headers((*self.lines, (name, value)))

    def replaced(self, name: str, value: str) -> "Headers":
        """The same with this as the header's only line, at its old place or else at the end."""
        key = header_key(name)
        if key not in self.index:
            return self.with_line(name, value)
        lines: list[Line] = []
        done = False
        for line in self.lines:
            if header_key(line[0]) != key:
                lines.append(line)
            elif not done:
                lines.append((line[0], value))
                done = True
        return Headers(lines)

    def with_top(self, name: str, value: str) -> "Headers":
        """The same with another first line of a header that is there."""
        key, place = header_key(name), 0
        lines: list[Sequence[str]] = list(self._given if self._lines is None else self._lines)
        while header_key(lines[place][0]) != key:
            place += 1
        lines[place] = (name, value)
        return Headers.of(lines, self.index | {key: [value, *self.index[key][1:]]})

    def without(self, *names: str) -> "Headers":
        """The same without these headers."""
        keys = {header_key(name) for name in names}
        return Headers(line for line in self.lines if header_key(line[0]) not in keys)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines in order."""
        lines = self._lines
        if lines is None:
            lines = self._lines = tuple([(_SHOWN.get(name) or name, value.strip(" \t")) for name, value in self._given])
        return lines

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and header_key(name) in self.index

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(header_key(name), value) for name, value in self] == [(header_key(name), value) for name, value in other]

    def __hash__(self) -> int:
        return hash(tuple((header_key(name), value) for name, value in self.lines))

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self.lines)})"


_NO_TOKENS: Final = frozenset[str]()


def display_name(name: str) -> str:
    """The usual spelling of a known header's name; others as given."""
    return _DISPLAY.get(SPELLINGS.get(name) or name.lower(), name)


_SHOWN: Final = {spelling: _DISPLAY.get(key, spelling) for spelling, key in SPELLINGS.items()}


@frozen(repr=False)
class Via:
    """One Via value (RFC 3261 section 20.42). `host` and `port` are the sent-by; `transport` is upper case as on the wire."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()

    @property
    def branch(self) -> str | None:
        """The branch parameter, or None."""
        for key, value in self.params:
            if key == "branch":
                return value
        return None

    @property
    def sent_by(self) -> str:
        """`host[:port]`, which together with the branch tells transactions apart (RFC 3261 section 17.2.3)."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def param(self, name: str) -> str | None:
        """The value of a parameter; None if it is absent or has no value."""
        for key, value in self.params:
            if key == name:
                return value
        return None

    def has(self, name: str) -> bool:
        """Whether a parameter stands there, with or without a value."""
        for key, _ in self.params:  # noqa: SIM110 - several times a message: a generator costs five times as much
            if key == name:
                return True
        return False

    def received_from(self, host: str, port: int, *, always: bool = False) -> "Via":
        """The value as the server's transport stores it (RFC 3261 section 18.2.1, RFC 3581 section 4).

        `received` is added when sent-by is another host (or rport was asked for), `rport` is filled where it stands empty.
        What the client wrote into them itself is thrown away.
        """
        asked = self.has("rport") or always
        sent_host = self.host[1:-1] if self.host.startswith("[") else self.host
        params = [pair for pair in self.params if pair[0] not in ("received", "rport")]
        if asked or sent_host != host:
            params.append(("received", host))
        if asked:
            params.append(("rport", str(port)))
        return Via(self.transport, self.host, self.port, tuple(params))

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {self.sent_by}{format_params(self.params)}"

    def __repr__(self) -> str:
        return f"Via({self.transport}, {SHOWN})"


# sent-protocol = "SIP" SLASH "2.0" SLASH transport, where SLASH allows white space around.
_VIA: Final = re.compile(
    r"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*([A-Za-z0-9\-.!%*_+`'~]+)[ \t]+([^;\s]+)[ \t]*(?::[ \t]*([0-9]+)[ \t]*)?(;.*)?", re.I
)


# As nearly everybody writes it.
_USUAL_VIA: Final = re.compile(
    r"SIP/2\.0/([A-Za-z]++) ([A-Za-z0-9][A-Za-z0-9\-_.]*+(?::[0-9]{1,5})?)"
    r"((?:;[A-Za-z0-9\-.!%*_+`'~]++(?:=[^ \t\"<>,;@\x00-\x1f]++)?){1,16})"
)
_VIA_PARAM: Final = re.compile(r";([^=;]+)=?([^;]*)")
_BRANCH: Final = ";branch="


def parse_via(text: str) -> Via:
    """One Via value. Raises ParseError."""
    # A peer's differ by their branch alone, and any token for it is read alike: the others are read once.
    before, mark, after = text.partition(_BRANCH)
    branch, semicolon, rest = after.partition(";")
    if mark and len(text) <= _KEPT_VIA and '"' not in text and _BRANCH not in rest and _TOKEN.fullmatch(branch) is not None:
        known = _kept_via(f"{before}{_BRANCH}x{semicolon}{rest}")
        if known is not None:
            transport, host, port, front, back = known
            return Via(transport, host, port, (*front, ("branch", branch), *back))
    return _read_via(text)


@lru_cache(1024)
def _kept_via(text: str) -> tuple[str, str, int | None, Params, Params] | None:
    """What a Via with the branch `x` says, its parameters before and after that; None where it says nothing."""
    try:
        via = _read_via(text)
    except ParseError:
        return None
    place = via.params.index(("branch", "x"))
    return via.transport, via.host, via.port, via.params[:place], via.params[place + 1 :]


def _read_via(text: str) -> Via:
    usual = _USUAL_VIA.fullmatch(text)
    if usual is not None:
        transport, sent_by, tail = usual.groups()
        params = tuple([(name.lower(), value or None) for name, value in _VIA_PARAM.findall(tail)])
        if len(dict(params)) == len(params):
            return Via(transport.upper(), *parse_host_port(sent_by), params)
    match = _VIA.fullmatch(text) if len(text) <= _LONGEST_VIA else None
    if match is None:
        raise ParseError("a Via does not follow its grammar")
    transport, sent_by, digits, tail = match.groups()
    host, port = parse_host_port(f"{sent_by}:{digits}" if digits else sent_by)
    return Via(transport.upper(), host, port, parse_params(tail[1:]) if tail else ())


@frozen
class CSeq:
    """Sequence number (0 to 2**31 - 1) and method (RFC 3261 section 20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_DIGITS: Final = re.compile(r"[0-9]{1,16}")


def parse_cseq(text: str) -> CSeq:
    """A CSeq value. Raises ParseError."""
    return _kept_cseq(text) if len(text) <= _KEPT_LONGEST else _read_cseq(text)


def _read_cseq(text: str) -> CSeq:
    number, _, method = text.partition(" ")
    method = method.strip(" \t")
    if not method:
        number, _, method = text.partition("\t")
        method = method.strip(" \t")
    value = parse_number(number, "CSeq", 2**31 - 1)
    if not _TOKEN.fullmatch(method):
        raise ParseError("a CSeq has no method")
    return CSeq(value, method)


# Few are ever other than the first or second request of a dialog.
_kept_cseq: Final = lru_cache(256)(_read_cseq)


def parse_number(text: str, name: str, most: int = 2**32 - 1) -> int:
    """A decimal number of a header, leading zeros allowed. Raises ParseError."""
    text = text.strip(" \t")
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise ParseError(f"{name} is not a number in its range")
    return int(text)


def is_token(text: str) -> bool:
    """Whether the text is a token (RFC 3261 section 25.1): methods, header names."""
    return _TOKEN.fullmatch(text) is not None
