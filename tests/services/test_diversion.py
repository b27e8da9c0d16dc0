"""Calls that go on from who was called to somebody else: decided at that moment, judged anew where the way leads out, told by the row."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.services.agent_forwarding import sealed
from hushwire.services.forwarding import of_values
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.store.agents import set_forwarding
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, Peer, World, need_program, running

pytestmark = need_program
MOBILE = "+4915112345678"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def forward(world: World, user: str, **settings: Any) -> None:
    """Set it, and wait until the gateway knows."""
    org, wanted = world.organisation, of_values(settings)
    agent = org.by_username[user]
    async with world.owner.organisation(org.id) as connection:
        await set_forwarding(connection, agent.id, sealed(org.keys, agent.id, wanted), datetime.now(UTC))
    await until(lambda: world.organisation.by_username[user].forwarding.to_json() == wanted.to_json(), what="the gateway knows it")


def agent_id(world: World, user: str) -> str:
    return str(world.organisation.by_username[user].id)


def told(row: asyncpg.Record) -> list[tuple[str, str, str | None]]:
    return [(one["agent"], one["reason"], one["refused"]) for one in json.loads(row["diversions"] or "[]")]


async def refusals(world: World, reason: str, count: int) -> list[str | None]:
    """Why calls went no further that were to be diverted for this reason, in order, once all are over."""

    async def found() -> list[asyncpg.Record] | None:
        rows = await world.rows("calls", "started_at, id")
        return rows if len(rows) == count and all(row["state"] == "ended" for row in rows) else None

    rows = await until(found, what="all calls are over")
    assert rows is not None
    steps = [told(row) for row in rows]
    assert all([step[1] for step in each] == [reason] for each in steps)
    return [each[0][2] for each in steps]


async def rejected(peer: Peer) -> int:
    """The final answer, after whatever came before it."""
    event = await peer.events.get()
    while isinstance(event, sip.Progress):
        event = await peer.events.get()
    assert isinstance(event, sip.Rejected), event
    return event.status


async def answered(caller: Peer, callee: Peer, srtp: Srtp) -> tuple[DialogKey, sip.Accepted]:
    """The callee takes the call; both are in it."""
    incoming = await callee.expect(sip.RequestReceived)
    dialog, _ = callee.accept(incoming, srtp=srtp)
    event = await caller.events.get()
    while isinstance(event, sip.Progress):
        event = await caller.events.get()
    assert isinstance(event, sip.Accepted), event
    await callee.expect(sip.AckReceived)
    return dialog, event


async def test_a_busy_agents_call_rings_the_colleague_that_it_named_and_the_row_tells_who_diverted_it_and_why(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    await forward(world, "ben", busy="103")
    anna.invite("102")
    incoming = await ben.expect(sip.RequestReceived)
    ben.endpoint.respond(incoming.tx, 486)
    assert (await anna.expect(sip.Progress)).response.status == 181
    _, accepted = await answered(anna, sue, Srtp.REQUIRED)
    row = await world.row("calls", state="active")
    assert (str(row["agent_id"]), str(row["peer_agent_id"])) == (agent_id(world, "anna"), agent_id(world, "sue"))
    assert told(row) == [(agent_id(world, "ben"), "user-busy", None)]
    anna.endpoint.bye(accepted.dialog)
    await sue.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="bye-agent")


async def test_a_carriers_call_leaves_to_the_number_that_the_agent_named_with_a_verdict_of_its_own(world: World) -> None:
    await forward(world, "anna", always=MOBILE)
    world.carrier.user = FAR_NUMBER
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    assert (await world.carrier.expect(sip.Progress)).response.status == 181
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.request_uri.user == MOBILE  # type: ignore[union-attr]
    assert incoming.request.from_.sip_uri.user == ANNA_NUMBER
    world.carrier.accept(incoming)
    both = [await world.carrier.events.get() for _ in range(2)]  # the carrier is on both sides of the call
    accepted = next(event for event in both if isinstance(event, sip.Accepted))
    row = await world.row("calls", state="active")
    assert row["direction"] == "inbound"
    assert (row["verdict"], row["country"], row["number_class"]) == ("allow", "DE", "mobile")
    assert told(row) == [(agent_id(world, "anna"), "unconditional", None)]
    assert row["diverted_to_sealed"] is not None
    assert row["diverted_to_index"] == world.organisation.keys.index("calls.remote", MOBILE)
    trunk = world.gateway.directory.trunks[0]
    assert world.gateway.calling.table.on_trunk(trunk.id) == 2, "a call with two channels of the carrier"
    world.carrier.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended")


async def test_the_suspension_of_who_forwarded_a_colleagues_call_out_ends_it(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "ben", always=MOBILE)
    anna.invite("102")
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await world.row("calls", state="active")
    async with world.owner.organisation(world.organisation.id) as connection:
        await connection.execute("UPDATE agents SET suspended = true WHERE id = $1", world.organisation.by_username["ben"].id)
    await world.row("calls", state="ended", end_reason="suspended")


async def test_where_the_forwarding_may_not_go_the_caller_hears_what_it_would_have_heard_and_nothing_leaves(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    wishes = {"+33142685300": "country", "112": "emergency", "09001123456": "class", "102": "loop", "anna": "loop"}
    for wish in wishes:
        await forward(world, "ben", busy=wish)
        anna.invite("102")
        ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 486)
        assert await rejected(anna) == 486, wish
    assert await refusals(world, "user-busy", len(wishes)) == list(wishes.values())
    assert world.carrier.events.empty()


async def test_agents_who_forward_to_each_other_end_the_call_and_no_phone_rings_twice(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "ben", always="103")
    await forward(world, "sue", always="102")
    anna.invite("102")
    assert await rejected(anna) == 480
    row = await world.row("calls", state="ended")
    assert [(reason, refused) for _, reason, refused in told(row)] == [("unconditional", None), ("unconditional", "loop")]


async def test_a_number_of_ours_is_rung_here_and_not_by_way_of_a_carrier(world: World) -> None:
    ben, anna = await world.peer("ben"), await world.peer("anna")
    sue = await world.peer("sue")
    await forward(world, "ben", always=ANNA_NUMBER)
    sue.invite("102")
    _, accepted = await answered(sue, anna, Srtp.REQUIRED)
    assert world.carrier.events.empty()
    assert ben.events.empty()
    sue.endpoint.bye(accepted.dialog)
    await anna.expect(sip.DialogEnded)


async def test_an_emergency_call_is_nobodys_to_divert(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "anna", always=MOBILE, do_not_disturb=True)
    anna.invite("112")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.request_uri.user == "112"  # type: ignore[union-attr]
    world.carrier.endpoint.respond(incoming.tx, 486)
    assert await rejected(anna) == 486
    assert told(await world.row("calls", state="ended")) == []


async def test_a_diverted_call_survives_the_gateway_and_what_it_leads_to_ends_it(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    await forward(world, "ben", do_not_disturb=True, busy="103")
    anna.invite("102")
    dialog, _ = await answered(anna, sue, Srtp.REQUIRED)
    await world.row("calls", state="active")
    await world.kill()
    await world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{world.port}"]')
    (live,) = world.gateway.calling.live
    assert [one.reason.value for one in live.route.diversions] == ["do-not-disturb"]
    assert str(live.route.peer_agent and live.route.peer_agent.id) == agent_id(world, "sue")
    sue.endpoint.bye(dialog)
    event = await anna.events.get()
    while not isinstance(event, sip.DialogEnded):
        event = await anna.events.get()
    row = await world.row("calls", state="ended")
    assert told(row) == [(agent_id(world, "ben"), "do-not-disturb", None)]
    assert ben.events.empty()


async def test_a_call_that_was_let_out_survives_the_gateway_with_both_of_its_channels_and_its_forwarder(world: World) -> None:
    await forward(world, "anna", always=MOBILE)
    world.carrier.user = FAR_NUMBER
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    assert (await world.carrier.expect(sip.Progress)).response.status == 181
    dialog, _ = world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    both = [await world.carrier.events.get() for _ in range(2)]
    (accepted,) = [event for event in both if isinstance(event, sip.Accepted)]
    await world.row("calls", state="active")
    await world.kill()
    await world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{world.port}"]')
    (live,) = world.gateway.calling.live
    assert live.route.leads_out
    assert live.route.out_trunk is not None
    assert world.gateway.calling.table.on_trunk(live.route.out_trunk.id) == 2
    assert world.gateway.calling.table.out_for(live.route.agent.id) == 1
    world.carrier.endpoint.bye(dialog)
    while not isinstance(event := await world.carrier.events.get(), sip.DialogEnded):
        pass
    assert event.dialog == accepted.dialog
    row = await world.row("calls", state="ended")
    assert told(row) == [(agent_id(world, "anna"), "unconditional", None)]
    assert row["diverted_to_sealed"] is not None


async def test_a_phone_that_redirects_a_call_wishes_it_for_its_agent_and_is_judged_so(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")

    async def redirected(contact: str) -> None:
        anna.invite("102")
        ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 302, headers=[("Contact", contact)])

    for contact in ("<sip:+33142685300@voice.example.org>;q=0.5", "<sip:112@voice.example.org>", "<sip:102@voice.example.org>",
                    "<sip:someone@elsewhere.example>", "<<sip:x"):  # fmt: skip
        await redirected(contact)
        assert await rejected(anna) == 480, contact
    assert await refusals(world, "deflection", 5) == ["country", "emergency", "loop", "host", "grammar"]
    assert world.carrier.events.empty()
    for contact, callee, srtp in (
        ("<sip:103@acme.voice.example.org>", sue, Srtp.REQUIRED),
        ("<tel:+4915112345678>", world.carrier, Srtp.NEVER),
    ):
        await redirected(contact)
        _, accepted = await answered(anna, callee, srtp)
        anna.endpoint.bye(accepted.dialog)
        await anna.expect(sip.Responded)
