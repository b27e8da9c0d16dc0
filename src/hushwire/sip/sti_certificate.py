"""Certificates that sign for telephone numbers (RFC 8226): a chain of them judged against the roots that the operator trusts.

They are no web certificates: no host name, no key purpose. What makes one is its list of numbers or provider codes (TNAuthList).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from hushwire.core.values import frozen
from hushwire.sip.tn_authority import TN_AUTHORITY, Numbers, numbers_of

E = TypeVar("E", bound=x509.ExtensionType)

MOST_CERTIFICATES: Final = 6
_UNDERSTOOD: Final = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.CertificatePolicies.oid,
        x509.CRLDistributionPoints.oid,
        TN_AUTHORITY,
    }
)


class Fault(StrEnum):
    """Why a chain does not count; stable, since rows carry it."""

    UNREADABLE = "certificate-unreadable"
    UNTRUSTED = "certificate-untrusted"
    EXPIRED = "certificate-expired"
    REVOKED = "certificate-revoked"
    NO_AUTHORITY = "certificate-no-authority"  # over telephone numbers


@frozen
class Signer:
    """Who signs: the key, for which numbers, and until when the chain counts."""

    key: ec.EllipticCurvePublicKey
    numbers: Numbers
    until: datetime


@frozen
class Revoked:
    """Certificates that count no more: by issuer's name and serial number."""

    entries: frozenset[tuple[bytes, int]] = frozenset()

    def holds(self, certificate: x509.Certificate) -> bool:
        """Whether it is one of them."""
        return (certificate.issuer.public_bytes(), certificate.serial_number) in self.entries


NONE_REVOKED: Final = Revoked()


def read_chain(data: bytes) -> tuple[x509.Certificate, ...] | Fault:
    """Certificates as a repository serves them: PEM, the signer's own first; or the DER of that one alone."""
    try:
        is_pem = b"-----BEGIN" in data
        found = x509.load_pem_x509_certificates(data) if is_pem else [x509.load_der_x509_certificate(data)]
    except ValueError:
        return Fault.UNREADABLE
    return tuple(found) if 1 <= len(found) <= MOST_CERTIFICATES else Fault.UNREADABLE


def judge(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime, revoked: Revoked = NONE_REVOKED
) -> Signer | Fault:
    """The signer of a chain that leads from its first certificate to one of the roots (RFC 5280 section 6), or why it is none."""
    try:
        return _judged(chain, roots, now, revoked)
    except (ValueError, TypeError):  # extensions that can't be read, keys of unknown kinds
        return Fault.UNREADABLE


def _judged(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime, revoked: Revoked) -> Signer | Fault:
    leaf = chain[0]
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1) or not _may_sign(leaf):
        return Fault.UNTRUSTED
    path = _path(leaf, chain[1:], roots)
    if path is None or any(_has_unknown(one) for one in path):
        return Fault.UNTRUSTED
    if any(not one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in path):
        return Fault.EXPIRED
    if any(revoked.holds(one) for one in path):
        return Fault.REVOKED
    numbers = numbers_of(leaf)
    if numbers is None:
        return Fault.NO_AUTHORITY
    return Signer(key, numbers, min(one.not_valid_after_utc for one in path))


def _path(leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> list[x509.Certificate] | None:
    """From the leaf to a root, each issued by the next; what else was served is not looked at."""
    path = [leaf]
    while len(path) <= MOST_CERTIFICATES:
        below = len(path) - 1  # certificates of authorities between the leaf and the issuer sought
        if path[-1] in roots and below > 0:
            return path
        issuer = next((one for one in (*roots, *others) if _issued(path[-1], one, below)), None)
        if issuer is None or issuer in path:
            return None
        path.append(issuer)
    return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, below: int) -> bool:
    """Whether `issuer` is an authority that may have issued it, and did."""
    if certificate.issuer != issuer.subject:
        return False
    basic = _extension(issuer, x509.BasicConstraints)
    if basic is None or not basic.ca or (basic.path_length is not None and basic.path_length < below):
        return False
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return False
    return True


def _may_sign(leaf: x509.Certificate) -> bool:
    """An authority's own certificate signs certificates, not calls."""
    basic, usage = _extension(leaf, x509.BasicConstraints), _extension(leaf, x509.KeyUsage)
    return (basic is None or not basic.ca) and (usage is None or usage.digital_signature)


def _has_unknown(certificate: x509.Certificate) -> bool:
    return any(one.critical and one.oid not in _UNDERSTOOD for one in certificate.extensions)


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
