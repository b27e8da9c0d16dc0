"""What two must agree to, at teams and agents, of short codes and hours, by keys of one person, and with a proposal that is outdated."""

from uuid import UUID

from tests.api.serving import Office, problem, shown

RULES, PROPOSALS, TEAMS = "/v1/voice-security", "/v1/voice-security/proposals", "/v1/teams"


async def guard(office: Office, **more: object) -> None:
    async with office.client() as api:
        shown(await api.put(RULES, json={"allowed_countries": ["CU", "DE"], "four_eyes": ["CU"], **more}))


async def team_of(office: Office, *members: UUID, countries: list[str] | None = None) -> str:
    async with office.client("admin") as api:
        team = (await api.post(TEAMS, json={"name": "sales", "members": [str(one) for one in members]})).json()["id"]
        shown(await api.put(f"{RULES}/teams/{team}", json={"allowed_countries": countries or ["DE"]}))
    return str(team)


async def agreed(office: Office, proposal: str) -> None:
    async with office.client() as second:
        assert shown(await second.post(f"{PROPOSALS}/{proposal}/approve"))["state"] == "approved"


async def test_a_level_that_lets_more_of_what_is_guarded_through_waits_and_one_that_does_not_is_saved(office: Office) -> None:
    await guard(office)
    team = await team_of(office)
    path = f"{RULES}/teams/{team}"
    async with office.client("admin") as first:
        for wider in ({"allowed_countries": ["DE", "CU"]}, {}):
            answer = await first.put(path, json=wider)
            assert (answer.status_code, answer.json()["waits"]["countries"]) == (202, ["CU"])
            assert answer.json()["waits"]["subject"] == f"team:{team}"
            assert shown(await first.get(path))["allowed_countries"] == ["DE"]
        assert shown(await first.put(path, json={"allowed_countries": ["DE", "FR"]}))["allowed_countries"] == ["DE", "FR"]
        # What was proposed of another level than there is now is what nobody has agreed to.
        assert problem(await _approve(office, answer.json()["waits"]["id"]), 409)["reason"] == "outdated"
        anew = (await first.put(path, json={"allowed_countries": ["CU"]})).json()["waits"]["id"]
        await agreed(office, anew)
        assert shown(await first.get(path))["allowed_countries"] == ["CU"]


async def _approve(office: Office, proposal: str):  # type: ignore[no-untyped-def]
    async with office.client() as second:
        return await second.post(f"{PROPOSALS}/{proposal}/approve")


async def test_a_team_that_narrows_is_removed_and_left_by_two(office: Office) -> None:
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    await guard(office)
    team = await team_of(office, anna, ben)
    async with office.client("admin") as first:
        left = await first.put(f"{TEAMS}/{team}", json={"name": "sales", "members": [str(ben)]})
        assert (left.status_code, left.json()["waits"]["countries"]) == (202, ["CU"])
        assert len(shown(await first.get(f"{TEAMS}/{team}"))["members"]) == 2
        await agreed(office, left.json()["waits"]["id"])
        assert shown(await first.get(f"{TEAMS}/{team}"))["members"] == [str(ben)]
        removed = await first.delete(f"{TEAMS}/{team}")
        assert removed.status_code == 202
        shown(await first.get(f"{TEAMS}/{team}"))
        await agreed(office, removed.json()["waits"]["id"])
        problem(await first.get(f"{TEAMS}/{team}"), 404)
        empty = (await first.post(TEAMS, json={"name": "empty"})).json()["id"]
        assert (await first.delete(f"{TEAMS}/{empty}")).status_code == 204


async def test_where_all_is_guarded_short_codes_and_hours_are_opened_by_two(office: Office) -> None:
    hours = [{"days": [1, 2], "from": "08:00", "to": "18:00"}, {"days": [3], "from": "08:00", "to": "12:00"}]
    async with office.client("admin") as first:
        shown(await first.put(RULES, json={"short_codes": ["110110"], "hours": hours, "four_eyes": ["*"]}))
        answer = await first.put(RULES, json={"short_codes": ["110110", "22044"], "hours": []})
        assert answer.status_code == 202
        assert (answer.json()["short_codes"], answer.json()["hours"]) == (["110110"], hours)
        waits = answer.json()["waits"]
        assert (waits["short_codes"], waits["hours"]) == (["22044"], [])
        assert shown(await first.put(RULES, json={"short_codes": [], "hours": hours[:1]}))["hours"] == hours[:1]
        assert problem(await _approve(office, waits["id"]), 409)["reason"] == "outdated"
        anew = (await first.put(RULES, json={"short_codes": ["22044"]})).json()["waits"]["id"]
        await agreed(office, anew)
        assert shown(await first.get(RULES))["short_codes"] == ["22044"]


async def test_what_is_narrowed_while_a_proposal_about_it_waits_outdates_the_proposal(office: Office) -> None:
    await guard(office, allowed_countries=["CU", "DE"], terms={"CU": {"ways": "sms"}})
    async with office.client("admin") as first:
        waits = (await first.put(RULES, json={"terms": {}})).json()["waits"]["id"]
        shown(await first.put(RULES, json={"terms": {"CU": {"ways": "sms", "until": "2031-01-01T00:00:00Z"}}}))
        assert problem(await _approve(office, waits), 409)["reason"] == "outdated"
        assert shown(await first.get(f"{PROPOSALS}/{waits}"))["state"] == "outdated"
        assert "CU" in shown(await first.get(RULES))["terms"]
        # Two opened it together, one closed it: an older proposal of the same does not open it again.
        shown(await first.put(RULES, json={"allowed_countries": ["DE"]}))
        one, other = [(await first.put(RULES, json={"allowed_countries": ["CU", "DE"]})).json()["waits"]["id"] for _ in range(2)]
        await agreed(office, one)
        shown(await first.put(RULES, json={"allowed_countries": ["DE"]}))
        assert problem(await _approve(office, other), 409)["reason"] == "outdated"
        assert shown(await first.get(RULES))["allowed_countries"] == ["DE"]


async def test_keys_of_one_person_are_one_person(office: Office) -> None:
    anna = await office.add_agent("anna")
    await guard(office, allowed_countries=["DE"])
    await office.rows("UPDATE api_keys SET agent_id = $1 RETURNING id", anna)
    async with office.client("admin") as first:
        waits = (await first.put(RULES, json={"allowed_countries": ["CU", "DE"]})).json()["waits"]["id"]
        assert problem(await _approve(office, waits), 403)["reason"] == "own-proposal"
    await office.rows("UPDATE api_keys SET agent_id = NULL WHERE role = 'owner' RETURNING id")
    await agreed(office, waits)


async def test_a_team_of_many_is_named_at_once_and_raises_the_version_once(office: Office) -> None:
    agents = [await office.add_agent(f"agent{number}") for number in range(20)]
    before = (await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"]
    await office.rows("SELECT 1")
    async with office.client("admin") as api:
        names = [*(f"agent{number}" for number in range(10)), *(str(one) for one in agents[10:])]
        team = (await api.post(TEAMS, json={"name": "all", "members": names})).json()
        assert len(team["members"]) == 20
        after = (await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"]
        assert after - before <= 2
        problem(await api.post(TEAMS, json={"name": "more", "members": ["nobody"]}), 422)
