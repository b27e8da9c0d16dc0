"""The strict reader in front of the judge: user parts, URIs and header values -> what they name, or why they are refused.

What one reader drops and the next one keeps is how numbers are smuggled past a check. So everything is ASCII, every parameter
is known, and nothing that a URI carries besides its number (routing numbers, carriers, maddr, headers) changes what is read.

    user part           RFC 3261 section 25.1 (user), RFC 3966 section 3 (telephone-subscriber), RFC 4967 (dial strings)
    sip, sips, tel URI  RFC 3261 section 19.1, RFC 3966
    urn:service         RFC 5031
    header value        name-addr / addr-spec, RFC 3261 section 20.10
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote_to_bytes

from hushwire.policy.hosts import is_own, is_own_name
from hushwire.policy.model import Channel, OwnHosts, Reason
from hushwire.sip.errors import ParseError
from hushwire.sip.uri import SipUri, TelUri, parse_uri

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]*", re.ASCII)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*):", re.ASCII)
_URN: Final = re.compile(r"urn:([a-z0-9][a-z0-9\-]{0,31}):([a-z0-9()+,\-.:=@;$_!*'%/]+)", re.ASCII)
# A user part in a SIP URI can't hold "#" unescaped; what a person dials can.
_USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2})+", re.ASCII)
_GLOBAL: Final = re.compile(r"\+[\-.()]*[0-9][0-9\-.()]*", re.ASCII)
_LOCAL: Final = re.compile(r"[0-9*#\-.()]*[0-9*#][0-9*#\-.()]*", re.ASCII)
_DIALLED: Final = re.compile(r"[0-9*#+\-.()]*", re.ASCII)
_LETTER: Final = re.compile(r"[A-Za-z]", re.ASCII)
_SEPARATORS: Final = str.maketrans("", "", "-.()")
_PARAM_NAME: Final = re.compile(r"[A-Za-z0-9\-]+", re.ASCII)
_PARAM_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})+", re.ASCII)
_CONTEXT: Final = re.compile(r"\+[0-9\-.()]*[0-9][0-9\-.()]*", re.ASCII)

# display-name = *(token LWS) / quoted-string (RFC 3261 section 25.1); bytes above ASCII may stand in a quoted string only.
_QUOTED: Final = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x01-\x09\x0b\x0c\x0e-\x7f])*"'
_DISPLAY: Final = re.compile(rf"(?:{_QUOTED}[ \t]*|[A-Za-z0-9\-.!%*_+`'~ \t]*)")
_TAIL_PARAM: Final = re.compile(r"[ \t]*;[ \t]*[A-Za-z0-9\-.!%*_+`'~]+" rf"(?:[ \t]*=[ \t]*(?:[A-Za-z0-9\-.!%*_+`'~\[\]:/]+|{_QUOTED}))?")

# Number portability, carrier and trunk selection, and what networks say of a caller: read, and without any effect
# (RFC 4694, RFC 4904, RFC 8055, 3GPP TS 24.229).
_PLAIN_TEL_PARAMS: Final = frozenset(
    {"rn", "rn-context", "npdi", "cic", "cic-context", "tgrp", "trunk-context", "enumdi", "verstat", "cpc", "oli", "phone-context"}
)
_POST_DIAL_PARAMS: Final = frozenset({"ext", "isub", "isub-encoding", "postd", "post", "wait", "pause"})
# RFC 3261 section 19.1.1, RFC 4240, 4458, 5626, 5627, 5049; tel parameters stand here too when a proxy put them at the wrong place.
_PLAIN_SIP_PARAMS: Final = _PLAIN_TEL_PARAMS | {
    "transport", "user", "method", "ttl", "maddr", "lr", "ob", "gr", "comp", "sigcomp-id", "cause", "target", "isfocus",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Digits:
    """A dialled string. International where `is_global`; else read at home, or below `context` (the digits of a calling code)."""

    digits: str = field(repr=False)
    is_global: bool
    context: str | None = None
    has_context: bool = False
    lacks_context: bool = False
    """A tel URI's local number must say where it is local (RFC 3966 section 5.1.5): without that only an emergency number is read."""
    exact: str = field(default="", repr=False)
    """The string before its visual separators were taken out: what an emergency number is compared with."""


