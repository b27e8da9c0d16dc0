"""SIP, SIPS and tel URIs and the name-addr form (RFC 3261 section 19.1 and 25.1, RFC 3966).

Strict ASCII: control characters, white space and characters outside the grammar are refused, since what one reader drops and
another keeps is how numbers are smuggled past a check. Escapes are kept as they came; `user_unescaped` decodes them.
"""

import ipaddress
import re
from dataclasses import field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.errors import ParseError

Params = tuple[tuple[str, str | None], ...]

# user = 1*( unreserved / escaped / user-unreserved ); each alternative starts with another character, so nothing backtracks.
_USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+")
_UNESCAPED: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]*")
_PASSWORD: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*")
# hostname / IPv4address; a trailing dot is allowed, an underscore is tolerated (seen from Windows phones).
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-_.]*)")
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]{2,46}\]")
_THREE_COLONS: Final = re.compile(r":::(?=[0-9]+\.)")
# pname [ "=" pvalue ]; "=" is in neither.
_URI_PARAM: Final = re.compile(
    r"((?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})+)(?:=((?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})+))?"
)
# gen-value as peers write it: anything but separators and control characters (tokens, hosts, and odder things in the wild).
_GEN_PARAM: Final = re.compile(r"[ \t]*([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*(?:=[ \t]*([^ \t\"<>,;@\x00-\x1f]+)[ \t]*)?")
_HEADERS: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$&=]|%[0-9A-Fa-f]{2})*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*")
_OPAQUE: Final = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
# RFC 3966: "+" *phonedigit DIGIT *phonedigit, or local digits with hex, "*" and "#".
_TEL: Final = re.compile(r"\+?[0-9A-Fa-f*#\-.()]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_QUOTED: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# More than any phone writes: what a stranger may make us take apart before we know who it is.
_MOST_PARAMS: Final = 64
_LONGEST: Final = 8192
_LWS: Final = " \t"
# The URIs of a call come again in each of its messages, and a phone's in each REGISTER. Few, since they name people.
_KEPT: Final = 1024
_KEPT_LONGEST: Final = 256


class _Written:
    """Remembers how a value is written: the names of a call are written into each of its messages."""

    __slots__ = ("_text",)

    def __str__(self) -> str:
        text: str | None = getattr(self, "_text", None)
        if text is None:
            text = self._text = self._write()
        return text

    def _write(self) -> str:
        raise NotImplementedError


@frozen(repr=False)
class SipUri(_Written):
    """`sip:user@host:port;params?headers`. `host` is lower case, IPv6 in brackets; `params` names are lower case."""

    host: str
    user: str | None = None
    port: int | None = None
    params: Params = ()
    headers: str | None = None
    secure: bool = False
    password: str | None = None

    @property
    def scheme(self) -> str:
        """`sip` or `sips`."""
        return "sips" if self.secure else "sip"

    @property
    def user_unescaped(self) -> str | None:
        """The user part with its escapes decoded; ParseError where they are no UTF-8 text."""
        if self.user is None or "%" not in self.user:
            return self.user
        try:
            return unquote_to_bytes(self.user).decode()
        except UnicodeDecodeError:
            raise ParseError("the URI's user part is not UTF-8") from None

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case, or None."""
        value = self.param("transport")
        return value.lower() if value else None

    @property
    def is_loose(self) -> bool:
        """Whether the `lr` parameter stands there (RFC 3261 section 19.1.1)."""
        return self.has("lr")

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

    def matches(self, other: "Uri") -> bool:
        """Equality of URIs (RFC 3261 section 19.1.4): case, escapes, and parameters that both name."""
        if self is other:
            return True  # they are kept: a phone's is the same at each refresh
        if not isinstance(other, SipUri) or self.secure != other.secure or self.host != other.host or self.port != other.port:
            return False
        if (self.user is None) != (other.user is None) or _canonical(self.user) != _canonical(other.user):
            return False
        if _canonical(self.password) != _canonical(other.password):
            return False
        mine, theirs = dict(self.params), dict(other.params)
        for key in mine.keys() | theirs.keys():
            if key in mine and key in theirs:
                if (mine[key] or "").lower() != (theirs[key] or "").lower():
                    return False
            elif key in ("user", "ttl", "method", "maddr", "transport"):
                return False
        return sorted((self.headers or "").lower().split("&")) == sorted((other.headers or "").lower().split("&"))

    def _write(self) -> str:
        user = ""
        if self.user is not None:
            user = f"{self.user}@" if self.password is None else f"{self.user}:{self.password}@"
        port = "" if self.port is None else f":{self.port}"
        headers = "" if self.headers is None else f"?{self.headers}"
        return f"{'sips' if self.secure else 'sip'}:{user}{self.host}{port}{format_params(self.params)}{headers}"

    def __repr__(self) -> str:
        return f"SipUri({SHOWN})"


@frozen(repr=False)
class TelUri:
    """`tel:number;params` (RFC 3966). `number` keeps its visual separators; `digits` does not."""

    number: str
    params: Params = ()

    @property
    def scheme(self) -> str:
        """Always `tel`."""
        return "tel"

    @property
    def digits(self) -> str:
        """The number without visual separators (RFC 3966 section 3, visual-separator)."""
        return "".join(char for char in self.number if char not in "-.()")

    def __str__(self) -> str:
        return f"tel:{self.number}{format_params(self.params)}"

    def __repr__(self) -> str:
        return f"TelUri({SHOWN})"


@frozen(repr=False)
class OtherUri:
    """A URI of another scheme, kept as it came (RFC 3261 section 25.1, absoluteURI)."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    def __repr__(self) -> str:
        return f"OtherUri({self.scheme}, {SHOWN})"


Uri = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """A URI in its addr-spec form. Raises ParseError."""
    return _kept_uri(text) if len(text) <= _KEPT_LONGEST else _read_uri(text)


def _read_uri(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    lower = scheme.lower()
    if not colon or not rest:
        raise ParseError("a URI lacks its scheme or body")
    if lower == "sip" or lower == "sips":
        return _read_sip(rest, lower == "sips")
    if lower == "tel":
        return _parse_tel(rest)
    if not _SCHEME.fullmatch(scheme) or not _OPAQUE.fullmatch(rest):
        raise ParseError("a URI has characters outside its grammar")
    return OtherUri(lower, rest)


_kept_uri: Final = lru_cache(_KEPT)(_read_uri)


def parse_sip_uri(text: str) -> SipUri:
    """A SIP or SIPS URI. Raises ParseError, with status 416 for other schemes."""
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        raise ParseError("the URI's scheme is not SIP", status=416)
    return uri


def _read_sip(rest: str, secure: bool) -> SipUri:
    user: str | None = None
    password: str | None = None
    # "@" can't stand unescaped in a user part, host or parameter; in headers neither. So there is at most one.
    before, at, after = rest.partition("@")
    if at:
        user, colon, secret = before.partition(":")
        if not _USER.fullmatch(user):
            raise ParseError("a URI's user part has characters outside its grammar")
        if colon:
            if not _PASSWORD.fullmatch(secret):
                raise ParseError("a URI's password has characters outside its grammar")
            password = secret
    else:
        after = rest
    after, question, headers = after.partition("?")
    hostport, semicolon, tail = after.partition(";")
    host, port = parse_host_port(hostport)
    params = parse_uri_params(tail) if semicolon else ()
    if question and not _HEADERS.fullmatch(headers):
        raise ParseError("a URI's headers have characters outside their grammar")
    return SipUri(host, user, port, params, headers if question else None, secure, password)


def _parse_tel(rest: str) -> TelUri:
    number, semicolon, tail = rest.partition(";")
    if not _TEL.fullmatch(number) or not any(char.isdigit() or char in "*#ABCDEFabcdef" for char in number):
        raise ParseError("a tel URI is not a number")
    return TelUri(number, parse_uri_params(tail) if semicolon else ())


def parse_host_port(text: str) -> tuple[str, int | None]:
    """Host in lower case (IPv6 in brackets) and port, of `host[:port]`. Raises ParseError."""
    return _kept_host_port(text) if len(text) <= _KEPT_LONGEST else _read_host_port(text)


def _read_host_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        if rest and not rest.startswith(":"):
            raise ParseError("a host is not an IPv6 reference")
        host = _ipv6_reference(host)
        digits, colon = rest[1:], bool(rest)
    else:
        host, found, digits = text.partition(":")
        colon = bool(found)
        if not _HOST.fullmatch(host):
            raise ParseError("a host has characters outside its grammar")
    if not colon:
        return host.lower(), None
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or not 0 < int(digits) < 65536:
        raise ParseError("a port is not a number from 1 to 65535")
    return host.lower(), int(digits)


_kept_host_port: Final = lru_cache(_KEPT)(_read_host_port)


def _ipv6_reference(text: str) -> str:
    """The IPv6 reference, brackets included. RFC 5118 section 4.10: `:::` before an IPv4 part, which RFC 3261's grammar allows, is `::`."""
    inner = _THREE_COLONS.sub("::", text[1:-1], count=1) if ":::" in text else text[1:-1]
    try:
        if not _IPV6.fullmatch(text):
            raise ValueError
        ipaddress.IPv6Address(inner)
    except ValueError:
        raise ParseError("a host is not an IPv6 reference") from None
    return f"[{inner}]"


def parse_uri_params(text: str) -> Params:
    """`name=value;name` of a URI, names in lower case. Raises ParseError, also on a name that stands twice."""
    if ";" not in text:
        return (_uri_param(text),)
    if text.count(";") >= _MOST_PARAMS:
        raise ParseError("a URI has too many parameters")
    found = tuple([_uri_param(part) for part in text.split(";")])
    if len({name for name, _ in found}) != len(found):
        raise ParseError("a URI parameter stands twice")
    return found


def _uri_param(text: str) -> tuple[str, str | None]:
    match = _URI_PARAM.fullmatch(text)
    if match is None:
        raise ParseError("a URI parameter has characters outside its grammar")
    name, value = match.groups()
    return name.lower(), value


def format_params(params: Params) -> str:
    """`;name=value;name`, or nothing."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params]) if params else ""


def escape_user(text: str) -> str:
    """A user part with everything outside the grammar escaped (RFC 3261 section 19.1.2)."""
    if _UNESCAPED.fullmatch(text):
        return text
    safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/"
    return "".join(chr(byte) if chr(byte) in safe else f"%{byte:02X}" for byte in text.encode())


def _canonical(text: str | None) -> str:
    """Escapes of unreserved characters decoded, the others in upper case: two spellings of one user part become equal."""
    if text is None or "%" not in text:
        return text or ""
    return escape_user(unquote_to_bytes(text).decode("latin-1"))


@frozen(repr=False)
class NameAddr(_Written):
    """`"display" <uri>;params`, as From, To, Contact, Route and Refer-To carry it (RFC 3261 section 20.10).

    `display` is unquoted. `params` are the header's, not the URI's; values lose their quotes.
    """

    uri: Uri
    display: str | None = None
    params: Params = field(default=())

    @property
    def tag(self) -> str | None:
        """The tag parameter, or None."""
        return self.param("tag")

    @property
    def sip_uri(self) -> SipUri:
        """The URI, where it must be SIP. Raises ParseError with status 416."""
        if not isinstance(self.uri, SipUri):
            raise ParseError("the URI's scheme is not SIP", status=416)
        return self.uri

    def param(self, name: str) -> str | None:
        """The value of a header parameter; None if it is absent or has no value."""
        for key, value in self.params:
            if key == name:
                return value
        return None

    def has(self, name: str) -> bool:
        """Whether a header parameter stands there."""
        for key, _ in self.params:  # noqa: SIM110 - several times a message: a generator costs five times as much
            if key == name:
                return True
        return False

    def with_param(self, name: str, value: str | None) -> "NameAddr":
        """The same with one parameter set."""
        return NameAddr(self.uri, self.display, (*[pair for pair in self.params if pair[0] != name], (name, value)))

    def _write(self) -> str:
        display = "" if self.display is None else f"{quote(self.display)} "
        params = ""
        for name, value in self.params:
            params += f";{name}" if value is None else f";{name}={value if is_plain(value) else quote(value)}"
        return f"{display}<{self.uri}>{params}"

    def __repr__(self) -> str:
        return f"NameAddr({SHOWN})"


def is_plain(value: str) -> bool:
    """Whether a header parameter's value needs no quotes (token or host)."""
    return _PARAM_VALUE.fullmatch(value) is not None


_PARAM_VALUE: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]:]+")


