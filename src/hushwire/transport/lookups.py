"""Questions to DNS, asynchronous, over dnspython: answers with the time for which they hold."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import dns.asyncresolver
import dns.exception
import dns.message
import dns.nameserver
import dns.rdatatype
import dns.resolver

from hushwire.core.values import frozen
from hushwire.sip.resolve import Naptr, Srv

T = TypeVar("T")

LIFETIME_S: Final = 4.0
_NONE_TTL_S: Final = 60
_MOST_RECORDS: Final = 32
"""More than that of one kind are no service's: the rest is not looked at."""


class Unanswered(Exception):
    """No server said anything that can be used: not that there is nothing."""


@frozen
class Answer(Generic[T]):
    """Records, empty where there are decidedly none, and for how many seconds that holds."""

    records: tuple[T, ...]
    ttl_s: int


class Lookups:
    """One resolver. `servers` as `[sip] name_servers` has them; without any those of the system (`/etc/resolv.conf`)."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._servers = tuple(servers)
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def naptr(self, name: str) -> Answer[Naptr]:
        """NAPTR records of a domain."""
        records, ttl_s = await self._ask(name, "NAPTR")
        return Answer(
            tuple(Naptr(one.order, one.preference, _text(one.flags), _text(one.service), _name(one.replacement)) for one in records), ttl_s
        )

    async def srv(self, name: str) -> Answer[Srv]:
        """SRV records of a service."""
        records, ttl_s = await self._ask(name, "SRV")
        return Answer(tuple(Srv(one.priority, one.weight, one.port, _name(one.target)) for one in records), ttl_s)

    async def addresses(self, name: str) -> Answer[str]:
        """Numeric addresses of a host, IPv4 before IPv6; what DNS does not know may stand in the machine's own hosts file."""
        asked = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"), return_exceptions=True)
        known = [part for part in asked if not isinstance(part, BaseException)]
        found = tuple(one.address for records, _ in known for one in records)
        if not found:
            own = await self._hosts(name)
            if not own and not known:
                raise Unanswered
            return Answer(own, _NONE_TTL_S)
        return Answer(found, min(ttl_s for records, ttl_s in known if records))

    async def _hosts(self, name: str) -> tuple[str, ...]:
        if self._servers:
            return ()
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            return ()
        return tuple(dict.fromkeys(str(item[4][0]) for item in found))

    async def _ask(self, name: str, kind: str) -> tuple[list[Any], int]:
        try:
            answer = await self._resolving().resolve(name, kind, raise_on_no_answer=False, search=False, lifetime=LIFETIME_S)
        except dns.resolver.NXDOMAIN:
            return [], _NONE_TTL_S
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered from error
        if answer.rrset is None:
            return [], _NONE_TTL_S
        return list(answer.rrset)[:_MOST_RECORDS], int(answer.rrset.ttl)

    def _resolving(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            self._resolver.cache = None  # who asks keeps what it was told, for as long as that holds
            if self._servers:
                self._resolver.nameservers = [_server(text) for text in self._servers]
        return self._resolver


def _server(text: str) -> dns.nameserver.Nameserver:
    parts = urlsplit(f"//{text}")
    return dns.nameserver.Do53Nameserver(parts.hostname or "", parts.port or 53)


def _name(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)) if name.labels != (b"",) else ""


def _text(value: bytes) -> str:
    return value.decode("latin-1")
