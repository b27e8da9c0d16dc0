"""Consents to recording: kept as evidence, found, withdrawn, and gone with what they are about; and the set that stays."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from hushwire.core.errors import KeyUnavailable
from hushwire.core.personal import Personal
from hushwire.privacy.selection import Selector
from hushwire.services.phone_numbers import REMOTE
from hushwire.vault.unseal import Why
from tests.api.serving import Office, as_json, office, problem, shown
from tests.called import Called, called

__all__ = ["office"]
PATH, LISTED = "/v1/privacy/consents", "/v1/privacy/do-not-call"
NUMBER, OTHER = "+493023125777", "+493023125888"
NOTE = "said yes, Zacharias Markermann"
SPOKEN = {"how": "spoken", "given_at": "2020-11-01T10:00:00Z"}
WHY = Why("api-key:1", "customer-service")


async def noted(api: httpx.AsyncClient, **about: Any) -> dict[str, Any]:
    answer = await api.post(PATH, json={**SPOKEN, **about})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def index_of(office: Office, number: str) -> bytes:
    return (await (await office.house.keyring("owner")).org_context(office.house.org)).index(REMOTE, number)


async def key_of(office: Office, consent: str) -> bool:
    """Whether its data key still exists."""
    try:
        await (await office.house.keyring("api")).open_data_key(office.house.org, "case", UUID(consent), WHY)
    except KeyUnavailable:
        return False
    return True


async def rested(office: Office, number: str = NUMBER) -> Called:
    """A recorded call whose recording rests on consent."""
    made = await called(office.house, number)
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        index = await index_of(office, number)
        await connection.execute("UPDATE recordings SET lawful_basis = 'consent', remote_index = $2 WHERE id = $1", made.recording, index)
    return made


async def test_a_consent_is_kept_with_how_when_and_by_whom_and_its_note_is_shown_one_at_a_time(office: Office) -> None:
    made = await rested(office)
    digest = "ab" * 32
    async with office.client() as api:
        kept = await noted(
            api, recording=str(made.recording), how="announcement-played", text_version="2026-11", announcement_digest=digest,
            jurisdiction="de", note=NOTE,
        )  # fmt: skip
        assert (kept["recording_id"], kept["call_id"]) == (str(made.recording), str(made.call))
        assert (kept["how"], kept["announcement_digest"], kept["jurisdiction"]) == ("announcement-played", digest, "DE")
        assert kept["noted_by"].startswith("api-key:")
        for query in ({"recording": made.recording}, {"call": made.call}, {}):
            (listed,) = shown(await api.get(PATH, params=query))["items"]
            assert listed == {**kept, "note": None}
        assert shown(await api.get(f"{PATH}/{kept['id']}"))["note"] == NOTE
        assert shown(await api.get(PATH, params={"recording": str(uuid4())}))["items"] == []
        (found,) = shown(await api.post(f"{PATH}/search", json={"number": "030 23125777"}))["items"]
        assert found["id"] == kept["id"]
        problem(await api.post(f"{PATH}/search", json={"number": "x"}), 422)
    (row,) = await office.rows("SELECT * FROM consents")
    assert NOTE.encode() not in row["note_sealed"]
    reads = await office.rows("SELECT purpose FROM access_log WHERE object = $1", f"case:{kept['id']}")
    assert [read["purpose"] for read in reads] == ["customer-service"]


async def test_withdrawing_stops_recording_of_the_number_names_what_rests_on_it_and_erases_nothing(office: Office) -> None:
    made, other = await rested(office), await rested(office, OTHER)
    async with office.client() as api:
        kept = await noted(api, number=NUMBER)
        done = shown(await api.post(f"{PATH}/{kept['id']}/withdraw"))
        assert done["stops_recording"] is True
        assert done["recordings"] == [str(made.recording)]
        assert str(other.recording) not in done["recordings"]
        assert done["consent"]["withdrawn_at"] is not None
        assert shown(await api.post(f"{PATH}/{kept['id']}/withdraw")) == done
        assert shown(await api.get(f"/v1/recordings/{made.recording}"))["state"] != "erased"
        index = await index_of(office, NUMBER)
        (stopped,) = await office.rows("SELECT remote_index, source FROM unrecorded_numbers")
        assert (stopped["remote_index"], stopped["source"]) == (index, "withdrawal")
        # A consent that is older than the withdrawal changes nothing; a newer one ends it.
        await noted(api, number=NUMBER)
        assert len(await office.rows("SELECT 1 FROM unrecorded_numbers")) == 1
        await noted(api, number=NUMBER, given_at=office.house.clock.now().isoformat())
        assert await office.rows("SELECT 1 FROM unrecorded_numbers") == []


async def test_an_objection_outlives_a_consent_that_is_given_later(office: Office) -> None:
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute(
            "INSERT INTO unrecorded_numbers VALUES ($1, $2, $3, 'objection', $1, '2020-01-01')",
            uuid4(), office.house.org, await index_of(office, NUMBER),
        )  # fmt: skip
    async with office.client() as api:
        await noted(api, number=NUMBER)
    assert len(await office.rows("SELECT 1 FROM unrecorded_numbers")) == 1


@pytest.mark.parametrize("whole", ["recordings", "calls"])
async def test_a_consent_falls_with_its_recording_and_with_its_call(office: Office, whole: str) -> None:
    made = await rested(office)
    async with office.client() as api:
        kept = await noted(api, recording=str(made.recording), note=NOTE)
        bystander = await noted(api, number=OTHER, note=NOTE)
        answer = await api.delete(f"/v1/{whole}/{made.recording if whole == 'recordings' else made.call}")
        assert answer.status_code == 200, answer.text
        problem(await api.get(f"{PATH}/{kept['id']}"), 410)
        problem(await api.post(f"{PATH}/{kept['id']}/withdraw"), 410)
        assert shown(await api.get(f"{PATH}/{bystander['id']}"))["note"] == NOTE
    assert not await key_of(office, kept["id"])
    assert await key_of(office, bystander["id"])
    (row,) = await office.rows("SELECT * FROM consents WHERE id = $1", UUID(kept["id"]))
    assert (row["note_sealed"], row["remote_index"], row["sealed_with"]) == (None, None, None)
    assert row["erased_at"] is not None
    (entry,) = await office.rows("SELECT kind, unreadable_at FROM erasure_ledger WHERE object_id = $1", UUID(kept["id"]))
    assert entry["kind"] == "consent"
    assert entry["unreadable_at"] is not None


async def test_erasing_a_number_takes_its_consents_and_leaves_it_uncalled_and_unrecorded(office: Office) -> None:
    await rested(office)
    async with office.client() as api:
        kept = await noted(api, number=NUMBER, note=NOTE)
        shown(await api.post(f"{PATH}/{kept['id']}/withdraw"))
        assert shown(await api.post(LISTED, json={"numbers": [NUMBER]})) == {"changed": 1, "count": 1}
        erasures = await office.house.erasures("api")
        await erasures.erase_matching(office.house.org, Selector(number=Personal(NUMBER)), actor="api-key:1", reason="data-subject-request")
        problem(await api.get(f"{PATH}/{kept['id']}"), 410)
        assert shown(await api.post(f"{PATH}/search", json={"number": NUMBER}))["items"] == []
        assert shown(await api.post(f"{LISTED}/check", json={"number": NUMBER})) == {"listed": True}
    assert not await key_of(office, kept["id"])
    assert [row["source"] for row in await office.rows("SELECT source FROM unrecorded_numbers")] == ["withdrawal"]


async def test_a_consent_about_something_erased_foreign_or_unknown_is_not_noted_and_leaves_no_key(office: Office) -> None:
    made = await rested(office)
    foreign = await office.add_call(NUMBER, org=office.other)
    async with office.client() as api:
        assert (await api.delete(f"/v1/recordings/{made.recording}")).status_code == 200
        for about in ({"recording": str(made.recording)}, {"call": str(foreign)}, {"call": str(uuid4())}):
            problem(await api.post(PATH, json={**SPOKEN, **about, "note": NOTE}), 404)
        kept = await noted(api, number=NUMBER)
    assert len(await office.rows("SELECT 1 FROM consents")) == 1
    async with office.client(slug="globex") as api:
        problem(await api.get(f"{PATH}/{kept['id']}"), 404)
        problem(await api.post(f"{PATH}/{kept['id']}/withdraw"), 404)


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"number": "x"}, {"number": NUMBER, "call": str(uuid4())}, {"number": NUMBER, "how": "guessed"}, {"number": 5},
        {"number": NUMBER, "given_at": "2999-01-01T00:00:00Z"}, {"number": NUMBER, "given_at": "2020-11-01T10:00:00"},
        {"number": NUMBER, "given_at": 1e15}, {"number": NUMBER, "note": "a\0b"}, {"number": NUMBER, "note": "x" * 10_001},
        {"number": NUMBER, "announcement_digest": "ab"}, {"number": NUMBER, "jurisdiction": "XX"}, {"number": NUMBER, "more": 1},
        {"call": "x"},
    ],
)  # fmt: skip
async def test_what_is_no_consent_changes_nothing_and_repeats_nothing(office: Office, wrong: dict[str, Any]) -> None:
    async with office.client() as api:
        answer = await api.post(PATH, **as_json({**SPOKEN, **wrong}))
        assert NUMBER not in str(problem(answer, 422))
    assert await office.rows("SELECT 1 FROM consents") == []


async def test_the_rules_say_for_each_country_whether_the_declaration_meets_its_law(office: Office) -> None:
    async with office.client("auditor") as api:
        found = shown(await api.get(f"{PATH}/rules"))
        assert (found["recording_consent"], found["lawful_basis"], found["jurisdictions"]) == ("contract", "contract", ["DE"])
        rules = {rule["country"]: rule for rule in found["countries"]}
        assert rules.keys() == {"AT", "DE"}
        assert (rules["DE"]["consent"], rules["DE"]["is_satisfied"], rules["DE"]["may_record"]) == ("all-party", False, True)
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE orgs SET recording_consent = 'announced'")
    async with office.client("auditor") as api:
        assert all(rule["is_satisfied"] for rule in shown(await api.get(f"{PATH}/rules"))["countries"])


async def test_a_list_of_ten_thousand_numbers_is_taken_at_once_and_holds_no_number(office: Office) -> None:
    numbers = [f"+4930231{n:05d}" for n in range(10_000)]
    async with office.client() as api:
        assert shown(await api.post(LISTED, json={"numbers": numbers})) == {"changed": 10_000, "count": 10_000}
        assert shown(await api.post(LISTED, json={"numbers": ["030 23100001", numbers[0]]})) == {"changed": 0, "count": 10_000}
        assert shown(await api.post(f"{LISTED}/remove", json={"numbers": numbers[:5]})) == {"changed": 5, "count": 9_995}
        assert shown(await api.get(LISTED))["count"] == 9_995
        assert shown(await api.post(f"{LISTED}/check", json={"number": numbers[0]})) == {"listed": False}
        wrong = problem(await api.post(LISTED, json={"numbers": [numbers[0], "x", "+1"]}), 422)
        assert [error["field"] for error in wrong["errors"]] == ["numbers[1]", "numbers[2]"]
        problem(await api.post(LISTED, json={"numbers": [*numbers, numbers[0]]}), 422)
        problem(await api.post(LISTED, json={"numbers": []}), 422)
        problem(await api.post(f"{LISTED}/check", json={"number": "x"}), 422)
        assert shown(await api.get(LISTED))["count"] == 9_995
    async with office.client(slug="globex") as api:
        assert shown(await api.post(f"{LISTED}/check", json={"number": numbers[9]})) == {"listed": False}
    (row,) = await office.rows("SELECT * FROM do_not_call LIMIT 1")
    assert b"4930231" not in row["number_index"]
    keys = await (await office.house.keyring("owner")).org_context(office.house.org)
    shared = {keys.index(REMOTE, number) for number in numbers}
    assert not shared & {row["number_index"] for row in await office.rows("SELECT number_index FROM do_not_call")}


async def test_asked_beforehand_the_verdict_for_a_telemarketing_agent_knows_the_set(office: Office) -> None:
    seller, clerk = await office.add_agent("seller"), await office.add_agent("clerk")
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE agents SET telemarketing = true WHERE id = $1", seller)
    async with office.client() as api:
        shown(await api.post(LISTED, json={"numbers": [NUMBER]}))

        async def verdict(agent: str | None, destination: str) -> tuple[str, str | None]:
            asked = {"destination": destination, "channel": "sms", "agent": agent}
            answer = shown(await api.post("/v1/voice-security/check", json=asked))
            return answer["verdict"], answer["reason"]

        assert await verdict("seller", "03023125777") == ("deny", "do-not-call")
        assert await verdict(str(seller), NUMBER) == ("deny", "do-not-call")
        for agent, destination in ((str(clerk), NUMBER), (None, NUMBER), ("seller", OTHER)):
            assert await verdict(agent, destination) == ("allow", None)
