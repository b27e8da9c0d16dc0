"""/v1/recordings/{id}/audio by ranges and stretches, /timeline, /peaks, over a real socket."""

import io
import struct
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from hushwire.core.ids import RecordingId
from hushwire.recording import entries
from hushwire.recording.containers import AudioFormat
from hushwire.recording.entries import Entry
from hushwire.services.recordings import Audio, PlaybackEnded
from hushwire.vault.unseal import Why
from tests.api.serving import Office, office, problem, shown
from tests.recording.chaos import recording as chaotic

__all__ = ["office"]


def framed(content: list[Entry], length_s: float, formats: Entry) -> list[list[Entry]]:
    """Entries in frames of half a second."""
    frames: list[list[Entry]] = [[entries.anchor(1), formats]]
    at = 0
    for entry in sorted(content, key=lambda entry: entry.time):
        if entry.time >= at + 5000:
            frames.append([])
            at = entry.time
        frames[-1].append(entry)
    return [*frames, [entries.end(round(length_s * 10_000))]]


async def recorded(office: Office, seed: int = 1, seconds: float = 50, *, codecs: tuple[int, ...] = (0,)) -> RecordingId:
    content, length = chaotic(seed, seconds, codecs)
    names = {0: "PCMU/8000", 9: "G722/8000"}
    return await office.house.record(framed(content, length, entries.formats([{number: names[number] for number in codecs}] * 2)))


async def stored(office: Office, seed: int = 1, seconds: float = 50, *, codecs: tuple[int, ...] = (0,)) -> RecordingId:
    recording = await recorded(office, seed, seconds, codecs=codecs)
    assert await (await office.house.shipping()).ship_all() == 1
    return recording


@pytest.mark.parametrize("codecs", [(0,), (9, 0)])
async def test_ranges_of_a_wav_are_the_bytes_of_the_whole(office: Office, codecs: tuple[int, ...]) -> None:
    recording = await stored(office, codecs=codecs)
    path = f"/v1/recordings/{recording}/audio?format=wav"
    async with office.client() as api:
        answer = await api.get(path)
        whole, tag = answer.content, answer.headers["etag"]
        assert (answer.status_code, answer.headers["accept-ranges"], int(answer.headers["content-length"])) == (200, "bytes", len(whole))
        assert answer.headers["cache-control"] == "no-store"
        assert tag.startswith('"')
        assert struct.unpack_from("<I", whole, 40)[0] == len(whole) - 44
        last = len(whole) - 1
        for first, end in ((0, 0), (0, 43), (10, 60), (44, 44), (43, 46), (45, 50), (1_000_003, 1_200_000), (last, last), (last - 9, last)):
            answer = await api.get(path, headers={"Range": f"bytes={first}-{end}", "If-Range": tag})
            assert answer.status_code == 206
            assert answer.headers["content-range"] == f"bytes {first}-{end}/{len(whole)}"
            assert int(answer.headers["content-length"]) == end + 1 - first
            assert answer.headers["etag"] == tag
            assert answer.content == whole[first : end + 1], (first, end)
        assert (await api.get(path, headers={"Range": "bytes=-77"})).content == whole[-77:]
        answer = await api.get(path, headers={"Range": "bytes=0-"})
        assert (answer.status_code, answer.content) == (206, whole)
        several = await api.get(path, headers={"Range": "bytes=0-1,5-6"})
        assert (several.status_code, several.content) == (200, whole)
        changed = await api.get(path, headers={"Range": "bytes=0-1", "If-Range": '"else"'})
        assert (changed.status_code, len(changed.content)) == (200, len(whole))


