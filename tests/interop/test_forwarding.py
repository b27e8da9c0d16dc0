"""Forwarding with softphones that we did not write: set by code from baresip, busy at PJSUA2, out to a carrier; each hears the other."""

from typing import Any

import pytest

from hushwire.app.demo.party import Party
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment
from tests.interop.tones import hears, tone
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

ANNA, BEN, SUE, FAR = 420.0, 1020.0, 1620.0, 2220.0


async def dial(phone: Party, deployment: Deployment, code: str) -> None:
    """A feature code: the call is taken, and ended from the other side."""
    call = await phone.call(deployment.uri(code))
    await phone.expect_state(call, "confirmed")
    await phone.expect_state(call, "disconnected")


async def row_of(deployment: Deployment, reason: str) -> dict[str, Any]:
    """The newest call that was diverted for this reason, once it is over."""
    api = deployment.api()

    async def over() -> dict[str, Any] | None:
        rows: list[dict[str, Any]] = (await api.get("/v1/calls?limit=5"))["items"]
        found = [row for row in rows if row["state"] == "ended" and [one["reason"] for one in row["diversions"] or []] == [reason]]
        return found[0] if found else None

    row = await until(over, timeout_s=10, what="the diverted call is over")
    assert row is not None
    return row


async def test_a_phone_sets_forwarding_by_code_and_calls_ring_elsewhere_until_it_is_switched_off(deployment: Deployment) -> None:
    async with (
        deployment.phone("anna", speech=tone(ANNA)) as anna,
        deployment.phone("ben", kind="baresip", transport="tls") as ben,
        deployment.phone("sue", kind="baresip", speech=tone(SUE)) as sue,
    ):
        await dial(ben, deployment, "*72103")
        try:
            call = await anna.call(deployment.uri("102"))
            incoming = await sue.expect("incoming")
            await anna.expect_state(call, "confirmed")
            await hears(anna, call, (SUE,), (ANNA,))
            await hears(sue, incoming["call"], (ANNA,), (SUE,))
            await anna.hangup(call)
            await sue.expect_state(incoming["call"], "disconnected")
        finally:
            await dial(ben, deployment, "*73")
        assert [event["event"] for event in ben.events if event["event"] == "incoming"] == []
    row = await row_of(deployment, "unconditional")
    assert (row["agent"], row["peer_agent"], row["remote"], row["diverted_to"]) == ("anna", "sue", "102", None)


async def test_a_busy_phones_call_leaves_by_the_carrier_with_the_busy_agents_number_and_both_hear_each_other(
    deployment: Deployment,
) -> None:
    api = deployment.api()
    (anna_row,) = [row for row in (await api.get("/v1/agents"))["items"] if row["username"] == "anna"]
    path = f"/v1/agents/{anna_row['id']}/forwarding"
    await api.put(path, {"busy": FAR_NUMBER})
    try:
        async with (
            deployment.carrier(opened={"speech": tone(FAR)}) as carrier,
            deployment.phone("anna") as anna,
            deployment.phone("ben", kind="baresip", speech=tone(BEN)) as ben,
        ):
            await anna.tell("policy", status=486)
            call = await ben.call(deployment.uri("101"))
            incoming = await carrier.expect("incoming")
            assert FAR_NUMBER in incoming["to"]
            assert ANNA_NUMBER in incoming["from"]
            await ben.expect_state(call, "confirmed")
            await hears(ben, call, (FAR,), (BEN,))
            await hears(carrier, incoming["call"], (BEN,), (FAR,))
            await carrier.hangup(incoming["call"])
            await ben.expect_state(call, "disconnected")
    finally:
        await api.put(path, {})
    row = await row_of(deployment, "user-busy")
    assert (row["agent"], row["remote"], row["diverted_to"]) == ("ben", "101", FAR_NUMBER)
    assert row["diversions"] == [{"agent": anna_row["id"], "reason": "user-busy", "leads_out": True, "refused": None}]
    assert (row["verdict"], row["end_reason"]) == ("allow", "bye-peer")
