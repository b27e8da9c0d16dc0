"""What hushwire says of a call's quality, over real sockets and a bad network, against what the network did."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.native import rtcp
from tests.native.call import LOOPBACK, Call, Keys, Party, is_rtcp, parse, rtp
from tests.native.client import Controller, Event
from tests.native.netem import Impairment, Network
from tests.native.rtcp import Block, Sender, description, receiver_report, sender_report
from tests.native.srtp_oracle import oracle

OVER, NOTHING_CAME, WRONG_TAG, SOURCE_REFUSED, UNREADABLE, STOPPED, NOT_HEARD = range(7)
DUE_S = 5.0


class Phone(threading.Thread):
    """A party that talks, counts what it hears after RFC 3550 appendix A, and answers each report."""

    def __init__(self, party: Party, ssrc: int, to: tuple[str, int], rtcp_to: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.party, self.ssrc, self.to, self.rtcp_to = party, ssrc, to, rtcp_to
        self.heard: list[int] = []
        self.sent = 0
        self.is_over = threading.Event()
        self.reports: list[rtcp.Compound] = []

    def run(self) -> None:
        begin, sequence = time.monotonic(), 0
        self.party.rtp.settimeout(0.002)
        self.party.rtcp.setblocking(False)
        while not self.is_over.is_set():
            while time.monotonic() >= begin + sequence * 0.02:
                self.party.rtp.sendto(rtp(sequence, 160 * sequence, self.ssrc), self.to)
                sequence += 1
                self.sent = sequence
            with contextlib.suppress(TimeoutError):
                self.heard.append(parse(self.party.rtp.recv(2000)).seq)
            with contextlib.suppress(BlockingIOError):
                self.answer(rtcp.read(self.party.rtcp.recv(2000)))

    def answer(self, report: rtcp.Compound) -> None:
        self.reports.append(report)
        blocks = []
        if report.sender and self.heard:
            lsr = report.sender.ntp >> 16 & 0xFFFFFFFF
            expected = max(self.heard) - min(self.heard) + 1
            lost = expected - len(set(self.heard))
            blocks = [Block(report.ssrc, min(255, lost * 256 // expected), lost, max(self.heard), 80, lsr, 0)]
        mine = Sender(int((time.time() + 2_208_988_800) * 2**32), 160 * self.sent, self.sent, 160 * self.sent)
        self.party.rtcp.sendto(sender_report(self.ssrc, mine, *blocks) + description(self.ssrc, b"phone"), self.rtcp_to)


def talking(control: Controller, up: Impairment, down: Impairment) -> Iterator[tuple[Call, list[Phone], Network]]:
    with Network(up=up, down=down, seed=11) as network:
        call = Call(control)
        phones = []
        for leg, ssrc in ((0, 0xA), (1, 0xB)):
            party = call.party(leg)
            line, reports = network.pair(("127.0.0.1", party.port), party.to[1])
            call.set_leg(leg, remote_port=line.near[1], answered=1)
            phones.append(Phone(party, ssrc, line.far, reports.far))
        for phone in phones:
            phone.start()
        yield call, phones, network
        for phone in phones:
            phone.is_over.set()
            phone.join()


def quality_of(event: Event) -> dict[int, dict[str, int]]:
    return {leg["leg"]: leg for leg in event.fields["leg_quality"]}  # type: ignore[attr-defined]


def test_every_five_seconds_the_figures_are_those_of_the_network(control: Controller) -> None:
    up, down = Impairment(loss=0.1, delay_ms=20, jitter_ms=20), Impairment(delay_ms=30)
    for call, phones, _network in talking(control, up, down):
        control.event("quality")  # the first may have no round trip yet
        begin = time.monotonic()
        event = control.event("quality")
        assert 4 < time.monotonic() - begin < 7
        assert event.id == 0
        figures = quality_of(event)
        for leg in (0, 1):
            # 20 ms and up to 20 ms of jitter there, 30 ms back; the machine may be slow, but not faster than the network.
            assert 50_000 <= figures[leg]["round_trip_us"] < 110_000
            assert 400 < figures[leg]["loss_received"] < 1700
            # Uniform jitter of 20 ms swings by 6.7 ms at the mean (A.8); the tick and the machine add to it.
            assert 4_000 < figures[leg]["jitter_us"] < 20_000
            # G.711 with a tenth of the packets lost: R of about 65.
            assert 250 < figures[leg]["mos_received"] < 390
            assert figures[leg]["loss_reported"] > 200  # the gaps of the other's way here are heard as well
            assert figures[leg]["mos_heard"] < 420
        closed = control.request("close_bridge", bridge=call.id)
        for stats in closed["leg_stats"]:  # type: ignore[attr-defined]
            assert stats["mos_received_worst"] <= stats["mos_received"]
            assert stats["round_trip_max_us"] >= stats["round_trip_us"] >= 50_000
            assert stats["lost"] > 20
        assert all(phone.reports for phone in phones)


def test_a_good_network_is_rated_as_good_as_g711_gets(control: Controller) -> None:
    for call, _phones, _network in talking(control, Impairment(), Impairment()):
        control.event("quality")
        for figures in quality_of(control.event("quality")).values():
            assert figures["loss_received"] == 0
            assert figures["round_trip_us"] < 30_000
            assert 435 <= figures["mos_received"] <= 441
            assert 435 <= figures["mos_heard"] <= 441
        control.request("close_bridge", bridge=call.id)


def test_a_call_shorter_than_five_seconds_is_rated_when_it_is_closed(control: Controller) -> None:
    call = Call(control)
    begin = time.monotonic()
    sequence = 0
    while time.monotonic() < begin + 1.5:
        call.a.send(rtp(sequence, 160 * sequence, 0xA))
        call.b.receive()
        sequence += 1
        time.sleep(0.01)  # the pace of a talker, not a wait
    (a, b) = control.request("close_bridge", bridge=call.id)["leg_stats"]  # type: ignore[misc]
    assert a["loss_received"] == 0
    assert a["mos_received"] > 400
    assert "mos_received" not in b
    assert "round_trip_us" not in a


# One-way audio


def talk(call: Call, leg: int, seconds: float, packet: object = None) -> None:
    """One party talks at its pace; the other's socket is emptied."""
    say, hear = call.party(leg), call.party(1 - leg)
    begin, n = time.monotonic(), getattr(say, "said", 0)
    while time.monotonic() < begin + seconds:
        say.send(rtp(n, 160 * n, 0xA + leg) if packet is None else packet(n))  # type: ignore[operator]
        n += 1
        time.sleep(0.02)
    say.said = n  # type: ignore[attr-defined]
    hear.hears_nothing()


