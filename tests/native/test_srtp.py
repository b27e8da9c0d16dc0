"""SRTP against libsrtp and against the RFC written down in Python: every suite, both directions, over real sockets."""

from __future__ import annotations

import os
import struct

import pytest

from tests.native.call import SUITES, Call, Keys, parse, rtp
from tests.native.client import INVALID, Controller, RequestError
from tests.native.srtp_oracle import Oracle, Written, oracle

SUITE_80 = "AES_CM_128_HMAC_SHA1_80"


class Phone:
    """A party's SRTP: protects what it sends, opens what it receives."""

    def __init__(self, keys: Keys) -> None:
        self.tx: Oracle = oracle(keys.suite, keys.recv, is_sender=True)
        self.rx: Oracle = oracle(keys.suite, keys.send, is_sender=False)


@pytest.mark.parametrize("suite", SUITES)
def test_audio_passes_both_ways_between_srtp_and_rtp(control: Controller, suite: str) -> None:
    keys = Keys(suite)
    call, phone = Call(control, keys=(keys, None)), Phone(keys)
    for n in range(50):
        call.a.send(phone.tx.protect(rtp(n, 160 * n, 0xA, bytes([n]) * 160)))
        call.b.send(rtp(500 + n, 160 * n, 0xB, bytes([200 - n]) * 160))
        assert parse(call.b.receive()).payload == bytes([n]) * 160
        assert parse(phone.rx.unprotect(call.a.receive())).payload == bytes([200 - n]) * 160


@pytest.mark.parametrize("suite_b", SUITES)
@pytest.mark.parametrize("suite_a", SUITES)
def test_two_srtp_legs_have_keys_of_their_own(control: Controller, suite_a: str, suite_b: str) -> None:
    keys = (Keys(suite_a), Keys(suite_b))
    call = Call(control, keys=keys)
    a, b = Phone(keys[0]), Phone(keys[1])
    for n in range(5):
        call.a.send(a.tx.protect(rtp(n, 160 * n, 1, os.urandom(160))))
        sent = os.urandom(160)
        call.b.send(b.tx.protect(rtp(n, 160 * n, 2, sent)))
        b.rx.unprotect(call.b.receive())
        assert parse(a.rx.unprotect(call.a.receive())).payload == sent


@pytest.mark.parametrize("suite", SUITES)
def test_rollover_counters_are_followed_in_both_directions(control: Controller, suite: str) -> None:
    """Each step is below the gap that hushwire closes up, so both sides turn over several times."""
    keys = Keys(suite)
    call, phone = Call(control, keys=(keys, None)), Phone(keys)
    for n in range(0, 300_000, 2_500):
        call.a.send(phone.tx.protect(rtp(n, n, 0xA, struct.pack(">I", n))))
        assert parse(call.b.receive()).payload == struct.pack(">I", n)
        call.b.send(rtp(n, n, 0xB, struct.pack(">I", n)))
        assert parse(phone.rx.unprotect(call.a.receive())).payload == struct.pack(">I", n)
    assert call.stats(0)["dropped_tag"] == 0


def test_a_sender_whose_first_packets_are_lost_at_a_rollover_is_heard(control: Controller) -> None:
    keys = Keys(SUITE_80)
    call, phone = Call(control, keys=(keys, None)), Phone(keys)
    for seq in (65534, 65535):
        phone.tx.protect(rtp(seq, 0, 1))
    call.a.send(phone.tx.protect(rtp(0, 0, 1, b"heard")))
    assert parse(call.b.receive()).payload == b"heard"


def test_a_replayed_packet_and_a_wrong_tag_are_dropped_and_counted(control: Controller) -> None:
    keys = Keys(SUITE_80)
    call, phone = Call(control, keys=(keys, None)), Phone(keys)
    first = phone.tx.protect(rtp(1, 160, 1))
    call.a.send(first)
    call.b.receive()
    for _ in range(3):
        call.a.send(first)
    good = phone.tx.protect(rtp(2, 320, 1, b"good" * 40))
    for bit in range(0, 8 * len(good), 97):
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << bit % 8
        call.a.send(bytes(wrong))
    call.a.send(good[:-1])
    call.a.send(good[:20])
    call.a.send(good)
    assert parse(call.b.receive()).payload == b"good" * 40
    stats = call.stats(0)
    assert stats["dropped_replay"] == 3
    assert stats["dropped_tag"] + stats["dropped_malformed"] == len(range(0, 8 * len(good), 97)) + 2
    assert stats["packets_received"] == 2


def test_plain_rtp_is_refused_on_an_srtp_leg(control: Controller) -> None:
    call = Call(control, keys=(Keys(SUITE_80), None))
    for n in range(10):
        call.a.send(rtp(n, 160 * n, 1))
    assert call.settle(0, "dropped_tag", 10)["packets_received"] == 0
    assert call.b.hears_nothing()


