"""A small document over https from an address that a stranger named: short, bounded, and never from inside (no redirects either)."""

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

import h11

from hushwire.core.errors import PeerError
from hushwire.sip.resolve import may_lead_to
from hushwire.sip.routing import numeric
from hushwire.transport.locating import Dns
from hushwire.transport.lookups import Unanswered

TIMEOUT_S: Final = 3.0
MOST_BYTES: Final = 65_536
_MOST_ADDRESSES: Final = 2
_CHUNK: Final = 16_384
_NAME: Final = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
"""A host name, as `urlsplit` gives it: no label is empty or too long (RFC 1035 section 2.3.4)."""
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])", re.ASCII | re.IGNORECASE)


class NotFetched(PeerError):
    """The document did not come; `reason` is a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fetched:
    """The document, and for how many seconds its server lets it be kept (None: it does not say)."""

    body: bytes
    max_age_s: int | None


class Fetching:
    """Fetches. `networks` are those inside that the operator named, `ports` those that may be connected to."""

    def __init__(
        self, dns: Dns, tls: ssl.SSLContext, networks: Sequence[str] = (), ports: Sequence[int] = (443, 8443), timeout_s: float = TIMEOUT_S
    ) -> None:
        self._dns = dns
        self._tls = tls
        self._networks = tuple(networks)
        self._ports = frozenset(ports)
        self._timeout_s = timeout_s

    async def get(self, url: str) -> Fetched:
        """What stands at an https URL. Raises NotFetched.

        The address that was judged is the one that is connected to: asked twice, a name could lead elsewhere the second time.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError:
            raise NotFetched("port") from None
        if parts.scheme != "https" or not parts.hostname or port not in self._ports:
            raise NotFetched("port")
        if numeric(parts.hostname) is None and not _NAME.fullmatch(parts.hostname):
            raise NotFetched("host")  # DNS and TLS would raise what nobody expects
        reason = "unreachable"
        try:
            async with asyncio.timeout(self._timeout_s):
                for address in await self._addresses(parts.hostname):
                    try:
                        return await self._ask(address, port, parts)
                    except ssl.SSLError:
                        reason = "tls"
                    except (OSError, EOFError):
                        continue
        except TimeoutError:
            reason = "silent"
        raise NotFetched(reason)

    async def _addresses(self, host: str) -> list[str]:
        try:
            found = [host] if numeric(host) is not None else list((await self._dns.addresses(host)).records)
        except Unanswered:
            raise NotFetched("unresolved") from None
        if not found:
            raise NotFetched("unresolved")
        allowed = [address for address in found if may_lead_to(address, self._networks)]
        if not allowed:
            raise NotFetched("inner-address")
        return allowed[:_MOST_ADDRESSES]

    async def _ask(self, address: str, port: int, parts: SplitResult) -> Fetched:
        host = parts.hostname or ""
        reader, writer = await asyncio.open_connection(address, port, ssl=self._tls, server_hostname=host, limit=_CHUNK)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            named = f"[{host}]" if ":" in host else host
            heads = [("Host", named if port == 443 else f"{named}:{port}"), ("Accept", "application/pem-certificate-chain, */*")]
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
            request = h11.Request(method="GET", target=target, headers=[*heads, ("Connection", "close")])
            writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            return await _response(connection, reader)
        except h11.ProtocolError:
            raise NotFetched("no-http") from None
        finally:
            writer.transport.abort()  # nothing more is read or said: no waiting for a peer to say goodbye


async def _response(connection: h11.Connection, reader: asyncio.StreamReader) -> Fetched:
    body, max_age_s = bytearray(), None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            if event.status_code != 200:
                _refused(event.status_code)
            max_age_s = _max_age(event)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MOST_BYTES:
                raise NotFetched("oversized")
        elif isinstance(event, h11.EndOfMessage):
            return Fetched(bytes(body), max_age_s)
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise NotFetched("no-http")


def _refused(status: int) -> NoReturn:
    raise NotFetched("redirect" if 300 <= status < 400 else "status")


def _max_age(response: h11.Response) -> int | None:
    for name, value in response.headers:
        if name == b"cache-control":
            text = value.decode("latin-1")
            if "no-store" in text.lower() or "no-cache" in text.lower():
                return 0
            found = _MAX_AGE.search(text)
            if found is not None:
                return int(found[1])
    return None
