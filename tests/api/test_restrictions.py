"""/v1/privacy/restrictions: kept, not readable anywhere, reversible."""

from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from hushwire.core.ids import CallId
from hushwire.recording.containers import AudioFormat
from hushwire.services.recordings import Audio, PlaybackEnded
from hushwire.vault.unseal import Why
from tests.api.serving import Office, problem, shown
from tests.api.test_recordings import tone

NUMBER, OTHER = "+493023125001", "+493023125002"


async def recorded(office: Office, number: str) -> tuple[CallId, str]:
    """A call with this number, and its recording."""
    agent = await office.add_agent(f"agent-{uuid4()}")
    call = await office.add_call(number, agent_id=agent, country="DE", duration_ms=2000)
    recording = await office.house.record(tone(2))
    keys = await (await office.house.keyring("api")).org_context(office.house.org)
    await office.rows(
        "UPDATE recordings SET call_id = $2, agent_id = $3, remote_index = $4 WHERE id = $1 RETURNING id",
        recording,
        call,
        agent,
        keys.index("calls.remote", number),
    )
    return call, str(recording)


async def restrict(api: httpx.AsyncClient, body: dict[str, str]) -> str:
    answer = await api.post("/v1/privacy/restrictions", json=body)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


async def is_readable(api: httpx.AsyncClient, call: object, recording: str) -> bool:
    paths = (f"/v1/calls/{call}", f"/v1/recordings/{recording}", f"/v1/recordings/{recording}/audio")
    answers = [await api.get(path) for path in paths]
    if all(answer.status_code == 200 for answer in answers):
        return True
    for answer in answers:
        assert problem(answer, 403)["reason"] == "restricted"
    return False


async def test_what_is_held_of_a_restricted_number_is_kept_and_read_by_nobody_until_it_is_lifted(office: Office) -> None:
    call, recording = await recorded(office, NUMBER)
    other_call, other_recording = await recorded(office, OTHER)
    async with office.client() as api, office.client("auditor") as auditor:
        assert await is_readable(api, call, recording)
        restriction = await restrict(api, {"number": "030 23125001"})
        assert not await is_readable(api, call, recording)
        assert not await is_readable(auditor, call, recording)
        assert await is_readable(api, other_call, other_recording)
        for page in (await api.get("/v1/calls"), await api.post("/v1/calls/search", json={"number": NUMBER})):
            (item,) = [item for item in shown(page)["items"] if item["id"] == str(call)]
            assert item["is_restricted"]
            assert {name for name, value in item.items() if value is not None} == {
                "id",
                "direction",
                "state",
                "started_at",
                "is_restricted",
            }
        for page in (await api.get("/v1/recordings"), await api.post("/v1/recordings/search", json={"number": NUMBER})):
            (item,) = [item for item in shown(page)["items"] if item["id"] == recording]
            assert item["is_restricted"]
            assert (item["agent"], item["agent_id"], item["duration_ms"], item["digest"]) == (None, None, None, None)
        assert NUMBER not in (await api.get("/v1/calls")).text
        lifted = shown(await api.post(f"/v1/privacy/restrictions/{restriction}/lift"))
        assert lifted["lifted_at"] is not None
        assert shown(await api.post(f"/v1/privacy/restrictions/{restriction}/lift")) == lifted
        assert await is_readable(api, call, recording)
    actions = [row["action"] for row in await office.rows("SELECT action FROM audit_log ORDER BY position")]
    assert actions == ["restriction.placed", "restriction.lifted"]


@pytest.mark.parametrize("role", ["owner", "admin", "supervisor", "auditor"])
async def test_no_side_door_leads_to_what_is_restricted(office: Office, role: str) -> None:
    call, recording = await recorded(office, NUMBER)
    async with office.client() as owner, office.client(role) as api:
        sides = ("", "/audio", "/audio?format=wav", "/peaks", "/peaks?format=dat", "/timeline", "/sealed", "/envelopes")
        open_before = [(await api.get(f"/v1/recordings/{recording}{side}")).status_code for side in sides]
        assert 403 not in open_before
        await restrict(owner, {"number": NUMBER})
        for side in sides:
            assert problem(await api.get(f"/v1/recordings/{recording}{side}"), 403)["reason"] == "restricted"
            answer = await api.get(f"/v1/recordings/{recording}{side}", headers={"Range": "bytes=0-10", "If-None-Match": "*"})
            assert problem(answer, 403)["reason"] == "restricted"
        assert (await api.head(f"/v1/recordings/{recording}/audio?format=wav")).status_code == 403
        assert problem(await api.get(f"/v1/calls/{call}"), 403)["reason"] == "restricted"


async def test_what_comes_later_of_a_restricted_number_is_restricted_as_well(office: Office) -> None:
    async with office.client() as api:
        await restrict(api, {"number": NUMBER})
        assert not await is_readable(api, *await recorded(office, NUMBER))


