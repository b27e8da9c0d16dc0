"""Real endpoints on loopback, with throw-away certificates, and SIPp beside them."""

import asyncio
import datetime
import ipaddress
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hushwire.sip.effects import Event, RequestReceived
from hushwire.sip.flow import Transport
from hushwire.transport.endpoint import EndpointConfig, Listen, SipEndpoint


class RealClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)


class RealRandom:
    """The machine's randomness."""

    def token_bytes(self, count: int, /) -> bytes:
        return secrets.token_bytes(count)


class Stage:
    """One endpoint and what it told. `react` is called on each event before it is queued."""

    def __init__(self, config: EndpointConfig, react: Callable[["Stage", Event], None] | None = None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.react = react
        self.endpoint = SipEndpoint(config, RealClock(), RealRandom(), self._on_event)

    def _on_event(self, event: Event) -> None:
        if self.react is not None:
            self.react(self, event)
        self.events.put_nowait(event)

    def port(self, transport: Transport) -> int:
        return self.endpoint.addresses[transport].port

    async def next(self, kind: type, timeout_s: float = 10.0) -> Event:
        """The next event of a kind; others are passed over."""
        async with asyncio.timeout(timeout_s):
            while True:
                event = await self.events.get()
                if isinstance(event, kind):
                    return event


def answer_calls(stage: Stage, event: Event) -> None:
    """Ring and accept each INVITE with its own session description; accept what else comes."""
    if isinstance(event, RequestReceived):
        if event.request.method == "INVITE":
            stage.endpoint.respond(event.tx, 180)
        stage.endpoint.respond(event.tx, 200, body=event.request.body if event.request.method == "INVITE" else b"")


@asynccontextmanager
async def stage(
    *transports: Transport, react: Callable[[Stage, Event], None] | None = answer_calls, host: str = "127.0.0.1", **options: object
) -> AsyncIterator[Stage]:
    """A started endpoint on free ports of a loopback address."""
    listen = tuple(Listen(transport, host, 0) for transport in transports)
    made = Stage(EndpointConfig(listen, **options), react)  # type: ignore[arg-type]
    await made.endpoint.start()
    try:
        yield made
    finally:
        await made.endpoint.close()


def certificates(folder: Path, name: str = "localhost") -> tuple[Path, Path, Path]:
    """A throw-away CA and a server certificate of it: (ca, certificate, key) as PEM files."""
    now = datetime.datetime.now(datetime.UTC)

    def make(subject: str, issuer: str, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca, certificate, key_file = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    ca.write_bytes(make("test CA", "test CA", ca_key.public_key(), ca_key, is_ca=True))
    certificate.write_bytes(make(name, "test CA", key.public_key(), ca_key, is_ca=False))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return ca, certificate, key_file


class Peer(asyncio.DatagramProtocol):
    """A bare UDP socket that keeps what it gets."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data)


@asynccontextmanager
async def udp_peer(port: int) -> AsyncIterator[tuple[asyncio.DatagramTransport, Peer]]:
    """A UDP socket connected to a port of 127.0.0.1."""
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(Peer, remote_addr=("127.0.0.1", port))
    try:
        yield transport, peer
    finally:
        transport.close()


@asynccontextmanager
async def sipp(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """SIPp with one of its built-in scenarios; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        "sipp", *arguments, "-nostdin", "-i", "127.0.0.1", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def tls_version(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, limited to TLS 1.2."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
