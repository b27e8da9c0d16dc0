"""Attacks on a call that goes on meanwhile: each is sent for real, and both ends are looked at."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from tests.native import rtcp
from tests.native.call import LOOPBACK, Call, Keys, Party, parse, rtp
from tests.native.client import Controller, Media
from tests.native.srtp_oracle import oracle

SUITE = "AES_CM_128_HMAC_SHA1_80"
FIRST_SECONDS = 3.0


class Talk:
    """A call both of whose sides speak in numbered packets; `on` proves that each side hears all of the other and nothing else."""

    def __init__(self, control: Controller, *, is_srtp: bool = False, **options: object) -> None:
        keys = Keys(SUITE) if is_srtp else None
        self.call = Call(control, keys=(keys, None), options=options)
        self.tx = oracle(SUITE, keys.recv, is_sender=True) if keys else None
        self.rx = oracle(SUITE, keys.send, is_sender=False) if keys else None
        self.sent: list[bytes] = []  # what `a` put on the wire
        self._numbers = itertools.count(1)

    @property
    def port(self) -> tuple[str, int]:
        return self.call.a.to

    @property
    def rtcp_port(self) -> tuple[str, int]:
        return self.port[0], self.port[1] + 1

    def say(self, text: bytes) -> bytes:
        """One packet of `a`, protected where the leg is; not sent."""
        n = next(self._numbers)
        packet = rtp(n, 160 * n, 0xA, text)
        return self.tx.protect(packet) if self.tx else packet

    def on(self, count: int = 10) -> Self:
        call = self.call
        for _ in range(count):
            text = os.urandom(80)
            self.sent.append(self.say(text))
            call.a.send(self.sent[-1])
            assert parse(call.b.receive()).payload == text
            n = next(self._numbers)
            call.b.send(rtp(n, 160 * n, 0xB, text[::-1]))
            heard = call.a.receive()
            assert parse(self.rx.unprotect(heard) if self.rx else heard).payload == text[::-1]
        return self

    def attacked(self, *sends: tuple[socket.socket, bytes], to: tuple[str, int] | None = None, at_once: int = 50) -> dict[str, int]:
        """Sends an attack, never more at once than a socket holds, and returns what it was counted as: each packet exactly once."""
        before = self.dropped()
        for first in range(0, len(sends), at_once):
            part = sends[first : first + at_once]
            for sock, packet in part:
                sock.sendto(packet, to or self.port)
            until = time.monotonic() + 30
            while sum(self.dropped().values()) - sum(before.values()) < first + len(part):
                assert time.monotonic() < until, self.dropped()
        after = self.dropped()
        return {name: after[name] - before[name] for name in after if after[name] > before[name]}

    def dropped(self) -> dict[str, int]:
        stats = self.call.stats(0)
        return {name.removeprefix("dropped_"): count for name, count in stats.items() if name.startswith("dropped_")}

    def counted(self, name: str, at_least: int) -> int:
        return self.call.settle(0, name, at_least)[name]

    def is_unharmed(self) -> None:
        """Nothing of the attack reached an end, and the call goes on where it was."""
        assert self.call.a.hears_nothing()
        assert self.call.b.hears_nothing()
        for party, rx in ((self.call.a, self.rx), (self.call.b, None)):
            party.rtcp.setblocking(False)
            party.rtp.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while report := party.receive_rtcp():
                    read = rtcp.read(rx.unprotect_rtcp(report) if rx else report)
                    assert (read.ssrc, read.said_goodbye) == (party.ssrc, False), "only hushwire's own reports come"
            party.rtcp.settimeout(10)
            party.rtp.settimeout(10)
        self.on()


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """An attacker at an address that nobody announced."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.9", 0))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def neighbour() -> Iterator[Party]:
    """An attacker at the party's own address (behind the same router), on another port."""
    party = Party()
    yield party
    party.close()


