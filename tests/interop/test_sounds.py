"""What softphones and a carrier that we did not write hear of hushwire's own sounds: music, announcement, beep, a spoken refusal."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio

from hushwire.app.demo.correlate import correlate_with_slips
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from tests.deployments import FAR_NUMBER, PROVISIONING, Deployment, Kind, start_deployment
from tests.polling import until
from tests.services.listening import tone_file

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

KINDS = ["pjsua2", "baresip"]
MUSIC, ANNOUNCEMENT, BEEP, REFUSED = 610, 890, 1310, 480
WANTED = """\
agent_srtp = "required"
recording_consent = "announced"
ringback = "early"
music_on_hold = true
announcement = "peer"
beep = "both"
beep_every_s = 5
spoken_refusals = true
"""


def music(path: Path) -> Path:
    """A stereo Ogg/Opus file that holds one tone: as far from a telephone's codec as files are."""
    at = np.arange(48_000 * 2) / 48_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="stereo")
        wave = (9_000 * np.sin(2 * np.pi * MUSIC * at)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format.name, "stereo", 48_000, stream.frame_size or 960)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    path.chmod(0o644)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sounding() -> AsyncIterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="hushwire-sounds-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        more = f"""
[sounds]
music_on_hold = "{music(folder / "music.ogg")}"
announcement = "{tone_file(folder / "announcement.wav", ANNOUNCEMENT, 1.0)}"
beep = "{tone_file(folder / "beep.wav", BEEP, 0.4)}"
refusals.country = "{tone_file(folder / "refused.wav", REFUSED, 1.5)}"
"""
        async with start_deployment(more=more, provisioning=PROVISIONING.replace('agent_srtp = "required"\n', WANTED, 1)) as running:
            yield running


async def heard_s(party: Party, call: int, hertz: float) -> float:
    """How many seconds of a tone a party heard."""
    heard = await party.heard(call)
    size = heard.rate // 20
    found = 0
    for at in range(0, len(heard.samples) - size, size):
        block = heard.samples[at : at + size].astype(float)
        if np.sqrt(np.mean(block**2)) < 300:
            continue
        spectrum = np.abs(np.fft.rfft(block * np.hanning(size), 8 * size))
        found += abs(np.argmax(spectrum) * heard.rate / (8 * size) - hertz) < 12
    return found / 20


SYLLABLE_S = 0.2
"""Speech may have the tone of a sound for a few blocks of a twentieth second: less of it than this is none."""


async def hears(party: Party, call: int, hertz: float, seconds: float) -> None:
    async def is_so() -> bool:
        return await heard_s(party, call, hertz) >= seconds

    # Not often: baresip hands out what it heard between two of its packets, and misses some when asked without a pause.
    await until(is_so, timeout_s=20, every_s=0.25, what=f"{seconds} s of {hertz} Hz")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_hears_ringing_and_then_the_carrier_and_both_in_codecs_that_they_agreed_to(sounding: Deployment, kind: Kind) -> None:
    async with sounding.carrier(ring_s=2.0) as carrier, sounding.phone("anna", kind=kind) as anna:
        call = await anna.call(sounding.uri(FAR_NUMBER))
        incoming = (await carrier.expect("incoming"))["call"]
        await hears(anna, call, 425, 0.7)
        await anna.expect_state(call, "confirmed")
        begun = len((await anna.heard(call)).samples)
        await hears(carrier, incoming, ANNOUNCEMENT, 0.8)

        async def hear_each_other() -> bool:
            here, there = (await anna.heard(call)).samples[begun:], (await carrier.heard(incoming)).samples[2 * RATE :]
            if min(len(here), len(there)) < 3 * RATE:
                return False
            return (
                min(correlate_with_slips(here, bundled(CARRIER), RATE).score, correlate_with_slips(there, bundled(AGENT), RATE).score) > 0.6
            )

        await until(hear_each_other, timeout_s=25, what="both hear each other")
        await anna.hangup(call)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_agents_hold_plays_music_to_the_carrier_until_it_is_resumed(sounding: Deployment, kind: Kind) -> None:
    async with sounding.carrier() as carrier, sounding.phone("anna", kind=kind) as anna:
        call = await anna.call(sounding.uri(FAR_NUMBER))
        incoming = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")
        await hears(carrier, incoming, ANNOUNCEMENT, 0.8)
        assert await heard_s(carrier, incoming, MUSIC) < SYLLABLE_S
        seen = len(carrier.events)
        await anna.tell("hold", call=call)
        await hears(carrier, incoming, MUSIC, 1.5)
        await anna.tell("resume", call=call)
        resumed = len((await carrier.heard(incoming)).samples)

        async def hears_the_agent_again() -> bool:
            since = (await carrier.heard(incoming)).samples[resumed + RATE // 2 :]
            return len(since) > 2 * RATE and correlate_with_slips(since, bundled(AGENT), RATE).score > 0.6

        await until(hears_the_agent_again, timeout_s=20, what="the agent's own voice after the hold")
        assert [event for event in carrier.events[seen:] if event["event"] == "media"] == []  # its dialog was left alone
        assert await heard_s(anna, call, MUSIC) < SYLLABLE_S
        await anna.hangup(call)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_carrier_hears_the_announcement_at_answer_and_it_is_kept_as_evidence(sounding: Deployment, kind: Kind) -> None:
    async with sounding.carrier() as carrier, sounding.phone("anna", kind=kind) as anna:
        call = await anna.call(sounding.uri(FAR_NUMBER))
        incoming = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")
        await hears(carrier, incoming, ANNOUNCEMENT, 0.8)
        (live,) = [row for row in (await sounding.api().get("/v1/calls"))["items"] if row["state"] == "active"]

        async def evidence() -> list[str]:
            found = await sounding.api().get(f"/v1/privacy/consents?call={live['id']}")
            return [row["how"] for row in found["items"]]

        await until(evidence, timeout_s=20, what="the announcement's evidence")
        assert await evidence() == ["announcement-played"]
        assert await heard_s(anna, call, ANNOUNCEMENT) < SYLLABLE_S
        await anna.hangup(call)


@pytest.mark.parametrize("kind", KINDS)
async def test_both_parties_hear_a_beep_while_the_call_is_recorded(sounding: Deployment, kind: Kind) -> None:
    async with sounding.carrier() as carrier, sounding.phone("anna", kind=kind) as anna:
        call = await anna.call(sounding.uri(FAR_NUMBER))
        incoming = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")
        await hears(carrier, incoming, BEEP, 0.5)  # more than one
        await hears(anna, call, BEEP, 0.5)
        await anna.hangup(call)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_hears_why_a_call_is_refused_and_the_carrier_hears_nothing(sounding: Deployment, kind: Kind) -> None:
    async with sounding.carrier() as carrier, sounding.phone("anna", kind=kind) as anna:
        call = await anna.call(sounding.uri("+33142685300"))
        await anna.expect_state(call, "early")
        ended = await anna.expect_state(call, "disconnected")
        assert ended["status"] == 403
        assert await heard_s(anna, call, REFUSED) >= 1.0
        assert carrier.events == []
