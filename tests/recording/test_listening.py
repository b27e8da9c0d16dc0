"""Recordings as the API gives them out: logged before they flow, ended by an erasure, never without a key."""

import io
import struct
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import av
import numpy as np
import pytest

from hushwire.core.ids import AgentId, OrgId, RecordingId
from hushwire.recording import entries
from hushwire.recording.containers import AudioFormat
from hushwire.recording.entries import Entry
from hushwire.recording.failures import Failure, RecordingError
from hushwire.recording.playback import Player
from hushwire.services.erasure import Erased, Pending
from hushwire.services.recordings import Audio, Elsewhere, Gone, Missing, PlaybackEnded
from hushwire.store.recordings import RecordingFilter
from hushwire.vault.unseal import Why
from tests.recorded import House, house
from tests.store.rows import add_agent

__all__ = ["house"]

WHY = Why("api-key:7", "quality-assurance")


def call(seconds: float) -> list[list[Entry]]:
    """A call in which the agent says a loud byte and the other party a quiet one, a frame each 500 ms."""
    frames = [[entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2)]]
    for n in range(int(seconds * 50)):
        for leg, loudness in ((0, 0x80), (1, 0xB0)):
            packet = struct.pack(">BBHII", 0x80, 0, n & 0xFFFF, 160 * n, 5 + leg) + bytes([loudness]) * 160
            frames[-1].append(entries.rtp(leg, n * 200, packet))
        if n % 25 == 24:
            frames.append([])
    return [*frames, [entries.end(round(seconds * 10_000))]]


async def audio_of(house: House, recording: RecordingId, audio_format: AudioFormat = AudioFormat.WAV) -> tuple[Audio, bytes]:
    audio = await (await house.recordings()).open_audio(house.org, recording, audio_format, WHY)
    assert isinstance(audio, Audio)
    return audio, b"".join([chunk async for chunk in audio.chunks])


async def accesses(house: House) -> list[tuple[str, str, str]]:
    async with (await house.main("api")).organisation(house.org) as connection:
        return [tuple(row) for row in await connection.fetch("SELECT actor, purpose, object FROM access_log")]


@pytest.mark.parametrize("audio_format", list(AudioFormat))
@pytest.mark.parametrize("place", ["spool", "store"])
async def test_a_recording_plays_from_the_spool_and_from_the_store(house: House, audio_format: AudioFormat, place: str) -> None:
    recording = await house.record(call(3))
    if place == "store":
        await (await house.shipping()).ship_all()
    audio, data = await audio_of(house, recording, audio_format)
    assert not audio.is_cut
    assert audio.media_type == audio_format.media_type
    with av.open(io.BytesIO(data)) as container:
        assert container.duration == pytest.approx(3_000_000, abs=50_000)
        frame = list(container.decode(audio=0))[20]
    left, right = np.abs(av.AudioResampler(format="s16", layout="stereo").resample(frame)[0].to_ndarray().reshape(-1, 2)).mean(axis=0)
    assert left > 1.5 * right > 0
    if audio_format is AudioFormat.WAV:
        assert struct.unpack_from("<I", data, 40)[0] == len(data) - 44 == 3 * 8000 * 4


async def test_the_access_stands_in_the_log_before_a_byte_flows(house: House) -> None:
    recording = await house.record(call(1))
    audio = await (await house.recordings()).open_audio(house.org, recording, AudioFormat.OGG, WHY)
    assert await accesses(house) == [("api-key:7", "quality-assurance", f"recording:{recording}")]
    assert isinstance(audio, Audio)
    assert [chunk async for chunk in audio.chunks]


async def test_a_live_recording_plays_up_to_now_and_says_that_it_is_cut(house: House) -> None:
    recording = await house.record(call(3), state="live")
    for audio_format in AudioFormat:
        audio, data = await audio_of(house, recording, audio_format)
        assert audio.is_cut
        with av.open(io.BytesIO(data)) as container:
            assert container.duration == pytest.approx(3_000_000, abs=60_000)


