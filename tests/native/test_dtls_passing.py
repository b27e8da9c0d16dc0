"""DTLS through the media process: handshakes pass up from proven addresses only, and a leg that waits for its keys is never plain."""

from __future__ import annotations

import datetime
import os
import socket
import time
import uuid
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from tests.native.call import LOOPBACK, Call, Keys, Party, parse, rtp
from tests.native.client import INVALID, NOT_FOUND, STATE, Controller, Media, RequestError
from tests.native.ice_peer import IceCall, check, is_success
from tests.native.srtp_oracle import oracle
from tests.native.test_hostile import memory_kb

DTLS = {"rtcp_mux": 1, "keying": 1}
SUITE = "AES_CM_128_HMAC_SHA1_80"
CLIENT_HELLO = bytes.fromhex("16feff000000000000000000300100002400000000000000240000") + bytes(36)
VERIFY_REQUEST = 3  # RFC 6347 section 4.3.2
RTCP = b"\x80\xc9\x00\x01\x00\x00\x00\x01\x81\xcb\x00\x01\x00\x00\x00\x01"


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.9", 0))
        sock.settimeout(10)
        yield sock


class Endpoint:
    """One side of a handshake, by OpenSSL; datagrams in and out by hand."""

    def __init__(self, *, is_server: bool) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.datetime.now(datetime.UTC)
        hour = datetime.timedelta(hours=1)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - hour, now + hour)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(builder.sign(key, hashes.SHA256()))
        context.use_privatekey(key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
        context.set_cookie_generate_callback(lambda _: b"")
        context.set_cookie_verify_callback(lambda *_: True)  # hushwire-media has checked it
        self.connection = SSL.Connection(context)
        self.connection.set_ciphertext_mtu(1200)
        self.is_server, self.is_done, self.has_begun = is_server, False, False
        if is_server:
            self.connection.set_accept_state()
        else:
            self.connection.set_connect_state()

    def step(self, datagram: bytes = b"") -> list[bytes]:
        """What is to be sent after `datagram` came in (empty: the beginning)."""
        if datagram:
            self.connection.bio_write(datagram)
        if self.is_server and not self.has_begun and datagram[17:19] == b"\0\1":  # a hello with a cookie: the second of its handshake
            self.connection.DTLSv1_listen()
        self.has_begun = True
        try:
            self.connection.do_handshake()
            self.is_done = True
        except SSL.WantReadError:
            pass
        out = b""
        while True:
            try:
                out += self.connection.bio_read(65_535)
            except SSL.WantReadError:
                return list(datagrams(out))

    def keys(self) -> Keys:
        """From hushwire's point of view, when this is hushwire's side."""
        raw = self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
        client, server = raw[:16] + raw[32:46], raw[16:32] + raw[46:60]
        return Keys(SUITE, send=server, recv=client) if self.is_server else Keys(SUITE, send=client, recv=server)


def datagrams(records: bytes) -> Iterator[bytes]:
    """Whole records, as many as fit 1,200 bytes together."""
    batch = b""
    while records:
        size = 13 + int.from_bytes(records[11:13], "big")
        if batch and len(batch) + size > 1200:
            yield batch
            batch = b""
        batch, records = batch + records[:size], records[size:]
    if batch:
        yield batch


def asked(call: Call, theirs: Endpoint, hello: list[bytes]) -> list[bytes]:
    """Without ICE a first hello is answered with a cookie by the media process; the second one, which bears it."""
    (first,) = hello
    call.a.send(first)
    request = call.a.receive()
    assert (request[0], request[13]) == (22, VERIFY_REQUEST)
    assert len(request) <= len(first), "nothing is gained by forging a hello for somebody else"
    second = theirs.step(request)
    assert len(second) == 1
    return second


def shake(call: Call, ours: Endpoint, theirs: Endpoint) -> None:
    """A whole handshake between `a` and the controller, every datagram through the media process."""

    def up(out: list[bytes]) -> None:
        for datagram in out:
            call.a.send(datagram)
        for datagram in out:
            event = call.control.event("dtls_datagram")
            assert (event.id, event.fields["bridge"], event.fields["leg"], event.fields["datagram"]) == (0, call.id.bytes, 0, datagram)
            down(ours.step(datagram))

    def down(out: list[bytes]) -> None:
        if out:
            call.control.request("dtls_send", bridge=call.id, leg=0, datagram=out)
        for datagram in out:
            assert call.a.receive() == datagram
            up(theirs.step(datagram))

    if ours.is_server:
        out = theirs.step()
        if not isinstance(call, IceCall):
            out = asked(call, theirs, out)
        up(out)
    else:
        down(ours.step())
    assert ours.is_done
    assert theirs.is_done
    assert ours.connection.get_selected_srtp_profile() == b"SRTP_AES128_CM_SHA1_80"


@pytest.mark.parametrize("is_server", [True, False], ids=["passive", "active"])
def test_a_handshake_passes_both_ways_and_its_keys_carry_the_call(control: Controller, is_server: bool) -> None:
    call = IceCall(control, keying=1)
    call.nominate()
    ours, theirs = Endpoint(is_server=is_server), Endpoint(is_server=not is_server)
    shake(call, ours, theirs)
    keys = ours.keys()
    call.set_leg(0, **keys.fields())
    tx, rx = oracle(SUITE, keys.recv, is_sender=True), oracle(SUITE, keys.send, is_sender=False)
    call.a.send(tx.protect(rtp(1, 160, 1, b"sealed")))
    assert parse(call.b.receive()).payload == b"sealed"
    call.b.send(rtp(1, 160, 2, b"back"))
    assert parse(rx.unprotect(call.a.receive())).payload == b"back"
    stats = call.stats(0)
    assert stats["dtls_received"] > 0
    assert stats["dtls_sent"] > 0
    assert (stats["dtls_refused"], stats["dtls_limited"], stats["dropped_unkeyed"]) == (0, 0, 0)


def test_a_sip_leg_passes_a_handshake_from_the_announced_address(control: Controller, stranger: socket.socket) -> None:
    call = Call(control)
    call.set_leg(0, **DTLS)
    stranger.sendto(CLIENT_HELLO, call.a.to)
    assert call.settle(0, "dtls_refused", 1)["dtls_received"] == 0
    ours = Endpoint(is_server=True)
    shake(call, ours, Endpoint(is_server=False))
    keys = ours.keys()
    call.set_leg(0, **DTLS, **keys.fields())
    tx = oracle(SUITE, keys.recv, is_sender=True)
    call.a.send(tx.protect(rtp(1, 160, 1, b"sealed")))
    assert parse(call.b.receive()).payload == b"sealed"


def test_a_client_hello_from_an_address_without_a_valid_check_is_dropped(control: Controller, stranger: socket.socket) -> None:
    call = IceCall(control, keying=1)
    overheard = check(call.credentials, nominate=True)
    stranger.sendto(CLIENT_HELLO, call.a.to)  # before anybody was checked
    call.settle(0, "dtls_refused", 1)
    call.a.send(CLIENT_HELLO)  # the party itself, too early
    call.settle(0, "dtls_refused", 2)
    assert is_success(call.ask(overheard), call.credentials, call.a.rtp)
    stranger.sendto(overheard, call.a.to)  # a replayed check proves nothing
    call.settle(0, "stun_repeated", 1)
    for n in range(50):
        stranger.sendto(CLIENT_HELLO + bytes([n]), call.a.to)
    call.settle(0, "dtls_refused", 52)
    call.a.send(CLIENT_HELLO)
    event = control.event("dtls_datagram").fields
    assert event["datagram"] == CLIENT_HELLO
    assert call.settle(0, "dtls_received", 1)["dtls_received"] == 1
    assert not [e for e in control.events if e.kind == "dtls_datagram"]


class Unstated:
    """A leg that is open, of a party that may begin a moment before the leg is stated."""

    def __init__(self, control: Controller) -> None:
        self.control, self.id, self.party = control, uuid.uuid4(), Party()
        control.closing.callback(self.party.close)
        control.request("open_bridge", bridge=self.id, mode=0)
        port = control.request("open_leg", bridge=self.id, leg=0)["rtp_port"]
        self.party.to = ("127.0.0.1", int(port))  # type: ignore[call-overload]

    def has_dropped(self, count: int) -> None:
        """Returns once so many datagrams were dropped (each GET waits for the worker, so this needs no sleep)."""
        for _ in range(20_000):
            (stats,) = self.control.request("get_bridge", bridge=self.id)["leg_stats"]  # type: ignore[misc,attr-defined]
            if stats["dropped_disabled"] >= count:
                return
        raise AssertionError(stats)

    def state(self) -> None:
        self.control.request("set_leg", bridge=self.id, leg=0, remote_ip=LOOPBACK, remote_port=self.party.port, **DTLS)


def test_a_hello_that_came_just_before_its_leg_was_stated_need_not_be_repeated(control: Controller) -> None:
    leg, theirs = Unstated(control), Endpoint(is_server=False)
    (hello,) = theirs.step()
    leg.party.send(hello)
    leg.party.send(rtp(1, 160, 1))
    leg.has_dropped(1)
    leg.state()
    (second,) = theirs.step(leg.party.receive())
    leg.party.send(second)
    assert control.event("dtls_datagram").fields["datagram"] == second


def test_a_flood_of_early_hellos_takes_no_memory_and_the_partys_handshake_begins_after_it(
    media: Media, control: Controller, stranger: socket.socket, is_sanitized: bool
) -> None:
    leg = Unstated(control)
    flood = [CLIENT_HELLO + os.urandom(1_400) for _ in range(50)]  # what a socket holds

    def flooded(rounds: range) -> int:
        for number in rounds:
            for datagram in flood:
                stranger.sendto(datagram, leg.party.to)
            leg.has_dropped(50 * number + 49)  # all but the one that is kept
        return memory_kb(media)

    before_kb = flooded(range(20))
    grown_kb = flooded(range(20, 800)) - before_kb
    assert grown_kb < 1_000 or is_sanitized, "55 MB came in"  # a sanitizer keeps for a while what was freed
    leg.state()
    assert not [event for event in control.events if event.kind == "dtls_datagram"]
    theirs = Endpoint(is_server=False)
    (hello,) = theirs.step()
    leg.party.send(hello)
    assert leg.party.receive()[13] == VERIFY_REQUEST
    stranger.setblocking(False)
    with pytest.raises(BlockingIOError):
        stranger.recv(2048)  # nothing was announced that it could be


def test_until_its_keys_come_a_dtls_leg_neither_takes_nor_gets_plain_media(control: Controller) -> None:
    for call in (IceCall(control, keying=1), Call(control)):
        call.set_leg(0, **DTLS)
        if isinstance(call, IceCall):
            call.nominate()
        call.a.send(rtp(1, 160, 1, b"in clear"))
        call.a.send(RTCP)
        call.settle(0, "dropped_unkeyed", 2)
        call.b.send(rtp(1, 160, 2, b"in clear"))
        call.b.send_rtcp(RTCP)
        call.settle(1, "rtcp_received", 1)
        call.settle(1, "dropped_unsent", 1)
        assert call.b.hears_nothing()
        assert call.a.hears_nothing()
        stats = call.stats(0)
        assert (stats["packets_received"], stats["packets_sent"], stats["rtcp_received"], stats["rtcp_sent"]) == (0, 0, 0, 0)


def test_a_leg_whose_keys_are_taken_back_is_not_plain(control: Controller) -> None:
    keys = Keys(SUITE)
    call = Call(control)
    call.set_leg(0, **DTLS, **keys.fields())
    tx = oracle(SUITE, keys.recv, is_sender=True)
    call.a.send(tx.protect(rtp(1, 160, 1, b"sealed")))
    assert parse(call.b.receive()).payload == b"sealed"
    call.set_leg(0, **DTLS)
    call.a.send(rtp(2, 320, 1, b"in clear"))
    call.settle(0, "dropped_unkeyed", 1)
    call.b.send(rtp(1, 160, 2, b"in clear"))
    call.settle(1, "dropped_unsent", 1)
    assert call.a.hears_nothing()


def test_once_keyed_a_forged_handshake_does_not_move_the_leg(control: Controller) -> None:
    """The party is behind a router: its SRTP comes from elsewhere than SDP said, and a forger of the announced address changes nothing."""
    keys = Keys(SUITE)
    call = Call(control)
    moved = Party()
    control.closing.callback(moved.close)
    call.set_leg(0, **DTLS, **keys.fields())
    tx, rx = oracle(SUITE, keys.recv, is_sender=True), oracle(SUITE, keys.send, is_sender=False)
    moved.to = call.a.to
    moved.send(tx.protect(rtp(1, 160, 1)))
    call.b.receive()
    call.a.send(CLIENT_HELLO)  # from the announced address
    assert call.a.receive()[13] == VERIFY_REQUEST  # and answered there, by which nothing moves
    assert not [event for event in control.events if event.kind == "dtls_datagram"]
    call.b.send(rtp(1, 160, 2, b"to where the tags verify"))
    assert parse(rx.unprotect(moved.receive())).payload == b"to where the tags verify"


def test_a_flood_of_handshakes_reaches_the_controller_at_a_bounded_rate_and_the_call_goes_on(control: Controller) -> None:
    keys = Keys(SUITE)
    call = IceCall(control, keying=1, **keys.fields())
    call.nominate()
    tx, rx = oracle(SUITE, keys.recv, is_sender=True), oracle(SUITE, keys.send, is_sender=False)
    junk = [b"\x16\xfe\xff" + os.urandom(1000) for _ in range(100)]
    began = time.monotonic()
    number = 0
    for sent in range(0, 100_000, 100):
        for datagram in junk:
            call.a.send(datagram)  # from the party's own address, as a forger could
        if sent % 10_000 == 0:
            number += 1
            call.b.send(rtp(number, 160 * number, 2, b"in the midst %d" % number))
            assert parse(rx.unprotect(call.a.receive())).payload == b"in the midst %d" % number
            control.request("ping")
    stats = call.settle(0, "dtls_limited", 1)
    while stats["dtls_received"] + stats["dtls_limited"] < (stats := call.stats(0))["dtls_received"] + stats["dtls_limited"]:
        pass
    allowed = 80 + 40 * (time.monotonic() - began)
    assert 80 <= stats["dtls_received"] <= allowed + 1
    told = [event for event in control.events if event.kind == "dtls_datagram"]
    assert len(told) <= allowed + 1
    call.a.send(tx.protect(rtp(1, 160, 1, b"afterwards")))
    assert parse(call.b.receive()).payload == b"afterwards"


def test_datagrams_go_down_as_they_are_and_only_where_they_may(control: Controller) -> None:
    call = IceCall(control, keying=1)
    fatal = [CLIENT_HELLO, b"\x17" + os.urandom(1499), b"\x3f"]

    def refused(status: int, **fields: object) -> bool:
        with pytest.raises(RequestError) as error:
            control.request("dtls_send", **{"bridge": call.id, "leg": 0, "datagram": fatal, **fields})
        return error.value.status == status

    assert refused(STATE)  # nobody is nominated
    call.ask(check(call.credentials))
    assert refused(STATE)  # and nobody has begun a handshake
    call.nominate()
    assert refused(STATE, leg=1)  # that leg is not keyed by DTLS
    assert refused(NOT_FOUND, leg=7)
    assert refused(INVALID, datagram=[CLIENT_HELLO, b"\x80 RTP"])
    assert refused(INVALID, datagram=[b"\x00\x01 STUN"])
    assert refused(INVALID, datagram=[CLIENT_HELLO] * 65)
    assert refused(INVALID, datagram=[b"\x16" * 1501])
    assert call.a.hears_nothing()
    control.request("dtls_send", bridge=call.id, leg=0, datagram=fatal)
    assert [call.a.receive() for _ in fatal] == fatal
    assert call.stats(0)["dtls_sent"] == len(fatal)


def test_a_handshake_is_answered_where_it_came_from_before_a_pair_is_nominated(control: Controller) -> None:
    call = IceCall(control, keying=1)
    call.ask(check(call.credentials))
    call.a.send(CLIENT_HELLO)
    assert control.event("dtls_datagram").fields["datagram"] == CLIENT_HELLO
    control.request("dtls_send", bridge=call.id, leg=0, datagram=[b"\x16 answer"])
    assert call.a.receive() == b"\x16 answer"
    stranger = Party()
    stranger.to = call.a.to
    control.closing.callback(stranger.close)
    stranger.send(CLIENT_HELLO)
    call.settle(0, "dtls_refused", 1)
    control.request("dtls_send", bridge=call.id, leg=0, datagram=[b"\x16 again"])
    assert call.a.receive() == b"\x16 again"
    assert stranger.hears_nothing()


def test_a_leg_without_dtls_passes_none(control: Controller) -> None:
    call = Call(control)
    call.a.send(CLIENT_HELLO)
    call.settle(0, "dropped_malformed", 1)
    call.a.send(rtp(1, 160, 1, b"own"))
    assert parse(call.b.receive()).payload == b"own"
    assert call.stats(0)["dtls_received"] == 0
