"""What the judge is asked, what it knows, and what it answers: frozen values, no decision."""

from dataclasses import field
from enum import StrEnum
from typing import Final

from hushwire.core.values import frozen


class Way(StrEnum):
    """What a permission may be limited to."""

    CALLS = "calls"
    SMS = "sms"


class Channel(StrEnum):
    """Every way on which a destination reaches us; the same rules hold for all."""

    INVITE = "invite"
    REFER = "refer"
    REFER_FROM_TRUNK = "refer-from-trunk"
    REDIRECT = "redirect"
    REDIRECT_FROM_TRUNK = "redirect-from-trunk"
    FORWARD = "forward"
    CALLBACK = "callback"
    CLICK_TO_CALL = "click-to-call"
    DTMF = "dtmf"
    REGISTER_CONTACT = "register-contact"
    PICKUP = "pickup"
    CONFERENCE = "conference"
    SMS = "sms"
    MESSAGE = "message"
    API = "api"

    @property
    def is_header(self) -> bool:
        """True where the destination is a header's value (name-addr or addr-spec), not a user part or URI."""
        return self in _HEADER_CHANNELS

    @property
    def way(self) -> Way:
        """What is done on it: messages on two of them, calls on all others."""
        return Way.SMS if self in _MESSAGES else Way.CALLS

    @property
    def is_refer(self) -> bool:
        """True for Refer-To values, whose URI headers may ask to replace a dialog (RFC 3891)."""
        return self in (Channel.REFER, Channel.REFER_FROM_TRUNK)


_HEADER_CHANNELS: Final = frozenset(
    {Channel.REFER, Channel.REFER_FROM_TRUNK, Channel.REDIRECT, Channel.REDIRECT_FROM_TRUNK, Channel.REGISTER_CONTACT}
)


_MESSAGES: Final = frozenset({Channel.SMS, Channel.MESSAGE})


class NumberClass(StrEnum):
    """What kind of number it is; the ones in `PERMITTED_CLASSES` need a permission of their own."""

    FIXED = "fixed"
    MOBILE = "mobile"
    FIXED_OR_MOBILE = "fixed-or-mobile"
    VOIP = "voip"
    TOLL_FREE = "toll-free"
    UAN = "uan"
    VOICEMAIL = "voicemail"
    UNKNOWN = "unknown"
    PREMIUM = "premium"
    SHARED_COST = "shared-cost"
    PERSONAL = "personal"
    PAGER = "pager"
    SATELLITE = "satellite"
    UIFN = "uifn"
    GLOBAL = "global"
    SHORT_CODE = "short-code"
    EMERGENCY = "emergency"


PERMITTED_CLASSES: Final = frozenset(
    {
        NumberClass.PREMIUM,
        NumberClass.SHARED_COST,
        NumberClass.PERSONAL,
        NumberClass.PAGER,
        NumberClass.SATELLITE,
        NumberClass.UIFN,
        NumberClass.GLOBAL,
    }
)
"""Classes that an organisation's rules may name: without the permission such numbers are denied in allowed countries too."""


class Reason(StrEnum):
    """Why a destination is refused; stable, since rows and answers carry it."""

    # The characters or the grammar are wrong: Malformed.
    EMPTY = "empty"
    CHARACTERS = "characters"
    LETTERS = "letters"
    GRAMMAR = "grammar"
    PARAMETER = "parameter"
    POST_DIAL = "post-dial"
    CONTEXT_MISSING = "context-missing"
    # It can be read, and is refused: Deny.
    SCHEME = "scheme"
    SERVICE = "service"
    HOST = "host"
    NO_NUMBER = "no-number"
    PASSWORD = "password"
    METHOD = "method"
    REPLACES = "replaces"
    CONTACT = "contact"
    FEATURE_CODE = "feature-code"
    SHORT_CODE = "short-code"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"
    COUNTRY = "country"
    SEVERAL_COUNTRIES = "several-countries"
    CLASS = "class"
    WAY = "way"
    EXPIRED = "expired"
    HOURS = "hours"
    HIGH_RISK = "high-risk"
    # Allowed by the rules of destinations, refused by those of the people there.
    DO_NOT_CALL = "do-not-call"
    QUIET_HOURS = "quiet-hours"
    RECORDING_CONSENT = "recording-consent"
    # Allowed by rules that may not be those of now.
    RULES_STALE = "rules-stale"
    # Allowed by the rules, and too much of it (policy/breaker.py).
    CONCURRENT_CALLS = "concurrent-calls"
    ATTEMPTS = "attempts-per-minute"
    MINUTES = "minutes-per-day"
    SPEND = "spend-per-day"
    DESTINATIONS = "destinations-per-hour"
    FRAUD_SUSPECTED = "fraud-suspected"

    @property
    def sip_status(self) -> int:
        """The final answer: 403 not allowed, 404 no such number, 484 incomplete or malformed (RFC 3261 section 21.4), 503 not known now."""
        return _SIP[self]

    @property
    def sip_reason(self) -> str:
        """The Reason header's value (RFC 3326): the status as cause, and words that hold nothing personal."""
        return f'SIP;cause={_SIP[self]};text="{SENTENCES[self]}"'

    @property
    def explanation(self) -> str:
        """One sentence for people, where a verdict says no more exact one."""
        return f"{SENTENCES[self]}."