def quote(text: str) -> str:
    """A quoted-string (RFC 3261 section 25.1)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_name_addr(text: str) -> NameAddr:
    """A name-addr or addr-spec with header parameters. Raises ParseError.

    In the addr-spec form what follows the first semicolon belongs to the header (RFC 3261 section 20.10).
    """
    return _kept_name_addr(text) if len(text) <= _KEPT_LONGEST else _read_name_addr(text)


def _read_name_addr(text: str) -> NameAddr:
    text = text.strip(_LWS)
    if len(text) > _LONGEST:
        raise ParseError("an address is too long")
    display: str | None = None
    if text.startswith("<"):
        usual, mark, tag = text.partition(">;tag=")
        if mark and ">" not in usual and _TOKEN.fullmatch(tag) is not None:
            return NameAddr(parse_uri(usual[1:]), None, (("tag", tag),))
    if text.startswith('"'):
        end = quoted_end(text, 0)
        display = unquote(text[:end])
        rest = text[end:].lstrip(_LWS)
        if not rest.startswith("<"):
            raise ParseError("a display name is not followed by <")
    else:
        before, angle, _ = text.partition("<")
        if not angle:
            uri, semicolon, tail = text.partition(";")
            if "?" in uri or "," in uri:
                # RFC 3261 section 20.10: a URI with a comma, question mark or semicolon must stand in angle brackets.
                raise ParseError("a URI with a question mark or comma stands without angle brackets")
            return NameAddr(parse_uri(uri.rstrip(_LWS)), None, parse_params(tail) if semicolon else ())
        name = before.strip(_LWS)
        if name:
            # *(token LWS): phones also send names with dots, colons or UTF-8; quotes, commas and semicolons stay refused.
            if any(char in '"<>,;@:\\' or ord(char) < 0x20 for char in name.replace("\t", " ")):
                raise ParseError("a display name needs quotes")
            display = name
        rest = text[len(before) :]
    close = rest.find(">")
    if close < 0:
        raise ParseError("a URI's angle bracket is not closed")
    tail = rest[close + 1 :].lstrip(_LWS)
    params: Params = ()
    if tail:
        if not tail.startswith(";"):
            raise ParseError("something that is no parameter follows a URI")
        params = parse_params(tail[1:])
    return NameAddr(parse_uri(rest[1:close]), display, params)


_kept_name_addr: Final = lru_cache(_KEPT)(_read_name_addr)


def parse_params(text: str) -> Params:
    """`name=value; name="quoted"` of a header, names in lower case, values without quotes. Raises ParseError."""
    if '"' not in text and text.count(";") < _MOST_PARAMS:
        matches = list(map(_GEN_PARAM.fullmatch, text.split(";")))
        if None not in matches:
            usual = tuple([(match[1].lower(), match[2]) for match in matches if match is not None])
            if len(dict(usual)) == len(usual):
                return usual
    parts = split_quoted(text, ";") if '"' in text else text.split(";")
    if len(parts) > _MOST_PARAMS:
        raise ParseError("there are too many parameters")
    found = tuple([_param(part) for part in parts])
    if len({name for name, _ in found}) != len(found):
        raise ParseError("a parameter stands twice")
    return found


def _param(text: str) -> tuple[str, str | None]:
    match = _GEN_PARAM.fullmatch(text)
    if match is not None:
        name, value = match.groups()
        return name.lower(), value
    name, equals, quoted = text.partition("=")
    name, quoted = name.strip(_LWS), quoted.strip(_LWS)
    if not equals or not _TOKEN.fullmatch(name) or not quoted.startswith('"') or quoted_end(quoted, 0) != len(quoted):
        raise ParseError("a parameter does not follow its grammar")
    return name.lower(), unquote(quoted)


def quoted_end(text: str, start: int) -> int:
    """The index after the closing quote of the quoted-string that begins at `start`. Raises ParseError."""
    match = _QUOTED.match(text, start)
    if match is None:
        raise ParseError("a quoted string is not closed")
    return match.end()


def unquote(text: str) -> str:
    """The content of a quoted-string."""
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)


def split_quoted(text: str, separator: str) -> list[str]:
    """The parts between separators that stand outside quotes and angle brackets. Raises ParseError on open quotes."""
    parts: list[str] = []
    start = index = 0
    in_angle = False
    for match in _MARKS.finditer(text):
        at = match.start()
        if at < index:
            continue
        char = match.group()
        if char == '"' and not in_angle:
            index = quoted_end(text, at)
        elif char == "<":
            in_angle = True
        elif char == ">":
            in_angle = False
        elif char == separator and not in_angle:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts


_MARKS: Final = re.compile(r'["<>,;]')
