"""Keys of calls: heard as telephone-events and as tones, and pressed towards legs as these take them."""

from __future__ import annotations

import itertools
import socket
import struct
import uuid

import av
import numpy as np
import pytest

from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from tests.native.call import Call, Keys, Party, parse, rtp
from tests.native.client import INVALID, NOT_FOUND, STATE, Controller, RequestError
from tests.native.srtp_oracle import oracle

LIMIT = 10
EVENTS, PCMU, G722 = 6, 1, 3
KEYS = "0123456789*#ABCD"
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
PAD = "123A456B789C*0#D"


def codec(payload_type: int, name: int, clock_rate: int = 8000) -> bytes:
    return struct.pack(">BBBBI", payload_type, name, 20, 0, clock_rate)


def event(digit: str, duration: int, *, is_end: bool = False) -> bytes:
    return struct.pack(">BBH", KEYS.index(digit), (0x80 if is_end else 0) | 10, duration)


def press(party: Party, digit: str, seq: int, timestamp: int, pt: int = 101) -> int:
    """A key of 100 ms as telephones send it; the next sequence number."""
    packets = [event(digit, 160 * n) for n in range(1, 5)] + [event(digit, 800, is_end=True)] * 3
    for n, payload in enumerate(packets):
        party.send(rtp(seq + n, timestamp, 7, payload, pt=pt, marker=n == 0))
    return seq + len(packets)


def told(control: Controller) -> tuple[int, str, int]:
    fields = control.event("digit").fields
    return int(fields["leg"]), bytes(fields["digits"]).decode(), int(fields["heard_as"])  # type: ignore[call-overload]


def read_events(party: Party, count: int) -> list[tuple[int, str, int]]:
    """Keys that reach a party: (payload type, digit, duration in ms), each by the first of its ends."""
    keys, seen = [], set()
    while len(keys) < count:
        packet = parse(party.receive())
        code, flags, duration = struct.unpack(">BBH", packet.payload)
        if flags & 0x80 and packet.timestamp not in seen:
            seen.add(packet.timestamp)
            keys.append((packet.pt, KEYS[code], duration // 8))
    return keys


def mulaw(pcm: np.ndarray) -> bytes:
    """Through FFmpeg, which we did not write."""
    encoder = av.CodecContext.create("pcm_mulaw", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"  # type: ignore[attr-defined]
    frame = av.AudioFrame.from_ndarray(pcm.astype(np.int16).reshape(1, -1), "s16", "mono")
    frame.sample_rate = 8000
    return b"".join(bytes(p) for p in encoder.encode(frame))


def linear(name: str, rate: int, payloads: list[bytes]) -> np.ndarray:
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate, decoder.layout = rate, "mono"  # type: ignore[attr-defined]
    frames = [frame for payload in payloads for frame in decoder.decode(av.Packet(payload))]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(float)


def tones(text: str, on_ms: int = 70, off_ms: int = 60) -> np.ndarray:
    parts = []
    t = np.arange(on_ms * 8) / 8000
    for digit in text:
        low, high = LOW[PAD.index(digit) // 4], HIGH[PAD.index(digit) % 4]
        parts += [6000 * np.sin(2 * np.pi * low * t) + 6000 * np.sin(2 * np.pi * high * t), np.zeros(off_ms * 8)]
    return np.concatenate(parts)


def keys_in(pcm: np.ndarray, rate: int) -> str:
    """What a spectrum says of each 20 ms."""
    frame, text, last, run = rate // 50, "", "", 0
    for at in range(0, len(pcm) - frame, frame):
        part = pcm[at : at + frame]
        here = ""
        if np.sqrt(np.mean(part**2)) > 1000:
            power = np.abs(np.exp(-2j * np.pi * np.outer(LOW + HIGH, np.arange(frame)) / rate) @ part)
            here = PAD[int(np.argmax(power[:4])) * 4 + int(np.argmax(power[4:]))]
        last, run = here, run + 1 if here == last else 1
        if here and run == 2:  # one alone may hold the end of the key before
            text += here
    return text


def call_with(control: Controller, first: list[bytes], second: list[bytes], **options: object) -> Call:
    call = Call(control, options=options)
    call.set_leg(0, codec=first)
    call.set_leg(1, codec=second)
    return call


def test_each_key_is_told_once_and_reaches_the_other_party_under_its_own_payload_type(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU), codec(101, EVENTS)], [codec(0, PCMU), codec(96, EVENTS)])
    call.set_leg(0, codec=[codec(0, PCMU), codec(101, EVENTS)], payload_types=bytes([101, 96]))
    seq = 1
    for n, digit in enumerate(KEYS):
        seq = press(call.a, digit, seq, 8000 + 2000 * n)
        assert told(control) == (0, digit, 1)
    assert read_events(call.b, len(KEYS)) == [(96, digit, 100) for digit in KEYS]
    assert not [e for e in control.events if e.kind == "digit"]


def test_keys_of_an_srtp_leg_are_read_too(control: Controller) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None))
    call.set_leg(0, codec=[codec(0, PCMU), codec(101, EVENTS)])
    call.set_leg(1, codec=[codec(0, PCMU), codec(101, EVENTS)])
    phone = oracle(keys.suite, keys.recv, is_sender=True)
    for n in range(3):
        call.a.send(phone.protect(rtp(n, 800, 7, event("8", 480, is_end=True), pt=101)))
    assert told(control) == (0, "8", 1)
    assert read_events(call.b, 1) == [(101, "8", 60)]


