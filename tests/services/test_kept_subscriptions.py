"""A gateway dies without a word; the next one on the same machine goes on telling who was subscribed there."""

import asyncio
from pathlib import Path

import pytest

from hushwire.sip import effects as sip
from hushwire.sip.message import Request
from tests.databases import Databases
from tests.polling import until
from tests.ports import free_port
from tests.services.running import World, need_program, running
from tests.services.test_presence import read, states, watcher
from tests.services.watcher import Watcher, state_of

pytestmark = need_program


def listening(port: int) -> dict[str, str]:
    return {"HUSHWIRE_SIP__LISTEN": f'["udp://127.0.0.1:{port}"]'}


def numbers(notify: Request) -> tuple[int, int]:
    return notify.cseq.number, read(notify).version


async def killed_and_back(world: World, port: int) -> None:
    await world.kill()
    await world.restart(**listening(port))


async def test_a_lamp_goes_on_after_kill_9_in_the_same_dialog_and_what_is_over_does_not_come_back(
    databases: Databases, tmp_path: Path
) -> None:
    port = free_port()
    async with running(databases, tmp_path, environ=listening(port)) as world, watcher(port, "ben") as ben:
        anna = await world.peer("anna")
        taken = await ben.subscribe("101", "dialog")
        over = await ben.subscribe("103", "dialog")
        before = [await ben.told(), await ben.told()]
        assert (await ben.again(over, "103", "dialog", 0)).status == 200
        assert state_of(await ben.told()) == "terminated;reason=timeout"
        await killed_and_back(world, port)
        again = await ben.told()
        assert (again.call_id, again.from_tag, again.to_tag) == (taken.call_id, taken.to_tag, taken.from_tag)
        assert read(again).is_full, "what happened meanwhile is not known: it is told all"
        assert all(new > old for new, old in zip(numbers(again), max(numbers(one) for one in before), strict=True))
        assert await anna.register("anna") == 200
        anna.invite("03023125999")
        incoming = await world.carrier.expect(sip.RequestReceived)
        await states(ben, ("initiator", "early"))
        world.carrier.endpoint.respond(incoming.tx, 486)
        await states(ben, ("initiator", "terminated"))
        assert (await ben.again(taken, "101", "dialog", 900)).status == 200
        assert (await ben.again(over, "103", "dialog", 900)).status == 481
        assert world.gateway.notifier.told()["subscriptions"] == 1


async def test_who_was_suspended_while_no_gateway_lived_is_told_the_end_and_no_state(databases: Databases, tmp_path: Path) -> None:
    port = free_port()
    async with running(databases, tmp_path, environ=listening(port)) as world, watcher(port, "ben") as ben:
        await ben.subscribe("101", "dialog")
        assert state_of(await ben.told()) == "active"
        org = world.organisation
        await world.kill()
        async with world.owner.organisation(org.id) as connection:
            await connection.execute("UPDATE agents SET suspended = true WHERE id = $1", org.by_username["ben"].id)
        await world.restart(**listening(port))
        last = await ben.told()
        assert (state_of(last), last.body) == ("terminated;reason=rejected", b"")
        await until(lambda: world.gateway.endpoint.ua._core.sessions == {}, what="nothing is kept")


async def test_a_gateway_that_drains_sends_its_subscribers_elsewhere(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "ben") as ben:
        await ben.subscribe("101", "dialog")
        assert state_of(await ben.told()) == "active"
        world.wired.drain.set()
        last = await ben.told()
        assert (state_of(last), last.body) == ("terminated;reason=deactivated", b"")
        async with asyncio.timeout(10):
            await asyncio.shield(world.task)
        assert not (tmp_path / "journal" / "subscriptions.journal").exists(), "nothing of what is over stays on the disk"


async def test_the_journal_of_subscriptions_is_sealed(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "ben") as ben:
        taken = await ben.subscribe("101", "dialog")
        assert state_of(await ben.told()) == "active"
        kept = (tmp_path / "journal" / "subscriptions.journal").read_bytes()
        assert kept
        for personal in (b"ben", b"101", b"127.0.0.1", taken.call_id.encode(), taken.to_tag.encode()):
            assert personal not in kept


CONTACT = '<sip:ben@127.0.0.1:9;transport=tcp>;+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000009>"'


async def on_a_call(world: World) -> sip.RequestReceived:
    anna = await world.peer("anna")
    anna.invite("03023125999")
    return await world.carrier.expect(sip.RequestReceived)


@pytest.mark.parametrize("is_killed", [False, True], ids=["connection lost", "gateway killed"])
async def test_who_subscribed_over_a_connection_is_told_again_once_its_device_is_back_on_another(
    databases: Databases, tmp_path: Path, is_killed: bool
) -> None:
    ports = free_port(), free_port()
    listen = {"HUSHWIRE_SIP__LISTEN": f'["udp://127.0.0.1:{ports[0]}", "tcp://127.0.0.1:{ports[1]}"]'}
    async with running(databases, tmp_path, environ=listen) as world:
        phone = await Watcher.connect(ports[1], "ben")
        assert await phone.register(contact=CONTACT, call_id="one") == 200
        taken = await phone.subscribe("101", "dialog", contact=CONTACT)
        assert read(await phone.told()).states == []
        phone.close()
        if is_killed:
            await world.kill()
            await world.restart(**listen)
        else:
            flows = world.gateway.endpoint._connections
            await until(lambda: not flows, timeout_s=10, what="the gateway sees that the connection is gone")
        incoming = await on_a_call(world)
        assert world.gateway.notifier.told()["subscriptions"] == 1, "it waits for its device"
        back = await Watcher.connect(ports[1], "ben")
        back.cseq = phone.cseq
        assert await back.register(contact=CONTACT, call_id="one") == 200
        told = await back.told()
        assert (told.call_id, read(told).is_full, read(told).states) == (taken.call_id, True, [("initiator", "early")])
        world.carrier.endpoint.respond(incoming.tx, 486)
        await states(back, ("initiator", "terminated"))
        back.close()
