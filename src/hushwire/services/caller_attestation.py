"""What we sign of our own calls: that this number is shown by who may show it (A), by somebody whom we know (B), or is passed on (C)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from hushwire.calls.model import CallDirection, Target
from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.policy import trunk_number
from hushwire.services.trunk import Trunk
from hushwire.sip import shaken
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.passport import SHAKEN, Attestation, Passport, canonical_number, signed
from hushwire.sip.uri import NameAddr, SipUri, TelUri, parse_name_addr, parse_sip_uri

_LEVELS: Final = (Attestation.FULL, Attestation.PARTIAL, Attestation.GATEWAY)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Our key, and where everybody finds its certificate."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    url: str


class CallerAttestation:
    """Signs. `owner_of` tells which organisation of ours a canonical number is assigned to; `origin_of` the origid of an organisation."""

    def __init__(self, key: SigningKey, clock: Clock, owner_of: Callable[[str], OrgId | None], origin_of: Callable[[OrgId], UUID]) -> None:
        self._key = key
        self._clock = clock
        self._owner_of = owner_of
        self._origin_of = origin_of

    def sign(self, trunk: Trunk, target: Target, org_id: OrgId, direction: CallDirection) -> tuple[Line, Attestation] | None:
        """The Identity header of an INVITE to a trunk, and what it says; None where there is no number to sign for.

        Read from what is about to be sent, so that nothing else can be signed: a hidden caller asserts no number and is not signed for.
        """
        called = _read(trunk, _uri_user(target.uri))
        shown = _read(trunk, _shown(target))
        if called is None or shown is None:
            return None
        attestation = self._level(trunk, shown, org_id, direction)
        passport = Passport(
            SHAKEN,
            self._key.url,
            int(self._clock.now().timestamp()),
            canonical_number(shown),
            (canonical_number(called),),
            attestation,
            str(self._origin_of(org_id)),
        )
        return ("Identity", shaken.header(signed(passport, self._key.key), self._key.url)), attestation

    def _level(self, trunk: Trunk, shown: str, org_id: OrgId, direction: CallDirection) -> Attestation:
        """RFC 8588 section 4: the number's right is in our own table of numbers, or nowhere; who calls is known by its credential."""
        if self._owner_of(shown) == org_id:
            known = Attestation.FULL
        else:
            known = Attestation.GATEWAY if direction is CallDirection.INBOUND else Attestation.PARTIAL
        return max(known, trunk.attest, key=_LEVELS.index)  # never more than the trunk lets us say


def _shown(target: Target) -> str | None:
    """The user part of the number that the INVITE shows: asserted, else that of From (ATIS-1000074 section 5.3.1)."""
    asserted = next((value for name, value in target.headers if name.lower() == "p-asserted-identity"), None)
    try:
        return _user(target.from_ if asserted is None else parse_name_addr(asserted))
    except ParseError:
        return None


def _user(name: NameAddr) -> str | None:
    uri = name.uri
    if isinstance(uri, TelUri):
        return uri.digits
    return uri.user_unescaped if isinstance(uri, SipUri) else None


def _uri_user(uri: str) -> str | None:
    try:
        return parse_sip_uri(uri).user
    except ParseError:
        return None


def _read(trunk: Trunk, text: str | None) -> str | None:
    return None if text is None else trunk_number.read(text, trunk.number_format, trunk.country)
