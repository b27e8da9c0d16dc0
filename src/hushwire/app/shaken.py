"""Signed caller numbers as `[shaken]` configures them: its files read and checked, and what the gateway makes of them."""

import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hushwire.app.config import Config
from hushwire.app.folders import Account, Folders, give, write_secret
from hushwire.core.clock import Clock
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId
from hushwire.services.caller_attestation import CallerAttestation, SigningKey
from hushwire.services.caller_verification import CallerVerification
from hushwire.services.directory import Directory
from hushwire.services.shaken import Shaken
from hushwire.services.signing_certificates import SigningCertificates
from hushwire.sip.sti_certificate import NONE_REVOKED, Revoked
from hushwire.sip.tn_authority import numbers_of
from hushwire.transport.fetching import Fetching
from hushwire.transport.locating import Dns

_LARGEST: Final = 16 << 20


def settled(config: Config, folders: Folders, owner: Account | None) -> Config:
    """The configuration as roles get it: with files that they may read. Raises ConfigError for files that can't be used."""
    signing_key(config)
    trusted(config)
    revoked(config)
    _repositories(config)
    if owner is None:
        return config
    copies = {}
    for name, path in config.shaken.files().items():
        copies[name] = copy = folders.tls / f"shaken-{name}.pem"
        write_secret(copy, _read(path, name))
        give(copy, owner)
    return config.model_copy(update={"shaken": config.shaken.model_copy(update=copies)})


def build(config: Config, directory: Directory, dns: Dns, clock: Clock) -> tuple[Shaken, SigningCertificates]:
    """What verifies and signs. Raises ConfigError."""
    set_up = config.shaken
    source = Fetching(dns, _repositories(config), set_up.networks, set_up.ports)
    certificates = SigningCertificates(source, trusted(config), clock, revoked(config))
    verification = CallerVerification(certificates, clock, set_up.wait_ms / 1000, float(set_up.fresh_s))
    key = signing_key(config)
    if key is None:
        return Shaken(verification), certificates

    def owner_of(number: str) -> OrgId | None:
        found = directory.find_number(number)
        return None if found is None else found.org_id

    def origin_of(org_id: OrgId) -> UUID:
        # One for each organisation, and nobody but us knows whose it is (RFC 8588 section 5).
        return UUID(bytes=directory.between_nodes(f"shaken/{org_id}")[:16], version=4)

    return Shaken(verification, CallerAttestation(key, clock, owner_of, origin_of)), certificates


def signing_key(config: Config) -> SigningKey | None:
    """Our key; None where nothing is to be signed. Raises ConfigError where it is no secret, no P-256 key, or not the certificate's."""
    path, chain, url = config.shaken.key, config.shaken.certificate, config.shaken.certificate_url
    if path is None or chain is None or url is None:
        return None
    data = _read(path, "key")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"[shaken] key: {path}: others can read it: chmod 600 it, and have its certificate replaced if they did")
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise ConfigError(f"[shaken] key: {path}: must be a PEM key without a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"[shaken] key: {path}: must be a P-256 key: openssl ecparam -name prime256v1 -genkey -noout")
    leaf = _certificates(chain, "certificate")[0]
    if leaf.public_key() != key.public_key():
        raise ConfigError(f"[shaken] key: {path.name} is not the key of {chain.name}")
    if leaf.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(f"[shaken] certificate: {chain} has expired: renew it, and what certificate_url serves")
    try:
        has_numbers = numbers_of(leaf) is not None
    except ValueError:
        has_numbers = False
    if not has_numbers:
        raise ConfigError(f"[shaken] certificate: {chain}: has no list of numbers (TNAuthList, RFC 8226): nobody would believe it")
    return SigningKey(key, url)


def trusted(config: Config) -> tuple[x509.Certificate, ...]:
    """The roots that the operator trusts to say who signs for numbers; none without `authorities`. Raises ConfigError."""
    path = config.shaken.authorities
    return () if path is None else _certificates(path, "authorities")


def revoked(config: Config) -> Revoked:
    """What the operator's list says. Raises ConfigError. Whose list it is was the operator's to check: it comes as a file."""
    path = config.shaken.revoked
    if path is None:
        return NONE_REVOKED
    data = _read(path, "revoked")
    try:
        listed = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
        found, issuer = set(), listed.issuer.public_bytes()
        for entry in listed:
            # An indirect list names the issuer where it changes (RFC 5280 section 5.3.3).
            try:
                names = entry.extensions.get_extension_for_class(x509.CertificateIssuer).value.get_values_for_type(x509.DirectoryName)
                issuer = names[0].public_bytes() if names else issuer
            except x509.ExtensionNotFound:
                pass
            found.add((issuer, entry.serial_number))
    except ValueError:
        raise ConfigError(f"[shaken] revoked: {path}: must be a certificate revocation list, PEM or DER") from None
    return Revoked(frozenset(found))


def _repositories(config: Config) -> ssl.SSLContext:
    path = config.shaken.repositories
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if path is None else str(path))
    except (OSError, ssl.SSLError):
        raise ConfigError(f"[shaken] repositories: {path}: can't be loaded: name a PEM file of authorities") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _certificates(path: Path, name: str) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(_read(path, name)))
    except ValueError:
        raise ConfigError(f"[shaken] {name}: {path}: holds no PEM certificate") from None


def _read(path: Path, name: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            data = handle.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"[shaken] {name}: {path}: can't be read ({error.strerror})") from None
    if len(data) > _LARGEST:
        raise ConfigError(f"[shaken] {name}: {path}: is far too large")
    return data