@dataclass(frozen=True, slots=True)
class Service:
    """`urn:service:<name>`, in lower case."""

    name: str


@dataclass(frozen=True, slots=True)
class Device:
    """The Contact of a registration."""

    uri: SipUri = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unread:
    """Why nothing can be judged. `is_malformed` tells characters and grammar from everything else."""

    reason: Reason
    is_malformed: bool


Reading = Digits | Service | Device | Unread


def read(destination: str, channel: Channel, own: OwnHosts) -> Reading:
    """What `destination` names on this channel. Never raises, whatever the text."""
    if channel.is_header:
        return _read_header(destination, channel, own)
    if not destination:
        return _malformed(Reason.EMPTY)
    return _read_spec(destination, channel, own)


def _read_header(value: str, channel: Channel, own: OwnHosts) -> Reading:
    value = value.strip(" \t")
    if not value:
        return _malformed(Reason.EMPTY)
    if "<" in value:
        display = _DISPLAY.match(value)
        assert display is not None
        before, opening, after = value[: display.end()], value[display.end() : display.end() + 1], value[display.end() + 1 :]
        spec, closing, tail = after.partition(">")
        if opening != "<" or not closing or not _is_tail(tail) or (before and not before.isascii() and not before.startswith('"')):
            return _malformed(Reason.GRAMMAR)
        return _read_uri(spec, channel, own)
    # RFC 3261 section 20.10: without angle brackets, what follows a semicolon belongs to the header, and a URI that holds a comma
    # or question mark can't stand there. What such a Refer-To was meant to do is still told apart.
    spec, semicolon, tail = value.partition(";")
    if "?" in spec and channel.is_refer and _read_uri(spec, channel, own) == _refused(Reason.REPLACES):
        return _refused(Reason.REPLACES)
    if "," in spec or "?" in spec or not _is_tail(semicolon + tail):
        return _malformed(Reason.GRAMMAR)
    return _read_uri(spec, channel, own)


def _is_tail(text: str) -> bool:
    position = 0
    while match := _TAIL_PARAM.match(text, position):
        position = match.end()
    return not text[position:].strip(" \t")


def _read_uri(spec: str, channel: Channel, own: OwnHosts) -> Reading:
    if not spec:
        return _malformed(Reason.EMPTY)
    if not _PRINTABLE.fullmatch(spec):
        return _malformed(Reason.CHARACTERS)
    if not _SCHEME.match(spec):
        return _malformed(Reason.GRAMMAR)
    return _read_spec(spec, channel, own)


def _read_spec(text: str, channel: Channel, own: OwnHosts) -> Reading:
    if not _PRINTABLE.fullmatch(text):
        return _malformed(Reason.CHARACTERS)
    if any(bracket in text for bracket in '<>"'):
        return _malformed(Reason.GRAMMAR)
    if ":" not in text:
        return _read_user(text, own)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _malformed(Reason.GRAMMAR)
    match scheme[1].lower():
        case "sip" | "sips":
            return _read_sip(text, channel, own)
        case "tel":
            return _read_tel(text[len(scheme[0]) :], channel, own)
        case "urn":
            return _read_urn(text, channel)
        case _:
            return _refused(Reason.SCHEME) if _parsed(text) else _malformed(Reason.GRAMMAR)


def _read_sip(text: str, channel: Channel, own: OwnHosts) -> Reading:
    uri = _parsed(text)
    if not isinstance(uri, SipUri):
        return _malformed(Reason.GRAMMAR)
    if uri.user is not None and _unescaped(uri.user) is None:
        return _malformed(Reason.CHARACTERS)
    if channel is Channel.REGISTER_CONTACT:
        return Device(uri)
    for name, _ in uri.params:
        if name in _POST_DIAL_PARAMS:
            return _malformed(Reason.POST_DIAL)
        if name not in _PLAIN_SIP_PARAMS:
            return _malformed(Reason.PARAMETER)
    if channel.is_refer and _replaces(uri.headers):
        return _refused(Reason.REPLACES)
    if (uri.param("method") or "INVITE") != "INVITE":
        return _refused(Reason.METHOD)
    if not is_own(uri.host, uri.port, own):
        return _refused(Reason.HOST)
    if uri.password is not None:
        return _refused(Reason.PASSWORD)
    return _refused(Reason.NO_NUMBER) if uri.user is None else _read_user(uri.user, own)


