"""Each leg has RTCP of hushwire's own; what a party says in RTCP ends at hushwire."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from aiortc import rtp as other

from tests.native import rtcp
from tests.native.call import SUITES, Call, Keys, parse, rtp
from tests.native.client import Controller
from tests.native.rtcp import (
    BYE,
    SDES,
    SR,
    XR,
    Block,
    Sender,
    description,
    extended_report,
    goodbye,
    receiver_report,
    reference_time,
    sender_report,
)
from tests.native.srtp_oracle import oracle

NTP_EPOCH = 2_208_988_800


def talk(call: Call, count: int, first: int = 0) -> list[int]:
    """`a` says `count` packets to `b`; the sequence numbers that `b` heard."""
    heard = []
    for seq in range(first, first + count):
        call.a.send(rtp(seq, 160 * seq, 0xA))
        heard.append(parse(call.b.receive()).seq)
    return heard


def test_a_leg_that_ends_gets_a_last_report_with_hushwires_counts_clock_and_name_and_a_goodbye(control: Controller) -> None:
    call = Call(control)
    talk(call, 25)
    call.b.send(rtp(7, 1120, 0xB))
    call.a.receive()
    control.request("close_bridge", bridge=call.id)
    to_listener, to_talker = rtcp.read(call.b.receive_rtcp()), rtcp.read(call.a.receive_rtcp())
    assert to_listener.types == [SR, SDES, BYE]
    assert to_listener.said_goodbye
    assert to_listener.sender
    assert to_listener.ssrc == call.b.ssrc
    assert (to_listener.sender.packets, to_listener.sender.octets) == (25, 25 * 160)
    assert abs(to_listener.sender.ntp / 2**32 - NTP_EPOCH - time.time()) < 5
    assert to_talker.types == [SR, SDES, BYE]
    assert to_talker.ssrc == call.a.ssrc
    assert [(b.ssrc, b.highest, b.lost, b.fraction, b.lsr) for b in to_talker.blocks] == [(0xA, 24, 0, 0, 0)]
    assert [(b.ssrc, b.highest) for b in to_listener.blocks] == [(0xB, 7)]
    assert len(to_talker.name) == 16
    assert to_talker.name != to_listener.name
    assert b"127" not in to_talker.name
    assert b"@" not in to_talker.name


def test_both_legs_are_reported_to_unasked_and_the_clock_of_a_report_is_that_of_the_stream(control: Controller) -> None:
    call = Call(control)
    call.a.send(rtp(1, 160, 0xA))
    heard = parse(call.b.receive())
    heard_at = time.time()
    report = rtcp.read(call.b.receive_rtcp())
    assert report.sender
    assert not report.said_goodbye
    since_ms = (report.sender.ntp / 2**32 - NTP_EPOCH - heard_at) * 1000
    assert abs((report.sender.timestamp - heard.timestamp) % 2**32 / 8 - since_ms) < 50
    assert rtcp.read(call.a.receive_rtcp()).blocks[0].ssrc == 0xA


def test_a_report_tells_the_talker_its_loss_and_when_its_own_report_came(control: Controller) -> None:
    call = Call(control)
    call.b.send(rtp(7, 1120, 0xB))  # (who was never sent anything gets no goodbye)
    call.a.receive()
    for seq in range(65_500, 65_700):
        if seq % 5:
            call.a.send(rtp(seq, 160 * seq, 0xA))
            call.b.receive()
    call.a.send_rtcp(sender_report(0xA, Sender(0x1111222233334444, 0, 1, 1)) + description(0xA, b"anna@192.168.7.7"))
    call.settle(0, "rtcp_received", 1)
    control.request("close_bridge", bridge=call.id)
    # 65,500 itself was not sent, so the first is 65,501; the rollover is counted from there.
    (block,) = rtcp.read(call.a.receive_rtcp()).blocks
    assert (block.highest, block.lost) == (65_699, 39)
    assert block.fraction == 256 * 39 // 199
    assert block.lsr == 0x22223333
    assert block.dlsr < 10 * 65_536


def test_nothing_of_a_partys_rtcp_reaches_the_other(control: Controller) -> None:
    call = Call(control)
    talk(call, 3)
    everything = (
        sender_report(0xA, Sender(1, 2, 3, 4), Block(call.a.ssrc, 5, 6, 7))
        + description(0xA, b"anna@192.168.7.7")
        + rtcp.packet(rtcp.APP, 0, struct.pack(">I", 0xA) + b"HERE" + b"anna")
        + rtcp.packet(rtcp.RTPFB, 1, struct.pack(">III", 0xA, call.a.ssrc, 0x10001))
        + rtcp.packet(rtcp.PSFB, 15, struct.pack(">II", 0xA, call.a.ssrc) + b"REMB" + bytes(4))
        + rtcp.packet(rtcp.XR, 0, struct.pack(">I", 0xA) + bytes(4))
        + goodbye(0xA)
    )
    call.a.send_rtcp(everything)
    stats = call.settle(0, "rtcp_received", 1)
    assert stats["remote_lost"] == 6
    talk(call, 3, first=3)  # a goodbye ends nothing
    control.request("close_bridge", bridge=call.id)
    while True:
        raw = call.b.receive_rtcp()
        assert b"anna" not in raw
        assert b"HERE" not in raw
        if rtcp.read(raw).said_goodbye:
            break


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("is_muxed", [True, False])
def test_reports_are_protected_under_the_legs_keys_on_whichever_port(control: Controller, suite: str, is_muxed: bool) -> None:
    keys = Keys(suite)
    call = Call(control, keys=(keys, None))
    call.set_leg(0, rtcp_mux=int(is_muxed))
    tx, rx = oracle(suite, keys.recv, is_sender=True), oracle(suite, keys.send, is_sender=False)
    call.a.send(tx.protect(rtp(1, 160, 0xA)))
    call.b.receive()
    call.b.send(rtp(1, 160, 0xB))
    rx.unprotect(call.a.receive())
    (call.a.send if is_muxed else call.a.send_rtcp)(tx.protect_rtcp(receiver_report(0xA, Block(call.a.ssrc, lost=17))))
    assert call.settle(0, "rtcp_received", 1)["remote_lost"] == 17
    control.request("close_bridge", bridge=call.id)
    while not (got := rtcp.read(rx.unprotect_rtcp(call.a.receive_rtcp()))).said_goodbye:
        pass
    assert got.ssrc == call.a.ssrc
    assert got.sender
    assert got.sender.packets == 1


def test_forged_and_replayed_srtcp_is_dropped(control: Controller) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None))
    tx = oracle(keys.suite, keys.recv, is_sender=True)
    report = tx.protect_rtcp(receiver_report(0xA))
    call.a.send_rtcp(report)
    call.settle(0, "rtcp_received", 1)
    call.a.send_rtcp(report)
    call.a.send_rtcp(receiver_report(0xA) + goodbye(0xA))
    fresh = tx.protect_rtcp(receiver_report(0xA))
    call.a.send_rtcp(fresh[:-1] + bytes([fresh[-1] ^ 1]))
    stats = call.settle(0, "dropped_tag", 1)
    assert (stats["dropped_replay"], stats["dropped_malformed"], stats["rtcp_received"]) == (1, 1, 1)


def test_reduced_size_is_taken_where_a_tag_vouches_for_it_and_not_on_plain_legs(control: Controller) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None))
    feedback = rtcp.packet(rtcp.RTPFB, 1, struct.pack(">III", 0xA, 1, 0x10001))
    call.a.send_rtcp(oracle(keys.suite, keys.recv, is_sender=True).protect_rtcp(feedback))
    call.settle(0, "rtcp_received", 1)
    call.b.send_rtcp(feedback)
    assert call.settle(1, "dropped_malformed", 1)["rtcp_received"] == 0


PLAIN = receiver_report(1)
TORN = [b"", b"\x80", b"\x80\xc8\x00\x06", goodbye(0xA), PLAIN[:-1], b"\x80\xc9\x00\x00", b"\x9f" + PLAIN[1:], b"\x40" + PLAIN[1:]]
GIANT = [PLAIN * 176, PLAIN * 2000, PLAIN + rtcp.packet(rtcp.APP, 0, bytes(1400)), b"\x80\xc9\xff\xff" + bytes(1396)]


@pytest.mark.parametrize("wrong", TORN + GIANT, ids=range(len(TORN + GIANT)))
def test_torn_and_giant_compounds_are_dropped(control: Controller, wrong: bytes) -> None:
    call = Call(control)
    call.a.send_rtcp(wrong)
    call.a.send_rtcp(receiver_report(0xA))
    assert call.settle(0, "rtcp_received", 1)["dropped_malformed"] == 1


def test_a_strangers_goodbyes_and_reports_change_nothing(control: Controller) -> None:
    call = Call(control)
    talk(call, 5)
    call.a.send_rtcp(receiver_report(0xA, Block(call.a.ssrc, lost=3)))
    call.settle(0, "rtcp_received", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        for _ in range(200):
            stranger.sendto(receiver_report(0xA, Block(call.a.ssrc, lost=9999)) + goodbye(0xA), (call.a.to[0], call.a.to[1] + 1))
    stats = call.settle(0, "dropped_source", 200)
    assert (stats["rtcp_received"], stats["remote_lost"]) == (1, 3)
    talk(call, 5, first=5)


def test_a_flood_of_goodbyes_from_the_partys_own_address_moves_nothing_to_the_other(control: Controller) -> None:
    call = Call(control)
    talk(call, 5)
    before = call.stats(1)["rtcp_sent"]
    for _ in range(3000):
        call.a.send_rtcp(receiver_report(0xA) + goodbye(0xA, 1, 2, 3))
    # However many of them were taken in, the other hears no more than its own reports (one in two seconds at most).
    call.b.send(rtp(1, 160, 0xB))
    call.a.receive()
    assert call.stats(1)["rtcp_sent"] - before <= 3
    assert control.request("get_bridge", bridge=call.id)["status"] == 0


def test_an_implementation_that_others_wrote_reads_our_reports(control: Controller) -> None:
    call = Call(control)
    talk(call, 10)
    control.request("close_bridge", bridge=call.id)
    reports = other.RtcpPacket.parse(call.b.receive_rtcp())
    assert [type(r) for r in reports] == [other.RtcpSrPacket, other.RtcpSdesPacket, other.RtcpByePacket]
    sender, names, bye = reports
    assert isinstance(sender, other.RtcpSrPacket)
    assert sender.sender_info.packet_count == 10
    assert isinstance(names, other.RtcpSdesPacket)
    assert names.chunks[0].ssrc == call.b.ssrc
    assert isinstance(bye, other.RtcpByePacket)
    assert bye.sources == [call.b.ssrc]


def test_reports_go_on_while_a_leg_is_held(control: Controller) -> None:
    call = Call(control)
    talk(call, 1)
    call.set_leg(1, send=0)
    assert rtcp.read(call.b.receive_rtcp()).ssrc == call.b.ssrc


def test_a_leg_without_a_place_to_send_to_gets_no_report(control: Controller) -> None:
    call = Call(control)
    call.set_leg(1, remote_port=0)
    rtcp.read(call.a.receive_rtcp())
    control.request("close_bridge", bridge=call.id)
    rtcp.read(call.a.receive_rtcp())
    call.b.rtcp.setblocking(False)
    with pytest.raises(BlockingIOError):
        call.b.rtcp.recv(2000)


def test_a_party_that_sends_extended_reports_is_answered_with_what_its_round_trip_needs_and_others_are_sent_none(
    control: Controller,
) -> None:
    call = Call(control)
    talk(call, 5)
    call.b.send(rtp(1, 160, 0xB))
    call.a.receive()
    asked = struct.unpack(">Q", b"\x01\x02\x03\x04\x05\x06\x07\x08")[0]
    call.b.send_rtcp(receiver_report(0xB) + extended_report(0xB, reference_time(asked)))
    call.settle(1, "rtcp_received", 1)
    control.request("close_bridge", bridge=call.id)
    to_b = rtcp.read(call.b.receive_rtcp())
    assert to_b.types == [SR, SDES, XR, BYE]
    assert to_b.sender is not None
    assert to_b.reference == to_b.sender.ntp
    ((ssrc, last, delay),) = to_b.delays
    assert (ssrc, last) == (0xB, 0x03040506)
    assert delay < 65536 * 20
    assert XR not in rtcp.read(call.a.receive_rtcp()).types
