"""The provisioning file: read and checked as a whole, every mistake named at once, before anything is touched."""

import ipaddress
import re
import tomllib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import phonenumbers
from phonenumbers import shortnumberinfo
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from hushwire.app.mistakes import words
from hushwire.core.errors import ConfigError, PeerError
from hushwire.core.personal import Personal
from hushwire.policy import calling_hours, groups, limits
from hushwire.policy.rating import Rate, RatesUnreadableError, read_csv
from hushwire.policy.rules import ExceptionKind
from hushwire.policy.terms import hours_of, terms_of, written_hours, written_terms
from hushwire.policy.trunk_number import can_be_national
from hushwire.privacy import mail, notices
from hushwire.privacy.jurisdictions import tag_of
from hushwire.services.agent_rules import Said, checked, zone
from hushwire.services.agreement_provisioning import PolicySpec, SubprocessorSpec
from hushwire.services.emergencies import FIELDS
from hushwire.services.forwarding import LONGEST_RING_S, SHORTEST_RING_S, is_destination, of_values
from hushwire.services.limits import OF_ALL
from hushwire.services.provisioning import AgentSpec, Desired, GroupSpec, KeySpec, NumberSpec, OrgSpec, TrunkSpec
from hushwire.services.provisioning_centres import CentreSpec
from hushwire.services.provisioning_custody import CustodySpec, RecipientSpec
from hushwire.services.provisioning_rules import ExceptionSpec, LevelSpec, OrgRulesSpec, TeamSpec
from hushwire.services.ring_groups import RING_IN_TURN_S, RING_TOGETHER_S
from hushwire.services.webhook_signing import read_secret
from hushwire.sip.uri import SipUri, parse_uri
from hushwire.sms.text.alphabets import Language
from hushwire.store.provisioning import OrgRow
from hushwire.vault.recipients import Algorithm, RecipientKeyError, load_public

ContactRole = Literal["privacy", "security", "billing"]
Hearers = Literal["off", "agent", "peer", "both"]
Role = Literal["owner", "admin", "supervisor", "agent", "auditor"]
T = TypeVar("T", bound=Hashable)
SHORTEST_PASSWORD: Final = 8

_SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_USERNAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,62}[A-Za-z0-9])?", re.ASCII)
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


def _matching(pattern: re.Pattern[str], mend: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(mend)
        return value

    return AfterValidator(check)


def _country(value: str) -> str:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError('must be an ISO 3166-1 code of two capital letters, such as "DE"')
    return value


def _jurisdiction(value: str) -> str:
    try:
        return tag_of(value)
    except ValueError:
        raise ValueError('must be a jurisdiction such as "DE", "EU", "UK", "CH", "US-CA", "SG", "AU" (docs/clocks.md lists them)') from None


def _calling_hours(value: str) -> str:
    calling_hours.parse(value)
    return value


def _number(value: str) -> str:
    if not _E164.fullmatch(value) or not phonenumbers.is_possible_number(phonenumbers.parse(value)):
        raise ValueError('must be a full international number such as "+493023125000", digits only after the +')
    return value


def _sip_uri(value: str) -> str:
    try:
        uri = parse_uri(value)
    except PeerError:
        uri = None
    if not isinstance(uri, SipUri):
        raise ValueError('must be a SIP URI such as "sip:192.0.2.7:5060;transport=udp"')
    return value


def _address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError('must be an IP address such as "192.0.2.7"') from None
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError('must be a network such as "10.0.0.0/8"') from None
    return value


def _password(value: str) -> str:
    if len(value) < SHORTEST_PASSWORD or not all(" " <= letter <= "~" for letter in value):
        raise ValueError(f"must have at least {SHORTEST_PASSWORD} characters, all of them printable ASCII")
    return value


Safeguard = Literal["scc-module-1", "scc-module-2", "scc-module-3", "scc-module-4", "uk-addendum", "swiss-fadp", "pdpa", "app", "eu-us-dpf"]
Country = Annotated[str, AfterValidator(_country)]
Jurisdiction = Annotated[str, AfterValidator(_jurisdiction)]
Email = Annotated[str, AfterValidator(mail.address)]
CallingHours = Annotated[str, AfterValidator(_calling_hours)]
Number = Annotated[str, AfterValidator(_number)]
Slug = Annotated[str, _matching(_SLUG, 'must be lower-case letters, digits and hyphens, such as "acme"')]
Name = Annotated[str, _matching(_NAME, "must begin and end with a letter or digit, and have at most 64 characters")]
Username = Annotated[str, _matching(_USERNAME, 'must be letters, digits, dots, hyphens and underscores, such as "anna"')]
NumberPrefix = Annotated[str, _matching(re.compile(r"\+[0-9]{1,14}", re.ASCII), 'must be the beginning of a number such as "+49"')]
CallerIds = Annotated[
    str,
    _matching(re.compile(r"\+[0-9]{1,14}\*|\+[1-9][0-9]{6,14}", re.ASCII), 'must be a number, or its beginning and a star: "+493023125*"'),
]
Pin = Annotated[
    str,
    _matching(
        re.compile(r"sha256:[0-9a-f]{64}", re.ASCII), 'must be "sha256:" and the certificate\'s fingerprint in 64 lower-case hex digits'
    ),
]
CodecName = Literal["PCMU", "PCMA", "G722", "opus"]
Extension = Annotated[str, _matching(re.compile(r"[0-9]{2,8}", re.ASCII), 'must be 2 to 8 digits in quotes, such as "101"')]
Prefix = Annotated[str, _matching(re.compile(r"[0-9]{1,3}", re.ASCII), 'must be 1 to 3 digits in quotes, such as "0"')]


def _terms(value: dict[str, Any]) -> dict[str, Any]:
    terms_of(value)
    return value


def _hours(value: list[Any]) -> list[Any]:
    hours_of(value)
    return value


def _group_name(value: str) -> str:
    if value not in groups.GROUPS:
        raise ValueError(f"must be one of: {', '.join(groups.GROUPS)}")
    return value


def _zone(value: str) -> str:
    try:
        zone(value)
    except ConfigError:
        raise ValueError('must be an IANA name of a time zone such as "Europe/Berlin"') from None
    return value


ClassName = Literal["premium", "shared-cost", "personal", "pager", "satellite", "uifn", "global"]
GroupName = Annotated[str, AfterValidator(_group_name)]
TermsTable = Annotated[dict[str, Any], AfterValidator(_terms)]
HoursList = Annotated[list[Any], AfterValidator(_hours)]
TimeZone = Annotated[str, AfterValidator(_zone)]
ShortCode = Annotated[str, _matching(re.compile(r"[0-9]{2,6}", re.ASCII), 'must be 2 to 6 digits in quotes, such as "116117"')]
ExceptedPrefix = Annotated[str, _matching(re.compile(r"\+[1-9][0-9]{2,13}", re.ASCII), 'must be the beginning of a number such as "+4932"')]
ExceptedNumber = Annotated[str, _matching(re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII), "must be a full international number")]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


