"""The bad network of the tests does what it says: its own figures, and calls through it."""

from __future__ import annotations

from itertools import pairwise

from tests.native.call import Call, Keys, parse, rtp
from tests.native.client import Controller
from tests.native.netem import Channel, Impairment, Network
from tests.native.srtp_oracle import oracle


def carried(impairment: Impairment, count: int, seed: int = 3) -> tuple[Channel, list[int]]:
    """Numbers 0..count-1 through a channel, 20 ms apart in virtual time."""
    channel = Channel(impairment, seed)
    out: list[int] = []
    for n in range(count):
        channel.push(n.to_bytes(4, "big"), n * 0.02)
        out += [int.from_bytes(d[:4], "big") for d in channel.pop(n * 0.02)]
    out += [int.from_bytes(d[:4], "big") for d in channel.pop(count * 0.02 + 10)]
    return channel, out


def test_a_good_network_delivers_everything_once_and_in_order() -> None:
    channel, out = carried(Impairment(), 1000)
    assert out == list(range(1000))
    assert (channel.counts.sent, channel.counts.delivered) == (1000, 1000)


def test_loss_has_the_rate_and_the_bursts_that_were_asked_for() -> None:
    for burst in (1.0, 4.0):
        channel, out = carried(Impairment(loss=0.1, burst=burst), 50_000)
        lost = sorted(set(range(50_000)) - set(out))
        runs = 1 + sum(b - a > 1 for a, b in pairwise(lost))
        assert channel.counts.lost == len(lost)
        assert 0.08 < len(lost) / 50_000 < 0.12
        assert 0.8 * max(burst, 1.1) < len(lost) / runs < 1.2 * max(burst, 1.1)


def test_duplicates_reordering_and_size_are_counted_and_the_seed_repeats_them() -> None:
    channel, out = carried(Impairment(duplicate=0.1, reorder=0.05, reorder_by=2), 10_000)
    assert set(out) == set(range(10_000))
    assert len(out) == 10_000 + channel.counts.duplicated
    assert 800 < channel.counts.duplicated < 1200
    assert 400 < channel.counts.reordered < 600
    assert any(a > b for a, b in pairwise(out))
    assert carried(Impairment(duplicate=0.1, reorder=0.05, reorder_by=2), 10_000)[1] == out
    small = Channel(Impairment(mtu=3), 1)
    small.push(b"four", 0)
    small.push(b"two", 0)
    assert (small.pop(1), small.counts.oversize) == ([b"two"], 1)


def test_jitter_lets_packets_overtake_each_other_and_none_is_lost() -> None:
    _, out = carried(Impairment(delay_ms=20, jitter_ms=60), 1000)
    assert sorted(out) == list(range(1000))
    assert out != sorted(out)


def test_a_call_through_a_bad_network_keeps_what_arrives_whole_and_never_twice(control: Controller) -> None:
    """SRTP on one side: whatever the network does, each packet heard is one that was said, once, under an index of its own."""
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None))
    bad = Impairment(loss=0.05, burst=2, duplicate=0.1, reorder=0.1, jitter_ms=5)
    with Network(seed=5) as network:
        line, _ = network.pair(("127.0.0.1", call.a.port), call.a.to[1])
        call.set_leg(0, remote_port=line.near[1])
        call.a.to = line.far
        tx, rx = oracle(keys.suite, keys.recv, is_sender=True), oracle(keys.suite, keys.send, is_sender=False)
        call.a.send(tx.protect(rtp(0, 0, 1, b"00000")))
        heard = [int(parse(call.b.receive()).payload)]  # what is late from before a stream's first packet is not relayed
        network.set(up=bad)
        expected = line.up.counts
        for first in range(0, 1000, 25):
            for n in range(max(first, 1), first + 25):
                call.a.send(tx.protect(rtp(n, 160 * n, 1, b"%05d" % n)))
            line.wait_until_carried(first + 25)
            heard += [int(parse(call.b.receive()).payload) for _ in range(expected.sent - expected.lost - len(heard))]
        assert sorted(set(heard)) == sorted(heard)
        stats = call.settle(0, "dropped_replay", expected.duplicated)
        assert stats["packets_received"] == len(heard) == 1000 - expected.lost
        assert stats["dropped_replay"] == expected.duplicated
        assert expected.duplicated > 50
        call.b.send(rtp(1, 160, 2, b"back"))
        assert parse(rx.unprotect(call.a.receive())).payload == b"back"