def _read_tel(text: str, channel: Channel, own: OwnHosts) -> Reading:
    number, semicolon, params = text.partition(";")
    if "%" in number:
        return _malformed(Reason.GRAMMAR)  # RFC 3966 section 3: digits are not escaped
    reading = _read_subscriber(number, params if semicolon else None, own)
    if channel is Channel.REGISTER_CONTACT and not (isinstance(reading, Unread) and reading.is_malformed):
        return _refused(Reason.CONTACT)
    if isinstance(reading, Digits) and not reading.is_global and not reading.has_context:
        return replace(reading, lacks_context=True)
    return reading


def _read_urn(text: str, channel: Channel) -> Reading:
    match = _URN.fullmatch(text.lower())
    if match is None:
        return _malformed(Reason.GRAMMAR)
    if match[1] != "service":
        return _refused(Reason.SCHEME)
    return _refused(Reason.CONTACT) if channel is Channel.REGISTER_CONTACT else Service(match[2])


def _read_user(text: str, own: OwnHosts) -> Reading:
    """A user part: what was dialled, with parameters of a telephone-subscriber behind it (RFC 3261 section 19.1.6)."""
    subject, semicolon, params = text.partition(";")
    decoded = _unescaped(subject)
    if decoded is None or not _USER.fullmatch(subject):
        return _malformed(Reason.CHARACTERS)
    return _read_subscriber(decoded, params if semicolon else None, own)


def _read_subscriber(subject: str, params: str | None, own: OwnHosts) -> Reading:
    context: str | None = None
    if (is_global := _GLOBAL.fullmatch(subject) is not None) is False and _LOCAL.fullmatch(subject) is None:
        return _malformed(_why_no_number(subject))
    if params is not None:
        found = _read_params(params)
        if isinstance(found, Unread):
            return found
        context = found.get("phone-context")
        if context is not None:
            if is_global:
                return _malformed(Reason.PARAMETER)  # RFC 3966 section 3: a context belongs to a local number
            if _CONTEXT.fullmatch(context):
                return Digits(subject.translate(_SEPARATORS), False, context[1:].translate(_SEPARATORS), has_context=True, exact=subject)
            if not is_own_name(context, own):
                return _refused(Reason.HOST)
    return Digits(subject.lstrip("+").translate(_SEPARATORS), is_global, has_context=context is not None, exact=subject)


def _read_params(text: str) -> dict[str, str] | Unread:
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        name = name.lower()
        if not _PARAM_NAME.fullmatch(name) or (equals and not _PARAM_VALUE.fullmatch(value)) or name in found:
            return _malformed(Reason.PARAMETER)
        if name in _POST_DIAL_PARAMS:
            return _malformed(Reason.POST_DIAL)
        decoded = _unescaped(value)
        if name not in _PLAIN_TEL_PARAMS or decoded is None or (name == "phone-context" and not value):
            return _malformed(Reason.PARAMETER)
        found[name] = decoded
    return found


def _why_no_number(subject: str) -> Reason:
    if not subject:
        return Reason.EMPTY
    if "," in subject:
        return Reason.POST_DIAL
    if _LETTER.search(subject):
        return Reason.LETTERS
    return Reason.GRAMMAR if _DIALLED.fullmatch(subject) else Reason.CHARACTERS


def _unescaped(text: str) -> str | None:
    """`text` with its escapes decoded once; None where one hides a character that is not printable ASCII, or is none."""
    if "%" not in text:
        return text
    decoded = unquote_to_bytes(text).decode("latin-1")
    return decoded if "%" not in decoded and _PRINTABLE.fullmatch(decoded) else None


def _replaces(headers: str | None) -> bool:
    """Whether the URI's headers ask to replace a dialog (RFC 3891 section 3), however the name is written."""
    names = [part.partition("=")[0] for part in (headers or "").split("&")]
    return any(unquote_to_bytes(name).strip().lower() == b"replaces" for name in names)


def _parsed(text: str) -> SipUri | TelUri | object | None:
    try:
        return parse_uri(text)
    except ParseError:
        return None


def _malformed(reason: Reason) -> Unread:
    return Unread(reason, True)


def _refused(reason: Reason) -> Unread:
    return Unread(reason, False)