HeaderName = Annotated[str, _matching(re.compile(r"[XP]-[A-Za-z0-9-]{1,60}", re.ASCII), 'must be a header of its own such as "X-Location"')]
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,120}")
AddressPart = Annotated[str, _matching(_LINE, "must be one line of at most 120 characters")]


class CivicAddress(Table):
    """Where an agent calls from, by the names of RFC 5139 (docs/voice-security.md)."""

    country: Country | None = None
    A1: AddressPart | None = None
    A2: AddressPart | None = None
    A3: AddressPart | None = None
    A4: AddressPart | None = None
    RD: AddressPart | None = None
    STS: AddressPart | None = None
    HNO: AddressPart | None = None
    HNS: AddressPart | None = None
    BLD: AddressPart | None = None
    FLR: AddressPart | None = None
    ROOM: AddressPart | None = None
    NAM: AddressPart | None = None
    PC: AddressPart | None = None
    LOC: AddressPart | None = None

    def parts(self) -> tuple[tuple[str, str], ...]:
        """What is said, in order."""
        return tuple((name, value) for name in FIELDS if (value := getattr(self, name)) is not None)


class Trunk(Table):
    name: Name
    uri: Annotated[str, AfterValidator(_sip_uri)]
    srtp: Literal["never", "optional", "required"]
    keying: Literal["sdes", "best-effort", "dtls"] = "sdes"
    username: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    password: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    realm: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    addresses: list[Annotated[str, AfterValidator(_address)]] = []
    media_ports: Literal["auto", "shared", "own"] = "auto"
    subprocessor: Name | None = None
    priority: Annotated[int, Field(ge=0, le=65535)] = 0
    weight: Annotated[int, Field(ge=1, le=65535)] = 1
    prefixes: Annotated[list[NumberPrefix], Field(max_length=256)] = []
    number_format: Literal["+e164", "e164", "national"] = "+e164"
    country: Country | None = None
    caller_id: Literal["pass", "anonymous"] | Number = "pass"
    caller_ids: Annotated[list[CallerIds], Field(max_length=1024)] = []
    caller_id_otherwise: Number | None = None
    channels: Annotated[int, Field(ge=1, le=100_000)] | None = None
    codecs: list[CodecName] = []
    early_media: bool = True
    silent_after_s: Annotated[int, Field(ge=1, le=16)] = 4
    options_every_s: Literal[0] | Annotated[int, Field(ge=5, le=3600)] = 0
    down_after: Annotated[int, Field(ge=1, le=10)] = 2
    up_after: Annotated[int, Field(ge=1, le=10)] = 2
    register_every_s: Literal[0] | Annotated[int, Field(ge=60, le=86_400)] = 0
    pins: Annotated[list[Pin], Field(max_length=8)] = []
    networks: Annotated[list[Annotated[str, AfterValidator(_network)]], Field(max_length=16)] = []
    trusted: bool = False
    signs: bool = False
    attest: Literal["A", "B", "C"] = "A"
    verify: Literal["off", "note", "show"] = "off"
    rates: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    emergency: bool | None = None
    location_header: HeaderName | None = None

    @model_validator(mode="after")
    def _fitting(self) -> "Trunk":
        if self.number_format == "national" and (self.country is None or not can_be_national(self.country)):
            raise ValueError(
                'number_format = "national" needs the country whose numbers and prefixes the carrier reads, such as country = "DE"'
            )
        if self.caller_id != "pass" and (self.caller_ids or self.caller_id_otherwise):
            raise ValueError('caller_ids and caller_id_otherwise are for caller_id = "pass"')
        if self.register_every_s and self.username is None:
            raise ValueError("register_every_s needs username and password")
        uri = parse_uri(self.uri)
        is_tls = isinstance(uri, SipUri) and (uri.secure or uri.transport == "tls")
        if self.pins and not is_tls:
            raise ValueError("pins are for trunks over TLS")
        return self

    @model_validator(mode="after")
    def _whole(self) -> "Trunk":
        if (self.username is None) != (self.password is None):
            raise ValueError("give username and password together, or neither")
        if self.keying == "best-effort" and self.srtp == "required":
            raise ValueError('keying = "best-effort" lets the carrier ignore the keys: give srtp = "optional" with it')
        return self


