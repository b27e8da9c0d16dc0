"""TLS contexts for SIP (RFC 3261 section 26.3, RFC 5922): version 1.2 or newer, peers of ours verified by name."""

import ssl
from pathlib import Path

from hushwire.core.errors import ConfigError


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


def client_context(ca: Path | None = None) -> ssl.SSLContext:
    """A context for connections to carriers; `ca` is the bundle to trust instead of the system's. Names are always checked."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[tls] trunk_authorities: {ca} can't be loaded: name a PEM file of authorities") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
