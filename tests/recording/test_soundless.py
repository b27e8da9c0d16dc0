"""Packets of a recording that are no sound: comfort noise and digits are silence, and nothing of them is a loss."""

import pytest

from hushwire.recording.history import LegHistory
from hushwire.recording.timeline import Timeline
from tests.native.call import rtp

RATE = 8000
FORMATS = {0: "PCMU/8000", 13: "CN/8000", 101: "telephone-event/8000"}
LOUD, QUIET = b"\x90" * 160, b"\x3c"


def heard(packets: list[tuple[int, bytes]]) -> tuple[Timeline, dict[str, object]]:
    """The line of packets, each with the milliseconds at which it came, and what its history tells."""
    history = LegHistory(RATE)
    line = Timeline(RATE, history)
    line.set_formats(FORMATS)
    for ordinal, (ms, packet) in enumerate(packets):
        line.add(ms * 10, packet, ordinal)
    line.flush()
    return line, history.report(line.counts, 2400).as_json()


def spoken(first: int, begin_ms: int, count: int) -> list[tuple[int, bytes]]:
    return [(begin_ms + 20 * n, rtp(first + n, 8 * (begin_ms + 20 * n), 7, LOUD)) for n in range(count)]


@pytest.mark.parametrize(("number", "payload"), [(13, QUIET), (101, b"\x05\x80\x03\x20")], ids=["comfort noise", "a digit"])
def test_what_stands_in_for_sound_is_a_gap_of_silence_and_not_a_loss(number: int, payload: bytes) -> None:
    noise = [(400 + 500 * n, rtp(20 + n, 8 * (400 + 500 * n), 7, payload, pt=number)) for n in range(3)]
    line, told = heard([*spoken(0, 0, 20), *noise, *spoken(23, 2000, 20)])
    assert told["lost"] == ()
    assert told["not_sound"] == 3
    assert [(gap["from_ms"], gap["to_ms"]) for gap in told["gaps"]] == [(400, 2000)]  # type: ignore[attr-defined]
    samples = line.take(RATE * 24 // 10)
    assert not samples[RATE * 4 // 10 + 8 : RATE * 2 - 8].any()
    assert samples[:100].any()
    assert samples[RATE * 2 + 8 : RATE * 2 + 100].any()


def test_a_packet_that_is_missing_beside_comfort_noise_is_still_a_loss() -> None:
    noise = (400, rtp(20, 3200, 7, QUIET, pt=13))
    _, told = heard([*spoken(0, 0, 20), noise, *spoken(22, 1000, 20)])
    assert [interval["packets"] for interval in told["lost"]] == [1]  # type: ignore[attr-defined]
