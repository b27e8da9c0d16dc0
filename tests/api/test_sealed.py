"""/v1/recordings/{id}/sealed and /envelopes: all that a customer needs to open a recording at home, and nothing for anybody else."""

import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hushwire.core.ids import RecordingId
from hushwire.recording.hwr import Closed, Identity, Reader
from hushwire.services.recordings import PlaybackEnded
from hushwire.vault.envelopes import Subject, open_envelope
from hushwire.vault.unseal import Why
from tests.api.serving import Office, problem, shown
from tests.api.test_recordings import tone
from tests.held import hold
from tests.vault.test_envelopes import ours

KEY = ours("mlkem768-x25519")


async def held(office: Office, *, stored: bool = True, **how: Any) -> RecordingId:
    """A recording that only the customer's key opens."""
    await hold(await office.house.keyring("api"), office.house.org, "customer", KEY)
    recording = await office.house.record(tone(2), **how)
    if stored:
        office.house.rest(recording)
        assert await (await office.house.shipping()).ship_all() == 1
    return recording


@pytest.mark.parametrize("stored", [True, False])
async def test_file_and_envelope_open_together_under_the_customers_key(office: Office, stored: bool) -> None:
    recording = await held(office, stored=stored)
    async with office.client() as api:
        said = shown(await api.get(f"/v1/recordings/{recording}/envelopes", headers={"Hushwire-Purpose": "legal-obligation"}))
        answer = await api.get(f"/v1/recordings/{recording}/sealed")
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == said["closing"]["digest"] == answer.headers["etag"].strip('"')
    assert answer.headers["content-disposition"] == f'attachment; filename="{recording}-0.hwr"'
    (entry,) = said["envelopes"]
    assert (entry["algorithm"], entry["key_id"]) == ("mlkem768-x25519", KEY.public.fingerprint.hex())
    key = open_envelope(base64.b64decode(entry["envelope"]), KEY, Subject(office.house.org, "recording", recording))
    closed = Closed(said["closing"]["frames"], bytes.fromhex(said["closing"]["digest"]))
    reader = Reader(key, Identity(office.house.org, recording), closed=closed)
    reader.feed(answer.content)
    assert reader.finish() == "final"
    logged = await office.rows("SELECT purpose FROM access_log WHERE object = $1 ORDER BY at", f"recording:{recording}")
    assert [row["purpose"] for row in logged] == ["legal-obligation", "customer-service"]


async def test_any_range_of_the_file_can_be_had(office: Office) -> None:
    recording = await held(office)
    place = f"/v1/recordings/{recording}/sealed"
    async with office.client() as api:
        whole = (await api.get(place)).content
        size = len(whole)
        for header, start, end in [
            ("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=100-", 100, size), ("bytes=-7", size - 7, size),
            (f"bytes=-{size + 5}", 0, size), (f"bytes=10-{size + 100}", 10, size), (f"bytes={size - 1}-", size - 1, size),
        ]:  # fmt: skip
            part = await api.get(place, headers={"Range": header})
            assert (part.status_code, part.content) == (206, whole[start:end]), header
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        for header in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
            refused = await api.get(place, headers={"Range": header})
            problem(refused, 416)
            assert refused.headers["content-range"] == f"bytes */{size}"
        for header in ("bytes=9-5", "bytes=0-1,4-5", "frames=0-1", "bytes=a-b", "bytes=", "bytes=" + "9" * 40 + "-", "bytes=--1"):
            assert (await api.get(place, headers={"Range": header})).content == whole, header
        tag = (await api.get(place)).headers["etag"]
        for condition, status in ((tag, 206), ('"other"', 200)):
            assert (await api.get(place, headers={"Range": "bytes=0-0", "If-Range": condition})).status_code == status


async def test_what_only_the_customers_key_opens_is_not_played_and_not_said_to_be_erased(office: Office) -> None:
    recording = await held(office)
    async with office.client() as api:
        listed = shown(await api.get(f"/v1/recordings/{recording}"))
        assert (listed["custody"], listed["state"], listed["is_unmeasured"]) == ("customer", "stored", False)
        for name in ("ogg", "wav"):
            refused = problem(await api.get(f"/v1/recordings/{recording}/audio", params={"format": name}), 409)
            assert refused["detail"].startswith("Only your key opens this")
        for part in ("peaks", "timeline"):
            assert problem(await api.get(f"/v1/recordings/{recording}/{part}"), 409)["custody"] == "customer"
        receipt = shown(await api.delete(f"/v1/recordings/{recording}"))
        for part in ("sealed", "envelopes", "audio"):
            gone = problem(await api.get(f"/v1/recordings/{recording}/{part}"), 410)
            assert gone["receipt"].endswith(str(recording))
    assert receipt["recording_id"] == str(recording)
    async with (await office.house.keyring("owner")).db.organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_key_copies") == 0


