"""Phones and a carrier made by hand on UDP sockets: nothing here checks, guards or normalises what it sends."""

import asyncio
import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, cast

from tests.interop.rawsip import challenges, digest, status

SDP = """v=0
o=- {n} {n} IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 40000 RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
""".replace("\n", "\r\n")

Reply = Callable[[str], str | None]
"""What is answered to an INVITE: `486 Busy Here`, `302 <contact>`, `200`; None: it is left ringing."""


@dataclass
class Dialog:
    """A call of a phone's, as its requests must name it."""

    target: str
    here: str
    there: str
    call_id: str
    cseq: int = 1

    def as_replaced(self) -> str:
        """As a Replaces header in a URI names it to whom the other end is: escaped (RFC 3891)."""
        here, there = (part.partition(";tag=")[2].split(";")[0] for part in (self.here, self.there))
        return f"{self.call_id}%3Bto-tag%3D{there}%3Bfrom-tag%3D{here}"


@dataclass
class Socket(asyncio.DatagramProtocol):
    """One UDP socket. `seen` are all the requests that came, as they came."""

    reply: Reply = lambda _request: "486 Busy Here"
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._finals: dict[str, asyncio.Future[str]] = {}
        self._transport: asyncio.DatagramTransport
        self.dialogs: dict[str, Dialog] = {}
        self.notified: asyncio.Queue[str] = asyncio.Queue()

    async def bind(self, port: int = 0) -> Self:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.is_closed = False
        self.port = int(transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_closed = True

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode(errors="surrogateescape")
        if not text.strip():
            return
        if text.startswith("SIP/2.0 "):
            waiting = self._finals.get(branch_of(text))
            if waiting is not None and not waiting.done() and status(text) >= 200:
                waiting.set_result(text)
            return
        self.seen.append(text)
        self._answer(text, addr)

    def error_received(self, exc: Exception) -> None:
        pass

    async def ask(self, text: str, target: tuple[str, int]) -> str:
        """The final response to a request, which is sent again each half second."""
        waiting = self._finals[branch_of(text)] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(10):
            while not waiting.done():
                self.send(text, target)
                await asyncio.wait((waiting,), timeout=0.5)
        return waiting.result()

    def send(self, text: str, target: tuple[str, int]) -> None:
        self._transport.sendto(text.encode(errors="surrogateescape"), target)

    def answer_again(self) -> None:
        """Answer the INVITE that came last, once more, as `reply` says now."""
        text = next(text for text in reversed(self.seen) if text.startswith("INVITE "))
        self._answer(text, self._last_from)

    def _answer(self, text: str, addr: tuple[str, int]) -> None:
        self._last_from = addr
        method = text.split(" ", 1)[0]
        if method == "ACK":
            return
        if method == "NOTIFY":
            self.notified.put_nowait(text)
        if method != "INVITE":
            self.send(response(text, "200 OK"), addr)
            return
        wanted = "200" if ";tag=" in header(text, "To") else self.reply(text)
        if wanted is None:
            self.send(response(text, "180 Ringing", tag=tag_for(text)), addr)
        elif wanted == "200":
            self.send(response(text, "200 OK", f"Contact: <sip:raw@127.0.0.1:{self.port}>\r\n", answer_to(text), tag_for(text)), addr)
            contact = re.search(r"<([^>]*)>", header(text, "Contact"))
            assert contact is not None
            here = header(text, "To") if ";tag=" in header(text, "To") else f"{header(text, 'To')};tag={tag_for(text)}"
            call_id = header(text, "Call-ID")
            self.dialogs.setdefault(call_id, Dialog(contact[1], here, header(text, "From"), call_id))
        elif wanted.startswith("302 "):
            self.send(response(text, "302 Moved Temporarily", f"Contact: {wanted[4:]}\r\n", tag=tag_for(text)), addr)
        else:
            self.send(response(text, wanted, tag=tag_for(text)), addr)


@dataclass
class Phone(Socket):
    """An agent's phone."""

    user: str = ""
    password: str = ""
    host: str = ""
    gateway: tuple[str, int] = ("127.0.0.1", 0)

    async def register(self, contact: str = "", expires_s: int = 600) -> int:
        """Register; the status that comes."""
        shown = contact or f"<sip:{self.user}@127.0.0.1:{self.port}>"
        uri = f"sip:{self.host}"
        return status(await self._asked("REGISTER", uri, uri.replace("sip:", f"sip:{self.user}@"), f"Expires: {expires_s}\r\n", shown))

    async def message(self, uri: str, text: str) -> int:
        """Send a text by SIP MESSAGE; the status that comes."""
        return status(await self._asked("MESSAGE", uri, uri, "Content-Type: text/plain\r\n", "", text))

    async def invite(self, uri: str, *, to: str = "", more: str = "") -> tuple[int, Dialog | None]:
        """Call a Request-URI; the status, and the dialog where it was answered."""
        call_id, here = secrets.token_hex(8), f"<sip:{self.user}@{self.host}>;tag={secrets.token_hex(6)}"
        contact = f"<sip:{self.user}@127.0.0.1:{self.port}>"
        answer, authorization = "", ""
        for cseq in (1, 2):
            extra = f"Contact: {contact}\r\nContent-Type: application/sdp\r\n{more}{authorization}"
            text = self.request("INVITE", uri, here, f"<{to or uri}>", call_id, cseq, extra, SDP.format(n=1))
            answer = await self.ask(text, self.gateway)
            is_good = 200 <= status(answer) < 300
            remote = re.search(r"<([^>]*)>", header(answer, "Contact"))
            acked = remote[1] if is_good and remote is not None else uri
            ack = self.request("ACK", acked, here, header(answer, "To"), call_id, cseq)
            self.send(ack if is_good else ack.replace(branch_of(ack), branch_of(text)), self.gateway)
            if is_good:
                dialog = self.dialogs[call_id] = Dialog(acked, here, header(answer, "To"), call_id, cseq)
                return status(answer), dialog
            if status(answer) not in (401, 407) or cseq == 2:
                break
            authorization = self._authorization(answer, "INVITE", uri)
        return status(answer), None

    async def within(self, dialog: Dialog, method: str, more: str = "", body: str = "") -> int:
        """A request inside a dialog; the status that comes."""
        dialog.cseq += 1
        contact = f"Contact: <sip:{self.user}@127.0.0.1:{self.port}>\r\n"
        text = self.request(method, dialog.target, dialog.here, dialog.there, dialog.call_id, dialog.cseq, contact + more, body)
        answer = await self.ask(text, self.gateway)
        if status(answer) in (401, 407):
            dialog.cseq += 1
            more = more + self._authorization(answer, method, dialog.target)
            text = self.request(method, dialog.target, dialog.here, dialog.there, dialog.call_id, dialog.cseq, contact + more, body)
            answer = await self.ask(text, self.gateway)
        return status(answer)

    async def transferred(self) -> int:
        """The status that the last NOTIFY of a transfer tells."""
        async with asyncio.timeout(10):
            while (found := status((await self.notified.get()).partition("\r\n\r\n")[2])) < 200:
                pass
            return found

    async def rung_for(self, uri: str, seconds: float) -> None:
        """Call, and give up after so long."""
        calling = asyncio.create_task(self.invite(uri))
        await asyncio.wait((calling,), timeout=seconds)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

    async def alone(self, method: str, uri: str, more: str = "") -> int:
        """A request that belongs to no call; the status that comes, or 0 where none does within a second."""
        try:
            async with asyncio.timeout(1):
                return status(await self._asked(method, uri, uri, more, f"<sip:{self.user}@127.0.0.1:{self.port}>"))
        except TimeoutError:
            return 0

    def request(self, method: str, uri: str, from_: str, to: str, call_id: str, cseq: int, more: str = "", body: str = "") -> str:
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(8)};rport\r\n"
            f"From: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"{more}Content-Length: {len(body.encode())}\r\n\r\n{body}"
        )

    async def _asked(self, method: str, uri: str, to: str, more: str, contact: str = "", body: str = "") -> str:
        call_id, here = secrets.token_hex(8), f"<sip:{self.user}@{self.host}>;tag={secrets.token_hex(6)}"
        shown = f"Contact: {contact}\r\n" if contact else ""
        answer, authorization = "", ""
        for cseq in (1, 2):
            text = self.request(method, uri, here, f"<{to}>", call_id, cseq, shown + more + authorization, body)
            answer = await self.ask(text, self.gateway)
            if status(answer) not in (401, 407):
                break
            authorization = self._authorization(answer, method, uri)
        return answer

    def _authorization(self, answer: str, method: str, uri: str) -> str:
        is_proxy = status(answer) == 407
        challenge = challenges(answer.replace("Proxy-Authenticate", "WWW-Authenticate"))[0]
        return f"{'Proxy-' if is_proxy else ''}Authorization: {digest(challenge, self.user, self.password, method, uri)}\r\n"


