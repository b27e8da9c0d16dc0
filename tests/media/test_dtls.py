"""DTLS-SRTP handshakes: with ourselves, with OpenSSL's own tools, and with peers who are not who signalling says."""

import asyncio
import datetime
import hashlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from hushwire.media.certificates import LIFE, Certificate, Certificates, make_certificate
from hushwire.media.dtls import MAX_DATAGRAMS, MTU, DtlsAssociation, Failure
from hushwire.media.model import Suite
from hushwire.sdp.dtls import Fingerprint, RemoteDtls

NOW = datetime.datetime.now(datetime.UTC)
ONE, TWO = make_certificate(NOW), make_certificate(NOW)


def pair(client: Certificate = ONE, server: Certificate = TWO, *, expected: Fingerprint | None = None) -> tuple[DtlsAssociation, ...]:
    """A client that expects `server` (or `expected`) and a server that expects `client`."""
    return (
        DtlsAssociation(client, RemoteDtls((expected or server.fingerprint,), is_client=True)),
        DtlsAssociation(server, RemoteDtls((client.fingerprint,), is_client=False)),
    )


def carry(client: DtlsAssociation, server: DtlsAssociation, loses: Callable[[int], bool] = lambda _: False) -> list[bytes]:
    """Carries datagrams between the two until nothing moves; those that `loses` names by number are lost. All that were sent."""
    sent: list[bytes] = []
    waiting = [(server, datagram) for datagram in client.start()]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        while waiting:
            to, datagram = waiting.pop(0)
            sent.append(datagram)
            if not loses(len(sent)):
                back = client if to is server else server
                waiting += [(back, answer) for answer in to.receive(datagram)]
        if all(one.keys is not None or one.failure is not None for one in (client, server)):
            return sent
        timers = [one.timeout_s for one in (client, server) if one.timeout_s is not None]
        if not timers:
            return sent
        time.sleep(min(timers))
        for one, other in ((client, server), (server, client)):
            if one.timeout_s == 0:
                waiting += [(other, datagram) for datagram in one.handle_timer()]
    raise AssertionError("the handshake goes on for ever")


def test_both_roles_come_to_the_same_keys_crossed_and_to_the_best_profile() -> None:
    client, server = pair()
    sent = carry(client, server)
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.sending == server.keys.receiving
    assert client.keys.receiving == server.keys.sending
    assert client.keys.sending.key != client.keys.receiving.key
    assert (client.keys.sending.suite, len(client.keys.sending.key)) == (Suite.AEAD_AES_256_GCM, 44)
    assert max(map(len, sent)) <= MTU
    assert all(20 <= datagram[0] <= 63 for datagram in sent), "what RFC 7983 takes for DTLS"


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_each_lost_datagram_is_sent_again_by_the_timer(lost: int) -> None:
    client, server = pair()
    carry(client, server, lambda number: number == lost)
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.sending == server.keys.receiving


def test_a_lost_last_flight_is_sent_again_when_the_client_asks_once_more() -> None:
    client, server = pair()
    (hello,) = client.start()
    flights: list[list[bytes]] = [server.receive(hello)]
    while server.keys is None:
        answers = [answer for datagram in flights[-1] for answer in client.receive(datagram)]
        flights.append([answer for datagram in answers for answer in server.receive(datagram)])
    assert client.keys is None, "the server's last flight has not arrived"
    time.sleep(client.timeout_s or 0)
    again = [answer for datagram in client.handle_timer() for answer in server.receive(datagram)]
    for datagram in again:
        client.receive(datagram)
    assert client.keys is not None
    assert client.keys.sending == server.keys.receiving


@pytest.mark.parametrize("name", ["sha-256", "sha-384", "sha-512"])
def test_every_hash_function_that_signalling_may_name_is_checked(name: str) -> None:
    probe, server = pair()
    carry(probe, server)
    certificate = probe._connection.get_peer_certificate()
    assert certificate is not None
    digest = bytes.fromhex(certificate.digest(name.replace("-", "")).decode().replace(":", ""))
    assert len(digest) == hashlib.new(name.replace("-", "")).digest_size
    client, server = pair(expected=Fingerprint(name, digest))
    carry(client, server)
    assert client.keys is not None
    client, server = pair(expected=Fingerprint(name, digest[:-1] + bytes([digest[-1] ^ 1])))
    carry(client, server)
    assert (client.keys, client.failure) == (None, Failure.FINGERPRINT)


