"""/v1/recordings: listed, played, erased."""

import io
import wave
from pathlib import Path

import av
import httpx
import pytest

from hushwire.privacy.receipts import verify_file
from hushwire.recording import entries
from tests.api.serving import Office, add_key, problem, shown


def tone(seconds: int) -> list[list[entries.Entry]]:
    """A frame per 500 ms of G.711 from the agent, then the end."""
    frames = [[entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2)]]
    for packet in range(seconds * 50):
        if packet % 25 == 0:
            frames.append([])
        header = b"\x80\x00" + packet.to_bytes(2, "big") + (packet * 160).to_bytes(4, "big") + b"\x00\x00\x00\x01"
        frames[-1].append(entries.Entry(entries.EntryKind.RTP, 0, packet * 200, header + bytes([0x20, 0xA0] * 80)))
    return [*frames, [entries.end(seconds * 10_000)]]


async def test_recordings_are_listed_and_shown(office: Office) -> None:
    recording = await office.house.record()
    async with office.client("auditor") as api:
        (listed,) = shown(await api.get("/v1/recordings"))["items"]
        assert listed == shown(await api.get(f"/v1/recordings/{recording}"))
    assert (listed["id"], listed["state"], listed["is_cut"], listed["duration_ms"]) == (str(recording), "closed", False, 1000)
    assert len(listed["digest"]) == 64


async def test_recordings_are_searched_by_number_call_and_time(office: Office) -> None:
    recording = await office.house.record()
    index = (await (await office.house.keyring("api")).org_context(office.house.org)).index("calls.remote", "+493023125001")
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE recordings SET remote_index = $1", index)
    async with office.client() as api:
        for body in ({"number": "030 23125001"}, {"number": "+493023125001", "from": "2020-01-01T00:00:00Z"}, {}):
            assert [item["id"] for item in shown(await api.post("/v1/recordings/search", json=body))["items"]] == [str(recording)]
        for body in ({"number": "+493023125002"}, {"to": "2020-01-01T00:00:00Z"}, {"agent": "nobody"}):
            assert shown(await api.post("/v1/recordings/search", json=body))["items"] == []


async def test_audio_comes_as_ogg_flac_or_wav_and_each_read_is_logged_with_its_purpose(office: Office) -> None:
    recording = await office.house.record(tone(2))
    async with office.client() as api:
        for name in ("ogg", "flac", "wav"):
            answer = await api.get(f"/v1/recordings/{recording}/audio", params={"format": name})
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(f"audio/{name}")
            with av.open(io.BytesIO(answer.content)) as container:
                assert container.streams.audio[0].codec_context.channels == 2
        with wave.open(io.BytesIO(answer.content)) as sound:
            assert sound.getnframes() / sound.getframerate() == pytest.approx(2, abs=0.01)
        answer = await api.get(f"/v1/recordings/{recording}/audio", headers={"Hushwire-Purpose": "quality-assurance"})
        assert answer.headers["content-type"] == "audio/ogg; codecs=opus"
        problem(await api.get(f"/v1/recordings/{recording}/audio", params={"format": "mp3"}), 422)
    logged = await office.rows("SELECT purpose FROM access_log WHERE object = $1 ORDER BY at", f"recording:{recording}")
    assert [row["purpose"] for row in logged] == ["customer-service"] * 3 + ["quality-assurance"]


async def test_content_is_opened_only_for_a_purpose_that_the_role_has(office: Office) -> None:
    recording = await office.house.record(tone(1))
    path = f"/v1/recordings/{recording}/audio"
    async with office.client() as owner, office.client("supervisor") as supervisor, office.client("auditor") as auditor:
        problem(await owner.get(path, headers={"Hushwire-Purpose": "curiosity"}), 403)
        problem(await supervisor.get(path, headers={"Hushwire-Purpose": "audit"}), 403)
        problem(await auditor.get(path, headers={"Hushwire-Purpose": "training"}), 403)
        assert (await auditor.get(path)).status_code == 200
    office.keys["acme", "special"] = await add_key(office.house, office.house.org, "supervisor", purpose="research")
    async with office.client("special") as special:
        assert (await special.get(path)).status_code == 200
    async with office.client("agent") as agent:
        problem(await agent.get(path), 403)
    purposes = [row["purpose"] for row in await office.rows("SELECT purpose FROM access_log ORDER BY at")]
    assert purposes == ["audit", "research"]


async def test_an_erased_recording_answers_410_and_its_receipt_verifies_offline(office: Office, tmp_path: Path) -> None:
    recording = await office.house.record(tone(1))
    async with office.client("admin") as api:
        receipt = await api.delete(f"/v1/recordings/{recording}")
        assert receipt.status_code == 200
        keys = await api.get("/.well-known/hushwire-keys.json")
        for path in (f"/v1/recordings/{recording}", f"/v1/recordings/{recording}/audio"):
            assert problem(await api.get(path), 410)["receipt"] == f"/v1/privacy/receipts/{recording}"
        assert (await api.delete(f"/v1/recordings/{recording}")).content == receipt.content
        by_recording = await api.get(f"/v1/privacy/receipts/{recording}")
        by_id = await api.get(f"/v1/privacy/receipts/{receipt.json()['receipt_id']}")
        assert by_recording.content == by_id.content == receipt.content
        (entry,) = shown(await api.get("/v1/privacy/receipts"))["items"]
        assert entry["receipt"]["recording_id"] == str(recording)
        (listed,) = shown(await api.get("/v1/recordings"))["items"]
        assert listed["state"] == "erased"
    (tmp_path / "receipt.json").write_bytes(receipt.content)
    (tmp_path / "keys.json").write_bytes(keys.content)
    assert verify_file(tmp_path / "receipt.json", tmp_path / "keys.json").is_valid
    (tmp_path / "receipt.json").write_bytes(receipt.content.replace(b'"ledger_position":1', b'"ledger_position":2'))
    assert not verify_file(tmp_path / "receipt.json", tmp_path / "keys.json").is_valid


async def test_a_damaged_file_is_an_error_at_its_start_and_breaks_off_later(office: Office) -> None:
    begin, middle = await office.house.record(tone(1)), await office.house.record(tone(40))
    for recording, place in ((begin, 80), (middle, -200)):
        (path,) = office.house.ciphertext(recording)
        sealed = bytearray(path.read_bytes())
        sealed[place] ^= 1
        path.write_bytes(sealed)
    async with office.client() as api:
        problem(await api.get(f"/v1/recordings/{begin}/audio?format=wav"), 500)
        with pytest.raises(httpx.RemoteProtocolError):
            await api.get(f"/v1/recordings/{middle}/audio?format=wav")


async def test_a_crashed_recording_plays_its_prefix_and_says_so(office: Office) -> None:
    recording = await office.house.record(tone(2), state="crashed")
    async with office.client() as api:
        answer = await api.get(f"/v1/recordings/{recording}/audio?format=wav")
        assert answer.status_code == 200
        assert answer.headers["hushwire-recording-cut"] == "true"
        assert shown(await api.get(f"/v1/recordings/{recording}"))["is_cut"]
