"""Reports pass with what hushwire owns put in; names and goodbyes do not pass."""

from __future__ import annotations

import struct

import pytest

from tests.native.call import SUITES, Call, Keys, parse, rtp
from tests.native.client import Controller
from tests.native.srtp_oracle import oracle


def sender_report(ssrc: int, rtp_time: int, blocks: bytes = b"") -> bytes:
    body = struct.pack(">IQIII", ssrc, 0x0102030405060708, rtp_time, 99, 999) + blocks
    return struct.pack(">BBH", 0x80 | len(blocks) // 24, 200, len(body) // 4) + body


def receiver_report(ssrc: int, blocks: bytes = b"") -> bytes:
    return struct.pack(">BBHI", 0x80 | len(blocks) // 24, 201, 1 + len(blocks) // 4, ssrc) + blocks


def block(ssrc: int, highest: int, lost: int = 3) -> bytes:
    return struct.pack(">IIIIII", ssrc, 5 << 24 | lost, highest, 11, 0x03040506, 77)


def description(ssrc: int, name: bytes) -> bytes:
    item = struct.pack(">IBB", ssrc, 1, len(name)) + name
    item += bytes(4 - len(item) % 4)
    return struct.pack(">BBH", 0x81, 202, len(item) // 4) + item


BYE = struct.pack(">BBHI", 0x81, 203, 1, 0xA)


def test_a_sender_report_is_translated_and_hides_who_sent_it(control: Controller) -> None:
    call = Call(control)
    call.a.send(rtp(100, 16_000, 0xA))
    out = parse(call.b.receive())
    call.a.send_rtcp(sender_report(0xA, 16_400) + description(0xA, b"anna@192.168.7.7") + BYE)
    got = call.b.receive_rtcp()
    first, kind, words, ssrc, ntp, time, packets, octets = struct.unpack_from(">BBHIQIII", got)
    assert (first, kind, words, ssrc, ntp) == (0x80, 200, 6, call.b.ssrc, 0x0102030405060708)
    assert (time - out.timestamp) & 0xFFFFFFFF == 400
    assert (packets, octets) == (1, 160)
    assert struct.unpack_from(">BBHI", got, 28) == (0x81, 202, 6, call.b.ssrc)
    assert b"anna" not in got
    assert len(got) == 56  # and no BYE


def test_a_report_block_comes_back_about_the_stream_that_the_other_party_really_sent(control: Controller) -> None:
    call = Call(control)
    for seq in range(700, 710):
        call.b.send(rtp(seq, 160 * seq, 0xB))
    seqs = [parse(call.a.receive()).seq for _ in range(10)]
    call.a.send_rtcp(receiver_report(0xA, block(call.a.ssrc, seqs[6]) + block(0xDEAD, 1)))
    got = call.b.receive_rtcp()
    assert struct.unpack_from(">BBHI", got) == (0x81, 201, 7, call.b.ssrc)
    assert struct.unpack_from(">IIIIII", got, 8) == (0xB, 5 << 24 | 3, 706, 11, 0x03040506, 77)
    assert call.stats(0)["remote_lost"] == 3


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("is_muxed", [True, False])
def test_rtcp_is_protected_on_the_srtp_leg(control: Controller, suite: str, is_muxed: bool) -> None:
    keys = Keys(suite)
    call = Call(control, keys=(keys, None))
    call.set_leg(0, rtcp_mux=int(is_muxed))
    tx, rx = oracle(suite, keys.recv, is_sender=True), oracle(suite, keys.send, is_sender=False)
    call.a.send(tx.protect(rtp(1, 160, 0xA)))
    call.b.receive()
    call.b.send(rtp(1, 160, 0xB))
    rx.unprotect(call.a.receive())
    for n in range(5):
        (call.a.send if is_muxed else call.a.send_rtcp)(tx.protect_rtcp(sender_report(0xA, 160 * n)))
        assert struct.unpack_from(">BBHI", call.b.receive_rtcp()) == (0x80, 200, 6, call.b.ssrc)
        call.b.send_rtcp(sender_report(0xB, 160 * n))
        got = rx.unprotect_rtcp(call.a.receive() if is_muxed else call.a.receive_rtcp())
        assert struct.unpack_from(">BBHI", got) == (0x80, 200, 6, call.a.ssrc)


def test_forged_and_replayed_srtcp_is_dropped(control: Controller) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None))
    tx = oracle(keys.suite, keys.recv, is_sender=True)
    report = tx.protect_rtcp(receiver_report(0xA))
    call.a.send_rtcp(report)
    call.b.receive_rtcp()
    call.a.send_rtcp(report)
    call.a.send_rtcp(receiver_report(0xA) + BYE)
    fresh = tx.protect_rtcp(receiver_report(0xA))
    call.a.send_rtcp(fresh[:-1] + bytes([fresh[-1] ^ 1]))
    stats = call.settle(0, "dropped_tag", 1)
    assert (stats["dropped_replay"], stats["dropped_malformed"], stats["rtcp_received"]) == (1, 1, 1)


PLAIN = receiver_report(1)
TORN = [b"", b"\x80", b"\x80\xc8\x00\x06", BYE, PLAIN[:-1], b"\x80\xc9\x00\x00", b"\x9f" + PLAIN[1:], b"\x40" + PLAIN[1:]]


@pytest.mark.parametrize("wrong", TORN)
def test_malformed_rtcp_is_dropped(control: Controller, wrong: bytes) -> None:
    call = Call(control)
    call.a.send_rtcp(wrong)
    call.a.send_rtcp(receiver_report(0xA))
    assert struct.unpack_from(">BBHI", call.b.receive_rtcp()) == (0x80, 201, 1, call.b.ssrc)
    assert call.stats(0)["dropped_malformed"] == 1
