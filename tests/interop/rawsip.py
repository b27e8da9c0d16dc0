"""Hand-made SIP over UDP, for what no decent client would send. Digest is computed here a second time, from RFC 7616."""

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Self


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        pass


@dataclass
class RawSip:
    """One UDP socket towards the gateway."""

    transport: asyncio.DatagramTransport
    protocol: _Protocol
    target: tuple[str, int]
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    cseq: int = 0

    @classmethod
    async def open(cls, target: tuple[str, int], local: str = "127.0.0.1") -> Self:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(_Protocol, local_addr=(local, 0))
        return cls(transport, protocol, target)

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    def register(self, user: str, domain: str, authorization: str = "", expires_s: int = 60) -> bytes:
        return self.request("REGISTER", f"sip:{domain}", f"sip:{user}@{domain}", authorization, f"Expires: {expires_s}\r\n")

    def request(self, method: str, uri: str, identity: str, authorization: str = "", more: str = "", to: str = "") -> bytes:
        self.cseq += 1
        auth = f"Authorization: {authorization}\r\n" if authorization else ""
        return (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(8)};rport\r\n"
            f"From: <{identity}>;tag={self.tag}\r\n"
            f"To: <{to or identity}>\r\n"
            f"Call-ID: {self.call_id}\r\n"
            f"CSeq: {self.cseq} {method}\r\n"
            f"Contact: <sip:raw@127.0.0.1:{self.port}>\r\n"
            f"Max-Forwards: 70\r\n{more}{auth}Content-Length: 0\r\n\r\n"
        ).encode()

    async def ask(self, message: bytes, timeout_s: float = 20) -> str:
        """The final answer to a request, which is sent again each half second (RFC 3261 section 17.1.2: T1)."""
        async with asyncio.timeout(timeout_s):
            while True:
                self.transport.sendto(message, self.target)
                try:
                    async with asyncio.timeout(0.5):
                        return await self._final(re.search(rb"CSeq: .*", message)[0].decode().strip())  # type: ignore[index]
                except TimeoutError:
                    continue

    async def _final(self, cseq: str) -> str:
        while True:
            answer = (await self.protocol.received.get()).decode(errors="replace")
            if answer.startswith("SIP/2.0 ") and not answer.startswith("SIP/2.0 1") and cseq in answer:
                return answer

    def send(self, data: bytes) -> None:
        self.transport.sendto(data, self.target)

    def drain(self) -> None:
        """Forgets answers that came meanwhile."""
        while not self.protocol.received.empty():
            self.protocol.received.get_nowait()

    def close(self) -> None:
        self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def status(answer: str) -> int:
    return int(answer.split()[1])


def challenges(answer: str) -> list[dict[str, str]]:
    """The parameters of each WWW-Authenticate header, in order."""
    found = []
    for value in re.findall(r"(?im)^WWW-Authenticate:\s*Digest\s+(.*?)\r?$", answer):
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', value)
        found.append({name.lower(): quoted or plain for name, quoted, plain in pairs})
    return found


def digest(challenge: dict[str, str], username: str, password: str, method: str, uri: str, *, count: int = 1, cnonce: str = "") -> str:
    """An Authorization value for qop=auth (RFC 7616 section 3.4)."""
    algorithm = challenge.get("algorithm", "MD5")
    make = hashlib.sha256 if algorithm.upper().startswith("SHA-256") else hashlib.md5

    def h(text: str) -> str:
        return make(text.encode()).hexdigest()

    cnonce = cnonce or secrets.token_hex(8)
    realm, nonce = challenge["realm"], challenge["nonce"]
    response = h(f"{h(f'{username}:{realm}:{password}')}:{nonce}:{count:08x}:{cnonce}:auth:{h(f'{method}:{uri}')}")
    return (
        f'Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        f'algorithm={algorithm}, cnonce="{cnonce}", qop=auth, nc={count:08x}'
    )
