"""A copy of everything: built by a real worker, sealed as it is made, handed out by a link, gone when something in it is erased."""

import asyncio
import hashlib
import io
import json
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import av
import httpx
import pytest

from hushwire.core.errors import Unfinished
from hushwire.services.export_building import Building
from hushwire.services.export_failures import Failure
from hushwire.services.export_file import ExportFile
from hushwire.services.exports import Delivery, DeliveryEnded
from hushwire.services.message_queries import MessageQueries
from hushwire.services.queries import Queries
from hushwire.services.recordings import Recordings
from hushwire.services.rights import Rights
from hushwire.store import documents
from hushwire.store.documents import Document
from hushwire.vault.unseal import Why
from tests.api.messaging import desk
from tests.api.serving import Office, problem, shown
from tests.api.test_requests import verified
from tests.api.test_restrictions import NUMBER, OTHER, recorded
from tests.recorded import Chance, Fate, House, Killed


async def worker(house: House, fate: Fate | None = None) -> Building:
    """What builds bundles, as the worker wires it."""
    main, keyring, blobs = await house.main("worker", fate), await house.keyring("worker", fate), house.blobs(fate)
    erasures = await house.erasures("worker")
    rights = Rights.of(main, keyring, erasures, blobs, house.clock, Chance())
    return Building(
        main, keyring, blobs, house.spool, house.node, house.clock, Chance(), erasures=erasures,
        requests=rights.requests, contacts=rights.contacts,
        recordings=Recordings(main, keyring, blobs, house.spool, house.clock), queries=Queries(main, keyring, house.clock, Chance()),
        messages=MessageQueries(main, keyring, house.clock),
    )  # fmt: skip


async def begun(api: httpx.AsyncClient, **more: Any) -> tuple[str, str]:
    """The path of an access request that is under way, and of its bundle."""
    path = await verified(api, "access", **more)
    said = shown(await api.post(f"{path}/execute"))
    assert said["state"] == "working"
    return path, f"/v1/privacy/exports/{said['outcome']['export']}"


