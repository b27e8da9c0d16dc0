"""Two whole gateways, each with its own media program, that share nothing but the databases: any of them calls any phone."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from hushwire.app.gateway import Gateway
from hushwire.core.ids import NodeId
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.shared_counts import FORGET_AFTER_S, SharedCounts
from hushwire.sip import effects as sip
from hushwire.sip.flow import Target, Transport
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, HOST, NODE, MediaProgram, Peer, World, need_program, running, start_gateway
from tests.services.test_diversion import forward

pytestmark = need_program
OTHER = NodeId(UUID(int=8))


@asynccontextmanager
async def another(databases: Databases, folder: Path, **environ: str) -> AsyncIterator[Gateway]:
    folder.mkdir()
    media = MediaProgram(folder)
    await media.start()
    gateway, wired, task = await start_gateway(databases, folder, OTHER, **environ)
    try:
        yield gateway
    finally:
        wired.stop.set()
        await task
        await media.stop()


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


def port(gateway: Gateway) -> int:
    return gateway.endpoint.addresses[Transport.UDP].port


async def known(gateway: Gateway, user: str, count: int = 1) -> None:
    org = gateway.directory.default_organisation
    assert org is not None
    agent = org.by_username[user].id
    await until(lambda: gateway.registrations.count(agent) == count, timeout_s=10, what=f"the other gateway knows {count} device(s)")


@pytest.mark.parametrize("listen", ['["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]', '["udp://127.0.0.1:0"]'], ids=["tcp", "udp"])
async def test_a_phone_registered_on_one_gateway_is_called_through_the_other(world: World, tmp_path: Path, listen: str) -> None:
    anna = await world.peer("anna")
    async with another(world.databases, tmp_path / "b", HUSHWIRE_SIP__LISTEN=listen) as b:
        await known(b, "anna")
        await until(lambda: b.neighbours.hop(world.wired.node_id) and world.gateway.neighbours.hop(OTHER), timeout_s=20, what="they know")
        ben = await Peer.open(port(b))
        world.peers.append(ben)
        assert await ben.register("ben") == 200
        ben.invite("101")
        incoming = await anna.expect(sip.RequestReceived)
        # It came by the flow of its own gateway, which a NAT would let through, and by no other.
        assert incoming.flow.remote.port == world.port
        assert [route.sip_uri.port for route in incoming.request.record_routes] == [world.port]
        dialog, _ = anna.accept(incoming, srtp=Srtp.REQUIRED)
        await ben.expect(sip.Accepted)
        await anna.expect(sip.AckReceived)
        assert sum(1 for _ in b.calling.live) == 1
        assert not list(world.gateway.calling.live), "the gateway in between keeps nothing of the call"
        # Hanging up from the called side goes the same way back.
        anna.endpoint.bye(dialog)
        await ben.expect(sip.DialogEnded)
        await until(lambda: not list(b.calling.live), timeout_s=10, what="the call is over")
    (row,) = await world.rows("calls")
    assert (row["node_id"], row["state"], row["end_reason"]) == (OTHER, "ended", "bye-peer")


async def test_bye_cancel_and_refusals_pass_in_both_directions(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with another(world.databases, tmp_path / "b") as b:
        await known(b, "anna")
        await until(lambda: b.neighbours.hop(world.wired.node_id) and world.gateway.neighbours.hop(OTHER), timeout_s=20, what="they know")
        ben = await Peer.open(port(b))
        world.peers.append(ben)
        await ben.register("ben")
        invite = ben.invite("101")
        await anna.expect(sip.RequestReceived)
        ben.endpoint.cancel(invite)
        await anna.expect(sip.CancelReceived)
        assert (await ben.expect(sip.Rejected)).status == 487
        ben.invite("101")
        refused = await anna.expect(sip.RequestReceived)
        anna.endpoint.respond(refused.tx, 486)
        assert (await ben.expect(sip.Rejected)).status == 486
        ben.invite("101")
        anna.accept(await anna.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
        accepted = await ben.expect(sip.Accepted)
        await anna.expect(sip.AckReceived)
        ben.endpoint.bye(accepted.dialog)
        await anna.expect(sip.DialogEnded)


async def test_a_phone_that_goes_to_another_gateway_is_one_device_and_leaves_the_first(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with another(world.databases, tmp_path / "b") as b:
        await known(b, "anna")
        anna.gateway_port = port(b)
        assert await anna.register("anna") == 200
        (row,) = await world.rows("registrations")
        assert row["node_id"] == OTHER
        place = world.gateway.bindings
        await until(lambda: place.count_own() == 0, timeout_s=10, what="the first gateway gave it up")
        await known(world.gateway, "anna")
        # It leaves there, and nobody calls it any more.
        assert await anna.register("anna", expires=0) == 200
        await known(world.gateway, "anna", 0)


async def test_where_the_holder_is_gone_a_phone_behind_no_nat_is_called_all_the_same(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with another(world.databases, tmp_path / "b") as b:
        await known(b, "anna")
        b.neighbours._found = {}
        org = b.directory.default_organisation
        assert org is not None
        (device,) = b.registrations.devices(org.by_username["anna"].id)
        assert (device.hop, device.routes) == (Target(Transport.UDP, "127.0.0.1", anna.local_port), ())


async def test_a_carriers_call_reaches_the_phones_of_both_gateways(world: World, tmp_path: Path) -> None:
    one = await world.peer("anna")
    async with another(world.databases, tmp_path / "b") as b:
        two = await Peer.open(port(b))
        world.peers.append(two)
        assert await two.register("anna") == 200
        await known(world.gateway, "anna", 2)
        await until(lambda: world.gateway.neighbours.hop(OTHER) and b.neighbours.hop(world.wired.node_id), timeout_s=20, what="they know")
        world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
        await one.expect(sip.RequestReceived)
        two.accept(await two.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
        await world.carrier.expect(sip.Accepted)
        await one.expect(sip.CancelReceived)


async def test_a_carriers_channels_are_those_of_both_gateways_together(world: World, tmp_path: Path) -> None:
    administrator = await asyncpg.connect(world.databases.dsn("main", "administrator"))
    await administrator.execute("UPDATE trunks SET channels = 2")
    await administrator.close()
    async with another(world.databases, tmp_path / "b") as b:
        phones = {gateway: await Peer.open(port(gateway)) for gateway in (world.gateway, b)}
        world.peers += phones.values()
        for gateway, user in ((world.gateway, "anna"), (b, "ben")):
            assert await phones[gateway].register(user) == 200
            await until(lambda gateway=gateway: [t.channels for t in gateway.directory.trunks] == [2], what="the limit is known")
        (trunk,) = b.directory.trunks
        calls = {}
        for gateway in (world.gateway, b):
            phones[gateway].invite(FAR_NUMBER)
            world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
            calls[gateway] = await phones[gateway].expect(sip.Accepted)
            await world.carrier.expect(sip.AckReceived)
        for gateway in (world.gateway, b):
            await until(lambda gateway=gateway: gateway.counts.elsewhere(trunk.id) == 1, what="each knows of the other's call")
            phones[gateway].invite(FAR_NUMBER)
            assert (await phones[gateway].expect(sip.Rejected)).status == 503
        phones[b].endpoint.bye(calls[b].dialog)
        await phones[b].expect(sip.Responded)
        await world.carrier.expect(sip.DialogEnded)
        await until(lambda: world.gateway.counts.elsewhere(trunk.id) == 0, what="the other's call is over")
        phones[world.gateway].invite(FAR_NUMBER)
        await world.carrier.expect(sip.RequestReceived)


async def test_an_agent_without_call_waiting_who_talks_by_one_gateway_is_busy_at_the_other(world: World, tmp_path: Path) -> None:
    await forward(world, "anna", call_waiting=False)
    async with another(world.databases, tmp_path / "b") as b:
        anna, ben = await world.peer("anna"), await Peer.open(port(b))
        world.peers.append(ben)
        assert await ben.register("ben") == 200
        await known(b, "anna")
        anna.invite(FAR_NUMBER)
        world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
        talk = (await anna.expect(sip.Accepted)).dialog
        await world.carrier.expect(sip.AckReceived)
        org = b.directory.default_organisation
        assert org is not None
        agent = org.by_username["anna"].id
        await until(lambda: b.counts.talks(agent), what="the other gateway knows that anna talks")
        ben.invite("101")
        assert (await ben.expect(sip.Rejected)).status == 486
        anna.endpoint.bye(talk)
        await until(lambda: not b.counts.talks(agent), what="and that she does not any more")
        ben.invite("101")
        while not isinstance(await anna.expect(sip.Event), sip.RequestReceived):  # type: ignore[arg-type]
            pass


def test_the_counts_of_a_gateway_that_is_not_heard_any_more_are_forgotten_by_one_without_calls_of_its_own() -> None:
    clock, session = Clock(), UUID(int=3)
    counts = SharedCounts(None, dict, clock, NODE)  # type: ignore[arg-type]
    counts._hear(told(OTHER, {f"masked {session}": 2}))
    counts._hear(told(NODE, {}))
    assert counts.masked(session) == 2
    clock.seconds += FORGET_AFTER_S + 1
    counts._forget()
    assert counts.masked(session) == 2, "deaf: nothing is known of the others"
    counts._hear(told(NODE, {}))
    counts._forget()
    assert counts.masked(session) == 0


class Clock:
    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


def told(node: NodeId, others: dict[str, int]) -> str:
    return json.dumps({"node": str(node), "calls": {}, "others": others})


async def test_a_gruu_rings_the_one_device_that_it_names(world: World) -> None:
    urn = "urn:uuid:00000000-0000-1000-8000-000A95A0E1"
    desk, mobile, ben = await world.peer(), await world.peer(), await world.peer("ben")
    for phone, last in ((desk, "28"), (mobile, "29")):
        assert await phone.register("anna", instance=f"<{urn}{last}>") == 200
    ben.invite(f"sip:anna@{HOST};gr={urn}29")
    incoming = await mobile.expect(sip.RequestReceived)
    mobile.endpoint.respond(incoming.tx, 486)
    assert (await ben.expect(sip.Rejected)).status == 486
    assert desk.events.empty()
    ben.invite(f"sip:anna@{HOST};gr={urn}30")
    assert (await ben.expect(sip.Rejected)).status == 480
