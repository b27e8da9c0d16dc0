"""What somebody tries who wants a call that the list forbids, and beside each the same thing with a number that it allows.

Home is Germany, Germany and the United Kingdom are allowed, and no class has a permission. A trick is a user part as it stands in a SIP
URI, or a whole URI where it has a scheme; `{host}` is the organisation's own domain.
"""

from dataclasses import dataclass
from typing import Final

ALLOWED: Final = "+442079460123"


@dataclass(frozen=True, slots=True)
class Trick:
    """One try. `twin` is written alike and allowed; `known_as` is the number that the carrier must be asked for then."""

    name: str
    sent: str
    twin: str = ALLOWED
    known_as: str = ALLOWED


NUMBERS: Final = (
    Trick("the international form", "+5371234567"),
    Trick("the international prefix", "005371234567", "00442079460123"),
    Trick("separators", "+53-7-123.45(67)", "+44-20-7946.01(23)"),
    Trick("an escaped plus", "%2B5371234567", "%2B442079460123"),
    Trick("escaped digits", "+%35%3371234567", "+%34%342079460123"),
    Trick("a country in the context", "71234567;phone-context=+53", "2079460123;phone-context=+44"),
    Trick("half a country in the context", "371234567;phone-context=+5", "42079460123;phone-context=+4"),
    Trick("the home as the context of a foreign number", "005371234567;phone-context={host}", "00442079460123;phone-context={host}"),
    Trick("an allowed routing number", f"+5371234567;npdi;rn={ALLOWED}", f"{ALLOWED};npdi;rn=+442079460124"),
    Trick("a trunk group", "+5371234567;tgrp=cheap;trunk-context=carrier.example", f"{ALLOWED};tgrp=cheap;trunk-context=carrier.example"),
    Trick("a carrier's code", "+5371234567;cic=+49", f"{ALLOWED};cic=+49"),
    Trick("an island that shares the country's code", "+441534712345"),
    Trick("another island of it", "+447624123456"),
    Trick("a territory of the North American plan", "+17875550123"),
    Trick("a country that shares another one's code", "+77172123456"),
    Trick("premium rate at home", "09001234567", "03023125999", "+493023125999"),
    Trick("premium rate abroad", "+449098790123"),
    Trick("shared cost", "+491801123456"),
    Trick("a personal number", "+447012345678"),
    Trick("a pager", "+447640123456"),
    Trick("a satellite", "+881612345678"),
    Trick("a satellite in a network's code", "+8821612345678"),
    Trick("a network of no country", "+883510012345678"),
    Trick("international freephone", "+80012345678"),
    Trick("international premium rate", "+979123456789"),
    Trick("another carrier's prefix", "01013005371234567", "00442079460123"),
    Trick("the prefix twice", "00005371234567", "00442079460123"),
    Trick("the prefix behind a plus", "+005371234567"),
    Trick("a prefix inside home", "+49005371234567"),
    Trick("a prefix inside an allowed country", "+44005371234567"),
    Trick("an allowed number with another behind it", "+4420794601235371234567"),
    Trick("letters", "+44207946CUBA"),
    Trick("digits to dial afterwards", f"{ALLOWED},5371234567"),
    Trick("digits to dial afterwards, as a parameter", f"{ALLOWED};postd=pp5371234567"),
    Trick("an extension", f"{ALLOWED};ext=5371234567"),
    Trick("a sub-address", f"{ALLOWED};isub=5371234567"),
    Trick("an unknown parameter", f"{ALLOWED};redirect=+5371234567"),
    Trick("Arabic digits", "+%D9%A5%D9%A371234567"),
    Trick("wide digits", "+%EF%BC%95%EF%BC%9371234567"),
    Trick("a zero byte", f"{ALLOWED}%005371234567"),
    Trick("a line break", f"{ALLOWED}%0D%0ATo:%205371234567"),
    Trick("a space", "%205371234567"),
    Trick("escaped twice", "%252B5371234567"),
    Trick("a password", "+5371234567:secret"),
    Trick("a number too short to be one", "+4420"),
    Trick("a number that no plan knows", "+44999999999999"),
    Trick("an emergency number with more behind it", "1125371234567"),
)
"""User parts."""

