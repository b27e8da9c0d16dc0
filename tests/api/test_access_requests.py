"""/v1/voice-security/access-requests: asked for a call that was refused, decided once, and by two where the country is guarded."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hushwire.services.access_requests import WAITS, AccessWatch
from tests.api.serving import Office, as_json, problem, shown

PATH, RULES, CHECK = "/v1/voice-security/access-requests", "/v1/voice-security", "/v1/voice-security/check"
FRENCH = "+33145678901"


async def refusal(office: Office, agent: UUID, reason: str = "country", **more: object) -> str:
    facts: dict[str, Any] = {"state": "refused", "verdict": "deny", "verdict_reason": reason, "country": "FR"}
    return str(await office.add_call(FRENCH, agent_id=agent, **(facts | more)))


async def asked(office: Office, call: str, role: str = "supervisor", **more: object) -> dict[str, Any]:
    async with office.client(role) as api:
        answer = await api.post(PATH, json={"call": call, **more})
        assert answer.status_code == 201, answer.text
        said: dict[str, Any] = answer.json()
        return said


def soon(office: Office, **by: float) -> str:
    return (office.house.clock.now().astimezone(UTC) + timedelta(**(by or {"days": 3}))).isoformat()


async def verdict(office: Office, agent: str) -> tuple[str, str | None]:
    async with office.client() as api:
        said = shown(await api.post(CHECK, **as_json({"destination": FRENCH, "channel": "invite", "agent": agent})))
        return said["verdict"], said["reason"]


async def test_one_approval_opens_one_country_to_one_agent_until_it_ends(office: Office) -> None:
    anna = await office.add_agent("anna")
    await office.add_agent("ben")
    request = await asked(office, await refusal(office, anna))
    assert (request["countries"], request["state"], request["agent_id"]) == (["FR"], "open", str(anna))
    async with office.client("admin") as api:
        path = f"{PATH}/{request['id']}"
        for until in (soon(office, days=-1), soon(office, days=93)):
            assert "until" in problem(await api.post(f"{path}/approve", json={"until": until}), 422)["detail"]
        assert shown(await api.post(f"{path}/approve", json={"until": soon(office)}))["state"] == "approved"
        problem(await api.post(f"{path}/approve", json={"until": soon(office)}), 409)
        assert await verdict(office, "anna") == ("allow", None)
        said = shown(await api.post(CHECK, **as_json({"destination": FRENCH, "channel": "invite", "agent": "anna"})))
        assert said["rule"].startswith("access given to the agent until ")
        assert await verdict(office, "ben") == ("deny", "country")
        assert shown(await api.get(RULES))["allowed_countries"] == ["AT", "DE"]
        office.house.clock.ahead += timedelta(days=3, seconds=2)
        assert shown(await api.get(path))["state"] == "ended"
        assert await verdict(office, "anna") == ("deny", "country")
        problem(await api.post(f"{path}/revoke"), 409)


async def test_a_guarded_country_takes_two_and_the_earlier_end_counts(office: Office) -> None:
    anna = await office.add_agent("anna")
    request = await asked(office, await refusal(office, anna))
    async with office.client("admin") as first, office.client() as second:
        shown(await first.put(RULES, json={"four_eyes": ["FR"]}))
        path = f"{PATH}/{request['id']}/approve"
        early, late = soon(office, days=1), soon(office, days=2)
        answer = await first.post(path, json={"until": early})
        assert (answer.status_code, answer.json()["state"]) == (202, "agreed")
        assert problem(await first.post(path, json={"until": late}), 403)["reason"] == "own-agreement"
        assert await verdict(office, "anna") == ("deny", "country")
        approved = shown(await second.post(path, json={"until": late}))
        assert datetime.fromisoformat(approved["ends_at"]) == datetime.fromisoformat(early)
    assert await verdict(office, "anna") == ("allow", None)


async def test_keys_in_one_persons_hands_stay_so_when_that_persons_agent_is_gone(office: Office) -> None:
    anna, boss, org = await office.add_agent("anna"), await office.add_agent("boss"), office.house.org
    request = await asked(office, await refusal(office, anna))
    async with (await office.house.main("owner")).organisation(org) as connection:
        await connection.execute("UPDATE api_keys SET agent_id = $1 WHERE org_id = $2", boss, org)
    async with office.client("admin") as first, office.client() as second:
        shown(await first.put(RULES, json={"four_eyes": ["FR"]}))
        path = f"{PATH}/{request['id']}/approve"
        assert (await first.post(path, json={"until": soon(office)})).status_code == 202
        async with (await office.house.main("owner")).organisation(org) as connection:
            await connection.execute("DELETE FROM agents WHERE id = $1", boss)
        assert problem(await second.post(path, json={"until": soon(office)}), 403)["reason"] == "own-agreement"
        async with (await office.house.main("owner")).organisation(org) as connection:
            for agent in (anna, None):
                await connection.execute("UPDATE api_keys SET agent_id = $1 WHERE org_id = $2", agent, org)
        assert shown(await second.post(path, json={"until": soon(office)}))["state"] == "approved", "the operator names nobody any more"


async def test_a_guarded_country_that_is_listed_on_terms_takes_two_as_well(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client("admin") as api:
        listed = {"allowed_countries": ["AT", "DE", "FR"], "terms": {"FR": {"ways": "sms"}}, "four_eyes": ["FR"]}
        shown(await api.put(RULES, json=listed))
        request = await asked(office, await refusal(office, anna, country="GB"), countries=["FR"])
        answer = await api.post(f"{PATH}/{request['id']}/approve", json={"until": soon(office)})
        assert (answer.status_code, answer.json()["state"]) == (202, "agreed")
    assert await verdict(office, "anna") == ("deny", "way")


async def test_a_request_is_rejected_taken_back_or_lapses(office: Office) -> None:
    anna = await office.add_agent("anna")
    call = await refusal(office, anna)
    async with office.client("admin") as api:
        rejected = await asked(office, call)
        problem(await api.post(PATH, json={"call": call}), 409)
        assert shown(await api.post(f"{PATH}/{rejected['id']}/reject"))["state"] == "rejected"
        revoked = await asked(office, call)
        shown(await api.post(f"{PATH}/{revoked['id']}/approve", json={"until": soon(office)}))
        assert shown(await api.post(f"{PATH}/{revoked['id']}/revoke"))["state"] == "revoked"
        assert await verdict(office, "anna") == ("deny", "country")
        lapsed = await asked(office, call)
        office.house.clock.ahead += WAITS + timedelta(seconds=1)
        problem(await api.post(f"{PATH}/{lapsed['id']}/approve", json={"until": soon(office)}), 409)
        assert (await asked(office, call))["state"] == "open"
        states = [item["state"] for item in shown(await api.get(PATH))["items"]]
        assert states == ["open", "lapsed", "revoked", "rejected"]


async def test_only_a_call_that_was_refused_for_its_country_can_be_asked_for(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client("supervisor") as api:
        for call in (await refusal(office, anna, "class"), await refusal(office, anna, "several-countries")):
            assert "countries" in problem(await api.post(PATH, json={"call": call}), 422)["detail"]
        foreign = await office.add_call(FRENCH, org=office.other, state="refused", verdict_reason="country", country="FR")
        for unknown in (str(await office.add_call(FRENCH)), str(foreign)):
            problem(await api.post(PATH, json={"call": unknown}), 404)
    several = await asked(office, await refusal(office, anna, "several-countries"), countries=["GP", "MF", "BL"])
    assert several["countries"] == ["BL", "GP", "MF"]


async def test_the_organisations_contacts_are_told_once_of_a_request(office: Office) -> None:
    await asked(office, await refusal(office, await office.add_agent("anna")))
    watch = AccessWatch(await office.house.main("worker"), office.means.notices, office.house.clock)
    assert [await watch.look(), await watch.look()] == [1, 0]
    assert [row["kind"] for row in await office.rows("SELECT kind FROM notices")] == ["access-requested"]