async def test_nothing_of_what_is_restricted_is_opened_and_lists_note_no_reading_of_it(office: Office) -> None:
    call, _ = await recorded(office, NUMBER)
    async with office.client() as api:
        await restrict(api, {"number": NUMBER})
        shown(await api.get("/v1/calls"))
        opened = await office.rows("SELECT object FROM access_log WHERE object = $1", f"call:{call}")
        row = shown(await api.get("/v1/calls"))["items"][0]
    assert row["remote"] is None
    assert len(opened) <= 1, "a list was noted"


async def test_one_thing_can_be_restricted_and_two_restrictions_have_both_to_be_lifted(office: Office) -> None:
    call, recording = await recorded(office, NUMBER)
    async with office.client() as api:
        by_id = await restrict(api, {"scope": "recording", "id": recording})
        assert shown(await api.get(f"/v1/calls/{call}"))["is_restricted"] is False
        problem(await api.get(f"/v1/recordings/{recording}"), 403)
        by_number = await restrict(api, {"number": NUMBER})
        assert await restrict(api, {"number": NUMBER}) == by_number
        shown(await api.post(f"/v1/privacy/restrictions/{by_id}/lift"))
        problem(await api.get(f"/v1/recordings/{recording}"), 403)
        shown(await api.post(f"/v1/privacy/restrictions/{by_number}/lift"))
        assert await is_readable(api, call, recording)
        whole = await restrict(api, {"scope": "call", "id": str(call)})
        assert not await is_readable(api, call, recording)
        assert [item["id"] for item in shown(await api.get("/v1/privacy/restrictions"))["items"]] == [by_id, by_number, whole]
        shown(await api.delete(f"/v1/recordings/{recording}"))
        problem(await api.get(f"/v1/recordings/{recording}"), 410)


async def test_a_contact_is_hidden_by_its_own_restriction_and_by_that_of_its_number(office: Office) -> None:
    async with office.client() as api:
        made = await api.post("/v1/contacts", json={"name": "Mary Marker", "numbers": [{"number": NUMBER}]})
        path = f"/v1/contacts/{made.json()['id']}"
        for body in ({"scope": "contact", "id": made.json()["id"]}, {"number": NUMBER}):
            restriction = await restrict(api, body)
            assert problem(await api.get(path), 403)["reason"] == "restricted"
            problem(await api.patch(path, json={"name": "x"}), 403)
            for page in (await api.get("/v1/contacts"), await api.post("/v1/contacts/search", json={"number": NUMBER})):
                assert "Mary" not in page.text
                (item,) = shown(page)["items"]
                assert (item["is_restricted"], item["name"], item["numbers"]) == (True, None, None)
            shown(await api.post(f"/v1/privacy/restrictions/{restriction}/lift"))
            assert shown(await api.get(path))["name"] == "Mary Marker"


async def test_a_playback_under_way_ends_within_a_second_of_the_restriction(office: Office) -> None:
    recording = await office.house.record(tone(120))
    service = office.means.recordings
    audio = await service.open_audio(office.house.org, recording, AudioFormat.WAV, Why("api-key:test", "customer-service"))
    assert isinstance(audio, Audio)
    await anext(audio.chunks)
    async with office.client() as api:
        await restrict(api, {"scope": "recording", "id": str(recording)})
    office.house.clock.ahead += timedelta(seconds=1)
    with pytest.raises(PlaybackEnded):
        async for _ in audio.chunks:
            pass


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"number": "x"},
        {"number": NUMBER, "scope": "call"},
        {"scope": "call"},
        {"id": str(uuid4())},
        {"scope": "agent", "id": str(uuid4())},
    ],
)
async def test_what_names_no_one_thing_is_refused(office: Office, body: dict[str, str]) -> None:
    async with office.client() as api:
        problem(await api.post("/v1/privacy/restrictions", json=body), 422)
    assert await office.rows("SELECT id FROM restricted_subjects") == []


async def test_another_organisations_things_can_neither_be_restricted_nor_lifted(office: Office) -> None:
    call, recording = await recorded(office, NUMBER)
    async with office.client() as api, office.client(slug="globex") as other, office.client("auditor") as auditor:
        problem(await other.post("/v1/privacy/restrictions", json={"scope": "call", "id": str(call)}), 404)
        await restrict(other, {"number": NUMBER})
        assert await is_readable(api, call, recording)
        restriction = await restrict(api, {"number": NUMBER})
        problem(await other.post(f"/v1/privacy/restrictions/{restriction}/lift"), 404)
        problem(await auditor.post(f"/v1/privacy/restrictions/{restriction}/lift"), 403)
        assert not await is_readable(api, call, recording)
