"""What a call shows of its caller: to carriers, to agents and in rows (RFC 3323, RFC 3325). Decisions, without effects.

A number that its owner hides reaches nobody but a carrier that the operator trusts, which is told to hide it too. What a carrier tells us
of a caller who hides is used for the law on recording, and then forgotten: no header to an agent, no row and no index holds it.
"""

from dataclasses import dataclass
from typing import Final

from hushwire.core.personal import SHOWN, Personal
from hushwire.core.values import replace
from hushwire.policy import trunk_number
from hushwire.services.features import DEFAULT, Feature, Features
from hushwire.services.trunk import Trunk
from hushwire.sip import asserted, diversion
from hushwire.sip.diversion import Diverted
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri, TelUri, escape_user

_LONGEST: Final = 128
_HIDING: Final = frozenset({"id", "user", "header", "session", "critical"})


@dataclass(frozen=True, slots=True, repr=False)
class Outside:
    """Who calls from outside. `shown`: the number for people and rows, None where it is withheld; `known` is for the law alone."""

    shown: Personal[str] | None
    known: Personal[str] | None
    is_hidden: bool

    def __repr__(self) -> str:
        return f"Outside({SHOWN})"


def for_trunk(
    trunk: Trunk, caller_id: Personal[str] | None, domain: str, *, hides: bool, is_emergency: bool = False
) -> tuple[NameAddr, tuple[Line, ...]]:
    """From, and what else tells a carrier of the caller. An emergency call shows its number whatever was set: help must find back."""
    number = trunk.shown(caller_id)
    if is_emergency:
        number, hides = number or caller_id, False
    if number is None:
        nobody = asserted.Caller((), is_hidden=True)
        return asserted.ANONYMOUS, tuple(asserted.lines_for(nobody, is_trusted=trunk.trusted))
    text = number.reveal()
    user = trunk_number.written(text, trunk.number_format, trunk.country) or text
    name = NameAddr(SipUri(domain, escape_user(user)))
    caller = asserted.Caller((name,), is_hidden=hides)
    return asserted.from_for(name, caller), tuple(asserted.lines_for(caller, is_trusted=trunk.trusted))


def from_outside(request: Request, trunk: Trunk) -> Outside:
    """Who calls, as a trusted carrier asserts it, else as From says."""
    caller = asserted.caller_of(request, is_trusted=trunk.trusted)
    named = _number(request.from_)
    known = next((number for name in caller.identities if (number := _number(name)) is not None), named)
    wanted = asserted.privacy(request)
    # Carriers that mask From themselves do not always say Privacy; "none" says that the caller wants to be shown (RFC 3323 section 4.2).
    is_hidden = caller.is_hidden or (named is None and "none" not in wanted)
    return Outside(None if is_hidden else known, known, is_hidden)


def from_shown(outside: Outside, domain: str) -> tuple[NameAddr, tuple[Line, ...]]:
    """From for an agent's phone, and a word that the number is withheld."""
    if outside.shown is None:
        return asserted.ANONYMOUS, (("Privacy", "id"),)
    return NameAddr(SipUri(domain, escape_user(outside.shown.reveal()))), ()


def diverted_out(
    trunk: Trunk, diverted: Diverted, caller_id: Personal[str] | None, domain: str, towards: SipUri, *, hides: bool
) -> tuple[Line, ...]:
    """What a carrier is told of the agent who diverts a call to it: nothing, unless it is trusted, and no number of one who hides."""
    if not trunk.trusted:
        return ()
    number = None if hides else trunk.shown(caller_id)
    if number is None:
        return diversion.lines(diverted, towards)
    user = trunk_number.written(number.reveal(), trunk.number_format, trunk.country) or number.reveal()
    return diversion.lines(replace(diverted, by=NameAddr(SipUri(domain, escape_user(user)))), towards)


def diverted_in(request: Request, trunk: Trunk, domain: str, towards: SipUri) -> tuple[Line, ...]:
    """What an agent's phone is told of who diverted a carrier's call to it: what a trusted carrier says, and the number alone."""
    diverted = diversion.latest(request) if trunk.trusted else None
    if diverted is None:
        return ()
    number = None if diverted.by is None else _number(diverted.by)
    by = None if number is None else NameAddr(SipUri(domain, escape_user(number.reveal())))
    return diversion.lines(replace(diverted, by=by), towards)


def asked_for(request: Request, user: str | None, features: Features = DEFAULT) -> tuple[bool | None, Request]:
    """Whether this call is to hide its caller (None: as the agent has it), and the request without the code that says so.

    A code goes before the phone's own Privacy header, and that before its anonymous From.
    """
    dialled = None if user is None else features.read(user)
    if dialled is not None and dialled.feature in (Feature.HIDE_CALLER, Feature.SHOW_CALLER):
        uri = request.request_uri
        if isinstance(uri, SipUri):
            hides = dialled.feature is Feature.HIDE_CALLER
            return hides, replace(request, uri=str(replace(uri, user=escape_user(dialled.argument))))
    wanted = asserted.privacy(request)
    if "none" in wanted:
        return False, request
    return (True if wanted & _HIDING or _is_anonymous(request.from_) else None), request


def e164(text: str | None) -> str | None:
    """A number as carriers write it (+, 00 or bare) as +E.164; None for what is none."""
    digits = (text or "").partition(";")[0]
    if digits.startswith("+"):
        digits = digits[1:]
    elif digits.startswith("00"):
        digits = digits[2:]
    return f"+{digits}" if digits.isascii() and digits.isdigit() and 4 <= len(digits) <= 15 and digits[0] != "0" else None


def _number(name: NameAddr) -> Personal[str] | None:
    uri = name.uri
    try:
        text = uri.user_unescaped if isinstance(uri, SipUri) else _subscriber(uri) if isinstance(uri, TelUri) else None
    except ParseError:
        return None
    if text and not _is_anonymous(name) and len(text) <= _LONGEST and text.isprintable():
        return Personal(text if isinstance(uri, TelUri) and _is_private(uri) else e164(text) or text)
    return None


def _subscriber(uri: TelUri) -> str:
    """The digits of a tel URI; those of a local number behind the prefix that its context is (RFC 3966 section 5.1.5)."""
    context = _context(uri)
    return TelUri(context).digits + uri.digits if context.startswith("+") else uri.digits


def _is_private(uri: TelUri) -> bool:
    """Whether the number means something in its context's domain alone, so that no country can be put before it."""
    context = _context(uri)
    return context != "" and not context.startswith("+")


def _context(uri: TelUri) -> str:
    local = not uri.number.startswith("+")
    return next((value for name, value in uri.params if local and name.lower() == "phone-context" and value), "")


def _is_anonymous(name: NameAddr) -> bool:
    uri = name.uri
    return isinstance(uri, SipUri) and ((uri.user or "").lower() == "anonymous" or uri.host.lower() == "anonymous.invalid")
