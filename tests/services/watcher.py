"""A phone that subscribes: a UDP socket that answers NOTIFYs as it is told, with the digest of tests/interop/rawsip.py."""

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Self

from hushwire.sip.message import Request, Response
from hushwire.sip.parse import parse
from tests.interop.rawsip import challenges, digest
from tests.services.running import HOST


class Watcher:
    """Its NOTIFYs are in `notifies`, each answered with what `answers` says to it; 0: with nothing."""

    def __init__(self, gateway_port: int, user: str, password: str | None = None) -> None:
        self.target = ("127.0.0.1", gateway_port)
        self.user = user
        self.password = f"{user}s-password" if password is None else password
        self.notifies: asyncio.Queue[Request] = asyncio.Queue()
        self.responses: asyncio.Queue[Response] = asyncio.Queue()
        self.answers: Callable[[Request], int] = lambda _request: 200
        self.cseq = 0
        self.via = "UDP"

    @classmethod
    async def open(cls, gateway_port: int, user: str, password: str | None = None) -> Self:
        made = cls(gateway_port, user, password)
        made.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made._Protocol(made), ("127.0.0.1", 0))
        made.port = made.transport.get_extra_info("sockname")[1]
        return made

    @classmethod
    async def connect(cls, gateway_port: int, user: str) -> Self:
        """A phone that comes over TCP."""
        made = cls(gateway_port, user)
        made.via = "TCP"
        loop = asyncio.get_running_loop()
        made.stream, _ = await loop.create_connection(lambda: made._Stream(made), "127.0.0.1", gateway_port)
        made.port = made.stream.get_extra_info("sockname")[1]
        return made

    class _Stream(asyncio.Protocol):
        def __init__(self, owner: "Watcher") -> None:
            self.owner = owner
            self.data = b""

        def data_received(self, data: bytes) -> None:
            self.data += data
            while b"\r\n\r\n" in self.data:
                head, _, rest = self.data.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *([0-9]+)", head)[1])  # type: ignore[index]
                if len(rest) < length:
                    return
                self.data = rest[length:]
                self.owner.received(head + b"\r\n\r\n" + rest[:length])

    class _Protocol(asyncio.DatagramProtocol):
        def __init__(self, owner: "Watcher") -> None:
            self.owner = owner

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.owner.received(data)

    def received(self, data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Response):
            self.responses.put_nowait(message)
            return
        status = self.answers(message) if message.method == "NOTIFY" else 200
        if message.method == "NOTIFY":
            self.notifies.put_nowait(message)
        if status:
            lines = "".join(f"{name}: {message.headers.get(name)}\r\n" for name in ("Via", "From", "To", "Call-ID", "CSeq"))
            if ";tag=" not in lines.split("To:")[1].split("\r\n")[0]:
                lines = re.sub(r"(To: .*)\r\n", rf"\1;tag={secrets.token_hex(4)}\r\n", lines)
            self.send(f"SIP/2.0 {status} X\r\n{lines}Content-Length: 0\r\n\r\n".encode())

    def send(self, data: bytes) -> None:
        if self.via == "TCP":
            self.stream.write(data)
        else:
            self.transport.sendto(data, self.target)

    def close(self) -> None:
        (self.stream if self.via == "TCP" else self.transport).close()

    async def ask(self, method: str, uri: str, more: str = "", *, to_tag: str = "", call_id: str = "", from_tag: str = "",
                  with_password: bool = True, contact: str | None = None) -> Response:  # fmt: skip
        """The final answer to a request, challenges met."""
        call_id, from_tag = call_id or secrets.token_hex(8), from_tag or secrets.token_hex(6)
        authorization = ""
        to = f"<{uri}>" + (f";tag={to_tag}" if to_tag else "")
        if method == "REGISTER":
            to = f"<sip:{self.user}@{HOST}>"
        contact = f"<sip:{self.user}@127.0.0.1:{self.port}>" if contact is None else contact
        while True:
            self.cseq += 1
            head = (
                f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{self.via} 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(8)};rport\r\n"
                f"From: <sip:{self.user}@{HOST}>;tag={from_tag}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
                f"CSeq: {self.cseq} {method}\r\nContact: {contact}\r\nMax-Forwards: 70\r\n{more}{authorization}Content-Length: 0\r\n\r\n"
            )
            response = await self._final(head.encode())
            if response.status != 401 or authorization or not with_password:
                return response
            found = challenges(response.to_bytes().decode())[0]
            authorization = f"Authorization: {digest(found, self.user, self.password, method, uri)}\r\n"

    async def _final(self, message: bytes) -> Response:
        async with asyncio.timeout(10):
            while True:
                self.send(message)
                try:
                    async with asyncio.timeout(1 if self.via == "UDP" else 10):
                        while True:
                            response = await self.responses.get()
                            if response.status >= 200 and response.cseq.number == self.cseq:
                                return response
                except TimeoutError:
                    continue

    async def register(self, expires_s: int = 300, contact: str | None = None, call_id: str | None = None) -> int:
        more, name = f"Expires: {expires_s}\r\n", call_id or f"register-{self.port}"
        return (await self.ask("REGISTER", f"sip:{HOST}", more, call_id=name, contact=contact)).status

    async def subscribe(self, to: str, event: str, expires_s: int = 600, more: str = "", **options: str | None) -> Response:
        uri = to if to.startswith("sip:") else f"sip:{to}@{HOST}"
        return await self.ask("SUBSCRIBE", uri, f"Event: {event}\r\nExpires: {expires_s}\r\n{more}", **options)  # type: ignore[arg-type]

    async def again(self, taken: Response, to: str, event: str, expires_s: int = 600) -> Response:
        """Refresh, or end, the subscription that was taken."""
        tags = {"to_tag": taken.to_tag, "from_tag": taken.from_tag, "call_id": taken.call_id}
        return await self.subscribe(to, event, expires_s, **tags)

    async def told(self, timeout_s: float = 10) -> Request:
        """The next NOTIFY."""
        async with asyncio.timeout(timeout_s):
            return await self.notifies.get()


def state_of(notify: Request) -> str:
    """Its Subscription-State without the time that is left."""
    return re.sub(r";expires=\d+", "", notify.headers.get("Subscription-State") or "")