def test_what_is_keyed_towards_a_leg_is_heard_there_in_order_and_one_after_another(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU)], [codec(0, PCMU), codec(96, EVENTS)])
    control.request("send_digits", bridge=call.id, leg=1, digits=b"12", digit_ms=60, gap_ms=40)
    control.request("send_digits", bridge=call.id, leg=1, digits=b"#", digit_ms=200, gap_ms=40)
    assert read_events(call.b, 3) == [(96, "1", 60), (96, "2", 60), (96, "#", 200)]


@pytest.mark.parametrize(("number", "pt", "name", "rate"), [(PCMU, 0, "pcm_mulaw", 8000), (G722, 9, "g722", 16000)])
def test_a_party_without_telephone_events_hears_tones(control: Controller, number: int, pt: int, name: str, rate: int) -> None:
    call = call_with(control, [codec(0, PCMU), codec(101, EVENTS)], [codec(pt, number)])
    control.request("send_digits", bridge=call.id, leg=1, digits=b"159D", digit_ms=80, gap_ms=60)
    packets = [parse(call.b.receive()) for _ in range(4 * (4 + 3))]
    assert {packet.pt for packet in packets} == {pt}
    assert [b.timestamp - a.timestamp for a, b in itertools.pairwise(packets)] == [160] * (len(packets) - 1)
    assert keys_in(linear(name, rate, [packet.payload for packet in packets]), rate) == "159D"


def test_a_key_of_one_party_becomes_tones_for_one_that_takes_no_events(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU), codec(101, EVENTS)], [codec(0, PCMU)])
    press(call.a, "6", 1, 8000)
    assert told(control) == (0, "6", 1)
    packets = [parse(call.b.receive()) for _ in range(5 + 3)]
    assert {packet.pt for packet in packets} == {0}
    assert keys_in(linear("pcm_mulaw", 8000, [packet.payload for packet in packets]), 8000) == "6"


def speak(call: Call, pcm: np.ndarray, seq: int = 1) -> int:
    data = mulaw(pcm)
    for n in range(len(data) // 160):
        call.b.send(rtp(seq + n, 160 * (seq + n), 9, data[160 * n : 160 * n + 160]))
        call.a.receive()
    return seq + len(data) // 160


def test_tones_in_the_sound_are_told_while_they_are_looked_for_and_not_otherwise(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU)], [codec(0, PCMU)])
    seq = speak(call, tones("77"))
    control.request("detect_tones", bridge=call.id, leg=1, is_on=1)
    seq = speak(call, tones("0123456789*#ABCD"), seq)
    assert [told(control) for _ in KEYS] == [(1, digit, 2) for digit in "0123456789*#ABCD"]
    control.request("detect_tones", bridge=call.id, leg=1, is_on=0)
    speak(call, tones("3"), seq)
    control.request("ping")
    assert not [e for e in control.events if e.kind == "digit"]


