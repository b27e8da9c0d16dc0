"""/v1/voice-security/alarms and /limits: alarms are shown, undone and answered; limits are set, merged and refused."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from hushwire.privacy.notices import NoticeKind
from hushwire.services.clocks import Clocks
from hushwire.services.devices import MOST_DEVICES
from hushwire.services.fraud_upkeep import FraudUpkeep
from hushwire.services.notices import Notices
from hushwire.store import fraud
from hushwire.store.fraud import AlarmRow
from tests.api.serving import Chance, Office, problem, shown
from tests.api.test_garbage import a_team, an_alarm
from tests.polling import until
from tests.store.rows import insert

LIMITS = "/v1/voice-security/limits"


async def test_an_alarm_is_shown_and_one_request_undoes_it_with_its_lock_and_the_agents_counters(office: Office) -> None:
    anna = await office.add_agent("anna")
    alarm, now = await an_alarm(office, anna), datetime.now(UTC)
    async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
        fact = fraud.FactRow(UUID(int=1), anna, now, "out", b"i", None, None)  # type: ignore[arg-type]
        await fraud.add_facts(connection, office.house.org, UUID(int=9), [fact])  # type: ignore[arg-type]
        used = fraud.DayRow(anna, now.date(), "EUR", 90_000, 2_500_000)  # type: ignore[arg-type]
        for _ in range(2):
            await fraud.add_days(connection, office.house.org, [used])
    async with office.client() as api:
        of_anna = shown(await api.get(f"{LIMITS}/agents/{anna}"))
        assert (of_anna["used_minutes"], of_anna["used_spend"]) == (3.0, {"EUR": 5.0})
        listed = shown(await api.get("/v1/voice-security/alarms", params={"state": "standing", "agent_id": str(anna)}))["items"]
        assert [(one["id"], one["signal"], one["action"], one["locked"]) for one in listed] == [(alarm, "prefix-cycling", "lock", True)]
        for _ in range(2):
            undone = shown(await api.post(f"/v1/voice-security/alarms/{alarm}/undo"))
            assert undone["locked"] is False
            assert undone["undone_at"] is not None
        assert shown(await api.get("/v1/voice-security/alarms", params={"state": "standing"}))["items"] == []
        assert shown(await api.get(f"{LIMITS}/agents/{anna}"))["used_minutes"] == 0
    for table in ("fraud_locks", "fraud_facts", "fraud_days"):
        assert await office.rows(f"SELECT * FROM {table}") == []
    logged = await office.rows("SELECT action FROM audit_log WHERE object = $1", f"fraud-alarm:{alarm}")
    assert [row["action"] for row in logged] == ["fraud.undone"]


async def test_a_stolen_credential_is_replaced_in_one_step_and_its_lock_has_nothing_left_to_lock(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        stolen = (await api.post(f"/v1/agents/{anna}/devices", json={"name": "desk"})).json()
        alarm, now = await an_alarm(office, anna), datetime.now(UTC)
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            await connection.execute("UPDATE fraud_alarms SET credential_id = $1", UUID(stolen["id"]))
            await connection.execute("UPDATE fraud_locks SET credential_id = $1, created_at = $2", UUID(stolen["id"]), now)
        made = (await api.post(f"/v1/voice-security/alarms/{alarm}/replace", json={})).json()
        assert made["password"]
        assert made["login"] != stolen["login"]
        states = {one["id"]: one["state"] for one in shown(await api.get(f"/v1/agents/{anna}/devices"))}
        assert (states[stolen["id"]], states[made["id"]]) == ("revoked", "active")
        found = shown(await api.get(f"/v1/voice-security/alarms/{alarm}"))
        assert (found["replacement_id"], found["locked"]) == (made["id"], False)
    assert await office.rows("SELECT * FROM fraud_locks") == []


async def test_the_password_that_waits_goes_with_the_device_that_it_opens(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        stolen, made = [(await api.post(f"/v1/agents/{anna}/devices", json={"name": name})).json() for name in ("desk", "replacement")]
        alarm, now = await an_alarm(office, anna), datetime.now(UTC)
        waiting = {"device_id": UUID(made["id"]), "alarm_id": UUID(alarm), "agent_id": anna, "credential_id": UUID(stolen["id"])}
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            said = (UUID(stolen["id"]), UUID(made["id"]))
            await connection.execute("UPDATE fraud_alarms SET credential_id = $1, replacement_id = $2", *said)
            await insert(connection, "fraud_minted", org_id=office.house.org, secret_sealed=b"sealed", created_at=now, **waiting)
        assert shown(await api.get(f"/v1/voice-security/alarms/{alarm}"))["secret_waits"]
        assert (await api.delete(f"/v1/agents/{anna}/devices/{made['id']}")).status_code in (200, 204)
        assert await office.rows("SELECT * FROM fraud_minted") == []
        assert not shown(await api.get(f"/v1/voice-security/alarms/{alarm}"))["secret_waits"]
        other = (await api.post(f"/v1/voice-security/alarms/{alarm}/replace", json={})).json()
        assert other["id"] != made["id"], "another one is made"


async def test_a_credential_is_locked_by_hand_and_another_one_shown_once_by_one_request(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        device = (await api.post(f"/v1/agents/{anna}/devices", json={"name": "desk"})).json()
        said = {"agent_id": str(anna), "credential_id": device["id"]}
        made = (await api.post("/v1/voice-security/alarms", json=said)).json()
        alarm, minted = made["alarm"], made["minted"]
        assert minted["password"]
        assert (alarm["signal"], alarm["action"], alarm["locked"]) == ("by-hand", "replace", True)
        assert (alarm["credential_id"], alarm["replacement_id"], alarm["secret_waits"]) == (device["id"], minted["id"], False)
        assert shown(await api.get(f"/v1/voice-security/alarms/{alarm['id']}")) == alarm
        problem(await api.post("/v1/voice-security/alarms", json=said), 409)
        problem(await api.post("/v1/voice-security/alarms", json={"agent_id": str(UUID(int=7))}), 404)
        problem(await api.post("/v1/voice-security/alarms", json=said | {"credential_id": str(UUID(int=7))}), 404)
        assert len(await office.rows("SELECT * FROM devices")) == 2, "nothing is minted for what is refused"
        assert shown(await api.post(f"/v1/voice-security/alarms/{alarm['id']}/undo"))["locked"] is False
        states = {one["id"]: one["state"] for one in shown(await api.get(f"/v1/agents/{anna}/devices"))}
        assert (states[device["id"]], states[minted["id"]]) == ("active", "active"), "what was handed out stays"
    logged = await office.rows("SELECT action FROM audit_log WHERE object = $1 ORDER BY position", f"fraud-alarm:{alarm['id']}")
    assert [row["action"] for row in logged] == ["fraud.locked", "fraud.undone"]


async def test_an_alarm_has_one_credential_minted_and_who_asks_for_a_second_is_told_how_to_get_another(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        device = (await api.post(f"/v1/agents/{anna}/devices", json={"name": "desk"})).json()
        made = (await api.post("/v1/voice-security/alarms", json={"agent_id": str(anna), "credential_id": device["id"]})).json()
        for _ in range(2):
            again = await api.post(f"/v1/voice-security/alarms/{made['alarm']['id']}/replace", json={})
            assert again.status_code == 200
            assert (again.json()["id"], again.json()["password"]) == (made["minted"]["id"], None)
            assert f"POST /v1/agents/{anna}/devices" in again.json()["note"]
        states = {one["id"]: one["state"] for one in shown(await api.get(f"/v1/agents/{anna}/devices"))}
        del states[str(anna)]
        assert states == {device["id"]: "revoked", made["minted"]["id"]: "active"}
        found = shown(await api.get(f"/v1/voice-security/alarms/{made['alarm']['id']}"))
        assert (found["replaced_at"] is not None, found["locked"]) == (True, False)
        await api.delete(f"/v1/agents/{anna}/devices/{made['minted']['id']}")
        other = await api.post(f"/v1/voice-security/alarms/{made['alarm']['id']}/replace", json={})
        assert other.status_code == 201, "what was minted is gone as well"
        assert other.json()["password"]


@pytest.mark.parametrize("ways", [("undo", "undo"), ("replace", "undo"), ("undo", "replace"), ("replace", "replace")])
async def test_two_alarms_of_one_agent_are_answered_at_the_same_time(office: Office, ways: tuple[str, str]) -> None:
    anna, now = await office.add_agent("anna"), datetime.now(UTC)
    alarms = [await an_alarm(office, anna), str(UUID(int=5))]
    row = AlarmRow(UUID(int=5), "agent", anna, anna, anna, "attempts-per-minute", "lock", 6.0, 5.0, 1, 7, now, now)
    async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
        await fraud.put_alarm(connection, office.house.org, row)
    watching = await office.house.main("owner")

    async def both_wait() -> bool:
        async with watching.transaction() as connection:
            waiting = await connection.fetchval(
                "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            return bool(waiting == 2)

    async with office.client() as api:
        async with (await office.house.main("owner")).organisation(office.house.org) as holding:
            await holding.execute("SELECT FROM fraud_locks FOR UPDATE")  # both are under way before either is done
            asked = [
                asyncio.create_task(api.post(f"/v1/voice-security/alarms/{alarm}/{way}", json={} if way == "replace" else None))
                for way, alarm in zip(ways, alarms, strict=True)
            ]
            await until(both_wait, what="two that wait")
        answers = await asyncio.gather(*asked)
    assert all(answer.status_code in (200, 201) for answer in answers)


async def test_a_lock_by_hand_holds_also_where_the_agent_has_all_the_devices_that_it_may_have(office: Office) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        devices = []
        for number in range(MOST_DEVICES):
            made = await api.post(f"/v1/agents/{anna}/devices", json={"name": f"phone {number}"})
            devices.append(made.json()["id"])
        ways = [{"agent_id": str(anna), "credential_id": device} for device in devices[:2]]
        first, second = [await api.post("/v1/voice-security/alarms", json=said) for said in ways]
        assert first.json()["minted"]["password"], "one in the place of one that ends"
        assert second.status_code == 201, second.text
        alarm = second.json()["alarm"]
        assert second.json()["minted"] is None
        assert (alarm["locked"], alarm["credential_id"], alarm["replacement_id"]) == (True, devices[1], None)
    locked = await office.rows("SELECT credential_id FROM fraud_locks ORDER BY created_at")
    assert [str(row["credential_id"]) for row in locked] == devices[:2]


async def test_limits_are_set_over_the_defaults_at_every_level_and_taken_back(office: Office) -> None:
    anna, team = await office.add_agent("anna"), await a_team(office)
    async with office.client() as api:
        usual = shown(await api.get(LIMITS))
        said = {"each_agent": {"concurrent-calls": {"most": 3}, "prefix-cycling": "off"}, "organisation": {"spend-per-day": {"most": 9.5}}}
        changed = shown(await api.put(LIMITS, json=said))
        assert changed["each_agent"]["concurrent-calls"] == {"most": 3, "action": "refuse"}
        assert changed["each_agent"]["prefix-cycling"]["action"] == "off"
        assert changed["organisation"]["spend-per-day"] == {"most": 9.5, "action": "cut"}
        assert shown(await api.get("/v1/voice-security"))["limits"] == changed
        own = {"limits": {"concurrent-calls": {"most": 7, "action": "cut"}}}
        for path in (f"{LIMITS}/agents/{anna}", f"{LIMITS}/teams/{team}"):
            assert shown(await api.put(path, json=own))["limits"]["concurrent-calls"] == {"most": 7, "action": "cut"}
        assert shown(await api.get(f"{LIMITS}/agents/{anna}"))["limits"]["prefix-cycling"]["action"] == "off"
        back = {"each_agent": {"concurrent-calls": None, "prefix-cycling": None}, "organisation": {"spend-per-day": None}}
        assert shown(await api.put("/v1/voice-security", json={"limits": back}))["limits"] == usual
        for wrong in (
            {"organisation": {"prefix-cycling": "off"}},
            {"each_agent": {"speed": None}},
            {"each_agent": {"concurrent-calls": {"most": -1}}},
            {"each_agent": {"concurrent-calls": {"most": "3"}}},
        ):
            problem(await api.put(LIMITS, json=wrong), 422)
            problem(await api.put("/v1/voice-security", json={"limits": wrong, "allowed_countries": []}), 422)
        assert shown(await api.get(LIMITS)) == usual
        assert shown(await api.get("/v1/voice-security"))["allowed_countries"] != []
    logged = await office.rows("SELECT fields::text AS said FROM audit_log WHERE action = 'limits.changed' ORDER BY position")
    assert len(logged) == 4


async def test_admins_are_told_of_an_alarm_once_and_what_is_old_goes(office: Office) -> None:
    anna = await office.add_agent("anna")
    alarm = await an_alarm(office, anna)
    clock, main = office.house.clock, await office.house.main("worker")
    notices = Notices(main, await office.house.keyring("worker"), Clocks(clock, Chance()), clock, Chance())
    upkeep = FraudUpkeep(main, notices, clock)
    assert [await upkeep.tell_all(), await upkeep.tell_all()] == [1, 0]
    [notice] = await office.rows("SELECT kind, subject_id FROM notices")
    assert (notice["kind"], str(notice["subject_id"])) == (NoticeKind.FRAUD_ALARM.value, alarm)
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE fraud_alarms SET last_at = last_at - interval '2 years'")
    assert await upkeep.lapse_all() == 0, "an alarm stays for as long as something is locked for it"
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute("DELETE FROM fraud_locks")
    assert await upkeep.lapse_all() == 1
