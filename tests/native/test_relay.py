"""RTP to RTP: what passes, and what hushwire makes its own."""

from __future__ import annotations

import socket

from tests.native.call import Call, parse, rtp
from tests.native.client import Controller


def test_each_party_hears_the_other_under_the_ssrc_that_hushwire_owns(control: Controller) -> None:
    call = Call(control)
    for n in range(20):
        call.a.send(rtp(1000 + n, 160 * n, 0xAAAA, bytes([n]) * 160))
        call.b.send(rtp(60000 + n, 7 + 160 * n, 0xBBBB, bytes([100 + n]) * 160))
    at_b = [parse(call.b.receive()) for _ in range(20)]
    at_a = [parse(call.a.receive()) for _ in range(20)]
    assert [p.payload for p in at_b] == [bytes([n]) * 160 for n in range(20)]
    assert [p.payload for p in at_a] == [bytes([100 + n]) * 160 for n in range(20)]
    assert {p.ssrc for p in at_b} == {call.b.ssrc}
    assert {p.ssrc for p in at_a} == {call.a.ssrc}
    assert [(p.seq - at_b[0].seq) & 0xFFFF for p in at_b] == list(range(20))
    assert [(p.timestamp - at_b[0].timestamp) & 0xFFFFFFFF for p in at_b] == [160 * n for n in range(20)]


def test_gaps_order_and_marker_pass_and_duplicates_do_not(control: Controller) -> None:
    call = Call(control)
    sent = [(65534, True), (65535, False), (65535, False), (2, False), (1, False), (1, False), (5, True)]
    for seq, marker in sent:
        call.a.send(rtp(seq, 0, 7, marker=marker))
    got = [parse(call.b.receive()) for _ in range(5)]
    assert [(p.seq - got[0].seq) & 0xFFFF for p in got] == [0, 1, 4, 3, 7]
    assert [p.marker for p in got] == [True, False, False, False, True]
    assert call.settle(0, "dropped_replay", 2)["lost"] == 3  # 65534..5 are eight; five came
    assert call.b.hears_nothing()


def test_a_new_ssrc_goes_on_with_the_sequence_under_the_same_outgoing_ssrc(control: Controller) -> None:
    call = Call(control)
    for packet in (rtp(10, 1000, 1), rtp(11, 1160, 1), rtp(40000, 9, 2), rtp(40001, 169, 2)):
        call.a.send(packet)
    got = [parse(call.b.receive()) for _ in range(4)]
    assert {p.ssrc for p in got} == {call.b.ssrc}
    assert [(p.seq - got[0].seq) & 0xFFFF for p in got] == [0, 1, 2, 3]
    assert 160 <= (got[2].timestamp - got[1].timestamp) & 0xFFFFFFFF < 8000
    assert [p.marker for p in got] == [False, False, True, False]


def test_a_sender_that_restarts_is_heard_again_after_two_packets(control: Controller) -> None:
    call = Call(control)
    for seq in (100, 101, 30000, 30001, 30002):
        call.a.send(rtp(seq, 160 * seq, 1))
    got = [parse(call.b.receive()) for _ in range(4)]
    assert [(p.seq - got[0].seq) & 0xFFFF for p in got] == [0, 1, 2, 3]


def test_payload_types_are_translated_where_the_two_sides_chose_different_ones(control: Controller) -> None:
    call = Call(control)
    call.set_leg(0, payload_types=bytes([101, 96]))
    call.a.send(rtp(1, 0, 1, b"\x01\x0a\x00\xa0", pt=101, marker=True))
    call.a.send(rtp(2, 160, 1))
    assert [parse(call.b.receive()).pt for _ in range(2)] == [96, 0]


def test_echo_returns_the_agents_own_audio(control: Controller) -> None:
    call = Call(control, mode=1)
    call.a.send(rtp(1, 0, 1, b"hello" * 32))
    got = parse(call.a.receive())
    assert got.payload == b"hello" * 32
    assert got.ssrc == call.a.ssrc


def test_a_held_leg_is_neither_sent_to_nor_listened_to(control: Controller) -> None:
    call = Call(control)
    call.set_leg(1, send=0, receive=0)
    call.a.send(rtp(1, 0, 1))
    call.b.send(rtp(1, 0, 2))
    call.settle(0, "dropped_unsent", 1)
    call.settle(1, "dropped_disabled", 1)
    assert call.a.hears_nothing()
    assert call.b.hears_nothing()
    call.set_leg(1)
    call.a.send(rtp(2, 160, 1, b"on" * 80))
    assert parse(call.b.receive()).payload == b"on" * 80


def test_statistics_count_what_passed(control: Controller) -> None:
    call = Call(control)
    for n in range(10):
        call.a.send(rtp(n, 160 * n, 1))
        call.b.receive()
    stats = call.stats(0)
    assert (stats["packets_received"], stats["bytes_received"], stats["lost"]) == (10, 1720, 0)
    assert call.stats(1)["packets_sent"] == 10
    closed = call.close()
    assert [s["leg"] for s in closed["leg_stats"]] == [0, 1]  # type: ignore[attr-defined]


def test_first_media_of_a_leg_and_its_silence_are_told(control: Controller) -> None:
    call = Call(control, options={"media_timeout_ms": 200})
    call.a.send(rtp(1, 0, 1))
    event = control.event("leg_source")
    assert event.fields["bridge"] == call.id.bytes
    assert (event.fields["leg"], event.fields["remote_port"]) == (0, call.a.port)
    assert {control.event("media_timeout").fields["leg"] for _ in range(2)} == {0, 1}


def test_closing_frees_the_ports(control: Controller) -> None:
    call = Call(control)
    to = call.a.to
    call.close()
    again = Call(control).a
    again.rtp.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(to)