def _language(value: str) -> str:
    known = [language.name.lower() for language in Language if language is not Language.DEFAULT]
    if value not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return value


class CentreLink(Table):
    """One link to a message centre."""

    host: Annotated[
        str, _matching(re.compile(r"[A-Za-z0-9.:-]{1,253}", re.ASCII), 'must be a host such as "smpp.example.org", or an address')
    ]
    port: Annotated[int, Field(ge=1, le=65535)]
    mode: Literal["transmitter", "receiver", "transceiver"] = "transceiver"
    tls: bool = True
    weight: Annotated[int, Field(ge=1, le=65535)] = 1
    priority: Annotated[int, Field(ge=0, le=65535)] = 0


LanguageName = Annotated[str, AfterValidator(_language)]
IdForm = Literal["exact", "caseless", "hex", "decimal"]
Status = Annotated[str, _matching(re.compile(r"0x[0-9a-f]{8}", re.ASCII), 'must be a status such as "0x00000455"')]


class MessageCentre(Table):
    """A carrier of short messages by SMPP 3.4 (docs/sms.md)."""

    name: Name
    kind: Literal["smpp"] = "smpp"
    priority: Annotated[int, Field(ge=0, le=65535)] = 0
    weight: Annotated[int, Field(ge=1, le=65535)] = 1
    prefixes: Annotated[list[NumberPrefix], Field(max_length=256)] = []
    system_id: Annotated[str, _matching(re.compile(r"[!-~]{1,15}", re.ASCII), "must be 1 to 15 characters of printable ASCII")]
    password: Annotated[str, _matching(re.compile(r"[!-~]{1,8}", re.ASCII), "must be 1 to 8 characters of printable ASCII")] | None = None
    system_type: Annotated[str, Field(max_length=12)] = ""
    links: Annotated[list[CentreLink], Field(min_length=1, max_length=16)]
    window: Annotated[int, Field(ge=1, le=1000)] = 10
    per_second: Annotated[int, Field(ge=0, le=100_000)] = 0
    enquire_every_s: Annotated[int, Field(ge=1, le=3600)] = 30
    answer_within_s: Annotated[int, Field(ge=1, le=600)] = 30
    source_ton: Annotated[int, Field(ge=0, le=6)] = 1
    source_npi: Annotated[int, Field(ge=0, le=18)] = 1
    destination_ton: Annotated[int, Field(ge=0, le=6)] = 1
    destination_npi: Annotated[int, Field(ge=0, le=18)] = 1
    service_type: Annotated[str, Field(max_length=5)] = ""
    number_format: Literal["+e164", "e164"] = "e164"
    numbering: Literal["udh8", "udh16", "sar", "payload"] = "udh8"
    packed: bool = False
    languages: list[LanguageName] = []
    receipts: bool = True
    receipts_by_text: bool = False
    answer_ids: IdForm = "caseless"
    receipt_ids: IdForm = "caseless"
    unknown_after_s: Annotated[int, Field(ge=1, le=2_592_000)] = 86_400
    when_unknown: Literal["fail", "resend"] = "fail"
    most_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    move_after_s: Annotated[int, Field(ge=0, le=604_800)] = 120
    statuses: dict[Status, Literal["busy", "later", "refused"]] = {}
    pins: Annotated[list[Pin], Field(max_length=8)] = []
    networks: Annotated[list[Annotated[str, AfterValidator(_network)]], Field(max_length=16)] = []
    country: Country | None = None
    untyped_numbers: Literal["international", "national"] = "international"
    subprocessor: Name | None = None

    @model_validator(mode="after")
    def _sends(self) -> "MessageCentre":
        if all(link.mode == "receiver" for link in self.links):
            raise ValueError("one link must be a transmitter or a transceiver, or nothing could be sent")
        if self.pins and not all(link.tls for link in self.links):
            raise ValueError("pins are for links over TLS")
        return self


