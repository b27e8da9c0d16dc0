"""Requests to addresses that customers name, as `[webhooks]` configures their guard."""

import ssl

from hushwire.app.config import Config
from hushwire.core.errors import ConfigError
from hushwire.transport.lookups import Lookups
from hushwire.transport.outgoing import Outgoing


def outgoing(config: Config) -> Outgoing:
    """The guard of webhooks and HTTP carriers. Raises ConfigError for a file of authorities that can't be used."""
    set_up = config.webhooks
    path = set_up.authorities
    try:
        tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if path is None else str(path))
    except (OSError, ssl.SSLError):
        raise ConfigError(
            f"[webhooks] authorities: {path}: can't be loaded: name a PEM file that the user of [run] user can read"
        ) from None
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    return Outgoing(Lookups(config.sip.name_servers), tls, set_up.networks, set_up.ports, float(set_up.timeout_s))
