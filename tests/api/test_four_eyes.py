"""/v1/voice-security with guarded countries: what opens one waits for a second person, and nobody agrees with themselves."""

from datetime import timedelta

from hushwire.services.rule_changes import OPERATOR, WAITS, Change, Saved
from tests.api.serving import Office, problem, shown

RULES, PROPOSALS = "/v1/voice-security", "/v1/voice-security/proposals"


async def guard(office: Office) -> None:
    async with office.client() as api:
        assert shown(await api.put(RULES, json={"four_eyes": ["CU", "premium"]}))["four_eyes"] == ["CU", "premium"]


async def proposed(office: Office, role: str = "admin", **change: object) -> str:
    async with office.client(role) as api:
        answer = await api.put(RULES, json=change)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["waits"]["id"])


async def actions(office: Office) -> list[str]:
    return [row["action"] for row in await office.rows("SELECT action FROM audit_log ORDER BY position")]


async def test_a_guarded_country_opens_once_another_key_agrees_and_the_rest_of_the_change_at_once(office: Office) -> None:
    await guard(office)
    async with office.client("admin") as first, office.client() as second:
        answer = await first.put(RULES, json={"allowed_countries": ["DE", "GB", "CU"], "classes": ["premium", "pager"]})
        assert answer.status_code == 202
        said = answer.json()
        assert (said["allowed_countries"], said["classes"]) == (["DE", "GB"], ["pager"])
        waits = said["waits"]
        assert (waits["countries"], waits["classes"], waits["state"]) == (["CU"], ["premium"], "open")
        path = f"{PROPOSALS}/{waits['id']}"
        assert problem(await first.post(f"{path}/approve"), 403)["reason"] == "own-proposal"
        assert shown(await second.post(f"{path}/approve"))["state"] == "approved"
        now = shown(await first.get(RULES))
        assert (now["allowed_countries"], now["classes"]) == (["CU", "DE", "GB"], ["pager", "premium"])
        problem(await second.post(f"{path}/approve"), 409)
        problem(await first.post(f"{path}/reject"), 409)
        assert [item["id"] for item in shown(await first.get(PROPOSALS))["items"]] == [waits["id"]]
    assert await actions(office) == ["rules.changed", "rules.changed", "rules.proposed", "rules.changed"]
    notices = await office.rows("SELECT kind FROM notices ORDER BY created_at, kind")
    assert [row["kind"] for row in notices] == ["rules-proposed", "rules-opened"]


async def test_what_was_narrowed_while_a_proposal_waited_stays_narrow(office: Office) -> None:
    await guard(office)
    proposal = await proposed(office, allowed_countries=["AT", "DE", "CU"])
    async with office.client() as second:
        shown(await second.put(RULES, json={"allowed_countries": ["DE"]}))
        shown(await second.post(f"{PROPOSALS}/{proposal}/approve"))
        assert shown(await second.get(RULES))["allowed_countries"] == ["CU", "DE"]


async def test_the_guard_itself_is_lifted_by_two(office: Office) -> None:
    await guard(office)
    proposal = await proposed(office, four_eyes=[], allowed_countries=["DE", "CU"])
    async with office.client("admin") as first, office.client() as second:
        assert shown(await first.get(RULES))["four_eyes"] == ["CU", "premium"]
        shown(await second.post(f"{PROPOSALS}/{proposal}/approve"))
        assert shown(await first.get(RULES))["four_eyes"] == []


async def test_a_proposal_that_is_rejected_or_lapses_opens_nothing(office: Office) -> None:
    await guard(office)
    taken_back, lapsed = [await proposed(office, allowed_countries=["DE", "CU"]) for _ in range(2)]
    async with office.client("admin") as first, office.client() as second:
        assert shown(await first.post(f"{PROPOSALS}/{taken_back}/reject"))["state"] == "rejected"
        office.house.clock.ahead += WAITS + timedelta(minutes=1)
        problem(await second.post(f"{PROPOSALS}/{lapsed}/approve"), 409)
        assert shown(await second.get(f"{PROPOSALS}/{lapsed}"))["state"] == "lapsed"
        assert shown(await first.get(RULES))["allowed_countries"] == ["DE"]
    assert (await actions(office))[-1] == "rules.rejected"


async def test_the_operator_does_not_wait_and_the_organisation_is_told(office: Office) -> None:
    await guard(office)
    saved = await office.means.voice_security.change(office.house.org, Change(allowed_countries=frozenset({"CU"})), actor=OPERATOR)
    assert isinstance(saved, Saved)
    assert saved.rules.allowed_countries == ("CU",)
    assert saved.waits is None
    assert [row["kind"] for row in await office.rows("SELECT kind FROM notices")] == ["rules-opened"]


async def test_names_that_are_neither_a_country_nor_a_class_guard_nothing(office: Office) -> None:
    async with office.client() as api:
        for name in ("ZZ", "fixed", "", "**"):
            problem(await api.put(RULES, json={"four_eyes": [name]}), 422)


async def test_wider_terms_of_a_guarded_country_wait_and_narrower_ones_do_not(office: Office) -> None:
    async with office.client("admin") as first, office.client() as second:
        end = "2031-01-01T00:00:00Z"
        shown(await first.put(RULES, json={"allowed_countries": ["CU", "DE"], "four_eyes": ["CU"]}))
        narrow = {"CU": {"ways": "sms", "until": end}}
        assert shown(await first.put(RULES, json={"terms": narrow}))["terms"] == narrow
        answer = await first.put(RULES, json={"terms": {"DE": {"ways": "calls"}}})
        assert answer.status_code == 202
        assert answer.json()["terms"] == narrow | {"DE": {"ways": "calls"}}
        waits = answer.json()["waits"]
        assert waits["terms"] == {"CU": {}}
        shown(await second.post(f"{PROPOSALS}/{waits['id']}/approve"))
        assert shown(await first.get(RULES))["terms"] == {"DE": {"ways": "calls"}}


async def test_windows_of_what_is_guarded_are_not_moved_by_another_time_zone(office: Office) -> None:
    anna = await office.add_agent("anna")
    windows = [{"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "18:00"}]
    async with office.client("admin") as api:
        shown(await api.put(RULES, json={"terms": {"AT": {"windows": windows}}, "time_zone": "Europe/Vienna"}))
        shown(await api.put(RULES, json={"four_eyes": ["AT"]}))
        assert problem(await api.put(RULES, json={"time_zone": "Pacific/Kiritimati"}), 409)["reason"] == "guarded-windows"
        shown(await api.put(RULES, json={"time_zone": "Europe/Vienna", "allowed_countries": ["AT"]}))
        path = f"{RULES}/agents/{anna}"
        answer = await api.put(path, json={"time_zone": "Pacific/Kiritimati"})
        assert (answer.status_code, answer.json()["waits"]["countries"]) == (202, ["AT"])
        shown(await api.put(path, json={"time_zone": "Europe/Vienna"}))
        shown(await api.put(path, json={}))
