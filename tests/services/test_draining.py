"""SIGTERM's meaning on running gateways: no new calls, the old ones go on as long as they may, and another gateway takes the rest."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Direction, Refusal, Srtp, answer_offer, build_offer
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.uri import NameAddr, SipUri
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, HOST, Peer, World, local_media, need_program, running, until_ended
from tests.services.test_two_gateways import another, port

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def talking(world: World, phone: Peer) -> tuple[DialogKey, DialogKey]:
    """An answered call from the phone to the carrier: both dialogs."""
    phone.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    there, _ = world.carrier.accept(incoming)
    accepted = await phone.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    return accepted.dialog, there


def options(world: World, phone: Peer) -> None:
    name = NameAddr(SipUri(HOST))
    phone.endpoint.send("OPTIONS", hop=phone.hop, uri=SipUri(HOST), from_=name, to=name)


async def test_a_draining_gateway_takes_no_new_calls_and_the_old_one_goes_on_until_it_ends_by_itself(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    here, there = await talking(world, anna)
    world.wired.drain.set()
    await until(lambda: world.gateway.calling.table.is_draining, what="it drains")

    ben.invite(FAR_NUMBER)
    refused = await ben.expect(sip.Rejected)
    assert (refused.status, refused.response is not None and refused.response.headers.get("Retry-After")) == (503, "5")
    assert await ben.register("ben") == 503
    options(world, ben)
    assert (await ben.expect(sip.Responded)).status == 503
    assert await ben.register("ben", expires=0) == 200

    held = build_offer(local_media(version=2), Srtp.REQUIRED, direction=Direction.SENDONLY)
    anna.endpoint.reinvite(here, body=held)
    asked = await world.carrier.expect(sip.InDialogRequest)
    outcome = answer_offer(asked.request.body, local_media(41000, keys=False, version=2), Srtp.NEVER)
    assert not isinstance(outcome, Refusal), outcome
    world.carrier.endpoint.respond(asked.tx, 200, body=outcome.body)
    assert (await anna.expect(sip.Responded)).status == 200
    await world.carrier.expect(sip.AckReceived)
    assert not world.task.done()
    world.carrier.endpoint.bye(there)
    await anna.expect(sip.DialogEnded)
    async with asyncio.timeout(10):
        await world.task
    await world.row("calls", state="ended", end_reason="bye-peer")


async def test_an_emergency_call_is_made_while_the_gateway_drains(world: World) -> None:
    anna = await world.peer("anna")
    await talking(world, anna)
    world.wired.drain.set()
    await until(lambda: world.gateway.calling.table.is_draining, what="it drains")
    ben = await world.peer()
    ben.user, ben.credentials = anna.user, anna.credentials
    ben.invite("112")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.request_uri.user == "112"
    world.carrier.accept(incoming)
    await ben.expect(sip.Accepted)


async def test_a_call_that_goes_on_for_too_long_is_ended_by_bye_on_both_sides(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path, environ={"HUSHWIRE_LIMITS__DRAIN_S": "1"}) as world:
        anna = await world.peer("anna")
        await talking(world, anna)
        world.wired.drain.set()
        await anna.expect(sip.DialogEnded)
        await world.carrier.expect(sip.DialogEnded)
        async with asyncio.timeout(10):
            await world.task
        await world.row("calls", end_reason="shutdown")


async def test_a_gateway_without_calls_ends_at_once(world: World) -> None:
    world.wired.drain.set()
    async with asyncio.timeout(10):
        await world.task


async def test_a_rolling_restart_of_two_gateways_loses_no_call(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    _, first = await talking(world, anna)
    async with another(world.databases, tmp_path / "b") as b:
        world.wired.drain.set()
        await until(lambda: world.gateway.calling.table.is_draining, what="the first drains")
        # The phone that is sent elsewhere registers there and calls, as its DNS or a dispatcher in front would have it.
        ben = await Peer.open(world.port)
        world.peers.append(ben)
        assert await ben.register("ben") == 503
        ben.gateway_port = port(b)
        assert await ben.register("ben") == 200
        here, second = await talking(world, ben)
        world.carrier.endpoint.bye(first)
        await until_ended(anna)
        async with asyncio.timeout(10):
            await world.task
        # The first gateway is gone, the second call never noticed.
        assert ben.endpoint.dialog(here) is not None
        await world.carrier.expect(sip.Responded)
        ben.endpoint.bye(here)
        ended = await world.carrier.expect(sip.DialogEnded)
        assert ended.dialog == second

        async def rows() -> bool:
            found = await world.rows("calls")
            return [row["end_reason"] for row in found] == ["bye-peer", "bye-agent"]

        await until(rows, timeout_s=10, what="both calls have their rows")
