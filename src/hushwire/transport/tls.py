"""TLS contexts for SIP (RFC 3261 section 26.3, RFC 5922): version 1.2 or newer, peers of ours verified by name."""

import hashlib
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hushwire.core.errors import ConfigError
from hushwire.sip.errors import ParseError
from hushwire.sip.routing import numeric
from hushwire.sip.uri import SipUri, parse_uri


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for listeners. Raises ConfigError where the files don't make a pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"[tls] certificate {certificate} and key {key} can't be loaded: {error.strerror or type(error).__name__}"
        ) from error
    return context


def client_context(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A context for connections to carriers; `ca` is the bundle to trust instead of the system's, `certificate` what we show who asks.

    The certificate must verify; whose it is says `stands_for`, which a connection asks before anything else.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[tls] trunk_authorities: {ca} can't be loaded: name a PEM file of authorities") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # it knows no SIP URIs
    _show(context, certificate, key)
    return context


def pinned_context(certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A context for connections to carriers whose certificates are known one by one; `is_pinned` is what verifies them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _show(context, certificate, key)
    return context


def is_pinned(certificate: bytes | None, pins: Sequence[str]) -> bool:
    """Whether a certificate (DER) is one of those that `sha256:<hex>` name; the handshake has proved that the peer holds its key."""
    return certificate is not None and f"sha256:{hashlib.sha256(certificate).hexdigest()}" in pins


def _show(context: ssl.SSLContext, certificate: Path | None, key: Path | None) -> None:
    if certificate is None or key is None:
        return
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"[tls] trunk_certificate {certificate} and trunk_key {key} can't be loaded: {error.strerror or type(error).__name__}"
        ) from error


def stands_for(certificate: Mapping[str, Any], host: str) -> bool:
    """Whether a verified certificate is that of `host`, a domain or a numeric address (RFC 5922 section 7).

    `certificate` as `SSLSocket.getpeercert()` gives it. A SIP URI that names a whole domain counts first, and then only such URIs do;
    else DNS names and addresses. Wildcards match nothing, and a common name neither (RFC 9525): who holds a certificate for all
    names of a domain is not thereby its SIP service.
    """
    names: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())
    domains = {domain for kind, value in names if kind == "URI" and (domain := _domain(value)) is not None}
    wanted = host.lower().rstrip(".")
    address = numeric(wanted)
    if address is not None:
        return any(kind == "IP Address" and numeric(value.lower()) == address for kind, value in names)
    if domains:
        return wanted in domains
    return any(kind == "DNS" and "*" not in value and value.lower().rstrip(".") == wanted for kind, value in names)


def _domain(uri: str) -> str | None:
    """The domain that a certificate's SIP URI stands for; None for a user's and for other schemes (RFC 5922 section 7.1)."""
    try:
        parsed = parse_uri(uri)
    except ParseError:
        return None
    if not isinstance(parsed, SipUri) or parsed.secure or parsed.user is not None:
        return None
    return parsed.host.lower().rstrip(".")
