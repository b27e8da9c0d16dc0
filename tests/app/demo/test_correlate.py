import numpy as np
import pytest

from hushwire.app.demo.correlate import correlate, correlate_with_slips
from hushwire.app.demo.speech import AGENT, CARRIER, bundled, speak

RATE = 8000


def late(samples: np.ndarray, ms: float) -> np.ndarray:
    return np.concatenate([np.zeros(int(ms * RATE / 1000), dtype=np.int16), samples])


def test_the_same_speech_heard_later_quieter_and_noisier_scores_high_and_its_delay_is_found() -> None:
    speech = bundled(AGENT)
    noise = np.random.default_rng(1).normal(0, 60, len(speech))
    heard = late((speech * 0.4 + noise).astype(np.int16), 130)
    match = correlate(speech, heard, RATE)
    assert match.score >= 0.95
    assert match.delay_ms == pytest.approx(130, abs=0.2)


def test_a_recording_that_begins_after_the_speech_has_a_negative_delay() -> None:
    speech = bundled(AGENT)
    match = correlate(speech, speech[4000:], RATE)
    assert match.score >= 0.99
    assert match.delay_ms == pytest.approx(-500, abs=0.2)


@pytest.mark.parametrize("measure", [correlate, correlate_with_slips])
def test_two_different_speakers_score_below_0_3(measure) -> None:
    agent, carrier = bundled(AGENT), bundled(CARRIER)
    assert measure(agent, late(carrier, 77), RATE).score < 0.3
    assert measure(carrier, late(agent, 77), RATE).score < 0.3


def test_swapped_channels_are_noticed() -> None:
    agent, carrier = bundled(AGENT), bundled(CARRIER)
    length = min(len(agent), len(carrier))
    stereo = np.stack([late(agent[:length], 20), late(carrier[:length], 20)])
    swapped = stereo[::-1]
    assert correlate(agent, stereo[0], RATE).score >= 0.9
    assert correlate(agent, swapped[0], RATE).score < 0.3
    assert correlate(carrier, swapped[1], RATE).score < 0.3


def test_an_echo_of_ones_own_speech_under_the_others_is_noticed() -> None:
    agent, carrier = bundled(AGENT), bundled(CARRIER)
    length = min(len(agent), len(carrier))
    heard = carrier[:length] + late((agent * 0.5).astype(np.int16), 60)[:length]
    assert correlate(agent, heard, RATE).score >= 0.3


def test_whole_packets_slipped_by_a_jitter_buffer_do_not_hide_the_speech() -> None:
    speech = bundled(AGENT)
    heard = late(np.concatenate([speech[:24000], speech[24160:48000], np.zeros(320, dtype=np.int16), speech[48000:]]), 60)
    assert correlate(speech, heard, RATE).score < 0.9
    assert correlate_with_slips(speech, heard, RATE).score >= 0.9


@pytest.mark.parametrize("heard", [np.zeros(0, dtype=np.int16), np.zeros(80000, dtype=np.int16), np.full(80000, 900, dtype=np.int16)])
def test_silence_matches_nothing(heard: np.ndarray) -> None:
    assert correlate(bundled(AGENT), heard, RATE).score == 0
    assert correlate_with_slips(bundled(AGENT), heard, RATE).score == 0


def test_a_short_piece_of_the_right_speech_in_a_long_silence_is_not_enough() -> None:
    speech = bundled(AGENT)
    heard = np.zeros(len(speech), dtype=np.int16)
    heard[:4000] = speech[:4000]
    assert correlate(speech, heard, RATE).score < 0.9


def test_what_espeak_says_now_is_two_different_speeches_of_more_than_ten_seconds() -> None:
    agent, carrier = speak(AGENT), speak(CARRIER)
    assert len(agent) > 10 * RATE
    assert len(carrier) > 10 * RATE
    assert correlate(agent, carrier, RATE).score < 0.3
