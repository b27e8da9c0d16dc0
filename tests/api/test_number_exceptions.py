"""/v1/voice-security/exceptions: with a reason and an end, by two where it is guarded, and never another country's."""

from datetime import timedelta

from tests.api.serving import Office, problem, shown

PATH, CHECK, RULES = "/v1/voice-security/exceptions", "/v1/voice-security/check", "/v1/voice-security"
UNASSIGNED = "+4932999"


async def test_an_exception_holds_from_the_next_check_on_until_it_is_taken_back(office: Office) -> None:
    end = (office.house.clock.now() + timedelta(days=30)).isoformat()
    wanted = {"kind": "unassigned", "number": UNASSIGNED, "country": "DE", "reason": "the lift", "until": end}
    async with office.client("admin") as api:
        asked = {"destination": UNASSIGNED, "channel": "invite"}
        assert shown(await api.post(CHECK, json=asked))["verdict"] == "deny"
        made = await api.post(PATH, json=wanted)
        assert made.status_code == 201, made.text
        office.means.voice_security._known.clear()
        assert (made.json()["number"], made.json()["reason"]) == ("+493...99", "the lift")
        assert shown(await api.post(CHECK, json=asked))["verdict"] == "allow"
        assert [one["id"] for one in shown(await api.get(PATH))] == [made.json()["id"]]
        assert (await api.delete(f"{PATH}/{made.json()['id']}")).status_code == 204
        office.means.voice_security._known.clear()
        assert shown(await api.post(CHECK, json=asked))["verdict"] == "deny"
        problem(await api.delete(f"{PATH}/{made.json()['id']}"), 404)
        for wrong in (
            {"country": "FR"},
            {"until": "2090-01-01T00:00:00Z"},
            {"reason": ""},
            {"number": "4932999"},
            {"number": "+491", "is_prefix": True},
        ):
            problem(await api.post(PATH, json=wanted | wrong), 422)


async def test_an_exception_in_what_is_guarded_holds_once_a_second_person_agrees(office: Office) -> None:
    end = (office.house.clock.now() + timedelta(days=30)).isoformat()
    wanted = {"kind": "unassigned", "number": "+4932", "is_prefix": True, "country": "DE", "reason": "ours", "until": end}
    asked = {"destination": UNASSIGNED, "channel": "invite"}
    async with office.client("admin") as first, office.client() as second:
        shown(await second.put(RULES, json={"four_eyes": ["DE"]}))
        answer = await first.post(PATH, json=wanted)
        assert (answer.status_code, answer.json()["waits"]["countries"]) == (202, ["DE"])
        proposal = answer.json()["waits"]["id"]
        assert shown(await first.post(CHECK, json=asked))["verdict"] == "deny"
        problem(await first.post(f"{RULES}/proposals/{proposal}/approve"), 403)
        shown(await second.post(f"{RULES}/proposals/{proposal}/approve"))
        office.means.voice_security._known.clear()
        assert shown(await first.post(CHECK, json=asked))["verdict"] == "allow"
        taken_back = (await first.post(PATH, json=wanted | {"number": "+49329"})).json()["waits"]
        assert (await first.delete(f"{PATH}/{taken_back['subject'].partition(':')[2]}")).status_code == 204
        assert problem(await second.post(f"{RULES}/proposals/{taken_back['id']}/approve"), 409)["reason"] == "outdated"


async def test_an_exception_to_a_risk_waits_by_where_its_number_lies_whatever_country_is_said_with_it(office: Office) -> None:
    end = (office.house.clock.now() + timedelta(days=30)).isoformat()
    said = {"kind": "risk", "country": "DE", "reason": "ours", "until": end}
    async with office.client("admin") as first, office.client() as second:
        shown(await second.put(RULES, json={"four_eyes": ["GB", "JM"]}))
        for number, is_prefix, guarded in (
            ("+442079460958", False, ["GB"]),
            ("+4420", True, ["GB"]),
            ("+18765551234", False, ["JM"]),
            ("+1876", True, ["JM"]),
            ("+1800", True, ["JM"]),
        ):
            answer = await first.post(PATH, json=said | {"number": number, "is_prefix": is_prefix})
            assert (answer.status_code, answer.json()["waits"]["countries"]) == (202, guarded), number
        for number in ("+3312345", "+1712432"):
            assert (await first.post(PATH, json=said | {"number": number, "is_prefix": True})).status_code == 201, number


async def test_of_an_exception_that_was_rejected_nothing_stays(office: Office) -> None:
    end = (office.house.clock.now() + timedelta(days=30)).isoformat()
    wanted = {"kind": "unassigned", "number": UNASSIGNED, "country": "DE", "reason": "ours", "until": end}
    async with office.client("admin") as first, office.client() as second:
        shown(await second.put(RULES, json={"four_eyes": ["DE"]}))
        rejected = (await first.post(PATH, json=wanted)).json()["waits"]["id"]
        shown(await second.post(f"{RULES}/proposals/{rejected}/reject"))
        assert await office.rows("SELECT id FROM number_exceptions") == []
        await first.post(PATH, json=wanted)
        office.house.clock.ahead += timedelta(days=8)
        later = (await first.post(PATH, json=wanted | {"number": UNASSIGNED + "1"})).json()["waits"]["subject"]
        assert [f"exception:{row['id']}" for row in await office.rows("SELECT id FROM number_exceptions")] == [later], "the other lapsed"
