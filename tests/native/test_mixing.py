"""Who hears whom where more than two are in a call: each speaks in a tone of its own, and is looked for at each ear."""

from __future__ import annotations

import socket
import struct

import numpy as np
import pytest

from tests.native.call import Call, Party, rtp
from tests.native.client import INVALID, NOT_FOUND, Controller, RequestError
from tests.native.sound import CODECS, Voice, converse, encode, tone

AGENT, CUSTOMER, SUPERVISOR = 0, 1, 2
TONES = (420, 1020, 1620)
SPOKEN_DB, SILENT_DB = -12.25, -55


class Bridge(Call):
    """A call with further legs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parties = [self.a, self.b]

    def party(self, leg: int) -> Party:
        return (self.a, self.b)[leg] if leg < 2 else self.parties[leg]

    def add(self) -> int:
        leg = len(self.parties)
        self.parties.append(Party())
        self.control.closing.callback(self.parties[-1].close)
        self.keys = (*self.keys, None)
        reply = self.control.request("open_leg", bridge=self.id, leg=leg)
        self.parties[-1].to = ("127.0.0.1", int(reply["rtp_port"]))  # type: ignore[call-overload]
        return leg

    def speak(self, leg: int, codec: str, hz: float, seconds: float, level: float = 8_000) -> Voice:
        kind = CODECS[codec]
        self.set_leg(leg, codec=[kind.field()], clock_rate=kind.clock)
        return Voice(self.party(leg), kind, encode(kind, tone(hz, seconds, kind.rate, level)), ssrc=leg + 1)

    def hear(self, leg: int, *others: int) -> None:
        self.control.request("set_hears", bridge=self.id, leg=leg, hears=sum(1 << other for other in others))


def supervised(control: Controller, codecs: tuple[str, str, str], seconds: float) -> tuple[Bridge, list[Voice]]:
    bridge = Bridge(control)
    bridge.add()
    return bridge, [bridge.speak(leg, codec, TONES[leg], seconds) for leg, codec in enumerate(codecs)]


def assert_hears(voice: Voice, *heard: int, seconds: float = 0.8) -> None:
    for leg, hz in enumerate(TONES):
        level = voice.level(hz, seconds)
        assert (abs(level - SPOKEN_DB) < 2) if leg in heard else (level < SILENT_DB), (leg, level)


@pytest.mark.parametrize("codecs", [("PCMU", "PCMU", "PCMU"), ("opus", "PCMU", "opus"), ("PCMA", "G722", "opus")])
def test_a_supervisor_listens_then_whispers_to_the_agent_alone_then_barges_in(control: Controller, codecs: tuple[str, str, str]) -> None:
    bridge, voices = supervised(control, codecs, 8)
    agent, customer, supervisor = voices
    at = converse(voices, 1.5)
    assert not supervisor.heard
    assert_hears(agent, CUSTOMER)
    assert_hears(customer, AGENT)

    bridge.hear(SUPERVISOR, AGENT, CUSTOMER)
    at = converse(voices, 1.8, at)
    assert_hears(agent, CUSTOMER)
    assert_hears(customer, AGENT)
    assert_hears(supervisor, AGENT, CUSTOMER)

    bridge.hear(AGENT, CUSTOMER, SUPERVISOR)
    at = converse(voices, 1.8, at)
    assert_hears(agent, CUSTOMER, SUPERVISOR)
    # All that the customer ever heard, not only the last second: nothing of the supervisor within 16 bits' reach.
    assert customer.level(TONES[SUPERVISOR], 5) < -65
    assert_hears(customer, AGENT)

    bridge.hear(CUSTOMER, AGENT, SUPERVISOR)
    at = converse(voices, 1.8, at)
    for voice, others in ((agent, (1, 2)), (customer, (0, 2)), (supervisor, (0, 1))):
        assert_hears(voice, *others)
        assert voice.is_one_stream()


def test_a_leg_that_goes_from_relay_to_mix_and_back_keeps_one_stream_and_marks_each_beginning(control: Controller) -> None:
    bridge, voices = supervised(control, ("PCMU", "PCMU", "PCMU"), 6)
    agent = voices[AGENT]
    at = converse(voices, 1)
    bridge.hear(AGENT, CUSTOMER, SUPERVISOR)
    at = converse(voices, 1.2, at)
    reply = bridge.control.request("close_leg", bridge=bridge.id, leg=SUPERVISOR)
    assert reply["leg_stats"][0]["packets_received"] > 100  # type: ignore[index]
    converse(voices, 1.2, at)
    assert agent.is_one_stream()
    assert_hears(agent, CUSTOMER)
    marks = [n for n, (_, packet) in enumerate(agent.heard) if packet.marker]
    assert len(marks) == 3
    assert marks[0] == 0
    # The clock of the stream went on with the wall's, to a packet or two.
    first, last = agent.heard[0], agent.heard[-1]
    passed_s = ((last[1].timestamp - first[1].timestamp) & 0xFFFFFFFF) / 8000
    assert abs(passed_s - (last[0] - first[0])) < 0.1
    # Relayed again, byte for byte.
    assert agent.heard[-1][1].payload in voices[CUSTOMER].payloads


def test_in_a_conference_of_sixteen_each_hears_the_others_and_not_itself(control: Controller, is_sanitized: bool) -> None:
    bridge = Bridge(control)
    codecs = ["PCMU", "opus", "G722", "PCMA"]
    # What a sanitizer watches can't code for sixteen in time.
    count, speakers = (6, (0, 2, 5)) if is_sanitized else (16, (0, 5, 10))
    for _ in range(count - 2):
        bridge.add()
    # Three speak, the others send silence: who speaks is heard by all others.
    voices = []
    for leg in range(count):
        level = 6_000 if leg in speakers else 0
        voices.append(bridge.speak(leg, codecs[leg % 4], 400 + 150 * leg, 3, level))
    for leg in range(count):
        bridge.hear(leg, *(other for other in range(count) if other != leg))
    converse(voices, 3)
    for leg, voice in enumerate(voices):
        for speaker in speakers:
            level = voice.level(400 + 150 * speaker)
            assert (level < SILENT_DB) if speaker == leg else (abs(level + 14.75) < 2.5), (leg, speaker, level)
        assert voice.is_one_stream()


def test_voices_at_full_level_are_mixed_without_clipping(control: Controller) -> None:
    bridge = Bridge(control)
    bridge.add()
    voices = [bridge.speak(leg, "G722", hz, 3, 30_000) for leg, hz in enumerate((500, 700, 1100))]
    bridge.hear(SUPERVISOR, AGENT, CUSTOMER)
    converse(voices, 3)
    pcm = voices[SUPERVISOR].audio(1.0)
    assert np.abs(pcm.astype(int)).max() < 32_000
    # Clipping would put products of both (2 f1 - f2, 2 f2 - f1, 3 f1) some 10 to 20 dB below them.
    for product in (300, 900, 1500, 2100):
        assert level_of(pcm, product) < level_of(pcm, 500) - 40
    assert abs(level_of(pcm, 500) - level_of(pcm, 700)) < 1


def level_of(pcm: np.ndarray, hz: float) -> float:
    from tests.native.sound import level_db

    return level_db(pcm, hz, 16_000)


def test_who_can_be_heard_is_checked(control: Controller) -> None:
    bridge = Bridge(control)
    for leg, hears, status in ((0, 0b01, INVALID), (2, 0b01, NOT_FOUND), (16, 1, NOT_FOUND), (255, 1, NOT_FOUND)):
        with pytest.raises(RequestError) as caught:
            control.request("set_hears", bridge=bridge.id, leg=leg, hears=hears)
        assert caught.value.status == status
    with pytest.raises(RequestError) as caught:
        control.request("close_leg", bridge=bridge.id, leg=2)
    assert caught.value.status == NOT_FOUND
    echo = Call(control, mode=1)
    with pytest.raises(RequestError) as caught:
        control.request("set_hears", bridge=echo.id, leg=0, hears=0b10)
    assert caught.value.status == INVALID


def test_a_closed_legs_port_is_closed_and_the_number_can_be_opened_again(control: Controller) -> None:
    bridge = Bridge(control)
    bridge.add()
    port = bridge.parties[2].to[1]
    bridge.speak(2, "PCMU", 400, 0.1)
    control.request("close_leg", bridge=bridge.id, leg=2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", port))  # nobody holds it
    reply = control.request("open_leg", bridge=bridge.id, leg=2)
    assert int(reply["rtp_port"]) != 0  # type: ignore[call-overload]
    bridge.a.send(rtp(1, 1, 1, struct.pack(">I", 7) * 40))
    assert bridge.b.receive()[12:] == struct.pack(">I", 7) * 40
