"""Where packets may come from: no stranger gets one in, and nobody moves a stream without proof."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.native.call import Call, Keys, Party, parse, rtp
from tests.native.client import Controller
from tests.native.srtp_oracle import oracle

KEYS = Keys("AES_CM_128_HMAC_SHA1_80")


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """Sends from 127.0.0.9, an address that nobody announced."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.9", 0))
        yield sock


@pytest.fixture
def moved() -> Iterator[Party]:
    party = Party()
    yield party
    party.close()


def test_plain_rtp_from_a_stranger_is_dropped_from_the_first_packet_on(control: Controller, stranger: socket.socket) -> None:
    call = Call(control)
    for n in range(20):
        stranger.sendto(rtp(n, 160 * n, 9), call.a.to)
    call.settle(0, "dropped_source", 20)
    call.a.send(rtp(1, 160, 1, b"own"))
    assert parse(call.b.receive()).payload == b"own"
    stranger.sendto(rtp(2, 320, 1), call.a.to)
    call.settle(0, "dropped_source", 21)
    assert call.b.hears_nothing()


def test_plain_rtp_may_come_once_from_another_port_of_the_announced_address(control: Controller, moved: Party) -> None:
    call = Call(control)
    moved.to = call.a.to
    moved.send(rtp(1, 160, 1, b"moved"))
    assert parse(call.b.receive()).payload == b"moved"
    call.b.send(rtp(1, 160, 2, b"back"))
    assert parse(moved.receive()).payload == b"back"
    third = Party()
    third.to = call.a.to
    third.send(rtp(2, 320, 1, b"second move"))
    call.settle(0, "dropped_source", 1)
    third.close()
    call.a.send(rtp(3, 480, 1, b"announced"))  # the exact address takes the leg back for good
    assert parse(call.b.receive()).payload == b"announced"
    moved.send(rtp(4, 640, 1, b"moved"))
    call.settle(0, "dropped_source", 2)
    call.b.send(rtp(2, 320, 2, b"home"))
    assert parse(call.a.receive()).payload == b"home"


def test_plain_rtp_may_come_from_the_signalling_address(control: Controller, stranger: socket.socket) -> None:
    call = Call(control)
    call.set_leg(0, remote_ip=socket.inet_aton("10.9.9.9"), signalling_ip=socket.inet_aton("127.0.0.9"))
    stranger.sendto(rtp(1, 160, 1, b"behind a router"), call.a.to)
    assert parse(call.b.receive()).payload == b"behind a router"


def test_plain_rtp_learns_nothing_after_three_seconds(control: Controller, moved: Party) -> None:
    call = Call(control)
    time.sleep(3.1)
    moved.to = call.a.to
    moved.send(rtp(1, 160, 1))
    call.settle(0, "dropped_source", 1)
    call.set_leg(0)  # the same remote stated again opens no new window
    moved.send(rtp(2, 320, 1))
    call.settle(0, "dropped_source", 2)


def test_plain_rtp_learns_nothing_where_learning_is_off(control: Controller, moved: Party) -> None:
    call = Call(control, options={"learn": 0})
    moved.to = call.a.to
    moved.send(rtp(1, 160, 1))
    call.settle(0, "dropped_source", 1)


def test_an_srtp_stream_moves_with_a_verified_tag_and_not_without(control: Controller, stranger: socket.socket, moved: Party) -> None:
    call = Call(control, keys=(KEYS, None))
    tx, rx = oracle(KEYS.suite, KEYS.recv, is_sender=True), oracle(KEYS.suite, KEYS.send, is_sender=False)
    first = tx.protect(rtp(1, 160, 1))
    call.a.send(first)
    call.b.receive()
    stranger.sendto(first, call.a.to)  # a replay from elsewhere
    stranger.sendto(rtp(2, 320, 1) + bytes(10), call.a.to)  # and a forgery
    stats = call.settle(0, "dropped_tag", 1)
    assert stats["dropped_replay"] == 1
    call.b.send(rtp(1, 160, 2, b"still here"))
    assert parse(rx.unprotect(call.a.receive())).payload == b"still here"

    moved.to = call.a.to
    late = tx.protect(rtp(2, 320, 1))
    moved.send(tx.protect(rtp(3, 480, 1)))
    call.b.receive()
    call.a.send(late)  # older than what moved the stream: it is heard, but does not move it back
    call.b.receive()
    call.b.send(rtp(2, 320, 2, b"there"))
    assert parse(rx.unprotect(moved.receive())).payload == b"there"
    assert [control.event("leg_source").fields["remote_port"] for _ in range(3)][::2] == [call.a.port, moved.port]


def test_rtcp_from_a_stranger_does_not_pass(control: Controller, stranger: socket.socket) -> None:
    call = Call(control)
    stranger.sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x01\x81\xcb\x00\x01\x00\x00\x00\x01", (call.a.to[0], call.a.to[1] + 1))
    assert call.settle(0, "dropped_source", 1)["rtcp_received"] == 0