def test_speech_is_not_taken_for_keys(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU)], [codec(0, PCMU)])
    control.request("detect_tones", bridge=call.id, leg=1, is_on=1)
    seq = 1
    for who in (AGENT, CARRIER):
        speech = np.asarray(bundled(who), dtype=float)
        for pitch in (0.8, 1.0, 1.25):
            at = np.arange(0, len(speech) - 1, pitch)
            seq = speak(call, np.interp(at, np.arange(len(speech)), speech), seq)
    seq = speak(call, tones("5"), seq)
    assert told(control) == (1, "5", 2)
    assert not [e for e in control.events if e.kind == "digit"]


def test_speech_is_heeded_from_when_it_is_asked_for_until_it_is_not_any_more(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU)], [codec(0, PCMU)])
    speech = np.asarray(bundled(AGENT), dtype=float)[:16_000]
    seq = speak(call, speech)
    assert "speech_ms" not in call.stats(1)
    control.request("detect_speech", bridge=call.id, leg=1, is_on=1)
    assert call.stats(1)["speech_ms"] == 0
    seq = speak(call, speech, seq)
    seq = speak(call, np.zeros(8000), seq)
    assert 500 <= int(call.stats(1)["speech_ms"]) <= 2000
    control.request("detect_speech", bridge=call.id, leg=1, is_on=0)
    assert "speech_ms" not in call.stats(1)
    with pytest.raises(RequestError) as caught:
        control.request("detect_speech", bridge=call.id, leg=2, is_on=1)
    assert caught.value.status == NOT_FOUND


def test_while_it_is_sensitive_keys_are_told_to_nobody_and_still_reach_the_other_party(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU), codec(101, EVENTS)], [codec(0, PCMU), codec(101, EVENTS)])
    control.request("set_sensitive", bridge=call.id, is_on=1)
    seq = press(call.a, "4", 1, 8000)
    assert read_events(call.b, 1) == [(101, "4", 100)]
    control.request("set_sensitive", bridge=call.id, is_on=0)
    press(call.a, "9", seq, 20_000)
    assert told(control) == (0, "9", 1)
    assert not [e for e in control.events if e.kind == "digit"]


def test_wrong_requests_are_refused_and_nothing_is_keyed(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU), codec(101, EVENTS)], [])

    def status(op: str, **fields: object) -> int:
        with pytest.raises(RequestError) as caught:
            control.request(op, **{"bridge": call.id, "leg": 0, **fields})
        return caught.value.status

    assert status("send_digits", digits=b"12x") == INVALID
    assert status("send_digits", digits=b"") != 0
    assert status("send_digits", digits=b"1" * 65) == INVALID
    assert status("send_digits", digits=b"1", digit_ms=39) == INVALID
    assert status("send_digits", digits=b"1", gap_ms=5001) == INVALID
    assert status("send_digits", digits=b"1", leg=2) == NOT_FOUND
    assert status("send_digits", digits=b"1", leg=1) == STATE
    assert status("send_digits", digits=b"1", bridge=uuid.uuid4()) == NOT_FOUND
    assert status("detect_tones", leg=1, is_on=1) == STATE
    assert status("detect_tones", leg=0, is_on=2) == INVALID
    control.request("send_digits", bridge=call.id, leg=0, digits=b"1" * 40, digit_ms=5000)
    assert status("send_digits", digits=b"2" * 30) == LIMIT
    call.a.rtp.settimeout(10)
    assert struct.unpack(">BBH", parse(call.a.receive()).payload)[0] == 1


def test_the_port_of_a_party_that_is_gone_does_not_hold_up_keys(control: Controller) -> None:
    call = call_with(control, [codec(0, PCMU), codec(101, EVENTS)], [codec(0, PCMU)])
    call.set_leg(0, codec=[codec(0, PCMU), codec(101, EVENTS)], remote_ip=socket.inet_aton("0.0.0.0"), remote_port=0)
    control.request("send_digits", bridge=call.id, leg=0, digits=b"1", digit_ms=40, gap_ms=40)
    call.close()
