"""Which hosts are this gateway, from the configuration alone."""

import ipaddress

from hushwire.app.config import Config
from hushwire.policy.model import OwnHosts


def own_hosts(config: Config, slug: str) -> OwnHosts:
    """Names, addresses and ports under which one organisation reaches this gateway; other organisations' names are foreign to it."""
    domain = config.sip.domain.lower()
    addresses = {item.host for item in config.sip.listen if not ipaddress.ip_address(item.host).is_unspecified}
    if config.media.advertise:
        addresses.add(config.media.advertise)
    ports = {item.port for item in config.sip.listen if item.port}
    return OwnHosts(frozenset({domain, f"{slug}.{domain}"}), frozenset(addresses), frozenset(ports))
