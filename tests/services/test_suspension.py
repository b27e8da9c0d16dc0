"""A suspended agent can neither register nor call, and its live calls end: through the API's own service and a whole gateway."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.ids import OrgId
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.agents import Agents
from hushwire.services.devices import Devices, Minted
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, DOMAIN, FAR_NUMBER, HOST, ROOT, Peer, World, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def suspend(world: World, username: str, suspended: bool = True) -> OrgId:
    """As the API does it, with its database role."""
    org = world.organisation
    keyring = Keyring(await world.databases.connect("keyring", "api", max_size=1), ROOT.role_keys(opener=False))
    service = Agents(await world.databases.connect("main", "api", max_size=1), keyring, SystemClock())
    assert await service.set_suspended(org.id, org.by_username[username].id, suspended, actor="api-key:test")
    return org.id


async def connected(world: World, caller: Peer, to: str = FAR_NUMBER) -> None:
    caller.invite(to)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.accept(incoming)
    await caller.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    await world.row("calls", state="active")


async def test_within_a_second_a_suspended_agents_live_call_ends_with_bye_on_both_sides(world: World) -> None:
    anna = await world.peer("anna")
    await connected(world, anna)
    async with asyncio.timeout(1.0):
        await suspend(world, "anna")
        await anna.expect(sip.DialogEnded)
        await world.carrier.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="suspended")
    await world.row("recordings", state="closed")


async def test_a_suspended_agent_neither_registers_nor_calls_nor_is_called_until_it_is_resumed(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    await suspend(world, "anna")
    await until(lambda: world.organisation.by_username["anna"].is_suspended)
    assert await anna.register("anna") == 403
    anna.invite(FAR_NUMBER)
    assert (await anna.expect(sip.Rejected)).status == 403
    ben.invite("101")
    assert (await ben.expect(sip.Rejected)).status == 480
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    assert (await world.carrier.expect(sip.Rejected)).status == 480
    assert len(await world.rows("registrations")) == 1
    await suspend(world, "anna", False)
    await until(lambda: not world.organisation.by_username["anna"].is_suspended)
    assert await anna.register("anna") == 200


async def test_a_revoked_devices_call_ends_and_the_agents_other_devices_talk_on(world: World) -> None:
    org, agent = world.organisation, world.organisation.by_username["anna"].id
    keyring = Keyring(await world.databases.connect("keyring", "api", max_size=1), ROOT.role_keys(opener=False))
    devices = Devices(await world.databases.connect("main", "api", max_size=1), keyring, SystemClock(), SystemRandom(), DOMAIN)
    made = await devices.add(org.id, agent, "stolen", actor="api-key:test")
    assert isinstance(made, Minted)
    await until(lambda: world.gateway.directory.find_credential(made.login, HOST), what="the gateway knows the device")
    desk, stolen = await world.peer("anna"), await world.peer()
    assert await stolen.register("anna", credentials=Credentials(made.login, made.password)) == 200
    # One call that the stolen device answered, one that the desk phone made.
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    stolen.accept(await stolen.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
    await world.carrier.expect(sip.Accepted)
    await stolen.expect(sip.AckReceived)
    await desk.expect(sip.RequestReceived)
    await desk.expect(sip.CancelReceived)
    desk.invite(FAR_NUMBER)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await desk.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    assert await devices.revoke(org.id, agent, made.id, actor="api-key:test")
    await stolen.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    await until(lambda: sum(1 for live in world.gateway.calling.live if not live.is_ended) == 1, what="one call is left")
    assert await stolen.register("anna", credentials=Credentials(made.login, made.password)) == 401
    (left,) = [live for live in world.gateway.calling.live if not live.is_ended]
    assert left.route.device_id == agent


async def test_a_call_that_rings_at_a_suspended_agent_stops_ringing(world: World) -> None:
    anna = await world.peer("anna")
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    await anna.expect(sip.RequestReceived)
    await suspend(world, "anna")
    await anna.expect(sip.CancelReceived)
    assert (await world.carrier.expect(sip.Rejected)).status == 480
    await world.row("calls", end_reason="suspended")


async def test_suspending_one_agent_leaves_the_others_calls_alone(world: World) -> None:
    anna = await world.peer("anna")
    await connected(world, anna)
    version = world.organisation.rules.version
    await suspend(world, "ben")
    await until(lambda: world.organisation.rules.version > version)
    assert [live.is_ended for live in world.gateway.calling.live] == [False]
    assert anna.events.empty()


async def test_an_emergency_call_of_a_suspended_agent_goes_on(world: World) -> None:
    anna = await world.peer("anna")
    await connected(world, anna, "112")
    version = world.organisation.rules.version
    await suspend(world, "anna")
    await until(lambda: world.organisation.rules.version > version)
    assert [live.is_ended for live in world.gateway.calling.live] == [False]
    assert anna.events.empty()
