"""The tables of the provisioning file, as their keys stand there."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from hushwire.app.provision_values import (
    CallerIds,
    CallingHours,
    ClassName,
    CodecName,
    ContactRole,
    Country,
    Email,
    ExceptedNumber,
    ExceptedPrefix,
    Extension,
    GroupName,
    Hearers,
    HoursList,
    IpAddress,
    IpNetwork,
    Jurisdiction,
    Name,
    Number,
    NumberPrefix,
    Pin,
    Prefix,
    Role,
    Safeguard,
    ShortCode,
    SipPassword,
    Slug,
    TermsTable,
    TimeZone,
    TrunkUri,
    Username,
    expanded,
    matching,
)
from hushwire.core.errors import ConfigError
from hushwire.policy import calling_hours, limits
from hushwire.policy.rules import ExceptionKind
from hushwire.policy.terms import hours_of, terms_of, written_hours, written_terms
from hushwire.policy.trunk_number import can_be_national
from hushwire.services.agent_rules import Said, checked
from hushwire.services.emergencies import FIELDS
from hushwire.services.forwarding import LONGEST_RING_S, SHORTEST_RING_S, is_destination
from hushwire.services.limits import OF_ALL
from hushwire.services.provisioning_rules import LevelSpec
from hushwire.services.webhook_signing import read_secret
from hushwire.sip.uri import SipUri, parse_uri
from hushwire.sms.text.alphabets import Language
from hushwire.vault.recipients import Algorithm


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


HeaderName = Annotated[str, matching(re.compile(r"[XP]-[A-Za-z0-9-]{1,60}", re.ASCII), 'must be a header of its own such as "X-Location"')]
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,120}")
AddressPart = Annotated[str, matching(_LINE, "must be one line of at most 120 characters")]


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
    uri: TrunkUri
    srtp: Literal["never", "optional", "required"]
    keying: Literal["sdes", "best-effort", "dtls"] = "sdes"
    username: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    password: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    realm: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    addresses: list[IpAddress] = []
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
    networks: Annotated[list[IpNetwork], Field(max_length=16)] = []
    trusted: bool = False
    signs: bool = False
    attest: Literal["A", "B", "C"] = "A"
    verify: Literal["off", "note", "show"] = "off"
    rates: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    emergency: bool | None = None
    location_header: HeaderName | None = None
    geolocation: bool = False

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
        str, matching(re.compile(r"[A-Za-z0-9.:-]{1,253}", re.ASCII), 'must be a host such as "smpp.example.org", or an address')
    ]
    port: Annotated[int, Field(ge=1, le=65535)]
    mode: Literal["transmitter", "receiver", "transceiver"] = "transceiver"
    tls: bool = True
    weight: Annotated[int, Field(ge=1, le=65535)] = 1
    priority: Annotated[int, Field(ge=0, le=65535)] = 0


LanguageName = Annotated[str, AfterValidator(_language)]
IdForm = Literal["exact", "caseless", "hex", "decimal"]
Status = Annotated[str, matching(re.compile(r"0x[0-9a-f]{8}", re.ASCII), 'must be a status such as "0x00000455"')]


class MessageCentre(Table):
    """A carrier of short messages by SMPP 3.4 (docs/sms.md)."""

    name: Name
    kind: Literal["smpp"] = "smpp"
    priority: Annotated[int, Field(ge=0, le=65535)] = 0
    weight: Annotated[int, Field(ge=1, le=65535)] = 1
    prefixes: Annotated[list[NumberPrefix], Field(max_length=256)] = []
    system_id: Annotated[str, matching(re.compile(r"[!-~]{1,15}", re.ASCII), "must be 1 to 15 characters of printable ASCII")]
    password: Annotated[str, matching(re.compile(r"[!-~]{1,8}", re.ASCII), "must be 1 to 8 characters of printable ASCII")] | None = None
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
    networks: Annotated[list[IpNetwork], Field(max_length=16)] = []
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
    url: Annotated[str, matching(re.compile(r"https://[!-~]{1,2000}", re.ASCII), 'must be a URL such as "https://sms.example.org/send"')]
    auth: Literal["none", "bearer", "basic", "header"] = "none"
    username: Annotated[str, Field(max_length=128)] = ""
    header: Annotated[str, matching(re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII), "must be the name of a header")] = "X-Api-Key"
    password: Annotated[str, matching(re.compile(r"[!-~]{1,512}", re.ASCII), "must be printable ASCII")] | None = None
    secret: Annotated[str, matching(re.compile(r"whsec_[A-Za-z0-9+/=]{32,90}", re.ASCII), 'must be "whsec_" and base64')] | None = None
    window: Annotated[int, Field(ge=1, le=100)] = 10
    unknown_after_s: Annotated[int, Field(ge=1, le=2_592_000)] = 86_400
    when_unknown: Literal["fail", "resend"] = "fail"
    most_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    move_after_s: Annotated[int, Field(ge=0, le=604_800)] = 120
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
            countries = expanded(self.allowed_countries or [], self.country_groups or [])
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
    sip_password: SipPassword | None = None
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
    purpose: Annotated[str, matching(re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII), 'must be a code such as "customer-service"')] = (
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
    residency: Annotated[str, matching(re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII), 'must be a region such as "eu"')]
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
    kind: Annotated[str, matching(re.compile(r"[a-z][a-z-]{0,39}", re.ASCII), 'must be a word such as "agreement"')]
    version: Annotated[str, matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}", re.ASCII), 'must be a name such as "2026-11"')]
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