_KEY_BYTES = {"AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44, "AES_CM_128": 30, "AES_256_CM": 46}


def answer_to(request: str) -> str:
    """SDP that takes what an INVITE offers: its profile, and where it has keys, a key of ours beside its first one's suite."""
    profile = re.search(r"(?m)^m=audio \d+ (\S+)", request)
    crypto = re.search(r"(?m)^a=crypto:(\d+) (\S+)", request)
    sdp = SDP.format(n=1).replace("RTP/AVP", profile[1] if profile else "RTP/AVP")
    if crypto is None:
        return sdp
    size = next(size for suite, size in _KEY_BYTES.items() if crypto[2].startswith(suite))
    return f"{sdp}a=crypto:{crypto[1]} {crypto[2]} inline:{b64encode(secrets.token_bytes(size)).decode()}\r\n"


def header(text: str, name: str) -> str:
    """The first header of that name, or an empty string."""
    found = re.search(rf"(?im)^{name}\s*:\s*(.*?)\r?$", text)
    return found[1] if found else ""


def branch_of(text: str) -> str:
    found = re.search(r"branch=([^;\s,]+)", text)
    return found[1] if found else ""


def tag_for(request: str) -> str:
    """The same for each copy of a request."""
    return "raw" + header(request, "Call-ID")[:8].replace("@", "x")


def response(request: str, line: str, more: str = "", body: str = "", tag: str = "") -> str:
    """A response, its headers copied from the request."""
    vias = "".join(f"Via: {via}\r\n" for via in re.findall(r"(?im)^Via\s*:\s*(.*?)\r?$", request))
    to = header(request, "To")
    if tag and ";tag=" not in to:
        to += f";tag={tag}"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"SIP/2.0 {line}\r\n{vias}From: {header(request, 'From')}\r\nTo: {to}\r\nCall-ID: {header(request, 'Call-ID')}\r\n"
        f"CSeq: {header(request, 'CSeq')}\r\n{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    )
