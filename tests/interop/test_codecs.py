"""G722 and PCMA from end to end: two PJSUA2 phones, and the recording played back over the API at its own rate."""

import io
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from hushwire.app.demo.correlate import correlate, correlate_with_slips
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, Voice, bundled
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment
from tests.interop.hearing import End, hear_each_other
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

WIDE = 16000
Samples = NDArray[np.int16]


def wide(voice: Voice, seed: int) -> Samples:
    """Speech at 16 kHz with a hiss from 4.6 to 6.4 kHz in its rhythm, which no path of 8 kHz lets through."""
    narrow = bundled(voice).astype(np.float64)
    spectrum = np.fft.rfft(narrow)
    speech = np.fft.irfft(np.concatenate([spectrum, np.zeros(len(narrow) + 1 - len(spectrum))]), 2 * len(narrow)) * 2
    hiss = band(np.random.default_rng(seed).standard_normal(len(speech)), 4600, 6400)
    loudness = np.convolve(np.abs(speech), np.ones(800) / 800, "same")
    return np.clip(speech + hiss / hiss.std() * loudness * 0.6, -32000, 32000).astype(np.int16)


def band(samples: NDArray[Any], low: int, high: int) -> NDArray[np.float64]:
    """What a sound at 16 kHz holds between two frequencies."""
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / WIDE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, len(samples))


def stereo(audio: bytes) -> tuple[int, Samples, Samples]:
    """Rate, left and right channel of a WAV file, as they are."""
    with av.open(io.BytesIO(audio), "r") as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.channels == 2
        resampler = av.AudioResampler(format="s16p", layout="stereo", rate=stream.rate)
        pieces = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        both = np.concatenate(pieces, axis=1).astype(np.int16)
        return stream.rate, both[0], both[1]


async def recorded(running: Deployment, known: set[str]) -> tuple[int, Samples, Samples]:
    """The audio of the one recording that was not known before, once it is closed."""

    async def look() -> list[str]:
        items = (await running.api().get("/v1/recordings"))["items"]
        return [row["id"] for row in items if row["id"] not in known and row["state"] in ("closed", "stored")]

    (found,) = await until(look, what="the call's recording closed")
    answer = await running.api().ask("GET", f"/v1/recordings/{found}/audio?format=wav")
    assert answer.status == 200, answer.body
    return stereo(answer.body)


def assert_whole(sent: Samples, own: Samples, heard: Samples, rate: int) -> None:
    """What was heard is what was sent, and not what the other party said."""
    assert len(heard) > rate
    assert correlate_with_slips(sent[: len(heard)], heard, rate).score >= 0.9
    assert correlate(own, heard, rate).score < 0.3


def is_wide(sent: Samples, heard: Samples) -> bool:
    """Whether the hiss above 4 kHz came through too (G722 codes it with two bits a sample)."""
    circle = np.concatenate([sent, sent])
    longest_ms = 1000 * len(circle) / WIDE
    return correlate_with_slips(band(heard, 4600, 6400), band(circle, 4600, 6400), WIDE, max_delay_ms=longest_ms).score >= 0.6


@pytest.mark.parametrize("inbound", [False, True], ids=["from the agent", "from the carrier"])
@pytest.mark.parametrize("codec", ["G722", "PCMA"])
async def test_a_call_is_heard_and_its_recording_plays_both_speakers_in_the_codecs_own_width(
    deployment: Deployment, codec: str, inbound: bool
) -> None:
    rate = WIDE if codec == "G722" else RATE
    mine, theirs = (wide(AGENT, 1), wide(CARRIER, 2)) if rate == WIDE else (bundled(AGENT), bundled(CARRIER))
    known = {row["id"] for row in (await deployment.api().get("/v1/recordings"))["items"]}
    opened = {"codecs": [codec], "rate": rate, "speech": theirs}
    async with deployment.carrier(opened=opened) as carrier, deployment.phone("anna", codecs=[codec], rate=rate, speech=mine) as anna:
        if inbound:
            host, port = deployment.stack.sip("udp")
            far = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
            near = int((await anna.expect("incoming"))["call"])
        else:
            near = await anna.call(deployment.uri(FAR_NUMBER))
            far = int((await carrier.expect("incoming"))["call"])
        await anna.expect_state(near, "confirmed")
        await carrier.expect_state(far, "confirmed")
        at_anna, at_carrier = End(anna, near, mine), End(carrier, far, theirs)
        await hear_each_other(at_anna, at_carrier, fits=is_wide if rate == WIDE else lambda *_: True)
        (row,) = (await deployment.api().get("/v1/calls?state=active"))["items"]
        assert row["agent_leg"]["codec"] == row["peer_leg"]["codec"] == codec
        await anna.hangup(near)
        await carrier.expect_state(far, "disconnected")
        kept_rate, left, right = await recorded(deployment, known)
        assert kept_rate == rate
        assert_whole(mine, theirs, left, rate)
        assert_whole(theirs, mine, right, rate)
        if rate == WIDE:
            assert is_wide(mine, left)
            assert is_wide(theirs, right)