async def downloaded(api: httpx.AsyncClient, export: str) -> zipfile.ZipFile:
    link = shown(await api.post(f"{export}/link"))
    answer = await api.get(link["url"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def manifest_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The manifest, every checksum of which is right, and which names every file but itself."""
    manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
    assert {file["name"] for file in manifest["files"]} == set(archive.namelist()) - {"manifest.json"}
    for file in manifest["files"]:
        content = archive.read(file["name"])
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["size"]), file["name"]
    return manifest


async def test_a_bundle_holds_everything_of_the_person_with_purposes_sources_and_checksums(office: Office) -> None:
    call, recording = await recorded(office, NUMBER)
    other_call, other_recording = await recorded(office, OTHER)
    async with office.client() as api:
        await api.post("/v1/contacts", json={"name": "Mary Marker", "numbers": [{"number": NUMBER}], "notes": "likes tea"})
        await api.post("/v1/contacts", json={"name": "Ben Bystander", "numbers": [{"number": OTHER}]})
        for number, words in ((NUMBER, "said yes twice"), (OTHER, "Ben said so")):
            consent = {"number": number, "how": "spoken", "given_at": "2020-01-01T00:00:00Z", "note": words}
            assert (await api.post("/v1/privacy/consents", json=consent)).status_code == 201
        messages = await desk(office)
        for number, words in ((NUMBER, "Tea at five?"), (OTHER, "Ben, call me")):
            assert (await api.post("/v1/messages", json={"to": number, "text": words})).status_code == 202
        await messages.receive("Yes please", source=NUMBER)
        path, export = await begun(api, subject={"number": NUMBER, "name": "Mary"})
        problem(await api.post(f"{export}/link"), 409)
        assert shown(await api.get(f"{export}/progress"))["state"] == "queued"
        assert await (await worker(office.house)).build_all() == 1
        assert shown(await api.get(path))["state"] == "answered"
        progress = shown(await api.get(f"{export}/progress"))
        assert (progress["state"], progress["contents"], progress["done"]) == ("ready", 7, 7)
        archive = await downloaded(api, export)
    manifest = manifest_of(archive)
    assert manifest["left_out"] == []
    of_recording = next(file for file in manifest["files"] if file["name"] == f"recordings/{recording}.ogg")
    assert (of_recording["kind"], of_recording["objects"], of_recording["source"]) == ("recording", [recording], "call")
    assert of_recording["purpose"] == "call recording"
    assert of_recording["retention"] == "life of the agreement, or the customer's shorter rule"
    (said,) = json.loads(archive.read(next(name for name in archive.namelist() if name.startswith("calls/"))))
    assert (said["id"], said["number"], said["country"]) == (str(call), NUMBER, "DE")
    (contact,) = json.loads(archive.read(next(name for name in archive.namelist() if name.startswith("contacts/"))))
    assert (contact["name"], contact["notes"]) == ("Mary Marker", "likes tea")
    (agreed,) = json.loads(archive.read(next(name for name in archive.namelist() if name.startswith("consents/"))))
    assert (agreed["how"], agreed["note"], agreed["withdrawn_at"]) == ("spoken", "said yes twice", None)
    texts = json.loads(archive.read(next(name for name in archive.namelist() if name.startswith("messages/"))))
    assert [(text["direction"], text["number"], text["text"]) for text in texts] == [
        ("outbound", NUMBER, "Tea at five?"), ("inbound", NUMBER, "Yes please"),
    ]  # fmt: skip
    with av.open(io.BytesIO(archive.read(f"recordings/{recording}.ogg"))) as sound:
        assert sound.streams.audio[0].codec_context.name in ("opus", "libopus")
        assert sum(frame.samples for frame in sound.decode(audio=0)) / 48_000 == pytest.approx(2, abs=0.1)
    facts = json.loads(archive.read(f"recordings/{recording}.json"))
    (row,) = await office.rows("SELECT digest FROM recordings WHERE id = $1", UUID(recording))
    assert facts["sealed_original"]["sha256"] == row["digest"].hex()
    assert {item["kind"] for item in json.loads(archive.read("report.json"))["held"]} == {
        "call", "recording", "contact", "case", "consent", "message",
    }  # fmt: skip
    assert "Acme" in archive.read("README.txt").decode()
    everything = b"".join(archive.read(name) for name in archive.namelist() if not name.endswith(".ogg"))
    for foreign in (OTHER, "Ben", str(other_call), other_recording, "agent-"):
        assert foreign.encode() not in everything, foreign


async def test_a_recording_of_somebody_elses_call_is_in_the_bundle_of_who_came_into_it_and_in_their_report(office: Office) -> None:
    _, recording = await recorded(office, OTHER)
    keys = await (await office.house.keyring("api")).org_context(office.house.org)
    indexes = [keys.index("calls.remote", NUMBER)]
    await office.rows("UPDATE recordings SET further_indexes = $2 WHERE id = $1 RETURNING id", UUID(recording), indexes)
    async with office.client() as api:
        _, export = await begun(api, subject={"number": NUMBER})
        assert await (await worker(office.house)).build_all() == 1
        archive = await downloaded(api, export)
        listed = shown(await api.post("/v1/recordings/search", json={"number": NUMBER}))
    manifest = manifest_of(archive)
    assert {file["name"] for file in manifest["files"]} >= {f"recordings/{recording}.ogg", f"recordings/{recording}.json"}
    assert {item["kind"]: item["count"] for item in json.loads(archive.read("report.json"))["held"]}["recording"] == 1
    assert [item["id"] for item in listed["items"]] == [recording]


async def test_deliveries_stand_in_the_disclosure_log_and_every_opening_in_the_access_log(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    async with office.client() as api:
        path, export = await begun(api)
        await (await worker(office.house)).build_all()
        await downloaded(api, export)
        report = shown(await api.get(f"{path}/report"))
    (given,) = report["disclosures"]["given"]
    assert (given["what"], given["id"], given["basis"]) == ("export", export.rpartition("/")[2], "data-subject-request")
    opened = await office.rows("SELECT actor, purpose FROM access_log WHERE object = $1", f"recording:{recording}")
    assert {(row["actor"], row["purpose"]) for row in opened} == {("system:worker", "data-subject-request")}
    actions = [row["action"] for row in await office.rows("SELECT action FROM audit_log ORDER BY position")]
    assert actions[-2:] == ["export.linked", "export.delivered"]


async def test_nothing_unsealed_is_on_any_disk_while_a_bundle_is_built_or_afterwards(office: Office) -> None:
    await recorded(office, NUMBER)
    looked = 0

    def look() -> None:
        nonlocal looked
        for file in office.house.folder.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                looked += file.suffix == ".hwx"
                for marker in (b"Mary", NUMBER[1:].encode(), b"OggS", b"OpusHead", b"PK\x03\x04", b"manifest.json"):
                    assert marker not in content, (file.name, marker)

    async with office.client() as api:
        await api.post("/v1/contacts", json={"name": "Mary Marker", "numbers": [{"number": NUMBER}]})
        await begun(api, subject={"number": NUMBER, "name": "Mary"})
        for kill_at in range(1, 60):
            try:
                await (await worker(office.house, Fate(kill_at))).build_all()
            except Killed:
                look()
            else:
                break
        look()
    assert looked > 5
    assert list(Path(office.house.folder / "spool").glob("*.hwx")) == []


async def test_killed_between_any_two_steps_a_bundle_is_finished_by_the_next_worker(office: Office) -> None:
    await recorded(office, NUMBER)
    kill_at = 0
    async with office.client() as api:
        await api.post("/v1/contacts", json={"name": "Mary Marker", "numbers": [{"number": NUMBER}]})
        while True:
            kill_at += 1
            path, export = await begun(api)
            fate = Fate(kill_at)
            try:
                await (await worker(office.house, fate)).build(office.house.org, UUID(export.rpartition("/")[2]))
            except Killed:
                await (await worker(office.house)).build_all()
                assert shown(await api.get(path))["state"] == "answered"
                manifest = manifest_of(await downloaded(api, export))
                kinds = [kind for file in manifest["files"] if (kind := file.get("kind"))]
                assert kinds.count("recording") == 2
                assert {"contact", "call", "case"} <= set(kinds)
                assert list(Path(office.house.folder / "spool").glob("*.hwx")) == []
            else:
                break
            # Else each round's request would be inside the next one's bundle.
            await office.rows("UPDATE privacy_requests SET erased_at = now() RETURNING id")
    assert kill_at > 30


async def test_what_is_restricted_damaged_or_anothers_is_left_out_and_the_manifest_says_so(office: Office) -> None:
    _, fine = await recorded(office, NUMBER)
    _, restricted = await recorded(office, NUMBER)
    _, damaged = await recorded(office, NUMBER)
    for file in office.house.ciphertext(UUID(damaged)):
        sealed = bytearray(file.read_bytes())
        sealed[-200] ^= 1
        file.write_bytes(sealed)
    async with office.client() as api:
        for name in ("Mary Marker", "Flatmate"):
            await api.post("/v1/contacts", json={"name": name, "numbers": [{"number": NUMBER}]})
        await api.post("/v1/privacy/restrictions", json={"scope": "recording", "id": restricted})
        _, export = await begun(api)
        await (await worker(office.house)).build_all()
        archive = await downloaded(api, export)
    left_out = {item["id"]: item["reason"] for item in manifest_of(archive)["left_out"]}
    assert (left_out[restricted], left_out[damaged]) == ("restricted", "damaged")
    assert sorted(left_out.values()) == ["damaged", "other-person", "other-person", "restricted"]
    assert f"recordings/{fine}.ogg" in archive.namelist()
    assert not any(damaged in name or restricted in name or "contacts" in name for name in archive.namelist())


async def test_a_recording_that_the_customer_alone_can_open_is_left_out_as_that_and_not_as_erased(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.execute("UPDATE data_keys SET sealed = NULL WHERE id = $1", UUID(recording)) == "UPDATE 1"
    async with office.client() as api:
        _, export = await begun(api)
        await (await worker(office.house)).build_all()
        archive = await downloaded(api, export)
    assert [(item["id"], item["reason"]) for item in manifest_of(archive)["left_out"]] == [(recording, "customer-held")]


async def test_a_contact_that_the_request_names_is_in_the_bundle_though_others_share_its_number(office: Office) -> None:
    async with office.client() as api:
        mary, _ = [
            (await api.post("/v1/contacts", json={"name": name, "numbers": [{"number": NUMBER}]})).json()["id"]
            for name in ("Mary", "Flatmate")
        ]
        _, export = await begun(api, subject={"contact": mary})
        await (await worker(office.house)).build_all()
        archive = await downloaded(api, export)
    (name,) = [name for name in archive.namelist() if name.startswith("contacts/")]
    assert [contact["name"] for contact in json.loads(archive.read(name))] == ["Mary"]


async def test_expected_deletion_follows_the_organisations_retention_rules(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    await office.rows(
        "INSERT INTO retention_rules (org_id, id, class, keep_days, changed_at, changed_by) VALUES ($1, $2, 'recording', 30, now(), 'a')"
        " RETURNING id",
        office.house.org,
        uuid4(),
    )
    async with office.client() as api:
        _, export = await begun(api)
        await (await worker(office.house)).build_all()
        facts = json.loads((await downloaded(api, export)).read(f"recordings/{recording}.json"))
    assert datetime.fromisoformat(facts["expected_deletion"]) == datetime.fromisoformat(facts["started_at"]) + timedelta(days=30)


async def test_a_link_is_one_organisations_takes_its_token_and_expires(office: Office) -> None:
    async with office.client() as api, office.client(slug="globex") as other, office.client("auditor") as auditor:
        _, export = await begun(api)
        await (await worker(office.house)).build_all()
        first = shown(await api.post(f"{export}/link"))["url"]
        second = shown(await api.post(f"{export}/link"))["url"]
        problem(await api.get(first), 404)
        for url in (f"{export}?token=x", f"{export}?token=%00%F0%9F%98%80", f"/v1/privacy/exports/{uuid4()}?token=x"):
            problem(await api.get(url), 404)
        problem(await api.get(export), 422)
        problem(await other.get(second), 404)
        problem(await other.post(f"{export}/link"), 404)
        problem(await other.get(f"{export}/progress"), 404)
        problem(await auditor.get(second), 403)
        async with office.stranger() as stranger:
            problem(await stranger.get(second), 401)
        assert (await api.get(second)).status_code == 200
        (row,) = await office.rows("SELECT token_hash FROM documents")
        assert row["token_hash"] == hashlib.sha256(second.partition("token=")[2].encode()).digest()
        office.house.clock.ahead += timedelta(days=7, seconds=1)
        problem(await api.get(second), 410)
        problem(await api.post(f"{export}/link"), 410)


async def test_two_workers_at_once_build_one_bundle(office: Office) -> None:
    await recorded(office, NUMBER)
    async with office.client() as api:
        path, export = await begun(api)
        built = await asyncio.gather(*[(await worker(office.house)).build_all() for _ in range(3)])
        assert sum(built) == 1
        assert [step["step"] for step in shown(await api.get(path))["steps"]].count("answered") == 1
        manifest_of(await downloaded(api, export))


async def test_a_person_of_whom_nothing_is_held_gets_a_bundle_that_says_so(office: Office) -> None:
    async with office.client() as api:
        _, export = await begun(api, subject={"number": "+493023125077"})
        await (await worker(office.house)).build_all()
        archive = await downloaded(api, export)
    held = {item["kind"]: item["count"] for item in json.loads(archive.read("report.json"))["held"]}
    assert held == {"call": 0, "recording": 0, "contact": 0, "case": 1, "consent": 0, "message": 0}


async def test_a_delivery_under_way_ends_when_the_bundle_is_erased(office: Office) -> None:
    for _ in range(3):
        await recorded(office, NUMBER)
    async with office.client() as api:
        _, export = await begun(api)
        await (await worker(office.house)).build_all()
        token = shown(await api.post(f"{export}/link"))["url"].partition("token=")[2]
    document = UUID(export.rpartition("/")[2])
    why = Why("api-key:test", "data-subject-request")
    found = await office.means.rights.exports.deliver(office.house.org, document, token, why)
    assert isinstance(found, Delivery)
    await office.rows("UPDATE documents SET state = 'erased', erased_at = now() RETURNING id")
    office.house.clock.ahead += timedelta(seconds=1)
    with pytest.raises(DeliveryEnded):
        async for _ in found.chunks:
            pass
    async with office.client() as api:
        problem(await api.get(f"{export}?token={token}"), 410)
        assert shown(await api.get(f"{export}/progress"))["state"] == "erased"


def test_a_large_bundle_is_built_in_little_memory(tmp_path: Path) -> None:
    document = Document(
        id=uuid4(), org_id=uuid4(), kind="export", request_id=None, state="building", region="eu", key_fingerprint=b"", object_key=None,
        node_id=None, planned_at=None, contents=0, done=0, sealed_bytes=None, plain_bytes=None, digest=None, failure=None,
        failures=0, failing_since=None, retry_at=None, created_at=datetime.now(UTC),
        ready_at=None, expires_at=None, token_hash=None, erased_at=None, is_erasing=False,
    )  # type: ignore[arg-type] # fmt: skip
    chunk = Chance().token_bytes(1 << 16)
    tracemalloc.start()
    try:
        file = ExportFile(tmp_path / "a.hwx", bytes(32), document, [], Chance())
        for number in range(8):
            file.begin(f"{number}.bin")
            for _ in range(256):
                file.add(chunk)
            file.end()
            file.checkpoint()
        size, _ = file.finish()
        file.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 8 * 256 * len(chunk)
    assert peak < 4 << 20


@pytest.mark.parametrize("what", ["recording", "number"])
async def test_erasing_a_thing_kills_every_bundle_that_contains_it_and_its_ciphertext_is_swept(office: Office, what: str) -> None:
    _, recording = await recorded(office, NUMBER)
    await recorded(office, OTHER)
    async with office.client() as api:
        bundles = [(await begun(api))[1] for _ in range(2)]
        _, unconcerned = await begun(api, subject={"number": OTHER})
        await (await worker(office.house)).build_all()
        urls = [shown(await api.post(f"{export}/link"))["url"] for export in bundles]
        if what == "recording":
            shown(await api.delete(f"/v1/recordings/{recording}"))
        else:
            path = await verified(api, "erase")
            shown(await api.post(f"{path}/execute"))
        for export, url in zip(bundles, urls, strict=True):
            problem(await api.get(url), 410)
            problem(await api.post(f"{export}/link"), 410)
        await downloaded(api, unconcerned)
    await (await office.house.upkeep()).carry_on()
    keyring = await office.house.keyring("api")
    for export in bundles:
        document = UUID(export.rpartition("/")[2])
        assert await keyring.fingerprint(office.house.org, "document", document) is None
        assert list(office.house.folder.rglob(f"*{document}*")) == []
    entries = await office.rows("SELECT caused_by, swept_at FROM erasure_ledger WHERE kind = 'document'")
    assert len(entries) == 2
    assert all(entry["swept_at"] is not None for entry in entries)


async def test_an_expired_bundle_is_erased_through_the_one_erasure_path(office: Office) -> None:
    async with office.client() as api:
        _, export = await begun(api)
        building = await worker(office.house)
        await building.build_all()
        assert await building.expire() == 0
        office.house.clock.ahead += timedelta(days=7, seconds=1)
        assert await building.expire() == 1
        assert shown(await api.get(f"{export}/progress"))["state"] == "erased"
    await (await office.house.upkeep()).carry_on()
    document = UUID(export.rpartition("/")[2])
    assert await (await office.house.keyring("api")).fingerprint(office.house.org, "document", document) is None
    assert list(office.house.folder.rglob(f"*{document}*")) == []


async def test_a_bundle_that_fell_while_its_request_is_open_is_made_anew_when_it_is_executed_again(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    async with office.client() as api:
        path, export = await begun(api)
        fate = Fate(45)
        with pytest.raises(Killed):
            await (await worker(office.house, fate)).build_all()
        assert await office.rows("SELECT 1 FROM document_contents WHERE file IS NOT NULL")
        (inside,) = await office.rows("SELECT kind, object_id FROM document_contents WHERE file IS NOT NULL AND kind = 'call' LIMIT 1")
        shown(await api.delete(f"/v1/calls/{inside['object_id']}"))
        await (await worker(office.house)).build_all()
        assert shown(await api.get(f"{export}/progress"))["state"] == "erased"
        assert shown(await api.get(path))["state"] == "working"
        again = shown(await api.post(f"{path}/execute"))["outcome"]["export"]
        assert again not in export
        await (await worker(office.house)).build_all()
        archive = await downloaded(api, f"/v1/privacy/exports/{again}")
    assert not any(recording in name for name in archive.namelist())


async def lost(office: Office, recording: str) -> list[Path]:
    """Moves a recording's bytes to where nothing finds them; returns them as they are named now."""
    files = office.house.ciphertext(UUID(recording))
    assert files
    return [file.rename(office.house.folder / f"lost-{file.name}") for file in files]


async def until_given_up(office: Office, api: httpx.AsyncClient, export: str, building: Building, failures: int = 0) -> list[float]:
    """Has the worker try until it gives up; by how many seconds each try was put off."""
    pauses = []
    for _ in range(60):
        with pytest.raises(Unfinished):
            await building.build_all()
        said = shown(await api.get(f"{export}/progress"))
        if said["state"] == "failed":
            return pauses
        assert said["failures"] == failures + len(pauses) + 1
        wait = datetime.fromisoformat(said["retry_at"]) - office.house.clock.now()
        assert await building.build_all() == 0, "it was tried before its time"
        office.house.clock.ahead += wait + timedelta(seconds=1)
        pauses.append(wait.total_seconds())
    raise AssertionError("it is tried for ever")


async def test_a_bundle_that_cant_be_built_is_tried_for_a_day_told_as_failed_and_made_anew_when_it_is_asked_for_again(
    office: Office,
) -> None:
    _, recording = await recorded(office, NUMBER)
    (file,) = office.house.ciphertext(UUID(recording))
    (away,) = await lost(office, recording)
    async with office.client() as api:
        path, export = await begun(api)
        building = await worker(office.house)
        pauses = await until_given_up(office, api, export, building)
        assert pauses[:4] == pytest.approx([30, 60, 120, 240], abs=2)
        assert max(pauses) == pytest.approx(3600, abs=2)
        assert timedelta(hours=23) < timedelta(seconds=sum(pauses)) < timedelta(hours=26)
        said = shown(await api.get(f"{export}/progress"))
        assert (said["state"], said["failure"], said["retry_at"]) == ("failed", "recording-out-of-reach", None)
        assert shown(await api.get("/v1/privacy/exports"))["items"][0]["failure"] == "recording-out-of-reach"
        refused = problem(await api.post(f"{export}/link"), 409)
        assert (refused["state"], refused["failure"]) == ("failed", "recording-out-of-reach")
        request = shown(await api.get(path))
        assert (request["state"], request["outcome"]["export_failure"]) == ("working", "recording-out-of-reach")
        (row,) = await office.rows("SELECT actor, object, fields FROM audit_log WHERE action = 'export.failed'")
        assert (row["actor"], row["object"]) == ("system:worker", f"document:{export.rpartition('/')[2]}")
        assert json.loads(row["fields"]) == {"reason": "recording-out-of-reach"}
        assert list(Path(office.house.folder / "spool").glob("*.hwx")) == []
        away.rename(file)
        again = f"/v1/privacy/exports/{shown(await api.post(f'{path}/execute'))['outcome']['export']}"
        assert again != export
        assert await building.build_all() == 2, "the new one is built, and what is left of the old one erased"
        assert shown(await api.get(f"{export}/progress"))["state"] == "erased"
        ready = shown(await api.get(f"{again}/progress"))
        assert (ready["state"], ready["failure"], ready["failures"]) == ("ready", None, 0)
        request = shown(await api.get(path))
        assert (request["state"], request["outcome"]["export_failure"]) == ("answered", None)
        manifest_of(await downloaded(api, again))


async def test_a_bundle_that_was_delayed_is_built_when_the_cause_is_mended_and_then_says_nothing_of_it(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    (file,) = office.house.ciphertext(UUID(recording))
    (away,) = await lost(office, recording)
    async with office.client() as api:
        _, unconcerned = await begun(api, subject={"number": OTHER})
        _, export = await begun(api)
        building = await worker(office.house)
        with pytest.raises(Unfinished, match="1 RecordingOutOfReach"):
            await building.build_all()
        assert shown(await api.get(f"{unconcerned}/progress"))["state"] == "ready"
        assert shown(await api.get(f"{export}/progress"))["failure"] == "recording-out-of-reach"
        away.rename(file)
        office.house.clock.ahead += timedelta(seconds=31)
        assert await building.build_all() == 1
        said = shown(await api.get(f"{export}/progress"))
        assert (said["state"], said["failure"], said["retry_at"], said["failures"]) == ("ready", None, None, 1)


async def test_a_bundle_whose_key_is_gone_without_an_erasure_is_not_waited_for_in_silence(office: Office) -> None:
    async with office.client() as api:
        _, export = await begun(api)
        await (await office.house.keyring("api")).destroy_data_key(office.house.org, "document", UUID(export.rpartition("/")[2]))
        building = await worker(office.house)
        await until_given_up(office, api, export, building)
        assert shown(await api.get(f"{export}/progress"))["failure"] == "key-missing"
        office.house.clock.ahead += timedelta(days=7, seconds=1)
        assert await building.build_all() == 1
        assert shown(await api.get(f"{export}/progress"))["state"] == "erased"


async def test_a_bundle_that_is_erased_while_it_fails_is_erased_and_not_failed(office: Office) -> None:
    call, recording = await recorded(office, NUMBER)
    await lost(office, recording)
    async with office.client() as api:
        _, export = await begun(api)
        building = await worker(office.house)
        with pytest.raises(Unfinished):
            await building.build_all()
        shown(await api.delete(f"/v1/calls/{call}"))
        office.house.clock.ahead += timedelta(days=2)
        assert await building.build_all() == 0
        assert shown(await api.get(f"{export}/progress"))["state"] == "erased"
    assert await office.rows("SELECT 1 FROM audit_log WHERE action = 'export.failed'") == []


async def test_what_an_error_says_stands_in_no_row(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office.client() as api:
        _, export = await begun(api)
        building = await worker(office.house)

        async def broken(*_: object) -> None:
            raise ValueError(f"Mary Marker {NUMBER}")

        monkeypatch.setattr(building, "_fill", broken)
        await until_given_up(office, api, export, building)
        assert shown(await api.get(f"{export}/progress"))["failure"] == "unexpected"
    for table in ("documents", "privacy_requests", "audit_log", "outbox"):
        for row in await office.rows(f"SELECT row_to_json(t)::text AS said FROM {table} AS t"):
            assert "Mary" not in row["said"]
            assert NUMBER[1:] not in row["said"]


async def test_the_operator_is_told_of_bundles_in_trouble_of_all_organisations_in_numbers(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    await lost(office, recording)
    async with office.client() as api:
        path, export = await begun(api)
        building = await worker(office.house)
        main = await office.house.main("api")

        async def troubles() -> list[documents.Trouble]:
            async with main.transaction() as connection:
                return await documents.in_trouble(connection, office.house.clock.now(), tuple(Failure))

        assert await troubles() == []
        with pytest.raises(Unfinished):
            await building.build_all()
        assert await troubles() == [documents.Trouble(False, "recording-out-of-reach", 1)]
        office.house.clock.ahead += timedelta(minutes=1)
        await until_given_up(office, api, export, building, failures=1)
        assert await troubles() == [documents.Trouble(True, "recording-out-of-reach", 1)]
        shown(await api.post(f"{path}/execute"))
        assert await troubles() == []