URIS: Final = (
    Trick("another host", "sip:+5371234567@elsewhere.example", f"sip:{ALLOWED}@{{host}}"),
    Trick("another host for an allowed number", f"sip:{ALLOWED}@elsewhere.example", f"sip:{ALLOWED}@{{host}}"),
    Trick("another organisation's host", f"sip:{ALLOWED}@other.hushwire.localhost", f"sip:{ALLOWED}@{{host}}"),
    Trick("tel", "tel:+5371234567", f"tel:{ALLOWED}"),
    Trick("tel with a context", "tel:71234567;phone-context=+53", "tel:2079460123;phone-context=+44"),
    Trick("tel without one", "tel:5371234567", f"tel:{ALLOWED}"),
    Trick("maddr", "sip:+5371234567@{host};maddr=127.0.0.1", f"sip:{ALLOWED}@{{host}};maddr=192.0.2.1"),
    Trick("a user parameter", "sip:+5371234567@{host};user=phone", f"sip:{ALLOWED}@{{host}};user=phone"),
    Trick("a method", "sip:+5371234567@{host};method=INVITE", f"sip:{ALLOWED}@{{host}};method=INVITE"),
    Trick("another service", "urn:service:counseling", f"sip:{ALLOWED}@{{host}}"),
    Trick("another scheme", "http://+5371234567@{host}/", f"sip:{ALLOWED}@{{host}}"),
)
"""Whole URIs, for every way that takes one."""

DIALLED: Final = "00442079460123"
KEYS: Final = (
    Trick("the international prefix", "005371234567", DIALLED),
    Trick("another carrier's prefix", "01013005371234567", DIALLED),
    Trick("a prefix inside an allowed country", "0044005371234567", DIALLED),
    Trick("an allowed number with another behind it", "004420794601235371", DIALLED),
    Trick("an island that shares the country's code", "00441534712345", DIALLED),
    Trick("a territory of the North American plan", "0017875550123", DIALLED),
    Trick("a country that shares another one's code", "0077172123456", DIALLED),
    Trick("premium rate at home", "09001234567", "03023125998", "+493023125998"),
    Trick("a personal number", "00447012345678", DIALLED),
    Trick("international freephone", "0080012345678", DIALLED),
    Trick("a number that no plan knows", "0044999999999999", DIALLED),
    Trick("an emergency number with more behind it", "1125371234567", DIALLED),
)
"""What a keypad has."""


@dataclass(frozen=True, slots=True)
class Caller(Trick):
    """Who leaves a message to be called back, as From shows it (`sent`); `shown` is the number that rows name. Each has one of its own.

    `judged` is the number of the refusal, where that is another one; without a `reason` it is never asked for, since it is no number of
    the public network.
    """

    shown: str = ""
    reason: str = ""
    judged: str = ""


def _caller(name: str, sent: str, shown: str, reason: str = "country", judged: str = "") -> Caller:
    return Caller(name, sent, f"<sip:{ALLOWED}@carrier.example>", shown=shown, reason=reason, judged=judged or shown)


CALLERS: Final = (
    _caller("the international form", "<sip:+5371234501@carrier.example>", "+5371234501"),
    _caller("the international prefix", "<sip:005371234502@carrier.example>", "+5371234502"),
    _caller("no prefix at all", "<sip:5371234503@carrier.example>", "+5371234503"),
    _caller("escaped digits", "<sip:%2B%35%3371234504@carrier.example>", "+5371234504"),
    _caller("an allowed context", "<sip:+5371234505;phone-context=+44@carrier.example;user=phone>", "+5371234505"),
    _caller("an allowed sub-address", "<sip:+5371234506;isub=442079460123@carrier.example>", "+5371234506"),
    _caller("an allowed routing number", f"<sip:+5371234507;npdi;rn={ALLOWED}@carrier.example>", "+5371234507"),
    _caller("separators of tel", f"<tel:+53-7-123.45(08);ext={ALLOWED[1:]}>", "+5371234508"),
    _caller("an allowed number as its name", f'"{ALLOWED}" <sip:+5371234509@carrier.example>', "+5371234509"),
    _caller("an island that shares the country's code", "<sip:+441534712345@carrier.example>", "+441534712345"),
    _caller("an island of the North American plan", "<sip:+18095550123@carrier.example>", "+18095550123"),
    _caller("premium rate at home", "<sip:09001234567@carrier.example>", "09001234567", "class", "+499001234567"),
    _caller("a personal number", "<sip:+447012345678@carrier.example>", "+447012345678", "several-countries"),
    _caller("a satellite", "<sip:+881612345678@carrier.example>", "+881612345678", "class"),
    _caller("the prefix twice", "<sip:00005371234510@carrier.example>", "00005371234510", "invalid"),
    _caller("a prefix inside home", "<sip:+49005371234511@carrier.example>", "+49005371234511", "invalid"),
    _caller("an emergency number with more behind it", "<sip:1125371234512@carrier.example>", "+1125371234512", "invalid"),
    _caller("an emergency number", "<sip:112@carrier.example>", "112", ""),
    _caller("a colleague's extension", "<sip:102@carrier.example>", "102", ""),
    _caller("separators of sip", "<sip:+53-7-123.45(13)@carrier.example>", "+53-7-123.45(13)", ""),
)
"""Whom a key in the mailbox would call back."""
