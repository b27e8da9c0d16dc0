"""Floods of streams that are not the party's, and of wrong tags at a port that many legs share: counted, and the calls go on."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.native.call import Call, Keys, is_rtcp, parse, rtp
from tests.native.client import Controller, running_media
from tests.native.rtcp import read
from tests.native.srtp_oracle import oracle
from tests.native.test_attacks import SUITE, Talk
from tests.native.test_shared_ports import BY_ADDRESS, BY_KEY, End, counted, plain_call

AT_ONCE = 50


def settled(call: Call, leg: int, *names: str, total: int) -> dict[str, int]:
    """The leg's statistics once these counters together have reached the total."""
    until = time.monotonic() + 60
    while sum((stats := call.stats(leg))[name] for name in names) < total:
        assert time.monotonic() < until, stats
    return stats


def test_streams_with_wrong_tags_take_no_places_from_the_partys_own_further_streams(control: Controller) -> None:
    """A leg keeps few streams; whoever has no key can't fill them, under whatever SSRC, nor under the party's own."""
    talk = Talk(control, is_srtp=True).on()
    chance = random.Random(6)
    forged = [rtp(n, 160 * n, chance.randrange(1 << 32), chance.randbytes(30)) for n in range(5_000)]
    own = parse(talk.sent[-1]).ssrc
    forged += [rtp(30_000 + n, 160 * n, own, chance.randbytes(30)) for n in range(1_000)]
    counts = talk.attacked(*[(talk.call.a.rtp, packet) for packet in forged])
    assert counts == {"tag": 6_000}
    assert talk.tx is not None
    for ssrc in (0xA1, 0xA2, 0xA3):  # a phone that begins anew, three times
        talk.call.a.send(talk.tx.protect(rtp(1, 160, ssrc, b"%d" % ssrc)))
        assert parse(talk.call.b.receive()).payload == b"%d" % ssrc
    talk.is_unharmed()


def test_a_party_that_speaks_under_a_thousand_ssrcs_is_one_stream_to_the_other_and_can_go_on(control: Controller) -> None:
    """On a plain leg whoever forges the party's address may be any stream; the other end sees one SSRC and numbers without a leap."""
    call = Call(control)
    call.a.send(rtp(1, 160, 0xA, b"first"))
    got = [parse(call.b.receive())]
    sent = 0
    for first in range(0, 1_000, AT_ONCE):
        for ssrc in range(first, first + AT_ONCE):
            call.a.send(rtp(7 * ssrc + 3, 160 * ssrc, 0xB000 + ssrc, b"%d" % ssrc))
        sent += AT_ONCE
        settled(call, 0, "packets_received", "dropped_replay", total=1 + sent)
    for n in range(2, 12):
        call.a.send(rtp(n, 160 * n, 0xA, b"still %d" % n))
    while got[-1].payload != b"still 11":
        got.append(parse(call.b.receive()))
    assert {packet.ssrc for packet in got} == {call.b.ssrc}
    steps = [(after.seq - before.seq) & 0xFFFF for before, after in pairwise(got)]
    assert set(steps) == {1}
    call.b.send(rtp(1, 160, 0xC, b"back"))
    assert parse(call.a.receive()).payload == b"back"


@pytest.mark.parametrize("is_srtp", [False, True], ids=["plain", "srtp"])
def test_a_party_that_takes_the_ssrc_that_hushwire_sends_to_it_under_is_heard_and_hears(control: Controller, is_srtp: bool) -> None:
    """RFC 3550 section 8.2: by chance or by malice. The two directions have keys of their own, and reports that name the stream twice."""
    keys = Keys(SUITE) if is_srtp else None
    call = Call(control, keys=(keys, None))
    tx = oracle(SUITE, keys.recv, is_sender=True) if keys else None
    rx = oracle(SUITE, keys.send, is_sender=False) if keys else None
    for n in range(1, 30):
        packet = rtp(n, 160 * n, call.a.ssrc, b"from a %d" % n)
        call.a.send(tx.protect(packet) if tx else packet)
        got = parse(call.b.receive())
        assert (got.ssrc, got.payload) == (call.b.ssrc, b"from a %d" % n)
        call.b.send(rtp(n, 160 * n, call.b.ssrc, b"from b %d" % n))
        heard = parse(rx.unprotect(call.a.receive()) if rx else call.a.receive())
        assert (heard.ssrc, heard.payload) == (call.a.ssrc, b"from b %d" % n)
    call.control.request("close_bridge", bridge=call.id)
    last = call.a.receive_rtcp()
    report = read(rx.unprotect_rtcp(last) if rx else last)
    assert report.ssrc == call.a.ssrc


