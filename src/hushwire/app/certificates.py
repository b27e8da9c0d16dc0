"""An own certificate authority, for who has no other: made once, and a server certificate under it that is renewed in time."""

import ipaddress
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hushwire.app.config import Config
from hushwire.app.folders import Account, Folders, give, write_secret
from hushwire.core.errors import ConfigError

AUTHORITY_LIFETIME: Final = timedelta(days=3650)
SERVER_LIFETIME: Final = timedelta(days=397)
RENEW_BEFORE: Final = timedelta(days=60)
_BACKDATED: Final = timedelta(hours=1)  # phones whose clocks run late


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the server's chain and key lie, and the authority that phones are told to trust (None: a public one)."""

    chain: Path
    key: Path
    authority: Path | None
    is_new: bool


def ensure(config: Config, folders: Folders, owner: Account | None, now: datetime) -> Certificates:
    """The configured certificate, or our own, made or renewed where it is missing, near its end, or lacks a name.

    Raises ConfigError for configured files that are missing or don't belong together.
    """
    if config.tls.certificate and config.tls.key:
        _check(config.tls.certificate, config.tls.key)
        chain, key_file = config.tls.certificate, config.tls.key
        if owner:  # who can't read what root can: a copy of its own, taken at each start
            chain, key_file = folders.tls / "configured.pem", folders.tls / "configured.key"
            _write_public(chain, config.tls.certificate.read_bytes())
            write_secret(key_file, config.tls.key.read_bytes())
            give(key_file, owner)
        return Certificates(chain, key_file, None, False)
    authority_file, authority_key_file = folders.tls / "ca.pem", folders.tls / "ca.key"
    authority, authority_key = _authority(authority_file, authority_key_file, now)
    chain, key_file = folders.tls / "server.pem", folders.tls / "server.key"
    names, addresses = server_names(config)
    is_new = not _serves(chain, key_file, authority, names, addresses, now)
    if is_new:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _server_certificate(key, authority, authority_key, names, addresses, now)
        new_key = folders.tls / "server.key.new"
        write_secret(new_key, _pem(key))
        os.replace(new_key, key_file)
        _write_public(chain, leaf.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM))
    if owner:
        give(key_file, owner)
    return Certificates(chain, key_file, authority_file, is_new)


def ensure_trunk_authorities(config: Config, folders: Folders, owner: Account | None) -> Path | None:
    """The authorities that vouch for carriers, in a file that the gateway may read; None where the system's do.

    Raises ConfigError for a file that is missing or holds no certificate.
    """
    source = config.tls.trunk_authorities
    if source is None:
        return None
    try:
        data = source.read_bytes()
        x509.load_pem_x509_certificates(data)
    except OSError as error:
        raise ConfigError(f"[tls] trunk_authorities: {source}: can't be read ({error.strerror}): name a PEM file") from None
    except ValueError:
        raise ConfigError(f"[tls] trunk_authorities: {source}: holds no PEM certificate: name the carriers' authorities") from None
    if owner is None:
        return source
    copy = folders.tls / "trunk-authorities.pem"
    _write_public(copy, data)
    return copy


def ensure_trunk_certificate(config: Config, folders: Folders, owner: Account | None) -> tuple[Path, Path] | None:
    """What carriers that ask are shown: certificate and key in files that the gateway may read; None where they are shown nothing.

    Raises ConfigError for files that are missing or don't belong together.
    """
    source, source_key = config.tls.trunk_certificate, config.tls.trunk_key
    if source is None or source_key is None:
        return None
    _check(source, source_key)
    if owner is None:
        return source, source_key
    copy, key_copy = folders.tls / "trunk.pem", folders.tls / "trunk.key"
    _write_public(copy, source.read_bytes())
    write_secret(key_copy, source_key.read_bytes())
    give(key_copy, owner)
    return copy, key_copy