class HttpCarrier(Table):
    """A carrier of short messages by https (docs/http-carriers.md)."""

    name: Name
    kind: Literal["http"]
    priority: Annotated[int, Field(ge=0, le=65535)] = 0
    weight: Annotated[int, Field(ge=1, le=65535)] = 1
    prefixes: Annotated[list[NumberPrefix], Field(max_length=256)] = []
    url: Annotated[str, _matching(re.compile(r"https://[!-~]{1,2000}", re.ASCII), 'must be a URL such as "https://sms.example.org/send"')]
    auth: Literal["none", "bearer", "basic", "header"] = "none"
    username: Annotated[str, Field(max_length=128)] = ""
    header: Annotated[str, _matching(re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII), "must be the name of a header")] = "X-Api-Key"
    password: Annotated[str, _matching(re.compile(r"[!-~]{1,512}", re.ASCII), "must be printable ASCII")] | None = None
    secret: Annotated[str, _matching(re.compile(r"whsec_[A-Za-z0-9+/=]{32,90}", re.ASCII), 'must be "whsec_" and base64')] | None = None
    window: Annotated[int, Field(ge=1, le=100)] = 10
    unknown_after_s: Annotated[int, Field(ge=1, le=2_592_000)] = 86_400
    when_unknown: Literal["fail", "resend"] = "fail"
    most_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    country: Country | None = None
    untyped_numbers: Literal["international", "national"] = "international"
    subprocessor: Name | None = None

    @model_validator(mode="after")
    def _whole(self) -> "HttpCarrier":
        if (self.auth == "none") != (self.password is None):
            raise ValueError("give auth and password together, or neither (then requests are signed alone)")
        if self.secret is not None and read_secret(self.secret) is None:
            raise ValueError('secret: must be "whsec_" and the base64 of 24 to 64 bytes')
        return self


def _kind(value: Any) -> str:
    found = value.get("kind", "smpp") if isinstance(value, dict) else getattr(value, "kind", "smpp")
    return found if isinstance(found, str) else "smpp"


Carrier = Annotated[Annotated[MessageCentre, Tag("smpp")] | Annotated[HttpCarrier, Tag("http")], Discriminator(_kind)]


def _destination(value: str) -> str:
    if not is_destination(value):
        raise ValueError('must be an extension, a user name or a number, such as "102" or "+493023125999"')
    return value


Destination = Annotated[str, AfterValidator(_destination)]


class AgentForwarding(Table):
    """Where calls go that the agent does not take (docs/forwarding.md). Given, it replaces what the agent has set."""

    always: Destination | None = None
    busy: Destination | None = None
    no_answer: Destination | None = None
    unavailable: Destination | None = None
    no_answer_after_s: Annotated[int, Field(ge=SHORTEST_RING_S, le=LONGEST_RING_S)] | None = None
    do_not_disturb: bool = False
    call_waiting: bool = True


class Narrowing(Table):
    """What a team or an agent narrows (docs/voice-security.md); what is left out is as the level above has it."""

    allowed_countries: list[Country] | None = None
    country_groups: list[GroupName] | None = None
    classes: list[ClassName] | None = None
    short_codes: Annotated[list[ShortCode], Field(max_length=1000)] | None = None
    terms: TermsTable | None = None
    hours: HoursList | None = None

    def level(self, time_zone: str | None = None) -> LevelSpec | None:
        """What it says of rules; None where it says nothing, and what there is stays."""
        said = (self.allowed_countries, self.country_groups, self.classes, self.short_codes, self.terms, self.hours, time_zone)
        if all(one is None for one in said):
            return None
        countries = None
        if self.allowed_countries is not None or self.country_groups is not None:
            countries = _countries(self.allowed_countries or [], self.country_groups or [])
        return LevelSpec(
            countries,
            None if self.classes is None else tuple(sorted(set(self.classes))),
            None if self.short_codes is None else tuple(sorted(set(self.short_codes))),
            written_terms(terms_of(self.terms or {})),
            written_hours(hours_of(self.hours or [])),
            time_zone,
        )


class Team(Narrowing):
    """Agents with rules in common; an agent is of one team at most."""

    name: Name
    members: Annotated[list[str], Field(max_length=10_000)] = []


