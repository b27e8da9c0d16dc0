"""Ports of legs: what is wished for, what shared ports count, and why a leg must leave one (native/control/PROTOCOL.md, "Shared ports")."""

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.media.wire import Fields, Tag

IpAddress = IPv4Address | IPv6Address


class PortWish(IntEnum):
    """What ports a leg is to have: a pair of its own, or a shared one where its party is known by what the name says."""

    OWN = 0
    BY_ADDRESS = 1
    BY_KEY = 2
    BY_ICE = 3


@frozen
class LegOpening:
    """A leg to be opened. `signalling_ip` and `remote` (as the party's offer announced it) help to decide whether a port can be shared."""

    leg: int
    ports: PortWish = PortWish.OWN
    signalling_ip: Personal[IpAddress] | None = None
    remote: tuple[Personal[IpAddress], int] | None = None


@frozen
class SharedPort:
    """A shared port's legs, and its datagrams since the program began; `strangers`, `unproven` and `over_budget` were dropped."""

    port: int
    legs: int
    packets: int
    strangers: int
    unproven: int
    over_budget: int

    @classmethod
    def read(cls, fields: Fields) -> "SharedPort":
        """From the fields of SHARED_PORT."""
        return cls(
            port=fields.integer(Tag.RTP_PORT),
            legs=fields.integer(Tag.COUNT),
            packets=fields.integer(Tag.PACKETS),
            strangers=fields.integer(Tag.STRANGERS),
            unproven=fields.integer(Tag.UNPROVEN),
            over_budget=fields.integer(Tag.OVER_BUDGET),
        )


class PortTrouble(IntEnum):
    """Why a leg on a shared port needs a pair of its own (LEG_PORTS)."""

    UNHEARD = 1
    AMBIGUOUS = 2


def read_source(fields: Fields) -> Personal[tuple[IpAddress, int]] | None:
    """Where a party's media comes from, of an event that says so."""
    raw = fields.get(Tag.REMOTE_IP)
    return None if raw is None else Personal((ip_address(raw), fields.integer(Tag.REMOTE_PORT)))
