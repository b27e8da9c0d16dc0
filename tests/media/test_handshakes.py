"""All associations of a gateway: who may begin anew, when a failure is final, and that nothing is kept of what is over."""

import asyncio
import datetime
from collections.abc import Iterable
from uuid import UUID

import pytest

from hushwire.media import handshakes
from hushwire.media.certificates import make_certificate
from hushwire.media.dtls import DtlsAssociation, Failure, client_hello_random, has_cookie
from hushwire.media.handshakes import MAX_ATTEMPTS, Handshakes
from hushwire.media.model import DtlsDatagram
from hushwire.sdp.dtls import RemoteDtls
from tests.polling import until

BRIDGE = UUID(int=5)
OURS, THEIRS, STRANGERS = (make_certificate(datetime.datetime.now(datetime.UTC)) for _ in range(3))
EXPECTED = RemoteDtls((THEIRS.fingerprint,), is_client=False)


class Rig:
    """A gateway's handshakes, and whoever talks to leg 0."""

    def __init__(self, patience_s: float = 10.0) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.keyed_legs: list[int] = []
        self.failures: list[Failure] = []
        self.made = Handshakes(self.send, self, patience_s)

    async def send(self, bridge_id: UUID, leg: int, datagrams: Iterable[bytes]) -> None:
        for datagram in datagrams:
            self.sent.put_nowait(datagram)

    def keyed(self, bridge_id: UUID, leg: int) -> None:
        self.keyed_legs.append(leg)

    def not_keyed(self, bridge_id: UUID, leg: int, failure: Failure) -> None:
        self.failures.append(failure)

    def arrives(self, data: bytes) -> None:
        self.made.datagram(DtlsDatagram(BRIDGE, 0, data))

    async def meet(self, peer: DtlsAssociation) -> None:
        """Carries what a client and we say until it has keys or failed."""
        for datagram in peer.start():
            self.arrives(datagram)
        async with asyncio.timeout(10):
            while peer.keys is None and peer.failure is None:
                for datagram in peer.receive(await self.sent.get()):
                    self.arrives(datagram)


def client(certificate: object = THEIRS) -> DtlsAssociation:
    return DtlsAssociation(certificate, RemoteDtls((OURS.fingerprint,), is_client=True))  # type: ignore[arg-type]


async def test_a_strangers_client_hello_does_not_keep_the_party_out() -> None:
    rig = Rig()
    assert rig.made.expect(BRIDGE, 0, EXPECTED, OURS) is None
    for datagram in client(STRANGERS).start():
        rig.arrives(datagram)
    await until(lambda: not rig.sent.empty(), what="the stranger was answered")
    while not rig.sent.empty():
        rig.sent.get_nowait()
    await rig.meet(client())
    assert rig.keyed_legs == [0]
    assert rig.made.keys(BRIDGE, 0) is not None
    assert rig.made.expect(BRIDGE, 0, EXPECTED, OURS) == rig.made.keys(BRIDGE, 0)


async def test_a_strangers_whole_handshake_fails_and_the_party_still_has_its_own() -> None:
    rig = Rig()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    await rig.meet(client(STRANGERS))
    assert rig.keyed_legs == []
    while not rig.sent.empty():
        rig.sent.get_nowait()
    await rig.meet(client())
    assert (rig.keyed_legs, rig.failures) == ([0], [])


async def test_a_handshake_follows_its_leg_into_another_bridge_before_and_after_it_is_done() -> None:
    other = UUID(int=6)
    rig = Rig()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    peer = client()
    for datagram in peer.start():
        rig.arrives(datagram)
    await until(lambda: not rig.sent.empty(), what="we answered the first flight")
    rig.made.move(BRIDGE, 0, other, 3)
    rig.made.forget(BRIDGE)  # the old bridge's end is not the leg's
    async with asyncio.timeout(10):
        while peer.keys is None:
            for datagram in peer.receive(await rig.sent.get()):
                rig.made.datagram(DtlsDatagram(other, 3, datagram))
    assert (rig.keyed_legs, rig.failures) == ([3], [])
    keys = rig.made.keys(other, 3)
    assert keys is not None
    rig.made.move(other, 3, BRIDGE, 1)
    assert (rig.made.keys(BRIDGE, 1), rig.made.keys(other, 3)) == (keys, None)
    assert rig.made.expect(BRIDGE, 1, EXPECTED, OURS) == keys
    rig.made.move(other, 3, BRIDGE, 1)  # nothing is there
    assert len(rig.made) == 1