async def test_a_crashed_recording_plays_before_and_after_it_was_shipped(house: House) -> None:
    recording = await house.record(call(3), state="crashed")
    audio, before = await audio_of(house, recording)
    assert audio.is_cut
    house.rest(recording)
    assert await (await house.shipping()).ship_all() == 1
    audio, after = await audio_of(house, recording)
    assert audio.is_cut
    assert before == after


async def test_a_crashed_recording_that_lost_more_in_the_store_is_an_error(house: House) -> None:
    recording = await house.record(call(3), state="crashed")
    house.rest(recording)
    assert await (await house.shipping()).ship_all() == 1
    (path,) = house.ciphertext(recording)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(RecordingError) as caught:
        await audio_of(house, recording)
    assert caught.value.failure is Failure.DIGEST_MISMATCH


async def test_a_damaged_file_ends_the_playback_with_an_error(house: House) -> None:
    recording = await house.record(call(3))
    (path,) = house.ciphertext(recording)
    damaged = bytearray(path.read_bytes())
    damaged[-500] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(RecordingError):
        await audio_of(house, recording)


async def test_an_erased_recording_is_gone_in_every_way(house: House) -> None:
    recording = await house.record(call(1))
    assert isinstance(await (await house.erasures()).erase(house.org, recording, actor="api-key:1", reason="request"), Erased)
    service = await house.recordings()
    assert await service.get(house.org, recording) == Gone()
    assert await service.open_audio(house.org, recording, AudioFormat.WAV, WHY) == Gone()
    assert await accesses(house) == []


async def test_an_erasure_ends_a_playback_that_is_under_way_within_a_second(house: House) -> None:
    recording = await house.record(call(120))
    service = await house.recordings()
    audio = await service.open_audio(house.org, recording, AudioFormat.WAV, WHY)
    assert isinstance(audio, Audio)
    heard = len(await anext(audio.chunks))
    assert isinstance(await (await house.erasures()).erase(house.org, recording, actor="api-key:1", reason="request"), Erased)
    house.clock.ahead += timedelta(seconds=1)
    ended = False
    try:
        async for chunk in audio.chunks:
            heard += len(chunk)
    except PlaybackEnded:
        ended = True
    assert ended
    assert heard < 30 * 8000 * 4


async def test_a_playback_never_reaches_its_end_without_a_key(house: House) -> None:
    recording = await house.record(call(20))
    audio = await (await house.recordings()).open_audio(house.org, recording, AudioFormat.WAV, WHY)
    assert isinstance(audio, Audio)
    await (await house.erasures()).erase(house.org, recording, actor="api-key:1", reason="request")
    with pytest.raises(PlaybackEnded):
        [chunk async for chunk in audio.chunks]


async def test_an_erasure_that_still_waits_for_a_live_call_ends_playback_too(house: House) -> None:
    recording = await house.record(call(20), state="live")
    audio = await (await house.recordings()).open_audio(house.org, recording, AudioFormat.OGG, WHY)
    assert isinstance(audio, Audio)
    outcome = await (await house.erasures()).erase(house.org, recording, actor="api-key:1", reason="request", wait_s=0.0)
    assert isinstance(outcome, Pending)
    with pytest.raises(PlaybackEnded):
        [chunk async for chunk in audio.chunks]


async def test_a_recording_without_its_key_is_gone_whatever_the_row_says(house: House) -> None:
    recording = await house.record(call(1))
    await (await house.keyring("worker")).destroy_data_key(house.org, "recording", recording)
    assert await (await house.recordings()).open_audio(house.org, recording, AudioFormat.WAV, WHY) == Gone()