def told(control: Controller, since: float) -> tuple[int, int]:
    event = control.event("one_way_audio")
    assert time.monotonic() - since < DUE_S + 3, "on a busy machine a little later, but not much"
    assert event.id > 0
    return int(event.fields["leg"]), int(event.fields["silence_cause"])  # type: ignore[call-overload]


def none_is_told(control: Controller) -> bool:
    control.request("ping")
    return not [e for e in control.events if e.kind == "one_way_audio"]


def answered(control: Controller, **options: object) -> Call:
    return Call(control, options={"answered": 1, **options})


def test_a_party_of_which_nothing_comes_is_told_of_within_five_seconds(control: Controller) -> None:
    call = answered(control)
    begin = time.monotonic()
    talk(call, 0, 4.5)
    assert told(control, begin) == (1, NOTHING_CAME)
    call.b.send(rtp(1, 160, 0xB))
    assert told(control, time.monotonic()) == (1, OVER)


def test_a_party_with_a_wrong_key_is_told_of_as_such(control: Controller) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None), options={"answered": 1})
    wrong = oracle(keys.suite, Keys(keys.suite).recv, is_sender=True)
    begin = time.monotonic()
    stop = threading.Thread(target=talk, args=(call, 1, 4.5))
    stop.start()
    talk(call, 0, 4.5, lambda n: wrong.protect(rtp(n, 160 * n, 0xA)))
    stop.join()
    assert told(control, begin) == (0, WRONG_TAG)


def test_a_party_at_an_address_that_nobody_announced_is_told_of_as_such(control: Controller) -> None:
    call = answered(control, learn=0)
    call.set_leg(0, remote_ip=LOOPBACK, remote_port=call.a.rtcp.getsockname()[1])
    begin = time.monotonic()
    stop = threading.Thread(target=talk, args=(call, 1, 4.5))
    stop.start()
    talk(call, 0, 4.5)
    stop.join()
    assert told(control, begin) == (0, SOURCE_REFUSED)


def test_a_party_that_stops_in_the_middle_is_told_of_and_one_that_pauses_is_not(control: Controller) -> None:
    call = answered(control)
    stop = threading.Thread(target=talk, args=(call, 1, 7))
    stop.start()
    talk(call, 0, 1.5)
    begin = time.monotonic()
    stop.join()
    assert told(control, begin) == (0, STOPPED)


def comfort_noise(n: int) -> bytes:
    return rtp(n, 160 * n, 0xA, b"\x40", pt=13)


@pytest.mark.parametrize("quiet", ["comfort noise", "held", "not answered"])
def test_silence_that_is_meant_is_not_told_of(control: Controller, quiet: str) -> None:
    call = answered(control)
    stop = threading.Thread(target=talk, args=(call, 1, 8))
    stop.start()
    talk(call, 0, 1)
    match quiet:
        case "comfort noise":
            talk(call, 0, 0.03, lambda _: comfort_noise(1000))
        case "held":
            call.set_leg(0, receive=0)
            call.set_leg(1, send=0)
        case _:
            call.set_leg(0, answered=0)
            call.set_leg(1, answered=0)
    stop.join()
    assert none_is_told(control)


def test_a_party_whose_own_reports_say_that_it_hears_nothing_is_told_of(control: Controller) -> None:
    call = answered(control)
    stop = threading.Thread(target=talk, args=(call, 1, 3))
    stop.start()
    talk(call, 0, 3)
    stop.join()
    begin = time.monotonic()
    call.b.send_rtcp(receiver_report(0xB, Block(call.b.ssrc, highest=5)))
    call.settle(1, "rtcp_received", 1)
    stop = threading.Thread(target=talk, args=(call, 1, 1.5))
    stop.start()
    talk(call, 0, 1.5)
    stop.join()
    call.b.send_rtcp(receiver_report(0xB, Block(call.b.ssrc, highest=5)))
    assert told(control, begin) == (1, NOT_HEARD)


def test_a_report_of_ours_is_no_rtp(control: Controller) -> None:
    call = Call(control)
    call.set_leg(0, rtcp_mux=1)
    call.b.send(rtp(1, 160, 0xB))
    call.a.receive()
    report = call.a.receive_rtcp()
    assert is_rtcp(report)
    assert struct.unpack_from(">I", report, 4) == (call.a.ssrc,)