_SIP: Final[dict[Reason, int]] = {
    Reason.EMPTY: 484,
    Reason.CHARACTERS: 484,
    Reason.LETTERS: 484,
    Reason.GRAMMAR: 484,
    Reason.PARAMETER: 484,
    Reason.POST_DIAL: 484,
    Reason.CONTEXT_MISSING: 484,
    Reason.SCHEME: 403,
    Reason.SERVICE: 403,
    Reason.HOST: 403,
    Reason.NO_NUMBER: 404,
    Reason.PASSWORD: 403,
    Reason.METHOD: 403,
    Reason.REPLACES: 403,
    Reason.CONTACT: 403,
    Reason.FEATURE_CODE: 403,
    Reason.SHORT_CODE: 403,
    Reason.INCOMPLETE: 484,
    Reason.INVALID: 404,
    Reason.COUNTRY: 403,
    Reason.SEVERAL_COUNTRIES: 403,
    Reason.CLASS: 403,
    Reason.WAY: 403,
    Reason.EXPIRED: 403,
    Reason.HOURS: 403,
    Reason.HIGH_RISK: 403,
    Reason.DO_NOT_CALL: 403,
    Reason.QUIET_HOURS: 403,
    Reason.RECORDING_CONSENT: 403,
    Reason.RULES_STALE: 503,
    Reason.CONCURRENT_CALLS: 403,
    Reason.ATTEMPTS: 403,
    Reason.MINUTES: 403,
    Reason.SPEND: 403,
    Reason.DESTINATIONS: 403,
    Reason.FRAUD_SUSPECTED: 403,
}

SENTENCES: Final[dict[Reason, str]] = {
    Reason.EMPTY: "The destination is empty",
    Reason.CHARACTERS: "The destination holds characters that no dialled number has",
    Reason.LETTERS: "The destination holds letters where only digits are read",
    Reason.GRAMMAR: "The destination is neither a dialled number nor a URI in its grammar",
    Reason.PARAMETER: "The destination carries a parameter that is not known here",
    Reason.POST_DIAL: "The destination carries an extension or digits to dial after the call is answered",
    Reason.CONTEXT_MISSING: "The tel URI is a local number without its phone-context",
    Reason.SCHEME: "Only sip, sips, tel and urn:service URIs can be called",
    Reason.SERVICE: "The service that the URN names is not offered here",
    Reason.HOST: "The URI names a host that is not this gateway",
    Reason.NO_NUMBER: "The URI names no number",
    Reason.PASSWORD: "The URI carries a password",
    Reason.METHOD: "The URI asks for another method than INVITE",
    Reason.REPLACES: "The transfer would replace a call that is not the caller's own",
    Reason.CONTACT: "The contact does not name a device of the agent's own",
    Reason.FEATURE_CODE: "Star and hash codes are not passed on",
    Reason.SHORT_CODE: "Short codes are not allowed unless they are listed",
    Reason.INCOMPLETE: "The number is incomplete",
    Reason.INVALID: "The number is not assigned in any numbering plan",
    Reason.COUNTRY: "The country of this number is not on the list of allowed countries",
    Reason.SEVERAL_COUNTRIES: "The number may lie in several countries and not all of them are allowed",
    Reason.CLASS: "Numbers of this class are not allowed without their own permission",
    Reason.WAY: "Only calls, or only messages, are allowed there",
    Reason.EXPIRED: "The permission for this destination has ended",
    Reason.HOURS: "The destination is not allowed at this hour",
    Reason.HIGH_RISK: "The number lies in a range that is known for fraud",
    Reason.DO_NOT_CALL: "The number is on the do-not-call list, and the agent does telemarketing",
    Reason.QUIET_HOURS: "Telemarketing must not reach this number at this hour of its day",
    Reason.RECORDING_CONSENT: "All parties must agree to a recording there, and the organisation declares no consent",
    Reason.RULES_STALE: "The rules of who may be called could not be read for too long",
    Reason.CONCURRENT_CALLS: "As many calls are out at once as may be",
    Reason.ATTEMPTS: "Calls are tried faster than they may be",
    Reason.MINUTES: "The minutes of calls that may be used in a day are used up",
    Reason.SPEND: "What calls may cost in a day is used up",
    Reason.DESTINATIONS: "More different numbers were called within the hour than may be",
    Reason.FRAUD_SUSPECTED: "This looks like fraud, so calls are locked until an administrator has looked",
}


@frozen
class OwnHosts:
    """Hosts that a URI may name and mean this gateway. Names and addresses in lower case, IPv6 without brackets, names without a final dot.

    A host counts without a port, or with one of `ports`. The caller's own `<slug>.<sip.domain>` stands in `names`; other
    organisations' names do not.
    """

    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()


@frozen
class Attempt:
    """A wish to reach somebody. `destination` as it came: a user part, a URI, or a header's value (see `Channel.is_header`).

    `peer` is the address that the wish came from, where there is one: loopback and link-local contacts count only from there.
    """

    destination: str = field(repr=False)
    channel: Channel
    peer: str | None = field(default=None, repr=False)


@frozen
class Allow:
    """It may go out, as `number` and nothing else: +E.164, or a listed short code as it is dialled in the home country.

    `country` is None for numbers of no territory (satellite, global). `rule`: which entry of which list decided.
    """

    number: str = field(repr=False)
    country: str | None
    number_class: NumberClass
    explanation: str
    rule: str = ""


@frozen
class AllowContact:
    """The Contact of a registration names a device that calls may be sent to. No number is reached by it."""

    explanation: str


@frozen
class Deny:
    """It was read and is refused. What the reader found so far is there for the row and the admin."""

    reason: Reason
    explanation: str
    number: str | None = field(default=None, repr=False)
    country: str | None = None
    number_class: NumberClass | None = None
    rule: str = ""
    """Which entry of which list decided; empty where no list was asked."""


@frozen
class Emergency:
    """An emergency call: before every other rule, never limited. `number` is the short number to dial in the home country."""

    number: str
    country: str
    explanation: str


@frozen
class Malformed:
    """Characters or grammar are wrong: nothing was read."""

    reason: Reason
    explanation: str


Verdict = Allow | AllowContact | Deny | Emergency | Malformed