def test_a_server_that_is_not_who_signalling_named_gets_no_keys_of_us() -> None:
    client, server = pair(expected=make_certificate(NOW).fingerprint)
    carry(client, server)
    assert (client.keys, client.failure) == (None, Failure.FINGERPRINT)
    assert (server.keys, server.failure) == (None, Failure.REFUSED), "our alert tells it at once"


def test_a_client_that_is_not_who_signalling_named_gets_no_keys_of_us() -> None:
    client, server = pair()
    stranger = DtlsAssociation(make_certificate(NOW), RemoteDtls((TWO.fingerprint,), is_client=True))
    carry(stranger, server)
    assert (server.keys, server.failure) == (None, Failure.FINGERPRINT)
    assert stranger.keys is None
    # What is over stays over, also for who is expected.
    for datagram in client.start():
        assert server.receive(datagram) == []
    assert server.keys is None


def test_one_of_several_announced_fingerprints_is_enough() -> None:
    client = DtlsAssociation(ONE, RemoteDtls((ONE.fingerprint, TWO.fingerprint), is_client=True))
    server = DtlsAssociation(TWO, RemoteDtls((ONE.fingerprint,), is_client=False))
    carry(client, server)
    assert client.keys is not None


def test_a_client_without_a_certificate_is_refused() -> None:
    _, server = pair()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    speak(SSL.Connection(context), server)
    assert (server.keys, server.failure) == (None, Failure.REFUSED)


def speak(client: SSL.Connection, server: DtlsAssociation) -> None:
    """A client of OpenSSL's own against our server, until one has nothing to say."""
    client.set_connect_state()
    for _ in range(10):
        with suppress(SSL.Error):
            client.do_handshake()
        try:
            said = client.bio_read(65536)
        except SSL.WantReadError:
            return
        for answer in server.receive(said):
            client.bio_write(answer)
            with suppress(SSL.Error):
                client.do_handshake()


def test_a_peer_that_does_no_srtp_gets_no_keys() -> None:
    context = SSL.Context(SSL.DTLS_METHOD)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, digest = _self_signed(key)
    context.use_privatekey(key)
    context.use_certificate(certificate)
    server = DtlsAssociation(TWO, RemoteDtls((Fingerprint("sha-256", digest),), is_client=False))
    speak(SSL.Connection(context), server)
    assert (server.keys, server.failure) == (None, Failure.NO_PROFILE)


def _self_signed(key: ec.EllipticCurvePrivateKey) -> tuple[x509.Certificate, bytes]:
    name = x509.Name([])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(NOW - LIFE).not_valid_after(NOW + LIFE).sign(key, hashes.SHA256())
    )  # fmt: skip
    return built, hashlib.sha256(built.public_bytes(serialization.Encoding.DER)).digest()


def test_garbage_ends_nothing_and_a_flood_of_it_ends_the_handshake() -> None:
    client, server = pair()
    for datagram in (b"", b"\x16", b"\x16\xfe\xfd" + bytes(10), bytes(3000), b"\x80" * 172):
        server.receive(datagram)
    carry(client, server)
    assert server.keys is not None
    _, flooded = pair()
    for number in range(MAX_DATAGRAMS + 1):
        flooded.receive(b"\x16\xfe\xfd" + number.to_bytes(10, "big"))
    assert (flooded.keys, flooded.failure) == (None, Failure.TOO_MUCH)


def test_after_the_handshake_a_new_one_is_not_begun_and_keys_stay() -> None:
    client, server = pair()
    carry(client, server)
    before = server.keys
    other, _ = pair(client=make_certificate(NOW))
    for datagram in other.start():
        for answer in server.receive(datagram):
            other.receive(answer)
    assert server.keys is before
    assert other.keys is None


def test_the_peers_goodbye_is_noticed_and_keys_stay_until_signalling_ends_the_call() -> None:
    client, server = pair()
    carry(client, server)
    client._connection.shutdown()
    for datagram in client._flight():
        server.receive(datagram)
    assert server.is_closed
    assert server.keys is not None
    assert server.timeout_s is None


