"""Throw-away certificate authorities, and a tap that keeps what is sent to a carrier before TLS is agreed on."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFETIME = timedelta(days=2)


@dataclass(frozen=True)
class Certified:
    """A certificate with its key, as files."""

    certificate: Path
    key: Path

    @property
    def pin(self) -> str:
        """How it is named where no authority counts."""
        return f"sha256:{x509.load_pem_x509_certificate(self.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()}"


@dataclass(frozen=True)
class ThrowAway:
    """An authority of one test. `file` is what trusts it."""

    folder: Path
    file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("a test's authority")
        certificate = (
            _dated(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        file = folder / "authority.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, file, certificate, key)

    def certify(self, *, address: str) -> Certified:
        """A server's certificate for one IP address, in files of its own: a program may read those of before at any time."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _dated(_name("carrier"), self.certificate.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        name = f"{address}-{certificate.serial_number:x}"
        made = Certified(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        made.key.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _dated(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


@dataclass
class Tap:
    """Passes TCP connections on to `behind` and keeps what came from the one who connected; keeps datagrams of the same port too."""

    behind: tuple[str, int]
    said: bytearray = field(default_factory=bytearray)
    datagrams: list[bytes] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def listen(self, host: str, port: int) -> AsyncIterator[Self]:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((host, port))
            udp.setblocking(False)
            loop.add_reader(udp, lambda: self.datagrams.append(udp.recv(65535)))
            try:
                async with await asyncio.start_server(self._pass, host, port):
                    yield self
            finally:
                loop.remove_reader(udp)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_connection(*self.behind)
        await asyncio.gather(self._pump(reader, there_writer, self.said), self._pump(there_reader, writer, bytearray()))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
                await writer.drain()
        writer.close()
