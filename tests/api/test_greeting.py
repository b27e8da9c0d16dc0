"""/v1/agents/{id}/greeting: an agent's own greeting, told and erased as the recording that it is."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import av
import numpy as np
import pytest

from hushwire.privacy import audit
from hushwire.services.greetings import GreetingsToErase
from hushwire.store import greetings
from hushwire.store.database import Connection
from tests.api.serving import Office, office, problem, shown
from tests.api.test_listening import recorded
from tests.polling import until

__all__ = ["office"]


async def made(office: Office, owner: UUID) -> UUID:
    """A greeting that callers hear, as the gateway leaves it."""
    recording = await recorded(office)
    async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
        await greetings.begin(connection, office.house.org, recording, owner, datetime.now(UTC))  # type: ignore[arg-type]
        assert await greetings.keep(connection, owner, recording)  # type: ignore[arg-type]
    return recording


async def test_a_greeting_is_told_of_and_erased_by_the_one_path(office: Office) -> None:
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    first = await made(office, anna)
    second = await made(office, anna)
    async with office.client() as api, office.client("owner", "globex") as foreign:
        problem(await api.get(f"/v1/agents/{ben}/greeting"), 404)
        problem(await foreign.get(f"/v1/agents/{anna}/greeting"), 404)
        problem(await foreign.delete(f"/v1/agents/{anna}/greeting"), 404)
        found = shown(await api.get(f"/v1/agents/{anna}/greeting"))
        assert found["recording_id"] == str(second)
        assert found["duration_ms"] > 0
        assert await office.rows("SELECT state FROM voicemail_greetings WHERE recording_id = $1", first) == [{"state": "over"}]
        assert shown(await api.get("/v1/voicemail"))["items"] == []
        assert shown(await api.delete(f"/v1/agents/{anna}/greeting"))["recording_id"] == str(second)
        problem(await api.get(f"/v1/agents/{anna}/greeting"), 404)
        problem(await api.delete(f"/v1/agents/{anna}/greeting"), 404)
        await (await office.house.upkeep()).carry_on()
        assert await office.rows("SELECT 1 FROM voicemail_greetings WHERE recording_id = $1", second) == []


async def test_a_replaced_greeting_that_a_hold_keeps_is_heard_by_nobody_and_goes_with_the_holds_release(office: Office) -> None:
    anna = await office.add_agent("anna")
    first = await made(office, anna)
    clock, worker = office.house.clock, await office.house.main("worker")
    erasing = GreetingsToErase(worker, await office.house.erasures("worker"), clock)
    async with office.client() as api:
        wanted = {"scope": "recording", "id": str(first), "reason": "litigation", "authority": "a court"}
        placed = await api.post("/v1/privacy/holds", json=wanted)
        assert placed.status_code == 201, placed.text
        await made(office, anna)
        assert await erasing.erase_all() == 0
        assert await office.rows("SELECT state FROM voicemail_greetings WHERE recording_id = $1", first) == [{"state": "held"}]
        assert await erasing.erase_all() == 0
        shown(await api.post(f"/v1/privacy/holds/{placed.json()['id']}/release"))
        await (await office.house.upkeep()).carry_on()
        assert await office.rows("SELECT state FROM recordings WHERE id = $1", first) == [{"state": "erased"}]


HERTZ = 700.0


def sound(seconds: float, container: str = "wav", hertz: float = HERTZ, level: float = 0.2) -> bytes:
    """A file of a tone, as somebody's computer writes it: two channels at 44,100."""
    samples = (level * 32767 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 44_100)) / 44_100)).astype(np.int16)
    file = io.BytesIO()
    if container == "wav":
        with wave.open(file, "wb") as writer:
            writer.setparams((2, 2, 44_100, 0, "NONE", ""))
            writer.writeframes(np.repeat(samples, 2).tobytes())
        return file.getvalue()
    codec = {"mp3": "libmp3lame", "ogg": "libvorbis", "mp4": "aac"}[container]
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=44_100)
        stream.layout = "stereo"
        resampler = av.AudioResampler(format=stream.format.name, layout="stereo", rate=44_100, frame_size=stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(np.repeat(samples, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = 44_100
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def pitch(wav: bytes) -> float:
    """The loudest frequency of what is played."""
    with av.open(io.BytesIO(wav)) as container:
        rate = container.streams.audio[0].rate
        samples = np.concatenate([frame.to_ndarray().reshape(-1, 2)[:, 0] for frame in container.decode(audio=0)]).astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


@pytest.mark.parametrize("container", ["wav", "mp4"])
async def test_a_greeting_is_given_as_a_file_and_is_a_recording_from_then_on(office: Office, container: str) -> None:
    anna = await office.add_agent("anna")
    before = await made(office, anna)
    async with office.client() as api, office.client("owner", "globex") as foreign, office.client("auditor") as reader:
        path, kind = f"/v1/agents/{anna}/greeting", {"Content-Type": "audio/x-whatever"}
        problem(await foreign.put(path, content=sound(1), headers=kind), 404)
        problem(await reader.put(path, content=sound(1), headers=kind), 403)
        given = shown(await api.put(path, content=sound(2, container), headers=kind))
        assert shown(await api.get(path)) == given
        assert 1900 <= given["duration_ms"] <= 2150
        spool = list((office.house.folder / "spool").glob("given-*"))
        assert len(spool) == 1
        assert spool[0].read_bytes()[:4] == b"HWR1"
        recording = given["recording_id"]
        # Sealed, shipped, listed and played as any other; no call brought it.
        row = shown(await api.get(f"/v1/recordings/{recording}"))
        assert (row["call_id"], row["agent"], row["is_cut"]) == (None, "anna", False)
        assert await (await office.house.shipping()).ship_all() >= 1
        assert not list((office.house.folder / "spool").glob("given-*"))
        answer = await api.get(f"/v1/recordings/{recording}/audio?format=wav")
        assert answer.status_code == 200
        assert abs(pitch(answer.content) - HERTZ) < 5
        # The one before is erased on the word of who replaced it, and so is this one in the end.
        problem(await api.get(f"/v1/recordings/{before}/audio"), 410)
        assert shown(await api.delete(path))["recording_id"] == recording
        problem(await api.get(path), 404)
        problem(await api.get(f"/v1/recordings/{recording}/audio"), 410)
        acts = await office.rows("SELECT action FROM audit_log WHERE object = $1", f"agent:{anna}")
        assert {"action": "agent.rectified"} in acts


async def test_what_is_no_greeting_is_refused_in_one_sentence_and_changes_nothing(office: Office) -> None:
    anna = await office.add_agent("anna")
    used = await made(office, anna)
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    async with office.client() as api:
        path = f"/v1/agents/{anna}/greeting"
        for content, why in (
            (b"", "no sound"),
            (b"RIFF\x00\x00\x00\x00WAVE", "no sound"),
            (playlist, "no sound"),
            (b"ffconcat version 1.0\nfile /etc/passwd\n", "no sound"),
            (sound(1, level=0.0), "silence"),
            (sound(2)[:30], "no sound"),
        ):
            told = problem(await api.put(path, content=content, headers={"Content-Type": "audio/wav"}), 422)
            assert why in told["detail"], told
            assert "passwd" not in str(told)
        with wave.open(long := io.BytesIO(), "wb") as writer:
            writer.setparams((1, 1, 8_000, 0, "NONE", ""))
            writer.writeframes(bytes(range(0, 250)) * (8_000 * 61 // 250 + 1))
        assert "longer than 60 seconds" in str(
            problem(await api.put(path, content=long.getvalue(), headers={"Content-Type": "audio/wav"}), 422)
        )
        problem(await api.put(path, content=bytes((1 << 20) + 1), headers={"Content-Type": "audio/wav"}), 413)
        problem(await api.put(path, content=bytes((16 << 20) + 1), headers={"Content-Type": "audio/wav"}), 413)
        problem(await api.put(path, content=sound(1), headers={"Content-Type": "text/html"}), 415)
        problem(await api.put(path, json={"a": 1}), 415)
        problem(await api.put(f"/v1/agents/{UUID(int=5)}/greeting", content=sound(1), headers={"Content-Type": "audio/wav"}), 404)
        assert shown(await api.get(path))["recording_id"] == str(used)
    assert not list((office.house.folder / "spool").glob("given-*"))


async def test_a_file_whose_maker_died_before_its_row_is_removed_after_some_hours(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        shown(await api.put(f"/v1/agents/{anna}/greeting", content=sound(1), headers={"Content-Type": "audio/wav"}))
    (file,) = (office.house.folder / "spool").glob("given-*")
    lost = file.with_name("given-lost.hwr")
    lost.write_bytes(file.read_bytes()[:24] + UUID(int=77).bytes + file.read_bytes()[40:])
    shipping = await office.house.shipping()
    await shipping.tidy_spool()
    assert lost.exists()
    office.house.clock.ahead += timedelta(hours=8)
    await shipping.tidy_spool()
    assert not lost.exists()
    assert file.exists(), "that one has a row"


async def test_a_greeting_whose_commit_nobody_was_told_of_is_there_with_its_file(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = await office.add_agent("anna")

    async def cut(connection: Connection, *_: object) -> None:
        await connection.execute("COMMIT")
        raise ConnectionResetError

    async with office.client() as api:
        path = f"/v1/agents/{anna}/greeting"
        with monkeypatch.context() as broken:
            broken.setattr(audit, "append", cut)
            answer = await api.put(path, content=sound(1), headers={"Content-Type": "audio/wav"})
            assert answer.status_code >= 500, answer.text
        recording = shown(await api.get(path))["recording_id"]
        assert await (await office.house.shipping()).ship_all() >= 1
        assert (await api.get(f"/v1/recordings/{recording}/audio?format=wav")).status_code == 200


async def test_of_an_organisation_one_file_at_a_time_is_read_from_its_first_byte_on(office: Office) -> None:
    """However many its keys send at once: what waits in memory is one file of each."""
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    kind, rest = {"Content-Type": "audio/wav"}, asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield sound(1)[:100]
        await rest.wait()
        yield sound(1)[100:]

    async with office.client() as api:
        first = asyncio.create_task(api.put(f"/v1/agents/{anna}/greeting", content=slowly(), headers=kind))
        await until(lambda: office.house.org in office.means.greeting_uploads._busy, what="the first one is being read")
        problem(await api.put(f"/v1/agents/{ben}/greeting", content=sound(1), headers=kind), 429)
        rest.set()
        shown(await first)
