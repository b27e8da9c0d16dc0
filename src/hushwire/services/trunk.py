"""One carrier as calls meet it: a snapshot that nothing changes."""

from dataclasses import field
from ipaddress import IPv4Network, IPv6Network, ip_network

from hushwire.core.ids import TrunkId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen, replace
from hushwire.policy.trunk_number import NumberFormat
from hushwire.sdp.model import Keying
from hushwire.sip.digest import Credentials
from hushwire.sip.flow import Target, Transport
from hushwire.sip.passport import Attestation
from hushwire.sip.resolve import Way
from hushwire.sip.routing import numeric
from hushwire.sip.uri import SipUri, parse_sip_uri
from hushwire.store.directory import TrunkRow


@frozen
class Source:
    """One entry of a trunk's `addresses`, read: where calls from it come from. `port`: the only one that counts; None: any."""

    network: IPv4Network | IPv6Network
    port: int | None = None


@frozen
class Trunk:
    """One carrier. `addresses` are the hosts that calls from it come from: what was declared, else the host of its URI.

    Where nothing was declared (`is_declared`), only the URI's own port counts too. What the other fields mean is told in docs/trunks.md.
    """

    id: TrunkId
    name: str
    uri: SipUri
    srtp: str
    credentials: Credentials | None
    addresses: frozenset[str]
    media_ports: str
    is_declared: bool = True
    subprocessor: str | None = None
    keying: Keying = Keying.SDES
    priority: int = 0
    weight: int = 1
    prefixes: tuple[str, ...] = ()
    number_format: NumberFormat = NumberFormat.PLUS
    country: str | None = None
    caller_id: str = "pass"
    caller_ids: tuple[str, ...] = ()
    caller_id_otherwise: str | None = None
    channels: int | None = None
    codecs: tuple[str, ...] = ()
    early_media: bool = True
    silent_after_s: int = 4
    options_every_s: int = 0
    down_after: int = 2
    up_after: int = 2
    register_every_s: int = 0
    pins: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    trusted: bool = False
    """Whether identities are believed from it and told to it (RFC 3325: it is in our trust domain)."""
    signs: bool = False
    attest: Attestation = Attestation.FULL
    verify: str = "off"
    rates_version: int = 0
    """Of its rate table."""
    emergency: bool | None = None
    """Whether emergency calls go there; None: where no trunk is marked for them."""
    location_header: str | None = None
    """By which it is told where somebody is who calls an emergency number."""
    geolocation: bool = False
    """Whether it is told so by a document beside the session description (RFC 6442)."""

    # What follows from its URI, asked several times a call.

    transport: Transport = field(init=False, compare=False)
    """What its URI asks for; UDP where it asks for nothing."""
    host: str = field(init=False, compare=False)
    """Its URI's host without brackets: a name or a numeric address."""
    port: int = field(init=False, compare=False)
    """Its URI's port, or the transport's own."""
    own_target: Target = field(init=False, compare=False)
    """What its URI alone says of where it is."""
    own_ways: tuple[Way, ...] = field(init=False, compare=False)
    """The one way that its URI says, where that has an address; nothing where it has a name."""
    sources: tuple[Source, ...] = field(init=False, compare=False)
    """Where it is declared to call from; nothing where that was not declared."""
    base: SipUri = field(init=False, compare=False)
    """What Request-URIs of calls to it are but for the user part: its URI with no parameter but the transport."""

    def __post_init__(self) -> None:
        uri = self.uri
        transport = Transport.TLS if uri.secure else Transport(uri.transport or "udp")
        host, port = uri.host.strip("[]"), uri.port or transport.default_port
        target = Target(transport, host, port, None, self.pins)
        params = tuple(pair for pair in uri.params if pair[0] == "transport")
        follows = {
            "transport": transport,
            "host": host,
            "port": port,
            "own_target": target,
            "own_ways": () if numeric(host) is None else (Way(target),),
            "sources": tuple(read for entry in self.addresses if (read := read_source(entry)) is not None) if self.is_declared else (),
            "base": replace(uri, user=None, password=None, params=params, headers=None),
        }
        for name, value in follows.items():
            object.__setattr__(self, name, value)

    def carries(self, number: str) -> bool:
        """Whether it may carry calls to a canonical number."""
        return not self.prefixes or number.startswith(self.prefixes)

    def shown(self, caller_id: Personal[str] | None) -> Personal[str] | None:
        """The number that a call shows over this trunk, for an agent with such a one; None: nobody's."""
        if self.caller_id == "anonymous":
            return None
        if self.caller_id != "pass":
            return Personal(self.caller_id)
        if caller_id is not None and self._lets_pass(caller_id.reveal()):
            return caller_id
        return None if self.caller_id_otherwise is None or caller_id is None else Personal(self.caller_id_otherwise)

    def _lets_pass(self, number: str) -> bool:
        return not self.caller_ids or any(
            number.startswith(entry[:-1]) if entry.endswith("*") else number == entry for entry in self.caller_ids
        )


def read_source(entry: str) -> Source | None:
    """An address, a network, or an address with a port ("192.0.2.7:5062", "[2001:db8::7]:5062"); None for what is none of these."""
    host, port = entry, None
    if entry.startswith("["):
        host, _, tail = entry[1:].partition("]")
        port = tail.removeprefix(":") or None
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    try:
        return Source(ip_network(numeric(host) or host, strict=False), None if port is None else int(port))
    except ValueError:
        return None


def trunk_of_row(row: TrunkRow, password: str | None) -> Trunk:
    """The carrier of a row, with its password opened. Raises ParseError where its URI is none."""
    uri = parse_sip_uri(row.uri)
    return Trunk(
        row.id,
        row.name,
        replace(uri, user=None),
        row.srtp,
        None if row.username is None or password is None else Credentials(row.username, password, row.realm),
        frozenset(row.addresses) or frozenset({uri.host.strip("[]")}),
        row.media_ports,
        bool(row.addresses),
        row.subprocessor,
        Keying(row.keying),
        row.priority,
        row.weight,
        tuple(row.prefixes),
        NumberFormat(row.number_format),
        row.country,
        row.caller_id,
        tuple(row.caller_ids),
        row.caller_id_otherwise,
        row.channels,
        tuple(row.codecs),
        row.early_media,
        row.silent_after_s,
        row.options_every_s,
        row.down_after,
        row.up_after,
        row.register_every_s,
        tuple(row.pins),
        tuple(row.networks),
        row.trusted,
        row.signs,
        Attestation(row.attest),
        row.verify,
        row.rates_version,
        row.emergency,
        row.location_header,
        row.geolocation,
    )
