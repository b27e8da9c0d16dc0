"""/v1/calls: listed, found, shown, steered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hushwire.api import paging
from hushwire.core.ids import OrgId
from tests.api.serving import Office, problem, shown

NUMBER = "+493023125001"
LONG_AGO = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def node(office: Office, outcome: str = "ok") -> AsyncIterator[list[str]]:
    """A gateway that answers commands; yields the actions that it was asked for."""
    gateway = await office.house.main("gateway")
    asked: list[str] = []
    woken = asyncio.Event()
    await gateway.listen("hushwire_commands", lambda _: woken.set())

    async def work() -> None:
        while True:
            await woken.wait()
            woken.clear()
            async with gateway.transaction() as connection:
                found = await connection.fetch("SELECT org_id, command_id FROM open_commands($1)", office.house.node)
            for row in found:
                async with gateway.organisation(OrgId(row["org_id"])) as connection:
                    asked.append(await connection.fetchval("SELECT action FROM node_commands WHERE id = $1", row["command_id"]))
                    await connection.execute(
                        "UPDATE node_commands SET done_at = now(), outcome = $2 WHERE id = $1", row["command_id"], outcome
                    )

    task = asyncio.create_task(work())
    try:
        yield asked
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_call_is_shown_with_its_numbers_and_the_read_is_logged(office: Office) -> None:
    agent = await office.add_agent("anna")
    leg = '{"transport": "tls", "media": "srtp", "suite": "AES_CM_128_HMAC_SHA1_80"}'
    call = await office.add_call(NUMBER, agent_id=agent, verdict="allow", country="DE", agent_leg=leg)
    async with office.client() as api:
        said = shown(await api.get(f"/v1/calls/{call}"))
    assert (said["remote"], said["agent"], said["agent_leg"]["suite"]) == (NUMBER, "anna", "AES_CM_128_HMAC_SHA1_80")
    (logged,) = await office.rows("SELECT actor, purpose, object FROM access_log")
    assert logged["object"] == f"call:{call}"
    assert logged["actor"].startswith("api-key:")
    assert logged["purpose"] == "customer-service"


async def test_the_log_names_the_call_though_its_key_has_an_id_of_its_own(office: Office) -> None:
    key = await (await office.house.keyring("gateway")).new_data_key(office.house.org, "call", uuid4())
    other = uuid4()
    call = await office.add_call(sealed_with=key.id)
    keyless = await office.add_call(sealed_with=other)
    async with office.client() as api:
        shown(await api.get("/v1/calls"))
    logged = await office.rows("SELECT object FROM access_log")
    assert sorted(row["object"] for row in logged) == sorted(f"call:{call_id}" for call_id in (call, keyless))


async def test_calls_are_paged_newest_first_without_gaps_or_repetitions(office: Office) -> None:
    calls = [await office.add_call(started_at=LONG_AGO + timedelta(seconds=n // 3)) for n in range(23)]
    seen: list[str] = []
    async with office.client() as api:
        cursor: str | None = None
        while True:
            page = shown(await api.get("/v1/calls", params={"limit": 5} | ({"cursor": cursor} if cursor else {})))
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
            assert len(page["items"]) == 5
    assert sorted(seen) == sorted(str(call) for call in calls)


async def test_calls_are_filtered_by_time_state_direction_and_agent(office: Office) -> None:
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    early = await office.add_call(started_at=LONG_AGO, agent_id=anna, state="refused")
    late = await office.add_call(started_at=LONG_AGO + timedelta(hours=1), agent_id=ben, peer_agent_id=anna, direction="internal")
    async with office.client() as api:

        async def found(**params: str) -> list[str]:
            return [item["id"] for item in shown(await api.get("/v1/calls", params=params))["items"]]

        assert await found() == [str(late), str(early)]
        assert await found(to="2026-01-01T12:30:00Z") == [str(early)]
        assert await found(**{"from": "2026-01-01T13:30:00+01:00"}) == [str(late)]
        assert await found(state="refused") == [str(early)]
        assert await found(direction="internal") == [str(late)]
        assert await found(agent="anna") == [str(late), str(early)]
        assert await found(agent=str(ben)) == [str(late)]
        assert await found(agent="nobody") == []
        for wrong in (
            {"from": "yesterday"},
            {"from": "2026-01-01T12:30:00"},
            {"state": "odd"},
            {"limit": "0"},
            {"cursor": "x"},
            {"cursor": "WzFd"},
            {"cursor": paging.write("0001-01-01T00:00:00+14:00", str(late))},
            {"cursor": paging.write("9999-12-31T23:59:59-14:00", str(late))},
        ):
            problem(await api.get("/v1/calls", params=wrong), 422)
        for at in ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"):
            shown(await api.get("/v1/calls", params={"cursor": paging.write(at, str(late))}))


async def test_calls_are_found_by_number_however_it_is_typed(office: Office) -> None:
    call = await office.add_call(NUMBER)
    await office.add_call("+493023125002")
    async with office.client() as api:
        for typed in (NUMBER, "030 23125001", "+49 (0)30 / 2312-5001", "004930 23125001"):
            answer = await api.post("/v1/calls/search", json={"number": typed})
            assert [item["id"] for item in shown(answer)["items"]] == [str(call)]
        assert shown(await api.post("/v1/calls/search", json={"number": "+15551234567"}))["items"] == []
        for typed in ("", "anna", "+", "030;ext=1", "\x00"):
            problem(await api.post("/v1/calls/search", json={"number": typed}), 422)


async def test_a_number_whose_key_is_gone_is_shown_no_more(office: Office) -> None:
    call = await office.add_call(NUMBER)
    await (await office.house.keyring("api")).destroy_data_key(office.house.org, "call", call)
    async with office.client() as api:
        assert shown(await api.get(f"/v1/calls/{call}"))["remote"] is None


async def test_what_is_another_organisations_looks_like_what_does_not_exist(office: Office) -> None:
    call = await office.add_call(NUMBER, state="active")
    agent = await office.add_agent("anna")
    recording = await office.house.record()
    async with office.client(slug="globex") as api:
        for method, path in (
            ("GET", f"/v1/calls/{call}"), ("POST", f"/v1/calls/{call}/hangup"), ("GET", f"/v1/agents/{agent}"),
            ("GET", f"/v1/recordings/{recording}"), ("GET", f"/v1/recordings/{recording}/audio"), ("DELETE", f"/v1/recordings/{recording}"),
            ("GET", f"/v1/privacy/receipts/{recording}"),
        ):  # fmt: skip
            foreign = problem(await api.request(method, path), 404)
            unknown = problem(
                await api.request(method, path.replace(path.split("/")[3 if "receipts" not in path else 4], str(uuid4()))), 404
            )
            assert foreign == unknown
        for path in ("/v1/calls", "/v1/recordings", "/v1/agents", "/v1/numbers", "/v1/audit", "/v1/privacy/receipts"):
            assert shown(await api.get(path))["items"] == []
        assert shown(await api.post("/v1/calls/search", json={"number": NUMBER}))["items"] == []
    assert await office.rows("SELECT 1 FROM node_commands") == []
    assert await office.house.key_exists(recording)


async def test_a_live_call_is_hung_up_and_its_recording_steered_by_its_node(office: Office) -> None:
    call = await office.add_call(state="active")
    async with node(office) as asked, office.client("supervisor") as api:
        assert shown(await api.post(f"/v1/calls/{call}/hangup"))["outcome"] == "ok"
        for action in ("pause", "resume", "stop", "start"):
            assert shown(await api.post(f"/v1/calls/{call}/recording", json={"action": action}))["outcome"] == "ok"
        problem(await api.post(f"/v1/calls/{call}/recording", json={"action": "wipe"}), 422)
        for on in (True, False):
            assert shown(await api.post(f"/v1/calls/{call}/sensitive", json={"on": on}))["outcome"] == "ok"
        problem(await api.post(f"/v1/calls/{call}/sensitive", json={"on": "please"}), 422)
    logged = await office.rows("SELECT action, object FROM audit_log ORDER BY position")
    assert [row["action"] for row in logged] == [f"call.{action}" for action in asked]
    assert {row["object"] for row in logged} == {f"call:{call}"}
    assert asked == ["hangup", "recording.pause", "recording.resume", "recording.stop", "recording.start", "sensitive.on", "sensitive.off"]


async def test_a_call_that_is_over_or_a_node_that_can_not_is_a_conflict(office: Office) -> None:
    over, live = await office.add_call(), await office.add_call(state="active")
    async with node(office, outcome="no recording runs"), office.client() as api:
        assert "the call is over" in problem(await api.post(f"/v1/calls/{over}/hangup"), 409)["detail"]
        assert "no recording runs" in problem(await api.post(f"/v1/calls/{live}/recording", json={"action": "pause"}), 409)["detail"]


async def test_a_request_repeated_under_its_key_is_carried_out_once(office: Office) -> None:
    call, other = await office.add_call(state="active"), await office.add_call(state="active")
    async with node(office) as asked, office.client(headers={"Idempotency-Key": "hangup-1"}) as api:
        answers = await asyncio.gather(*(api.post(f"/v1/calls/{call}/hangup") for _ in range(4)))
        assert len({shown(answer)["id"] for answer in answers}) == 1
        assert shown(await api.post(f"/v1/calls/{call}/hangup"))["id"] == answers[0].json()["id"]
        problem(await api.post(f"/v1/calls/{other}/hangup"), 422)
        problem(await api.post(f"/v1/calls/{other}/hangup", headers={"Idempotency-Key": "a b"}), 422)
    assert asked == ["hangup"]


async def test_a_refused_call_is_explained_in_the_words_of_the_catalogue(office: Office) -> None:
    call = await office.add_call(NUMBER, state="refused", verdict="deny", verdict_reason="country", end_reason="refused", sip_status=403)
    async with office.client() as api:
        row = shown(await api.get(f"/v1/calls/{call}"))
        (reason,) = [one for one in shown(await api.get("/v1/refusals"))["items"] if one["code"] == row["verdict_reason"]]
    assert (row["explanation"], row["problem"], row["sip_status"]) == (reason["explanation"], reason["type"], reason["status"])
    assert reason["explanation"].removesuffix(".") in reason["reason"]
    assert reason["spoken"]