async def test_what_can_not_be_answered_with_bytes_says_why(office: Office) -> None:
    recording = await stored(office)
    path = f"/v1/recordings/{recording}/audio?format=wav"
    async with office.client() as api:
        head = await api.head(path, headers={"Range": "bytes=0-1"})
        assert (head.status_code, head.content, head.headers["accept-ranges"]) == (200, b"", "bytes")
        size, tag = int(head.headers["content-length"]), head.headers["etag"]
        answer = await api.get(path, headers={"Range": f"bytes={size}-"})
        problem(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{size}"
        assert (await api.get(path, headers={"If-None-Match": tag})).status_code == 304
        problem(await api.get(path, headers={"If-Match": '"x"'}), 412)
        for query in ("&from_ms=-1", "&from_ms=x", "&from_ms=5&to_ms=5", "&to_ms=0", "&from_ms=99999999", "&from_ms=99999999999999"):
            problem(await api.get(path + query), 422)
        other = await api.head(f"/v1/recordings/{recording}/audio?format=flac")
        assert (other.headers["accept-ranges"], "content-length" in other.headers, "etag" in other.headers) == ("none", False, False)
        whole = await api.get(f"/v1/recordings/{recording}/audio?format=flac", headers={"Range": "bytes=0-9"})
        assert whole.status_code == 200
        assert len(whole.content) > 10
    async with office.client("owner", "globex") as foreign:
        problem(await foreign.get(path, headers={"Range": "bytes=0-9"}), 404)
        assert (await foreign.head(path)).status_code == 404
        for view in ("timeline", "peaks"):
            problem(await foreign.get(f"/v1/recordings/{recording}/{view}"), 404)
    async with office.client("agent") as agent:
        for view in ("audio", "timeline", "peaks"):
            problem(await agent.get(f"/v1/recordings/{recording}/{view}"), 403)


async def test_a_stretch_is_a_file_of_its_own_in_every_format(office: Office) -> None:
    recording = await stored(office)
    path = f"/v1/recordings/{recording}/audio"
    async with office.client() as api:
        whole = (await api.get(path, params={"format": "wav"})).content
        answer = await api.get(path, params={"format": "wav", "from_ms": 30_001, "to_ms": 32_500})
        assert answer.content[44:] == whole[44 + 30_001 * 32 : 44 + 32_500 * 32]
        assert struct.unpack_from("<I", answer.content, 40)[0] == len(answer.content) - 44
        part = await api.get(path, params={"format": "wav", "from_ms": 30_001, "to_ms": 32_500}, headers={"Range": "bytes=40-99"})
        assert part.content == answer.content[40:100]
        assert part.headers["etag"] == answer.headers["etag"]
        assert (await api.get(path, params={"format": "wav", "from_ms": 49_000, "to_ms": 10**9})).content[44:] == whole[44 + 49_000 * 32 :]
        for name in ("flac", "ogg"):
            answer = await api.get(path, params={"format": name, "from_ms": 30_000, "to_ms": 32_000})
            with av.open(io.BytesIO(answer.content)) as container:
                frames = list(container.decode(audio=0))
            seconds = sum(frame.samples for frame in frames) / frames[0].sample_rate
            assert seconds == pytest.approx(2, abs=0.05)
            if name == "flac":
                samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
                assert samples.astype("<i2").tobytes() == whole[44 + 30_000 * 32 : 44 + 32_000 * 32]


async def test_a_live_recording_plays_as_a_whole_and_has_no_ranges_yet(office: Office) -> None:
    content, length = chaotic(3, 20, (0,))
    recording = await office.house.record(framed(content, length, entries.formats([{0: "PCMU/8000"}] * 2)), state="live")
    path = f"/v1/recordings/{recording}"
    async with office.client() as api:
        answer = await api.get(f"{path}/audio?format=wav", headers={"Range": "bytes=100-200"})
        assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
        problem(await api.get(f"{path}/audio?format=wav&from_ms=1"), 409)
        for view in ("timeline", "peaks"):
            problem(await api.get(f"{path}/{view}"), 409)


async def test_a_crashed_recording_is_seekable_too(office: Office) -> None:
    content, length = chaotic(4, 45, (0,))
    recording = await office.house.record(framed(content, length, entries.formats([{0: "PCMU/8000"}] * 2)), state="crashed")
    office.house.rest(recording)
    assert await (await office.house.shipping()).ship_all() == 1
    path = f"/v1/recordings/{recording}"
    async with office.client() as api:
        whole = await api.get(f"{path}/audio?format=wav")
        part = await api.get(f"{path}/audio?format=wav", headers={"Range": "bytes=1000000-1000999"})
        assert part.content == whole.content[1_000_000:1_001_000]
        assert part.headers["hushwire-recording-cut"] == "true"
        assert shown(await api.get(f"{path}/timeline"))["is_cut"]


async def test_the_timeline_tells_of_loss_pauses_silence_and_codecs(office: Office) -> None:
    def packet(leg: int, n: int) -> Entry:
        return entries.rtp(leg, n * 200, struct.pack(">BBHII", 0x80, 0, n & 0xFFFF, 160 * n, 5) + bytes([0x20] * 160))

    lost, silent = range(500, 505), range(1000, 1100)
    content = [packet(0, n) for n in range(2400) if n not in lost and not 1500 <= n < 1600]
    content += [packet(1, n) for n in range(2400) if n not in silent and not 1500 <= n < 1600]
    # silence suppressed: timestamps go on, sequence numbers don't leave a hole
    content = [
        entry if entry.leg == 0 or entry.time < 1100 * 200 else entries.rtp(1, entry.time, _renumbered(entry.data, -len(silent)))
        for entry in content
    ]
    content += [entries.pause(300_000), entries.resume(320_000)]
    content += [entries.rtp(0, 504 * 200 + 20_000, packet(0, 504).data)]
    recording = await office.house.record(framed(content, 48, entries.formats([{0: "PCMU/8000"}] * 2)))
    async with office.client() as api:
        found = shown(await api.get(f"/v1/recordings/{recording}/timeline", headers={"Hushwire-Purpose": "quality-assurance"}))
    assert (found["length_ms"], found["is_cut"], found["pauses"]) == (48_000, False, [{"from_ms": 30_000, "to_ms": 32_000}])
    agent, other = found["legs"]
    assert agent["lost"] == [{"from_ms": 10_000, "to_ms": 10_100, "packets": 5}]
    assert agent["late"] == [{"from_ms": 10_080, "to_ms": 10_100, "packets": 1}]
    assert agent["gaps"] == []
    assert other["lost"] == []
    assert other["gaps"] == [{"from_ms": 20_000, "to_ms": 22_000, "packets": 0}]
    assert agent["codecs"] == [{"from_ms": 0, "name": "PCMU"}]
    assert abs(agent["drift_ppm"]) < 1
    assert (agent["packets"], agent["placed"], agent["sources"]) == (2296, 2295, 1)
    logged = await office.rows("SELECT purpose FROM access_log WHERE object = $1", f"recording:{recording}")
    assert [row["purpose"] for row in logged] == ["quality-assurance"]


def _renumbered(packet: bytes, by: int) -> bytes:
    return packet[:2] + ((int.from_bytes(packet[2:4], "big") + by) & 0xFFFF).to_bytes(2, "big") + packet[4:]


async def test_peaks_are_those_of_the_sound_at_each_resolution_and_in_both_forms(office: Office) -> None:
    recording = await stored(office)
    path = f"/v1/recordings/{recording}"
    async with office.client() as api:
        wav = (await api.get(f"{path}/audio?format=wav")).content
        sound = np.frombuffer(wav[44:], "<i2").reshape(-1, 2).astype(int)
        for per_second in (1, 10, 50):
            found = shown(await api.get(f"{path}/peaks?per_second={per_second}"))
            size = 8000 // per_second
            assert (found["version"], found["channels"], found["sample_rate"], found["samples_per_pixel"]) == (2, 2, 8000, size)
            data = np.array(found["data"]).reshape(-1, 2, 2)
            assert len(data) == found["length"] == -(-len(sound) // size)
            for pixel in (0, 7, 40, len(data) - 1):
                piece = sound[pixel * size : (pixel + 1) * size]
                assert data[pixel, :, 0].tolist() == (piece.min(axis=0) >> 8).tolist()
                assert data[pixel, :, 1].tolist() == (piece.max(axis=0) >> 8).tolist()
        dat = (await api.get(f"{path}/peaks?per_second=1&format=dat")).content
        assert struct.unpack_from("<iIiiIi", dat) == (2, 1, 8000, 8000, -(-len(sound) // 8000), 2)
        wanted = shown(await api.get(f"{path}/peaks?per_second=1"))["data"]
        assert np.frombuffer(dat, np.int8, offset=24).tolist() == wanted
        for bad in ("0", "3", "100", "-1", "x", "1e9"):
            problem(await api.get(f"{path}/peaks?per_second={bad}"), 422)


async def test_what_was_made_of_a_recording_is_sealed_falls_with_its_key_and_is_swept(office: Office) -> None:
    recording, other = await stored(office), await stored(office, 2)
    path = f"/v1/recordings/{recording}"
    async with office.client() as api:
        for which in (recording, other):
            shown(await api.get(f"/v1/recordings/{which}/peaks"))
        rows = await office.rows("SELECT kind, sealed FROM derivatives WHERE recording_id = $1 ORDER BY kind", recording)
        assert [row["kind"] for row in rows] == ["index", "peaks", "timeline"]
        assert all(row["sealed"][0] == 1 and len(row["sealed"]) > 29 for row in rows)
        assert (await api.delete(path)).status_code == 200
        for view in ("audio?format=wav", "peaks", "timeline", "audio?format=wav&from_ms=20000"):
            problem(await api.get(f"{path}/{view}", headers={"Range": "bytes=5-9"}), 410)
        assert (await api.head(f"{path}/audio?format=wav")).status_code == 410
        await (await office.house.upkeep()).carry_on()
        assert await office.rows("SELECT 1 FROM derivatives WHERE recording_id = $1", recording) == []
        assert len(await office.rows("SELECT 1 FROM derivatives WHERE recording_id = $1", other)) == 3
        shown(await api.get(f"/v1/recordings/{other}/peaks"))


async def test_a_derivative_put_in_another_ones_place_does_not_open_and_is_made_anew(office: Office) -> None:
    first, second = await stored(office), await stored(office, 2)
    async with office.client() as api:
        wanted = [shown(await api.get(f"/v1/recordings/{which}/peaks")) for which in (first, second)]
        assert wanted[0] != wanted[1]
        await office.rows(
            "UPDATE derivatives SET sealed = (SELECT sealed FROM derivatives WHERE recording_id = $1 AND kind = 'peaks')"
            " WHERE recording_id = $2 AND kind = 'peaks'",
            first,
            second,
        )
        assert shown(await api.get(f"/v1/recordings/{second}/peaks")) == wanted[1]


async def test_an_erasure_ends_a_ranged_playback_within_a_second(office: Office) -> None:
    recording = await stored(office, seconds=200)
    path = f"/v1/recordings/{recording}/audio?format=wav"
    shown_size = 0
    async with office.client() as api:
        shown(await api.get(f"/v1/recordings/{recording}/peaks"))
        found = await office.means.recordings.open_audio(office.house.org, recording, AudioFormat.WAV, Why("api-key:1", "audit"))
        assert isinstance(found, Audio)
        assert found.part is not None
        assert found.size is not None
        part = found.part(2_000_000, found.size)
        shown_size = len(await anext(part))
        assert (await api.delete(f"/v1/recordings/{recording}")).status_code == 200
        office.house.clock.ahead += timedelta(seconds=1)
        with pytest.raises(PlaybackEnded):
            async for chunk in part:
                shown_size += len(chunk)
        problem(await api.get(path, headers={"Range": "bytes=5-"}), 410)
    assert shown_size < 3_000_000


async def test_a_range_reads_only_its_part_of_the_file(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await stored(office, seconds=300)
    (path,) = office.house.ciphertext(recording)
    async with office.client() as api:
        shown(await api.get(f"/v1/recordings/{recording}/peaks"))
        before = _read_bytes()
        answer = await api.get(f"/v1/recordings/{recording}/audio?format=wav", headers={"Range": "bytes=6000000-6003999"})
        assert len(answer.content) == 4000
        assert _read_bytes() - before < path.stat().st_size / 2


def _read_bytes() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])
