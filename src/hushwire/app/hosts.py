"""Which hosts are this gateway, from the configuration alone."""

import ipaddress

from hushwire.app.config import Config
from hushwire.policy.model import OwnHosts


def own_hosts(config: Config, slug: str) -> OwnHosts:
    """Names, addresses and ports under which one organisation reaches this gateway; other organisations' names are foreign to it."""
    domain = config.sip.domain.lower()
    named = [item.host for item in config.sip.listen] + ([config.media.advertise] if config.media.advertise else [])
    addresses = {str(address) for host in named if not (address := ipaddress.ip_address(host)).is_unspecified}
    ports = {item.port for item in config.sip.listen if item.port}
    return OwnHosts(frozenset({domain, f"{slug}.{domain}"}), frozenset(addresses), frozenset(ports))
