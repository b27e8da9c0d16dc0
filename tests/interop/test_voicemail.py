"""Voicemail with softphones that we did not write: one leaves a message, the other hears it by phone, and the API plays the same."""

import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio

from hushwire.app.demo.party import Party
from tests.deployments import PROVISIONING, Deployment, Kind, start_deployment
from tests.interop.tones import tone
from tests.polling import until
from tests.services.listening import tone_file

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

GREETING, TONE, NEW, MENU, DELETED, END = 890.0, 1310.0, 700.0, 1510.0, 1910.0, 2310.0
MESSAGE = {"pjsua2": 430.0, "baresip": 530.0}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def answering() -> AsyncIterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="hushwire-voicemail-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        said = {"new": NEW, "menu": MENU, "deleted": DELETED, "end": END}
        words = "\n".join(f'voicemail.{word} = "{tone_file(folder / f"{word}.wav", hertz, 0.6)}"' for word, hertz in said.items())
        more = f"""
[sounds]
greetings.default = "{tone_file(folder / "greeting.wav", GREETING, 1.0)}"
beep = "{tone_file(folder / "beep.wav", TONE, 0.4)}"
{words}

[voicemail]
longest_s = 5
"""
        async with start_deployment(more=more, provisioning=PROVISIONING) as running:
            yield running


def strongest(samples: Any, rate: int) -> list[int]:
    """The loudest frequency of each 50 ms, to the next 10 Hz; 0 for silence."""
    size = rate // 20
    found = []
    for at in range(0, len(samples) - size + 1, size):
        block = np.asarray(samples[at : at + size], dtype=float)
        is_quiet = np.sqrt(np.mean(block**2)) < 300
        spectrum = np.abs(np.fft.rfft(block * np.hanning(size), 8 * size))
        found.append(0 if is_quiet else round(float(np.argmax(spectrum)) * rate / (8 * size) / 10) * 10)
    return found


def seconds_of(found: list[int], hertz: float) -> float:
    return sum(abs(one - hertz) <= 15 for one in found) / 20


async def heard(party: Party, call: int, hertz: float, seconds: float) -> list[int]:
    """What a party heard, once there is so much of a tone in it."""

    async def is_so() -> list[int] | None:
        told = await party.heard(call)
        found = strongest(told.samples, told.rate)
        return found if seconds_of(found, hertz) >= seconds else None

    found = await until(is_so, timeout_s=15, what=f"{seconds} s of {hertz} Hz")
    assert found is not None
    return found


@pytest.mark.parametrize("leaver", ["pjsua2", "baresip"])
async def test_what_one_stack_leaves_another_hears_by_phone_and_the_api_plays_the_same(answering: Deployment, leaver: Kind) -> None:
    api, said = answering.api(), MESSAGE[leaver]
    listener: Kind = "baresip" if leaver == "pjsua2" else "pjsua2"
    async with answering.phone("anna", kind=leaver, speech=tone(said)) as anna:
        call = await anna.call(answering.uri("*98102"))
        await anna.expect_state(call, "confirmed")
        greeted = await heard(anna, call, TONE, 0.2)
        assert seconds_of(greeted, GREETING) >= 0.7
        await anna.expect_state(call, "disconnected")  # as long as a message may be

    async def left() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = (await api.get("/v1/voicemail?agent=ben&unread=true"))["items"]
        return items if items and items[0]["duration_ms"] else None

    messages = await until(left, timeout_s=10, what="the message lies in the mailbox")
    assert messages is not None
    (message,) = messages
    assert message["caller"] == "anna"
    assert 4000 <= message["speech_ms"] <= 5600
    wav = (await api.ask("GET", f"/v1/voicemail/{message['id']}/audio?format=wav")).body
    with av.open(io.BytesIO(wav)) as container:
        frames = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    left_side, right_side = np.concatenate(frames).T
    assert seconds_of(strongest(left_side, rate), said) >= 4.0
    assert not np.any(right_side), "nobody but the caller is in it"
    assert not seconds_of(strongest(left_side, rate), TONE)
    async with answering.phone("ben", kind=listener) as ben:
        call = await ben.call(answering.uri("*97"))
        await ben.expect_state(call, "confirmed")
        await heard(ben, call, said, 3.5)
        await heard(ben, call, MENU, 0.3)
        await ben.tell("dtmf", call=call, digits="7")
        found = await heard(ben, call, DELETED, 0.3)
        assert [seconds_of(found, hertz) > 0.3 for hertz in (NEW, said, MENU)] == [True] * 3
        await ben.expect_state(call, "disconnected")

    async def gone() -> bool:
        is_listed = bool((await api.get("/v1/voicemail?agent=ben"))["items"])
        return not is_listed and (await api.ask("GET", f"/v1/recordings/{message['id']}")).status == 410

    await until(gone, timeout_s=10, what="the message is erased")


async def test_a_greeting_that_was_given_as_a_file_is_what_callers_hear(answering: Deployment, tmp_path: Path) -> None:
    api, given = answering.api(), 610.0
    (ben,) = (agent for agent in (await api.get("/v1/agents"))["items"] if agent["username"] == "ben")
    path, file = f"/v1/agents/{ben['id']}/greeting", tone_file(tmp_path / "given.wav", given, 1.5).read_bytes()
    api.accepted(await api.ask("PUT", path, file, {"Content-Type": "audio/wav"}), "PUT", path)
    try:
        async with answering.phone("anna", speech=tone(MESSAGE["pjsua2"])) as anna:
            call = await anna.call(answering.uri("*98102"))
            await anna.expect_state(call, "confirmed")
            greeted = await heard(anna, call, TONE, 0.2)
            assert seconds_of(greeted, given) >= 1.0
            assert not seconds_of(greeted, GREETING)
            await anna.hangup(call)
    finally:
        api.accepted(await api.ask("DELETE", path), "DELETE", path)