def gets_nothing(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        sock.recv(4096)
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("is_srtp", [False, True], ids=["plain", "srtp"])
def test_rtp_bleed_gets_a_stranger_not_one_packet(control: Controller, stranger: socket.socket, is_srtp: bool) -> None:
    """Sends at the port from before the first packet on, and on all through the call, to draw the stream to itself."""
    talk = Talk(control, is_srtp=is_srtp)
    sent = 0
    for round_ in range(10):
        for n in range(20):
            stranger.sendto(rtp(n, 160 * n, 0xBAD, bytes(160 if n % 2 else 170)), talk.port)
            stranger.sendto(struct.pack(">BBHI", 0x80, 201, 1, 0xBAD), talk.rtcp_port)
            sent += 2
        talk.on(5 if round_ else 1)
    talk.counted("dropped_tag" if is_srtp else "dropped_source", sent if not is_srtp else sent // 2)
    assert gets_nothing(stranger)
    talk.is_unharmed()


def test_injected_packets_that_continue_the_plain_stream_from_elsewhere_are_not_heard(
    control: Controller, stranger: socket.socket, neighbour: Party
) -> None:
    """The attacker knows SSRC, sequence and time stamp, and sends the next packets itself."""
    talk = Talk(control).on()
    last = parse(talk.sent[-1])
    fakes = [rtp(last.seq + n, last.timestamp + 160 * n, last.ssrc, b"injected") for n in range(1, 200)]
    sends = [(sock, fake) for fake in fakes for sock in (stranger, neighbour.rtp)]
    assert talk.attacked(*sends) == {"source": 398}
    talk.is_unharmed()


def test_injected_packets_on_an_srtp_leg_are_not_heard_even_from_the_party_s_own_address(
    control: Controller, stranger: socket.socket
) -> None:
    """A forged source address is of no use without the key: sent from the very socket of the party."""
    talk = Talk(control, is_srtp=True).on()
    last = parse(talk.sent[-1])
    fakes = [rtp(last.seq + n, last.timestamp + 160 * n, last.ssrc, b"injected" + os.urandom(10)) for n in range(1, 200)]
    sends = [(sock, fake) for fake in fakes for sock in (stranger, talk.call.a.rtp)]
    assert talk.attacked(*sends) == {"tag": 398}
    talk.is_unharmed()


@pytest.mark.parametrize("is_srtp", [False, True], ids=["plain", "srtp"])
def test_replayed_packets_are_heard_once_wherever_they_come_from(control: Controller, stranger: socket.socket, is_srtp: bool) -> None:
    talk = Talk(control, is_srtp=is_srtp).on(50)
    again = talk.attacked(*[(sock, packet) for packet in talk.sent * 4 for sock in (talk.call.a.rtp, stranger)])
    assert again == ({"replay": 400} if is_srtp else {"source": 200, "replay": 200})
    assert gets_nothing(stranger)
    talk.is_unharmed()


def test_a_hundred_thousand_wrong_tags_are_counted_and_the_call_is_unharmed(
    control: Controller, stranger: socket.socket, is_sanitized: bool
) -> None:
    chance = random.Random(5)
    talk = Talk(control, is_srtp=True).on()
    genuine = talk.sent[-1]
    ssrc = parse(genuine).ssrc

    def forged(n: int) -> bytes:
        ahead = 1000 + chance.randrange(20_000)  # never a number heard before: that is a replay, whatever its tag
        match n % 4:
            case 0:  # words and tag made up
                return rtp(ahead, chance.randrange(1 << 32), ssrc, chance.randbytes(30))
            case 1:  # a genuine packet under another number, and one bit turned
                at = chance.randrange(12, len(genuine))
                return genuine[:2] + struct.pack(">H", ahead) + genuine[4:at] + bytes([genuine[at] ^ 1]) + genuine[at + 1 :]
            case 2:  # a genuine tag on other words
                return rtp(ahead, 160 * ahead, ssrc, chance.randbytes(20)) + genuine[-10:]
            case _:  # a stream of its own
                return rtp(n, 160 * n, chance.randrange(1 << 32), chance.randbytes(30))

    wrong, total = 0, 20_000 if is_sanitized else 100_000
    for first in range(0, total, 5_000):
        sends = [(talk.call.a.rtp if n % 8 < 4 else stranger, forged(n)) for n in range(first, first + 5_000)]
        counts = talk.attacked(*sends)
        assert set(counts) == {"tag"}
        wrong += counts["tag"]
        talk.on(2)
    assert wrong == total
    assert gets_nothing(stranger)
    talk.is_unharmed()


def bye(ssrc: int) -> bytes:
    """A receiver report without blocks, then BYE (RFC 3550 section 6.6)."""
    return struct.pack(">BBHI", 0x80, 201, 1, ssrc) + struct.pack(">BBHI", 0x81, 203, 1, ssrc)


@pytest.mark.parametrize("is_srtp", [False, True], ids=["plain", "srtp"])
@pytest.mark.parametrize("is_muxed", [False, True], ids=["own port", "muxed"])
def test_a_spoofed_bye_ends_nothing_and_is_not_passed_on(
    media: Media, control: Controller, stranger: socket.socket, neighbour: Party, is_srtp: bool, is_muxed: bool
) -> None:
    talk = Talk(control, is_srtp=is_srtp, rtcp_mux=int(is_muxed)).on()
    strangers = (stranger, neighbour.rtp, neighbour.rtcp)
    if not is_srtp and not is_muxed:
        talk.call.a.send_rtcp(bye(1))  # the party's own reports come first: its RTCP address is settled
        talk.call.settle(0, "rtcp_received", 1)
    reports = [bye(ssrc) for ssrc in (0xA, talk.call.a.ssrc, talk.call.b.ssrc) for _ in range(20)]
    sends = [(sock, report) for report in reports for sock in strangers]
    if is_srtp:  # also from the party's own address, with a guessed tag
        sends += [(talk.call.a.rtp, report + os.urandom(14)) for report in reports]
    counts = talk.attacked(*sends, to=talk.port if is_muxed else talk.rtcp_port)
    assert set(counts) <= ({"tag", "malformed"} if is_srtp else {"source"})
    assert "bridge_closed" not in [event.kind for event in control.events]
    talk.is_unharmed()
    assert media.is_running()


@pytest.mark.parametrize("is_muxed", [False, True], ids=["own port", "muxed"])
def test_a_flood_of_rtcp_forged_in_a_plain_party_s_own_name_takes_no_packet_of_speech_away(control: Controller, is_muxed: bool) -> None:
    """Who can forge the very address of a plain party can also forge its RTP; but not with RTCP crowd it out."""
    talk = Talk(control, rtcp_mux=int(is_muxed)).on()
    report, party = struct.pack(">BBHI", 0x80, 201, 1, 0xA), talk.call.a
    forger, to = (party.rtp, talk.port) if is_muxed else (party.rtcp, talk.rtcp_port)
    for _ in range(40):
        for _ in range(50):
            forger.sendto(report, to)
        talk.on(1)
    stats = talk.call.stats(0)
    assert stats["packets_received"] == 50
    assert stats["dropped_budget"] == 0
    assert stats["dropped_rtcp_budget"] >= 1000  # of 2,000; taken were 20 at once, and 10 a second
    talk.is_unharmed()


def test_oversize_and_tiny_packets_are_counted_and_dropped(control: Controller) -> None:
    for is_srtp in (False, True):
        talk = Talk(control, is_srtp=is_srtp).on()
        sizes = [*range(12), 1501, 1502, 2047, 2048, 2049, 4096, 9000, 65_000]
        sends = [(talk.call.a.rtp, (b"\x80\x00" + bytes(size))[:size]) for size in sizes * 5]
        assert set(talk.attacked(*sends, at_once=4)) <= {"malformed", "tag"}
        talk.is_unharmed()


@pytest.mark.parametrize("is_srtp", [False, True], ids=["plain", "srtp"])
def test_a_flood_at_one_port_is_felt_by_no_other_call(control: Controller, stranger: socket.socket, is_srtp: bool) -> None:
    victim, others = Talk(control, is_srtp=is_srtp).on(1), [Talk(control, is_srtp=n % 2 == 0).on(1) for n in range(8)]
    packet, is_over, sent = rtp(1, 1, 0xBAD, bytes(170)), threading.Event(), [0]

    def flood() -> None:
        while not is_over.is_set():
            for _ in range(200):
                with contextlib.suppress(BlockingIOError):
                    stranger.sendto(packet, victim.port)
                    sent[0] += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(25):
            for other in others:
                other.on(1)
    finally:
        is_over.set()
        thread.join()
    assert sent[0] > 2000
    for other in others:
        stats = [other.call.stats(leg) for leg in (0, 1)]
        assert [s["packets_received"] for s in stats] == [26, 26]
        assert not any(s[name] for s in stats for name in s if name.startswith("dropped"))
    assert gets_nothing(stranger)
    victim.call.control.request("get_bridge", bridge=victim.call.id)
    victim.is_unharmed()


def test_a_plain_leg_learns_once_within_the_first_seconds_and_after_that_only_by_signalling(control: Controller, neighbour: Party) -> None:
    call = Call(control)
    neighbour.to = call.a.to
    time.sleep(FIRST_SECONDS + 0.2)
    neighbour.send(rtp(1, 160, 1, b"late"))
    call.settle(0, "dropped_source", 1)
    call.set_leg(0)  # a re-INVITE that says the same address
    neighbour.send(rtp(2, 320, 1, b"late"))
    call.settle(0, "dropped_source", 2)
    call.set_leg(0, signalling_ip=LOOPBACK)  # or only where it signals from
    neighbour.send(rtp(3, 480, 1, b"late"))
    call.settle(0, "dropped_source", 3)
    assert call.b.hears_nothing()
    call.a.send(rtp(4, 640, 1, b"own"))  # meanwhile the announced address is taken as ever
    assert parse(call.b.receive()).payload == b"own"
    call.set_leg(0, remote_port=neighbour.port)  # said by signalling: taken
    neighbour.send(rtp(5, 800, 1, b"said"))
    assert parse(call.b.receive()).payload == b"said"
    call.a.send(rtp(6, 960, 1, b"old"))  # and the old address is nobody's any more
    call.settle(0, "dropped_source", 4)
    assert call.b.hears_nothing()


def test_a_re_invite_to_a_new_address_opens_one_short_window_for_that_address_alone(
    control: Controller, neighbour: Party, stranger: socket.socket
) -> None:
    call = Call(control)
    call.a.send(rtp(1, 160, 1, b"first"))
    assert parse(call.b.receive()).payload == b"first"
    call.set_leg(0, remote_ip=socket.inet_aton("127.0.0.8"), remote_port=4000)
    neighbour.to = call.a.to
    neighbour.send(rtp(2, 320, 1, b"not from there"))
    stranger.sendto(rtp(2, 320, 1, b"not from there"), call.a.to)
    call.settle(0, "dropped_source", 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as moved:
        moved.bind(("127.0.0.8", 0))  # another port than announced, the announced address: once
        moved.sendto(rtp(3, 480, 1, b"from there"), call.a.to)
        assert parse(call.b.receive()).payload == b"from there"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            second.bind(("127.0.0.8", 0))
            second.sendto(rtp(4, 640, 1, b"second"), call.a.to)
            call.settle(0, "dropped_source", 3)
    assert call.b.hears_nothing()