def test_patience_ends_a_handshake_that_does_not() -> None:
    client, _ = pair()
    client.start()
    client.give_up()
    assert (client.failure, client.timeout_s) == (Failure.TIMEOUT, None)
    assert client.handle_timer() == []


def test_a_certificate_serves_calls_for_a_day_and_then_another_does() -> None:
    class Day:
        at = NOW

        def now(self) -> datetime.datetime:
            return self.at

        def monotonic(self) -> float:
            return 0.0

    clock = Day()
    certificates = Certificates(clock)
    first = certificates.current
    assert certificates.current is first
    assert "key" in repr(first)
    clock.at = NOW + LIFE
    assert certificates.current.fingerprint != first.fingerprint


# ------------------------------------------------------------------------------------- against OpenSSL's own program

need_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not installed")
MATERIAL = re.compile(r"Keying material: ([0-9A-F]+)")


def own(folder: Path) -> tuple[str, str, Fingerprint]:
    """A certificate for the program, its key, and its fingerprint."""
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=peer",
                    "-days", "2"], check=True, capture_output=True)  # fmt: skip
    shown = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha512"], check=True, capture_output=True)
    digest = bytes.fromhex(shown.stdout.decode().partition("=")[2].strip().replace(":", ""))
    return certificate, key, Fingerprint("sha-512", digest)


async def drive(association: DtlsAssociation, sock: socket.socket, peer: tuple[str, int] | None) -> None:
    """Runs an association over a real socket until it has keys."""
    loop = asyncio.get_running_loop()

    async def send(datagrams: Iterable[bytes]) -> None:
        for datagram in datagrams:
            assert peer is not None
            await loop.sock_sendto(sock, datagram, peer)

    await send(association.start())
    async with asyncio.timeout(20):
        while association.keys is None:
            assert association.failure is None, association.failure
            try:
                async with asyncio.timeout(association.timeout_s):
                    data, peer = await loop.sock_recvfrom(sock, 4096)
            except TimeoutError:
                await send(association.handle_timer())
            else:
                await send(association.receive(data))


async def material(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(20):
        while not (found := MATERIAL.search(text)):
            more = await process.stdout.read(4096)
            assert more, text
            text += more.decode(errors="replace")
            # The line may be torn: what is needed ends with a line end.
            if (found := MATERIAL.search(text)) and not text[found.end() :]:
                text += (await process.stdout.read(1)).decode()
    return bytes.fromhex(found[1])


@need_openssl
@pytest.mark.parametrize(("profile", "key", "salt"), [("SRTP_AEAD_AES_256_GCM", 32, 12), ("SRTP_AES128_CM_SHA1_80", 16, 14)])
@pytest.mark.parametrize("we_begin", [True, False], ids=["as client", "as server"])
async def test_openssls_own_program_exports_the_keys_that_we_use(tmp_path: Path, profile: str, key: int, salt: int, we_begin: bool) -> None:
    certificate, secret, fingerprint = own(tmp_path)
    association = DtlsAssociation(ONE, RemoteDtls((fingerprint,), is_client=we_begin))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] if we_begin else sock.getsockname()[1]
        probe.close()
        role = ["s_server", "-accept", f"127.0.0.1:{port}", "-Verify", "1"] if we_begin else ["s_client", "-connect", f"127.0.0.1:{port}"]
        process = await asyncio.create_subprocess_exec(
            "openssl", *role, "-dtls1_2", "-use_srtp", profile, "-cert", certificate, "-key", secret, "-keymatexport",
            "EXTRACTOR-dtls_srtp", "-keymatexportlen", str(2 * (key + salt)), stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            if we_begin:
                assert process.stdout is not None
                assert b"ACCEPT" in await process.stdout.readuntil(b"ACCEPT")
            await drive(association, sock, ("127.0.0.1", port) if we_begin else None)
            data = await material(process)
        finally:
            process.kill()
            await process.wait()
    assert association.keys is not None
    client = data[:key] + data[2 * key : 2 * key + salt]
    server = data[key : 2 * key] + data[2 * key + salt :]
    ours, theirs = (client, server) if we_begin else (server, client)
    assert (association.keys.sending.key, association.keys.receiving.key) == (ours, theirs)