async def test_a_crashed_recording_that_only_the_customer_opens_is_stored_unmeasured_and_says_so(office: Office) -> None:
    recording = await held(office, state="crashed")
    row = await office.house.row(recording)
    assert (row.state, row.duration_ms, row.frames) == ("stored", None, None)
    assert row.ended_at is not None
    assert row.ended_at >= row.started_at
    async with office.client() as api:
        listed = shown(await api.get(f"/v1/recordings/{recording}"))
        assert (listed["is_cut"], listed["is_unmeasured"], listed["duration_ms"]) == (True, True, None)
        said = shown(await api.get(f"/v1/recordings/{recording}/envelopes"))
        sealed = (await api.get(f"/v1/recordings/{recording}/sealed")).content
        problem(await api.get(f"/v1/recordings/{recording}/audio", params={"format": "wav"}), 409)
    assert (said["closing"]["frames"], said["closing"]["size_bytes"]) == (None, len(sealed))
    key = open_envelope(base64.b64decode(said["envelopes"][0]["envelope"]), KEY, Subject(office.house.org, "recording", recording))
    reader = Reader(key, Identity(office.house.org, recording), crashed=True, closed=Closed(None, bytes.fromhex(said["closing"]["digest"])))
    assert len(reader.feed(sealed)) == 5
    assert reader.finish() == "cut"


async def test_a_recording_under_hushwires_keys_has_no_envelopes_and_its_sealed_file_all_the_same(office: Office) -> None:
    recording = await office.house.record(tone(1))
    async with office.client() as api:
        said = shown(await api.get(f"/v1/recordings/{recording}/envelopes"))
        assert (said["custody"], said["envelopes"]) == ("hushwire", [])
        assert (await api.get(f"/v1/recordings/{recording}/sealed")).content == Path(office.house.ciphertext(recording)[0]).read_bytes()


@pytest.mark.parametrize("part", ["sealed", "envelopes"])
async def test_who_may_not_read_content_gets_neither_and_an_unknown_purpose_is_refused(office: Office, part: str) -> None:
    recording = await held(office)
    live = await office.house.record(state="live")
    path = f"/v1/recordings/{recording}/{part}"
    async with office.client("agent") as api:
        problem(await api.get(path), 403)
    async with office.client("owner", "globex") as api:
        problem(await api.get(path), 404)
    async with office.client() as api:
        problem(await api.get(path, headers={"Hushwire-Purpose": "curiosity"}), 403)
        problem(await api.get(f"/v1/recordings/{live}/{part}"), 409)
        problem(await api.get(f"/v1/recordings/nonsense/{part}"), 404)
    assert await office.rows("SELECT 1 FROM access_log WHERE object = $1", f"recording:{recording}") == []


async def test_what_is_restricted_is_handed_out_in_no_form(office: Office) -> None:
    recording = await held(office)
    async with office.client() as api:
        placed = await api.post("/v1/privacy/restrictions", json={"scope": "recording", "id": str(recording)})
        assert placed.status_code == 201
        for part in ("sealed", "envelopes", "audio"):
            assert problem(await api.get(f"/v1/recordings/{recording}/{part}"), 403)["reason"] == "restricted"


async def test_a_download_that_is_under_way_ends_with_the_erasure(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hushwire.services.sources._CHUNK", 64)
    recording = await held(office)
    sealed = office.means.sealed
    found = await sealed.file(office.house.org, recording, Why("api-key:1", "customer-service"))
    pieces = sealed.read(found, 0, found.recording.size_bytes)  # type: ignore[union-attr, arg-type]
    assert len(await anext(pieces)) == 64
    async with office.client() as api:
        shown(await api.delete(f"/v1/recordings/{recording}"))
    office.house.clock.ahead = timedelta(seconds=2)
    with pytest.raises(PlaybackEnded):
        async for _ in pieces:
            pass


async def test_a_file_that_the_store_lost_or_cut_is_never_taken_for_a_whole_one(office: Office) -> None:
    recording = await held(office)
    (path,) = office.house.ciphertext(recording)
    path.write_bytes(path.read_bytes()[:-10])
    async with office.client() as api:
        with pytest.raises(httpx.RemoteProtocolError):
            await api.get(f"/v1/recordings/{recording}/sealed")
        path.unlink()
        problem(await api.get(f"/v1/recordings/{recording}/sealed"), 503)