@pytest.fixture
def plane(media_program: str) -> Iterator[Controller]:
    with running_media(media_program) as media, media.controller() as control:
        yield control


def test_a_hundred_thousand_wrong_tags_at_a_shared_port_are_counted_and_all_its_calls_are_unharmed(
    plane: Controller, is_sanitized: bool
) -> None:
    """From the very address of a party that was found, from beside it with phones waiting to be found, and from far away."""
    local = bytes(plane.hello["local_ip"])  # type: ignore[call-overload]

    def secure() -> tuple[End, End]:
        bridge = uuid.uuid4()
        plane.request("open_bridge", bridge=bridge, mode=0)
        agent, carrier = End(plane, bridge, 0, BY_KEY, signalling_ip=local), End(plane, bridge, 1, BY_ADDRESS)
        agent.set(Keys(SUITE), remote_port=9, signalling_ip=local)
        carrier.set()
        return agent, carrier

    agent, carrier = secure()
    agent.send(1, b"found")
    assert carrier.hears() == b"found"
    calls = [(agent, carrier)]
    while len(calls) < 3:  # two more on the same port, of which one waits to be found
        another = secure()
        if another[0].to == agent.to:
            calls.append(another)
    calls[1][0].send(1, b"found too")
    assert calls[1][1].hears() == b"found too"
    chance, beside, far = random.Random(7), agent.socket(), agent.socket("127.0.0.9")
    genuine = rtp(40_000, 1, 7, bytes(30))

    def forged(n: int) -> bytes:
        if n % 2:
            return rtp(1_000 + chance.randrange(20_000), chance.randrange(1 << 32), 7, chance.randbytes(40))
        return genuine[:2] + struct.pack(">H", 1_000 + n % 20_000) + genuine[4:] + chance.randbytes(10)

    def dropped() -> int:
        stats = agent.stats()
        return (
            sum(counted(plane, name) for name in ("strangers", "unproven", "over_budget")) + stats["dropped_tag"] + stats["dropped_replay"]
        )

    before, sent = dropped(), 0
    sources: list[socket.socket] = [agent.sock, beside, far]
    rounds = 4 if is_sanitized else 20
    for round_ in range(1, rounds + 1):
        for first in range(0, 5_000, AT_ONCE):
            for n in range(first, first + AT_ONCE):
                sources[n % 3].sendto(forged(n), agent.to)
            sent += AT_ONCE
            until = time.monotonic() + 60
            while dropped() - before < sent:
                assert time.monotonic() < until, (sent, dropped() - before)
        for number, (one, other) in enumerate(calls[:2]):
            one.send(1 + round_, b"%d %d" % (number, round_))
            assert other.hears() == b"%d %d" % (number, round_)
            other.send(round_, b"back %d %d" % (number, round_))
            assert one.hears() == b"back %d %d" % (number, round_)
    assert sent == 5_000 * rounds
    assert dropped() - before == sent, "each of them once"
    assert counted(plane, "unproven") < 20_000  # most of them cost no trial
    calls[2][0].send(1, b"found after all that")
    assert calls[2][1].hears() == b"found after all that"
    for sock in (beside, far):
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(4096)


SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35  # Linux


def arrivals_s(sock: socket.socket, count: int) -> list[float]:
    """When the kernel took each of so many RTP packets."""
    times: list[float] = []
    while len(times) < count:
        packet, ((_, _, stamp),), _, _ = sock.recvmsg(4096, 64)
        if not is_rtcp(packet):
            seconds, nanoseconds = struct.unpack("qq", stamp)
            times.append(seconds + nanoseconds / 1e9)
    return times


def test_what_waited_while_the_program_was_held_up_leaves_without_a_tick_in_between(media_program: str, is_sanitized: bool) -> None:
    """3,000 packets are six turns of a shared port. With the tick of 20 ms between two of them they could never leave within 80 ms."""
    if is_sanitized:
        pytest.skip("ten times slower")
    with running_media(media_program, "--tick-us", "20000", "--leg-rate", "1000000") as media, media.controller() as control:
        a, b = plain_call(control)
        a.send(0, b"first")
        assert b.hears() == b"first"
        b.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        try:
            b.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        except PermissionError:
            pytest.skip("the program may not enlarge its socket's buffer")
        fastest = 1.0
        for held_up in range(10):  # a busy machine may come between two packets: once is enough
            os.kill(media.process.pid, signal.SIGSTOP)
            while Path(f"/proc/{media.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                pass
            for n in range(3_000):
                a.send(3_000 * held_up + n + 1, b"late")
            os.kill(media.process.pid, signal.SIGCONT)
            times = arrivals_s(b.sock, 3_000)
            if (fastest := min(fastest, times[-1] - times[0])) < 0.08:
                break
        assert fastest < 0.08
