"""The one guard of https requests to addresses that somebody named: short, bounded, never inside, and no redirect is followed.

Documents that strangers point at (`transport/fetching.py`), webhooks and HTTP carriers go through it. The address that was judged is the
one that is connected to: asked twice, a name could lead elsewhere the second time.
"""

import asyncio
import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

from hushwire.core.errors import PeerError
from hushwire.core.values import frozen
from hushwire.sip.resolve import may_lead_to
from hushwire.sip.routing import numeric
from hushwire.transport.locating import Dns
from hushwire.transport.lookups import Unanswered

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 65_536
LONGEST_URL: Final = 2048
_MOST_ADDRESSES: Final = 2
_CHUNK: Final = 16_384
_NAME: Final = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
"""A host name, as `urlsplit` gives it: no label is empty or too long (RFC 1035 section 2.3.4)."""
_TARGET: Final = re.compile(r"[\x21-\x7e]*", re.ASCII)


class NotReached(PeerError):
    """No answer came; `reason` is a word. `is_sent`: the request may have arrived all the same."""

    def __init__(self, reason: str, *, is_sent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_sent = is_sent


@frozen
class Reply:
    """What the server answered. Header names are in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)


class Outgoing:
    """Asks. `networks` are those inside that the operator named, `ports` those that may be connected to."""

    def __init__(
        self,
        dns: Dns,
        tls: ssl.SSLContext,
        networks: Sequence[str] = (),
        ports: Sequence[int] = (443, 8443),
        timeout_s: float = TIMEOUT_S,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._dns = dns
        self._tls = tls
        self._networks = tuple(networks)
        self._ports = frozenset(ports)
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes

    def fault(self, url: str, networks: Sequence[str] | None = None) -> str | None:
        """Why a URL will never be asked, in a word; None where its name decides. Nothing is looked up.

        `networks`: those inside that are named for who asks, in place of one's own.
        """
        try:
            parts, _ = self._parts(url)
        except NotReached as error:
            return error.reason
        host = parts.hostname or ""
        return "inner-address" if numeric(host) is not None and not may_lead_to(host, self._inside(networks)) else None

    async def ask(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        reads_body: bool = True,
        networks: Sequence[str] | None = None,
    ) -> Reply:
        """The answer to one request over https; its body too, unless that does not matter. `networks` as in `fault`. Raises NotReached."""
        parts, port = self._parts(url)
        reason, sent = "unreachable", _Sent()
        try:
            async with asyncio.timeout(self._timeout_s):
                for address in await self._addresses(parts.hostname or "", self._inside(networks)):
                    try:
                        return await self._converse(address, port, parts, method, list(headers), body, sent, reads_body=reads_body)
                    except ssl.SSLError:
                        reason = "tls"
                    except (OSError, EOFError):
                        pass
                    if sent.is_sent and method != "GET":
                        break  # it may have arrived: once more by another address would be twice
        except TimeoutError:
            reason = "silent"
        raise NotReached(reason, is_sent=sent.is_sent)

    def _parts(self, url: str) -> tuple[SplitResult, int]:
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError:
            raise NotReached("port") from None
        if parts.scheme != "https" or not parts.hostname or port not in self._ports:
            raise NotReached("port")
        if numeric(parts.hostname) is None and not _NAME.fullmatch(parts.hostname):
            raise NotReached("host")  # DNS and TLS would raise what nobody expects
        if parts.username is not None or len(url) > LONGEST_URL or not _TARGET.fullmatch(parts.path + parts.query):
            raise NotReached("url")
        return parts, port

    def _inside(self, networks: Sequence[str] | None) -> Sequence[str]:
        return self._networks if networks is None else networks

    async def _addresses(self, host: str, networks: Sequence[str]) -> list[str]:
        try:
            found = [host] if numeric(host) is not None else list((await self._dns.addresses(host)).records)
        except Unanswered:
            raise NotReached("unresolved") from None
        if not found:
            raise NotReached("unresolved")
        allowed = [address for address in found if may_lead_to(address, networks)]
        if not allowed:
            raise NotReached("inner-address")
        return allowed[:_MOST_ADDRESSES]

    async def _converse(
        self,
        address: str,
        port: int,
        parts: SplitResult,
        method: str,
        headers: list[tuple[str, str]],
        body: bytes,
        sent: "_Sent",
        *,
        reads_body: bool,
    ) -> Reply:
        host = parts.hostname or ""
        reader, writer = await asyncio.open_connection(address, port, ssl=self._tls, server_hostname=host, limit=_CHUNK)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            named = f"[{host}]" if ":" in host else host
            lines = [("Host", named if port == 443 else f"{named}:{port}"), *headers, ("Connection", "close")]
            if body or method == "POST":
                lines.append(("Content-Length", str(len(body))))
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
            data = connection.send(h11.Request(method=method, target=target, headers=lines)) or b""
            data += (connection.send(h11.Data(data=body)) or b"") if body else b""
            sent.is_sent = True
            writer.write(data + (connection.send(h11.EndOfMessage()) or b""))
            await writer.drain()
            return await self._reply(connection, reader, reads_body=reads_body)
        except h11.ProtocolError:
            raise NotReached("no-http", is_sent=sent.is_sent) from None
        finally:
            writer.transport.abort()  # nothing more is read or said: no waiting for a peer to say goodbye

    async def _reply(self, connection: h11.Connection, reader: asyncio.StreamReader, *, reads_body: bool) -> Reply:
        body = bytearray()
        head: h11.Response | None = None
        came = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(_CHUNK)
                came += len(data)
                if came > 2 * self._most_bytes:
                    raise NotReached("oversized", is_sent=True)  # interim answers and framing without an end
                connection.receive_data(data)
            elif isinstance(event, h11.Response):
                head = event
                if not reads_body:
                    return _reply(head, b"")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._most_bytes:
                    raise NotReached("oversized", is_sent=True)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _reply(head, bytes(body))
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise NotReached("no-http", is_sent=True)


@dataclass(slots=True)
class _Sent:
    """Whether a byte of the request has left."""

    is_sent: bool = False


def _reply(head: h11.Response, body: bytes) -> Reply:
    return Reply(head.status_code, tuple((bytes(name), bytes(value)) for name, value in head.headers), body)