class NumberException(Table):
    """A number, or the beginning of many, for which one rule does not hold."""

    kind: Literal["unassigned", "risk"]
    number: ExceptedNumber | None = None
    prefix: ExceptedPrefix | None = None
    country: Country
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one(self) -> "NumberException":
        if (self.number is None) == (self.prefix is None):
            raise ValueError("give number or prefix, and not both")
        try:
            checked(self.said, ExceptionKind(self.kind))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def said(self) -> Said:
        """What it is about."""
        return Said(self.number or self.prefix or "", self.number is None, self.country, self.reason)


class Agent(Narrowing):
    username: Username
    role: Role = "agent"
    extension: Extension | None = None
    caller_id: Number | None = None
    sip_password: Annotated[str, AfterValidator(_password)] | None = None
    suspended: bool = False
    telemarketing: bool = False
    media_ports: Literal["auto", "shared", "own"] = "auto"
    hides_identity: bool = False
    forwarding: AgentForwarding | None = None
    address: CivicAddress | None = None
    time_zone: TimeZone | None = None

    @model_validator(mode="after")
    def _no_guess(self) -> "Agent":
        if self.sip_password is not None and self.sip_password.lower() == self.username.lower():
            raise ValueError("sip_password must not be the user name: anyone would guess it")
        return self


class Group(Table):
    """A ring group (docs/forwarding.md)."""

    name: Name
    extension: Extension
    members: Annotated[list[str], Field(min_length=1, max_length=64)]
    strategy: Literal["parallel", "serial"] = "parallel"
    ring_s: Annotated[int, Field(ge=5, le=300)] | None = None
    follows_forwarding: bool = False


class AssignedNumber(Table):
    number: Number
    to: str | None = None
    group: str | None = None
    masks: bool = False

    @model_validator(mode="after")
    def _rings_or_masks(self) -> "AssignedNumber":
        if self.masks and self.to is not None:
            raise ValueError("a proxy number (masks) rings nobody by itself: leave out to")
        if self.group is not None and (self.masks or self.to is not None):
            raise ValueError("a number rings one party: give to, group or masks")
        return self


class ApiKey(Table):
    name: Name
    role: Role
    purpose: Annotated[str, _matching(re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII), 'must be a code such as "customer-service"')] = (
        "customer-service"
    )
    person: str | None = None


class Contact(Table):
    email: Email
    role: ContactRole


class Recipient(Table):
    name: Name
    algorithm: Annotated[Algorithm, Field(strict=False)]
    public_key: Annotated[str, Field(min_length=1, max_length=32768)] | None = None
    public_key_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_key(self) -> "Recipient":
        if (self.public_key is None) == (self.public_key_file is None):
            raise ValueError("give public_key (PEM, JSON Web Key or base64) or public_key_file, and not both")
        return self


def _limits(value: Any) -> Any:
    """By level, as the API names them; "off": nothing is limited."""
    if value == "off":
        return {level: {signal.value: "off" for signal in limits.signals_of(level)} for level in OF_ALL}
    said = {level.replace("_", "-"): bounds for level, bounds in value.items()}
    if unknown := set(said) - set(OF_ALL):
        raise ValueError(f"there are no limits of {', '.join(sorted(unknown))}: give organisation, each_team and each_agent")
    for level, bounds in said.items():
        limits.read(bounds, level)
    return said


class Org(Table):
    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=200)]
    home_country: Country
    residency: Annotated[str, _matching(re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII), 'must be a region such as "eu"')]
    allowed_countries: list[Country] = []
    country_groups: list[GroupName] = []
    classes: list[ClassName] = []
    time_zone: TimeZone | None = None
    terms: TermsTable | None = None
    hours: HoursList | None = None
    short_codes: Annotated[list[ShortCode], Field(max_length=1000)] | None = None
    risk_packs_off: Annotated[list[Slug], Field(max_length=32)] | None = None
    teams: Annotated[list[Team], Field(max_length=1000)] = []
    exceptions: Annotated[list[NumberException], Field(max_length=1000)] = []
    record: Literal["all", "none", "on-demand"] = "all"
    agent_srtp: Literal["required", "optional", "best-effort"] = "required"
    allow_sdes_in_clear: bool = False
    recording_consent: Literal["announced", "contract", "none"] = "contract"
    without_recording: Literal["refuse", "unrecorded"] = "refuse"
    ringback: Literal["phone", "early"] = "phone"
    music_on_hold: bool = False
    announcement: Hearers = "off"
    announce_at: Literal["answer", "before"] = "answer"
    record_from: Literal["announcement", "answer"] = "announcement"
    spoken_refusals: bool = False
    beep: Hearers = "off"
    beep_every_s: Annotated[int, Field(ge=5, le=300)] = 15
    presence: Literal["off", "state", "numbers"] = "state"
    telemarketing_hours: Annotated[list[CallingHours], Field(max_length=calling_hours.MOST)] = []
    limits: Annotated[Literal["off"] | dict[str, dict[str, Any]], AfterValidator(_limits)] | None = None
    outside_prefix: Prefix | None = None
    record_emergency: bool = False
    jurisdiction: Annotated[list[Jurisdiction], Field(min_length=1, max_length=16)] | None = None
    contacts: Annotated[list[Contact], Field(max_length=32)] | None = None
    custody: Literal["hushwire", "both", "customer"] | None = None
    recipients: Annotated[list[Recipient], Field(max_length=64)] | None = None
    agents: list[Agent] = []
    groups: list[Group] = []
    numbers: list[AssignedNumber] = []
    api_keys: list[ApiKey] = []