def test_a_new_key_takes_over_and_the_old_one_still_opens_what_was_under_way(control: Controller) -> None:
    old, new = Keys(SUITE_80), Keys("AES_256_CM_HMAC_SHA1_80")
    call, phone_old, phone_new = Call(control, keys=(old, None)), Phone(old), Phone(new)
    call.a.send(phone_old.tx.protect(rtp(1, 160, 1, b"1")))
    under_way = phone_old.tx.protect(rtp(2, 320, 1, b"2"))
    assert parse(call.b.receive()).payload == b"1"
    ssrc = call.a.ssrc
    call.set_leg(0, **new.fields())
    assert call.a.ssrc != ssrc, "a new key comes with a new SSRC"
    call.a.send(under_way)
    assert parse(call.b.receive()).payload == b"2"
    call.a.send(phone_new.tx.protect(rtp(3, 480, 1, b"3")))
    got = parse(call.b.receive())
    assert got.payload == b"3"
    call.b.send(rtp(1, 0, 2, b"back"))
    assert parse(phone_new.rx.unprotect(call.a.receive())).payload == b"back"


def test_the_rollover_counter_goes_on_after_a_new_key_where_the_sender_keeps_it(control: Controller) -> None:
    old, new = Keys("AES_256_CM_HMAC_SHA1_80"), Keys("AES_256_CM_HMAC_SHA1_80")
    call, phone = Call(control, keys=(old, None)), Phone(old)
    for n in range(60_000, 140_000, 2_500):
        call.a.send(phone.tx.protect(rtp(n, n, 1)))
        call.b.receive()
    call.set_leg(0, **new.fields())
    kept = Written(new.recv)
    assert isinstance(phone.tx, Written)
    kept.index = phone.tx.index
    call.a.send(kept.protect(rtp(140_000, 0, 1, b"kept")))
    assert parse(call.b.receive()).payload == b"kept"


def test_no_srtp_index_is_ever_protected_twice(control: Controller) -> None:
    """Duplicates, restarts, SSRC changes, re-INVITEs with the same, another and an old key: each (key, SSRC, index) is new."""
    first, second = Keys("AES_256_CM_HMAC_SHA1_80"), Keys("AES_256_CM_HMAC_SHA1_80")
    call = Call(control, keys=(first, None))
    seen: set[tuple[bytes, int, int]] = set()
    openers: dict[tuple[bytes, int], Written] = {}

    def talk(keys: Keys, *packets: bytes, expect: int) -> None:
        for packet in packets:
            call.b.send(packet)
        for _ in range(expect):
            got = call.a.receive()
            (ssrc,) = struct.unpack_from(">I", got, 8)
            opener = openers.setdefault((keys.send, ssrc), Written(keys.send))
            opener.unprotect(got)
            index = opener._index(got)
            assert (keys.send, ssrc, index) not in seen
            seen.add((keys.send, ssrc, index))

    talk(first, *[rtp(n, 160 * n, 1) for n in (1, 2, 2, 4, 3, 3, 1)], expect=4)
    call.set_leg(0)  # the same keys again
    talk(first, *[rtp(n, 160 * n, 1) for n in (3, 4, 5)], expect=1)
    talk(first, *[rtp(n, 160 * n, 2) for n in (3, 4, 5, 1)], expect=3)  # another SSRC; what lies before its first packet is dropped
    talk(first, *[rtp(n, 160 * n, 2) for n in (40_000, 40_001, 40_002)], expect=2)  # a restart, confirmed by its second packet
    call.set_leg(0, **second.fields())
    talk(second, *[rtp(n, 160 * n, 2) for n in (40_003, 40_004)], expect=2)
    call.set_leg(0, **first.fields())  # the old key comes back
    talk(first, *[rtp(n, 160 * n, 2) for n in (40_005, 40_006, 40_005)], expect=2)
    assert len(seen) == 14


def test_keys_that_do_not_fit_are_refused(control: Controller) -> None:
    call = Call(control)
    for wrong in (
        {"send_suite": 1, "send_key": bytes(30)},
        {"send_suite": 1, "send_key": bytes(46), "recv_suite": 1, "recv_key": b"1" * 30},
        {"send_suite": 9, "send_key": bytes(30), "recv_suite": 1, "recv_key": b"1" * 30},
        {"send_suite": 1, "send_key": b"1" * 30, "recv_suite": 1, "recv_key": b"1" * 30},
        {"send_suite": 1, "recv_suite": 1},
    ):
        with pytest.raises(RequestError) as caught:
            call.set_leg(0, **wrong)
        assert caught.value.status == INVALID
