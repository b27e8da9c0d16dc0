"""What single values of the provisioning file must be, each with the mend."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import phonenumbers
from pydantic import AfterValidator

from hushwire.core.errors import PeerError
from hushwire.policy import calling_hours, groups
from hushwire.policy.terms import hours_of, terms_of
from hushwire.privacy import mail
from hushwire.privacy.jurisdictions import tag_of
from hushwire.services.agent_rules import zone_name
from hushwire.sip.uri import SipUri, parse_uri

ContactRole = Literal["privacy", "security", "billing"]
Hearers = Literal["off", "agent", "peer", "both"]
Role = Literal["owner", "admin", "supervisor", "agent", "auditor"]
SHORTEST_PASSWORD: Final = 8

_SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_USERNAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,62}[A-Za-z0-9])?", re.ASCII)
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


def matching(pattern: re.Pattern[str], mend: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(mend)
        return value

    return AfterValidator(check)


def country_code(value: str) -> str:
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
Country = Annotated[str, AfterValidator(country_code)]
Jurisdiction = Annotated[str, AfterValidator(_jurisdiction)]
Email = Annotated[str, AfterValidator(mail.address)]
CallingHours = Annotated[str, AfterValidator(_calling_hours)]
Number = Annotated[str, AfterValidator(_number)]
Slug = Annotated[str, matching(_SLUG, 'must be lower-case letters, digits and hyphens, such as "acme"')]
Name = Annotated[str, matching(_NAME, "must begin and end with a letter or digit, and have at most 64 characters")]
Username = Annotated[str, matching(_USERNAME, 'must be letters, digits, dots, hyphens and underscores, such as "anna"')]
NumberPrefix = Annotated[str, matching(re.compile(r"\+[0-9]{1,14}", re.ASCII), 'must be the beginning of a number such as "+49"')]
CallerIds = Annotated[
    str,
    matching(re.compile(r"\+[0-9]{1,14}\*|\+[1-9][0-9]{6,14}", re.ASCII), 'must be a number, or its beginning and a star: "+493023125*"'),
]
Pin = Annotated[
    str,
    matching(
        re.compile(r"sha256:[0-9a-f]{64}", re.ASCII), 'must be "sha256:" and the certificate\'s fingerprint in 64 lower-case hex digits'
    ),
]
CodecName = Literal["PCMU", "PCMA", "G722", "opus"]
Extension = Annotated[str, matching(re.compile(r"[0-9]{2,8}", re.ASCII), 'must be 2 to 8 digits in quotes, such as "101"')]
Prefix = Annotated[str, matching(re.compile(r"[0-9]{1,3}", re.ASCII), 'must be 1 to 3 digits in quotes, such as "0"')]


def _terms(value: dict[str, Any]) -> dict[str, Any]:
    terms_of(value)
    return value


def _hours(value: list[Any]) -> list[Any]:
    hours_of(value)
    return value


ClassName = Literal["premium", "shared-cost", "personal", "pager", "satellite", "uifn", "global"]
GroupName = Annotated[str, AfterValidator(groups.group)]
TermsTable = Annotated[dict[str, Any], AfterValidator(_terms)]
HoursList = Annotated[list[Any], AfterValidator(_hours)]
TimeZone = Annotated[str, AfterValidator(zone_name)]
ShortCode = Annotated[str, matching(re.compile(r"[0-9]{2,6}", re.ASCII), 'must be 2 to 6 digits in quotes, such as "116117"')]
ExceptedPrefix = Annotated[str, matching(re.compile(r"\+[1-9][0-9]{2,13}", re.ASCII), 'must be the beginning of a number such as "+4932"')]
ExceptedNumber = Annotated[str, matching(re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII), "must be a full international number")]
TrunkUri = Annotated[str, AfterValidator(_sip_uri)]
IpAddress = Annotated[str, AfterValidator(_address)]
IpNetwork = Annotated[str, AfterValidator(_network)]
SipPassword = Annotated[str, AfterValidator(_password)]


def expanded(codes: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The list as it is saved: groups are their territories of now."""
    return tuple(sorted({*codes, *groups.expand(names)}))