class Subprocessor(Table):
    name: Name
    purpose: Annotated[str, Field(min_length=1, max_length=200)]
    country: Country
    categories: Annotated[list[Literal["customer", "contact", "user", "content", "metadata", "identity", "document"]], Field(min_length=1)]
    safeguard: Safeguard | None = None


class Policy(Table):
    kind: Annotated[str, _matching(re.compile(r"[a-z][a-z-]{0,39}", re.ASCII), 'must be a word such as "agreement"')]
    version: Annotated[str, _matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}", re.ASCII), 'must be a name such as "2026-11"')]
    text: Annotated[str, Field(min_length=1, max_length=500_000)]
    effective_at: datetime

    @model_validator(mode="after")
    def _in_a_zone(self) -> "Policy":
        if self.effective_at.tzinfo is None:
            raise ValueError("effective_at needs its offset, such as 2026-12-01T00:00:00Z")
        return self


class Document(Table):
    subprocessors: list[Subprocessor] = []
    policies: list[Policy] = []
    trunks: list[Trunk] = []
    message_centres: list[Carrier] = []
    orgs: list[Org] = []


def read(path: Path, regions: Iterable[str]) -> Desired:
    """What the file declares. `regions` are the residencies that a store serves (`*`: any).

    Raises ConfigError with one line per mistake: the file, the entry, the key, the mend.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        document = Document.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError("\n".join(f"{path}: {_place(tree, problem['loc'])}: {words(problem)}" for problem in found)) from None
    problems = [*_contradictions(document, set(regions))]
    custody = {org.slug: _custody(org, path.parent, problems) for org in document.orgs}
    rates = {trunk.name: _rates(trunk, path.parent, problems) for trunk in document.trunks if trunk.rates is not None}
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return replace(_desired(document, custody), rates=rates)


def read_rates(path: Path) -> dict[str, Rate]:
    """A rate table as CSV. Raises ConfigError where the file can't be read, or is none."""
    try:
        return read_csv(path.read_text(encoding="utf-8"))
    except RatesUnreadableError as error:
        raise ConfigError(f"{path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None


def _rates(trunk: Trunk, folder: Path, problems: list[str]) -> dict[str, Rate]:
    """A trunk's rate table, from the file beside; what is wrong with it goes to `problems`."""
    try:
        return read_rates(folder / (trunk.rates or ""))
    except ConfigError as error:
        problems.append(f'trunks "{trunk.name}" rates: {error}')
        return {}


def _custody(org: Org, folder: Path, problems: list[str]) -> CustodySpec:
    """The organisation's own keys, read from the file or from files beside it; what is wrong with them goes to `problems`."""
    if org.recipients is None:
        return CustodySpec(org.custody)
    made = []
    for position, entry in enumerate(org.recipients, 1):
        where = f'orgs "{org.slug}" recipients[{position}] "{entry.name}"'
        try:
            text = entry.public_key
            if entry.public_key_file is not None:
                text = (folder / entry.public_key_file).read_text(encoding="ascii")
            made.append(RecipientSpec(entry.name, load_public(entry.algorithm, text or ""), entry.expires_at))
        except RecipientKeyError as error:
            problems.append(f"{where} {'public_key' if entry.public_key else 'public_key_file'}: {error}")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            problems.append(f"{where} public_key_file: can't be read ({reason})")
    if len({entry.key.fingerprint for entry in made}) < len(made):
        problems.append(f'orgs "{org.slug}" recipients: a key stands twice')
    return CustodySpec(org.custody, tuple(made))


def _place(tree: Any, location: tuple[int | str, ...]) -> str:
    """`orgs[1] "acme" agents[2] "anna" extension`: entries are counted from 1 and called by their names."""
    node: Any = tree
    parts: list[str] = []
    for step in location:
        if step in ("smpp", "http") and isinstance(node, dict) and step not in node:
            continue  # which kind of carrier it was read as
        if isinstance(step, int):
            parts[-1:] = [f"{parts[-1] if parts else ''}[{step + 1}]"]
        else:
            parts.append(step)
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
        if isinstance(step, int) and isinstance(node, dict):
            name = next((node[key] for key in ("slug", "name", "username") if isinstance(node.get(key), str)), None)
            parts += [f'"{name}"'] if name else []
    return " ".join(parts) or "the file"


def _contradictions(document: Document, regions: set[str]) -> Iterable[str]:
    """What is wrong between entries, each of which is right by itself."""
    yield from (f'trunks: the name "{name}" stands twice' for name in _twice(trunk.name for trunk in document.trunks))
    yield from (f'message_centres: the name "{name}" stands twice' for name in _twice(entry.name for entry in document.message_centres))
    yield from (f'subprocessors: the name "{name}" stands twice' for name in _twice(entry.name for entry in document.subprocessors))
    yield from (f'orgs: the slug "{slug}" stands twice' for slug in _twice(org.slug for org in document.orgs))
    seen_in: dict[str, str] = {}
    for org in document.orgs:
        where = f'orgs "{org.slug}"'
        if "*" not in regions and org.residency not in regions:
            yield f"{where} residency: no store serves it: add [store] regions.{org.residency} to the configuration"
        yield from (
            f'{where} agents: the username "{name}" stands twice' for name in _twice(agent.username.lower() for agent in org.agents)
        )
        yield from (
            f'{where} agents: the extension "{name}" stands twice' for name in _twice(a.extension for a in org.agents if a.extension)
        )
        yield from (f'{where} api_keys: the name "{name}" stands twice' for name in _twice(key.name for key in org.api_keys))
        yield from (f'{where} allowed_countries: "{code}" stands twice' for code in _twice(org.allowed_countries))
        yield from (
            f"{where} contacts: an address stands twice with the role {role}"
            for role, _ in _twice((contact.role, contact.email) for contact in org.contacts or [])
        )
        yield from (f'{where} jurisdiction: "{tag}" stands twice' for tag in _twice(org.jurisdiction or []))
        usernames = {agent.username for agent in org.agents}
        for key in org.api_keys:
            if key.person is not None and key.person not in usernames:
                yield f'{where} api_keys "{key.name}" person: there is no agent "{key.person}" in this organisation'
        for position, agent in enumerate(org.agents, 1):
            if agent.extension and _is_emergency(agent.extension, org.home_country):
                yield f'{where} agents[{position}] "{agent.username}" extension: is an emergency number: choose another'
        yield from _wrong_groups(org, where, usernames)
        yield from _wrong_teams(org, where, usernames)
        for position, entry in enumerate(org.numbers, 1):
            place = f"{where} numbers[{position}]"
            if entry.to is not None and entry.to not in usernames:
                yield f'{place} to: there is no agent "{entry.to}" in this organisation: declare it, or correct the name'
            if entry.group is not None and entry.group not in {group.name for group in org.groups}:
                yield f'{place} group: there is no group "{entry.group}" in this organisation: declare it, or correct the name'
            if entry.number in seen_in:
                yield f"{place} number: stands in {seen_in[entry.number]} already"
            seen_in[entry.number] = place


def _wrong_groups(org: Org, where: str, usernames: set[str]) -> Iterable[str]:
    yield from (f'{where} groups: the name "{name}" stands twice' for name in _twice(group.name for group in org.groups))
    taken = [agent.extension for agent in org.agents if agent.extension]
    yield from (
        f'{where} groups: the extension "{extension}" stands twice, or is an agent\'s'
        for extension in _twice([group.extension for group in org.groups] + taken)
        if extension not in _twice(taken)
    )
    for group in org.groups:
        place = f'{where} groups "{group.name}"'
        if _is_emergency(group.extension, org.home_country):
            yield f"{place} extension: is an emergency number: choose another"
        yield from (f'{place} members: "{name}" stands twice' for name in _twice(group.members))
        yield from (
            f'{place} members: there is no agent "{name}" in this organisation: declare it, or correct the name'
            for name in group.members
            if name not in usernames
        )


def _wrong_teams(org: Org, where: str, usernames: set[str]) -> Iterable[str]:
    yield from (f'{where} teams: the name "{name}" stands twice' for name in _twice(team.name for team in org.teams))
    members = [name for team in org.teams for name in team.members]
    yield from (f'{where} teams: the agent "{name}" stands twice: an agent is of one team at most' for name in _twice(members))
    for team in org.teams:
        yield from (
            f'{where} teams "{team.name}" members: there is no agent "{name}" in this organisation: declare it, or correct the name'
            for name in team.members
            if name not in usernames
        )
    yield from (f"{where} exceptions: one stands twice" for _ in _twice((one.kind, one.number, one.prefix) for one in org.exceptions))
    yield from (
        f"{where} short_codes: {code} is an emergency number, which is put through anyway"
        for code in org.short_codes or []
        if _is_emergency(code, org.home_country)
    )


def _countries(codes: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The list as it is saved: groups are their territories of now."""
    return tuple(sorted({*codes, *groups.expand(names)}))


def _twice(names: Iterable[T]) -> list[T]:
    return [name for name, count in Counter(names).items() if count > 1]


def _is_emergency(extension: str, country: str) -> bool:
    return extension in ("112", "911") or shortnumberinfo.is_emergency_number(extension, country)


def _desired(document: Document, custody: Mapping[str, CustodySpec]) -> Desired:
    trunks = tuple(_trunk(trunk) for trunk in document.trunks)
    listed = tuple(
        SubprocessorSpec(entry.name, entry.purpose, entry.country, tuple(sorted(set(entry.categories))), entry.safeguard)
        for entry in document.subprocessors
    )
    policies = tuple(PolicySpec(policy.kind, policy.version, policy.text, policy.effective_at) for policy in document.policies)
    centres = tuple(_centre(entry) for entry in document.message_centres)
    return Desired(trunks, tuple(_org(org, custody[org.slug]) for org in document.orgs), listed, policies, centres)


def _centre(centre: MessageCentre | HttpCarrier) -> CentreSpec:
    said = centre.model_dump()
    secret = said.pop("secret", None)
    if isinstance(centre, HttpCarrier):
        said["numbering"] = "payload"
    own = {name: said.pop(name) for name in ("name", "kind", "priority", "weight", "prefixes", "password")}
    return CentreSpec(**{**own, "prefixes": tuple(own["prefixes"])}, settings=said, secret=secret)


def _trunk(trunk: Trunk) -> TrunkSpec:
    said: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in trunk if name != "rates"}
    return TrunkSpec(**said)


def _org(org: Org, custody: CustodySpec) -> OrgSpec:
    row = OrgRow(
        slug=org.slug,
        name=org.name,
        home_country=org.home_country,
        residency=org.residency,
        record=org.record,
        agent_srtp=org.agent_srtp,
        allow_sdes_in_clear=org.allow_sdes_in_clear,
        without_recording=org.without_recording,
        outside_prefix=org.outside_prefix,
        allowed_countries=_countries(org.allowed_countries, org.country_groups),
        classes=tuple(sorted(set(org.classes))),
        recording_consent=org.recording_consent,
        ringback=org.ringback,
        music_on_hold=org.music_on_hold,
        announcement=org.announcement,
        announce_at=org.announce_at,
        record_from=org.record_from,
        spoken_refusals=org.spoken_refusals,
        beep=org.beep,
        beep_every_s=org.beep_every_s,
        presence=org.presence,
        record_emergency=org.record_emergency,
        telemarketing_hours=tuple(org.telemarketing_hours),
    )
    agents = tuple(
        AgentSpec(
            a.username,
            a.role,
            a.extension,
            a.caller_id,
            a.sip_password,
            a.suspended,
            a.telemarketing,
            a.media_ports,
            a.hides_identity,
            None if a.forwarding is None else of_values(a.forwarding.model_dump()),
            a.level(a.time_zone),
            None if a.address is None else a.address.parts(),
        )
        for a in org.agents
    )
    numbers = tuple(NumberSpec(entry.number, entry.to, entry.masks, entry.group) for entry in org.numbers)
    groups_ = tuple(_group(group) for group in org.groups)
    contacts = None
    if org.contacts is not None:
        contacts = tuple((notices.ContactRole(contact.role), Personal(contact.email)) for contact in org.contacts)
    jurisdictions = None if org.jurisdiction is None else tuple(org.jurisdiction)
    api_keys = tuple(KeySpec(key.name, key.role, key.purpose, key.person) for key in org.api_keys)
    rules = OrgRulesSpec(
        org.time_zone,
        None if org.terms is None else written_terms(terms_of(org.terms)),
        None if org.hours is None else written_hours(hours_of(org.hours)),
        None if org.short_codes is None else tuple(sorted(set(org.short_codes))),
        None if org.risk_packs_off is None else tuple(sorted(set(org.risk_packs_off))),
    )
    teams = tuple(TeamSpec(team.name, tuple(team.members), team.level()) for team in org.teams)
    excepted = tuple(ExceptionSpec(ExceptionKind(one.kind), one.said, one.until) for one in org.exceptions)
    limited = org.limits if isinstance(org.limits, dict) else None
    return OrgSpec(row, agents, numbers, api_keys, jurisdictions, contacts, custody, groups_, rules, teams, excepted, limited)


def _group(group: Group) -> GroupSpec:
    seconds = group.ring_s or (RING_TOGETHER_S if group.strategy == "parallel" else RING_IN_TURN_S)
    return GroupSpec(group.name, group.extension, group.strategy, seconds, group.follows_forwarding, tuple(group.members))


def countries(codes: Iterable[str]) -> list[str]:
    """An allowlist, sorted and without repetitions. Raises ConfigError for what is no country code."""
    wrong = []
    for code in codes:
        try:
            _country(code)
        except ValueError as error:
            wrong.append(f"{code!r}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return sorted(set(codes))