async def test_what_is_unknown_or_another_organisations_is_missing(house: House) -> None:
    recording = await house.record(call(1))
    service = await house.recordings()
    assert await service.get(house.org, RecordingId(uuid4())) == Missing()
    other = OrgId(UUID(int=5))
    assert await service.get(other, recording) == Missing()
    assert await service.open_audio(other, recording, AudioFormat.WAV, WHY) == Missing()
    assert (await service.listed(other, RecordingFilter())).rows == []


async def test_bytes_in_another_machines_spool_are_elsewhere(house: House) -> None:
    recording = await house.record(call(1))
    house.ciphertext(recording)[0].unlink()
    assert await (await house.recordings()).open_audio(house.org, recording, AudioFormat.WAV, WHY) == Elsewhere()
    assert await accesses(house) == []


async def test_a_file_that_is_shipped_between_opening_and_reading_plays_from_the_store(house: House) -> None:
    recording = await house.record(call(2))
    audio = await (await house.recordings()).open_audio(house.org, recording, AudioFormat.WAV, WHY)
    await (await house.shipping()).ship_all()
    assert isinstance(audio, Audio)
    assert len(b"".join([chunk async for chunk in audio.chunks])) == 44 + 2 * 8000 * 4


async def test_lists_go_newest_first_page_by_page_without_gaps_or_repetitions(house: House) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = [await house.record(started_at=noon + timedelta(seconds=n // 3)) for n in range(11)]
    service = await house.recordings()
    seen: list[RecordingId] = []
    place = None
    while True:
        page = await service.listed(house.org, RecordingFilter(), after=place, limit=4)
        seen += [row.id for row in page.rows]
        place = page.next
        if place is None:
            break
    assert sorted(seen) == sorted(made)
    started = [(await house.row(recording)).started_at for recording in seen]
    assert started == sorted(started, reverse=True)
    within = RecordingFilter(since=noon + timedelta(seconds=1), until=noon + timedelta(seconds=2))
    assert {row.id for row in (await service.listed(house.org, within)).rows} == set(made[3:6])


async def test_lists_are_narrowed_by_agent_number_and_call(house: House) -> None:
    mine, others = await house.record(), await house.record()
    async with (await house.databases.connect("main", "owner")).organisation(house.org) as connection:
        agent = AgentId(await add_agent(connection, house.org))
        await connection.execute("UPDATE recordings SET agent_id = $2, remote_index = 'n' WHERE id = $1", mine, agent)
    service = await house.recordings()
    for wanted in (RecordingFilter(agent=agent), RecordingFilter(remote_index=b"n"), RecordingFilter(call=(await house.row(mine)).call_id)):
        assert [row.id for row in (await service.listed(house.org, wanted)).rows] == [mine]
    assert [row.id for row in (await service.listed(house.org, RecordingFilter(agent=agent, remote_index=b"x"))).rows] == []
    assert others in [row.id for row in (await service.listed(house.org, RecordingFilter())).rows]


async def test_decrypting_and_encoding_run_in_threads_never_on_the_loop(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    feed, finish = Player.feed, Player.finish

    def watched_feed(player: Player, sealed: bytes) -> bytes:
        threads.add(threading.get_ident())
        return feed(player, sealed)

    def watched_finish(player: Player) -> bytes:
        threads.add(threading.get_ident())
        return finish(player)

    monkeypatch.setattr(Player, "feed", watched_feed)
    monkeypatch.setattr(Player, "finish", watched_finish)
    recording = await house.record(call(20))
    await audio_of(house, recording, AudioFormat.OGG)
    assert threads
    assert threading.get_ident() not in threads


async def test_a_listener_who_leaves_early_frees_the_file(house: House) -> None:
    recording = await house.record(call(60))
    path = str(house.ciphertext(recording)[0])
    audio = await (await house.recordings()).open_audio(house.org, recording, AudioFormat.WAV, WHY)
    assert isinstance(audio, Audio)
    await anext(audio.chunks)
    assert path in open_files()
    await audio.chunks.aclose()
    assert path not in open_files()


def open_files() -> set[str]:
    return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