async def test_a_moved_handshake_that_never_comes_is_given_up_in_its_own_time() -> None:
    rig = Rig(patience_s=0.1)
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    rig.made.move(BRIDGE, 0, UUID(int=6), 1)
    await until(lambda: rig.failures, what="the failure is told")
    assert rig.failures == [Failure.TIMEOUT]


async def test_a_failure_is_final_when_nobody_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "AGAIN_S", 0.1)
    rig = Rig()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    await rig.meet(client(STRANGERS))
    await until(lambda: rig.failures, what="the failure is told")
    assert rig.failures == [Failure.FINGERPRINT]
    while not rig.sent.empty():
        rig.sent.get_nowait()
    rig.arrives(client().start()[0])
    await asyncio.sleep(0)
    assert rig.sent.empty()
    assert rig.keyed_legs == []


async def test_beginning_anew_has_an_end() -> None:
    rig = Rig()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    for _ in range(MAX_ATTEMPTS + 5):
        for datagram in client(STRANGERS).start():
            rig.arrives(datagram)
    running = rig.made._legs[BRIDGE, 0]
    assert running.attempts == MAX_ATTEMPTS


async def test_patience_ends_and_what_is_forgotten_is_gone() -> None:
    rig = Rig(patience_s=0.1)
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    rig.made.expect(BRIDGE, 1, EXPECTED, OURS)
    rig.made.forget(BRIDGE, 1)
    await until(lambda: rig.failures, what="patience is over")
    assert rig.failures == [Failure.TIMEOUT]
    rig.made.forget(BRIDGE)
    assert len(rig.made) == 0
    rig.arrives(client().start()[0])
    assert rig.sent.empty()


async def test_another_certificate_or_role_of_the_peer_is_another_association() -> None:
    rig = Rig()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    await rig.meet(client())
    assert rig.made.expect(BRIDGE, 0, RemoteDtls((STRANGERS.fingerprint,), is_client=False), OURS) is None
    assert rig.made.keys(BRIDGE, 0) is None


ALERT = b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28"  # fatal, handshake_failure, in the clear


def verify_request(hello: bytes, cookie: bytes) -> bytes:
    """What hushwire-media answers a first hello with (RFC 6347 section 4.2.1)."""
    body = b"\xfe\xff" + bytes([len(cookie)]) + cookie
    size = len(body).to_bytes(3, "big")
    message = b"\x03" + size + hello[17:19] + bytes(3) + size + body
    return b"\x16\xfe\xff" + hello[3:11] + len(message).to_bytes(2, "big") + message


async def test_a_hello_that_bears_a_cookie_begins_the_handshake() -> None:
    rig, peer = Rig(), client()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    (first,) = peer.start()
    (second,) = peer.receive(verify_request(first, bytes(16)))
    assert (has_cookie(first), has_cookie(second)) == (False, True)
    assert client_hello_random(first) == client_hello_random(second)
    rig.arrives(second)
    async with asyncio.timeout(10):
        while peer.keys is None:
            for datagram in peer.receive(await rig.sent.get()):
                rig.arrives(datagram)
    assert rig.keyed_legs == [0]


async def test_an_alert_that_nothing_protects_does_not_end_a_handshake_that_goes_on() -> None:
    rig, peer = Rig(), client()
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    rig.arrives(ALERT)
    for datagram in peer.start():
        rig.arrives(datagram)
    async with asyncio.timeout(10):
        while peer.keys is None:
            answer = await rig.sent.get()
            rig.arrives(ALERT)
            for datagram in peer.receive(answer):
                rig.arrives(datagram)
    assert (rig.keyed_legs, rig.failures) == ([0], [])


async def test_a_party_that_gives_up_with_an_alert_is_not_waited_for_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "ALERT_S", 0.1)
    rig = Rig(patience_s=60)
    rig.made.expect(BRIDGE, 0, EXPECTED, OURS)
    for datagram in client().start():
        rig.arrives(datagram)
    for _ in range(3):
        rig.arrives(ALERT)
    await until(lambda: rig.failures, what="the failure is told")
    assert rig.failures == [Failure.REFUSED]


def test_only_the_beginning_of_a_client_hello_is_taken_for_one() -> None:
    (hello,) = client().start()
    found = client_hello_random(hello)
    assert found is not None
    assert len(found) == 32
    for end in range(59):
        assert client_hello_random(hello[:end]) is None
    assert client_hello_random(b"\x17" + hello[1:]) is None
    assert client_hello_random(hello[:13] + b"\x02" + hello[14:]) is None
    assert client_hello_random(hello[:3] + b"\x00\x01" + hello[5:]) is None