def settled(
    config: Config, served: Certificates, trunk_authorities: Path | None, trunk_certificate: tuple[Path, Path] | None = None
) -> Config:
    """The configuration as roles get it: with the files that they may read."""
    files: dict[str, Path | None] = {"trunk_authorities": trunk_authorities}
    if trunk_certificate is not None:
        files |= {"trunk_certificate": trunk_certificate[0], "trunk_key": trunk_certificate[1]}
    if served.authority is None:
        files |= {"certificate": served.chain, "key": served.key}
    return config.model_copy(update={"tls": config.tls.model_copy(update=files)})


def served(config: Config, folders: Folders) -> tuple[Path, Path]:
    """Chain and key as a role loads them; the supervisor has seen to it that they exist."""
    if config.tls.certificate and config.tls.key:
        return config.tls.certificate, config.tls.key
    return folders.tls / "server.pem", folders.tls / "server.key"


def server_names(config: Config) -> tuple[list[str], list[str]]:
    """Host names and addresses that the server certificate stands for, sorted."""
    names = {config.sip.domain, f"*.{config.sip.domain}", "localhost"}
    if config.sip.default_org:
        names.add(f"{config.sip.default_org}.{config.sip.domain}")
    addresses = {"127.0.0.1", "::1"}
    for host in [item.host for item in config.sip.listen] + [config.api.listen.host, config.media.advertise or ""]:
        if not host:
            continue
        if ipaddress.ip_address(host).is_unspecified:
            addresses |= _own_addresses()
        else:
            addresses.add(host)
    return sorted(names), sorted(addresses)


def _own_addresses() -> set[str]:
    """This machine's addresses towards the outside: what the kernel would send from (nothing is sent)."""
    found = set()
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.add(str(probe.getsockname()[0]))
        except OSError:
            continue  # no route of this family: no address to name
    with suppress(OSError):  # a host name that does not resolve names no address
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    return {address for address in found if "%" not in address}


def _authority(certificate_file: Path, key_file: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if certificate_file.exists() and key_file.exists():
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ConfigError(f"{key_file}: is not the key of {certificate_file.name}: restore it, or remove both (phones then trust anew)")
        if certificate.not_valid_after_utc > now + SERVER_LIFETIME:
            return certificate, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushwire local authority")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    new_key = key_file.with_suffix(".key.new")
    write_secret(new_key, _pem(key))
    os.replace(new_key, key_file)
    _write_public(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _server_certificate(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: list[str],
    addresses: list[str],
    now: datetime,
) -> x509.Certificate:
    subject = x509.SubjectAlternativeName(
        [*(x509.DNSName(name) for name in names), *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushwire")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + SERVER_LIFETIME)
        .add_extension(subject, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _serves(chain: Path, key: Path, authority: x509.Certificate, names: list[str], addresses: list[str], now: datetime) -> bool:
    """True if the certificate on disk is ours, lasts long enough and stands for all the names."""
    if not (chain.exists() and key.exists()):
        return False
    try:
        leaf = x509.load_pem_x509_certificate(chain.read_bytes())
        leaf.verify_directly_issued_by(authority)
        known = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # whatever is wrong with it: make a new one
        return False
    has_names = set(names) <= set(known.get_values_for_type(x509.DNSName))
    has_addresses = set(addresses) <= {str(address) for address in known.get_values_for_type(x509.IPAddress)}
    return has_names and has_addresses and leaf.not_valid_after_utc > now + RENEW_BEFORE


def _check(chain: Path, key: Path) -> None:
    for path in (chain, key):
        if not path.is_file():
            raise ConfigError(f"[tls]: {path}: there is no such file")
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except (ValueError, TypeError):
        raise ConfigError("[tls]: certificate and key must be PEM, the key without a passphrase") from None
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(encoding, form) != certificate.public_key().public_bytes(encoding, form):
        raise ConfigError(f"[tls]: {key.name} is not the key of {chain.name}")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(f"[tls]: {chain} has expired: renew it")


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write_public(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    write_secret(new, data)
    os.chmod(new, 0o644)
    os.replace(new, path)
