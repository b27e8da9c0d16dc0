"""An authority that signs for telephone numbers, its signers, and a web server that serves their certificates, by https."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hushwire.sip.passport import SHAKEN, Attestation, Passport, signed
from hushwire.sip.shaken import header
from hushwire.sip.tn_authority import TN_AUTHORITY

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CODE_709J = bytes.fromhex("3008a00616043730394a")
"""TNAuthList of the provider code 709J."""
ORIGID = UUID("123e4567-e89b-42d3-a456-426614174000")


@dataclass
class Authority:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: list["Authority"] = field(default_factory=list)

    @property
    def chain(self) -> list[x509.Certificate]:
        """From here upwards, without the root."""
        return [self.certificate, *(one.certificate for one in self.above[:-1])]

    @property
    def pem(self) -> bytes:
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in self.chain)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def issue(
    name: str,
    by: Authority | None = None,
    *,
    ca: bool = False,
    numbers: bytes | None = None,
    path_length: int | None = None,
    curve: ec.EllipticCurve | None = None,
    begins: datetime | None = None,
    ends: datetime | None = None,
    usage: bool | None = None,
    names: list[x509.GeneralName] | None = None,
    extra: x509.ExtensionType | None = None,
    now: datetime = NOW,
) -> Authority:
    """A certificate by `by`, or a root."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - timedelta(days=1))
        .not_valid_after(ends or now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if numbers is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(TN_AUTHORITY, numbers), critical=False)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.KeyUsage(usage, False, False, False, False, ca and usage, ca, False, False), critical=True)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    certificate = builder.sign(key if by is None else by.key, hashes.SHA256())
    return Authority(certificate, key, [] if by is None else [by, *by.above])


OPENSSL = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
1.3.6.1.5.5.7.1.26 = ASN1:SEQUENCE:numbers
[numbers]
code = EXP:0,IA5STRING:505J
range = EXP:1,SEQUENCE:range
one = EXP:2,IA5STRING:441632960000
[range]
start = IA5STRING:4930231250
count = INTEGER:100
"""


def made_by_openssl(folder: Path) -> None:
    """A root (ca.pem) and a signer under it (leaf.pem, leaf.key) as the command openssl makes them."""
    (folder / "openssl.cnf").write_text(OPENSSL)
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-config", "openssl.cnf", *new_key, "-keyout", "ca.key", "-x509", "-extensions", "ca", "-subj", "/CN=root",
            "-days", "30", "-out", "ca.pem")  # fmt: skip
    openssl("req", "-config", "openssl.cnf", *new_key, "-keyout", "leaf.key", "-subj", "/CN=SHAKEN 505J", "-out", "leaf.csr")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "10",
            "-extfile", "openssl.cnf", "-extensions", "leaf", "-out", "leaf.pem")  # fmt: skip


def statement(
    signer: Authority, url: str, orig: str, dest: str, at: float, attest: Attestation = Attestation.FULL, origid: UUID = ORIGID
) -> str:
    """An Identity header's value."""
    return header(signed(Passport(SHAKEN, url, int(at), orig.lstrip("+"), (dest.lstrip("+"),), attest, str(origid)), signer.key), url)


Answer = tuple[int, list[tuple[str, str]], bytes] | None
"""Status, headers, body; None: silence."""


@dataclass
class Repository:
    """A web server: what it was asked, and what it answers by path."""

    port: int = 0
    authority: Path = Path()
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes, status: int = 200, *headers: tuple[str, str]) -> str:
        self.answers[path] = (status, list(headers), body)
        return self.url(path)


@asynccontextmanager
async def repository(folder: Path, certificate_for: str = "127.0.0.1") -> AsyncIterator[Repository]:
    """A running one; its own authority's certificate lies in `authority`."""
    now = datetime.now(UTC)
    root = issue("web authority", ca=True, now=now)
    leaf = issue("cert.example.org", root, names=[x509.IPAddress(ip_address(certificate_for)), x509.DNSName("cert.example.org")], now=now)
    made = Repository(authority=folder / "web-ca.pem")
    made.authority.write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "web.pem").write_bytes(leaf.pem)
    (folder / "web.key").write_bytes(leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "web.pem", folder / "web.key")
    connections: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            made.asked.append(path)
            made.was_asked.set()
            found = made.answers.get(path, (404, [], b""))
            if found is None:
                await made.go_on.wait()
                found = made.answers[path]
                assert found is not None
            status, headers, body = found
            lines = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # who asked has gone
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
