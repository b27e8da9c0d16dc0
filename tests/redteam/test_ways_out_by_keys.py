"""Keys pressed in a call are a way out where that is switched on: every trick that a keypad has, the carrier's own ears as the proof."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.policy.limits import signals_of
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.redteam.campaigns import Stack, Way, tricks
from tests.redteam.tricks import ALLOWED, DIALLED
from tests.services.listening import Ear
from tests.services.running import FAR_NUMBER, HOST, World, local_media, need_program, running
from tests.services.test_calling_back import heard, left
from tests.services.test_mailbox_calls import office
from tests.services.test_mailbox_calls import press as keyed

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, environ={"HUSHWIRE_FEATURES__TRANSFER_BY_KEYS": "*2"}, record="none") as made:
        yield made
        Ear.close_all()


async def test_no_keys_of_an_agent_get_out_what_the_list_forbids(world: World) -> None:
    await world.limit(**{signal.value.replace("-", "_"): "off" for signal in signals_of("each-agent")})
    anna, near, far = await world.peer("anna"), Ear(), Ear()
    anna.invite(FAR_NUMBER, local=local_media(near.port))
    _, media = world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(far.port, keys=False))
    far.agree(media)
    near.agree(anna.answer_of((await anna.expect(sip.Accepted)).response))
    await world.carrier.expect(sip.AckReceived)
    (live,) = world.gateway.calling.live
    await until(lambda: near.speak(b"\xff" * 160) or far.packets, every_s=0.05, what="the call's sound flows")  # type: ignore[func-returns-value]
    for done, trick in enumerate(tricks(Way.KEYS, Stack.RAW)):
        await press(near, f"*2{trick.sent}#")
        await until(lambda wanted=done + 1: count(world, wanted), what=f"{trick.name} is refused by the judge")  # type: ignore[misc]
        assert live.transfer is None, trick.name
        assert world.carrier.events.empty(), f"{trick.name} reached the carrier"
        if done % 4:
            continue
        await press(near, f"*2{trick.twin}#")
        incoming = await world.carrier.expect(sip.RequestReceived)
        assert incoming.request.uri.startswith(f"sip:{trick.known_as}@"), trick.name
        world.carrier.endpoint.respond(incoming.tx, 486)
        await until(lambda: live.transfer is None, what="the transfer came to nothing")
    for keys in (f"2{DIALLED}#", f"*2{DIALLED}*", f"*2#{DIALLED}#", "*2*72005371234567#"):
        await press(near, keys)
    far.key(f"*2{DIALLED}#")
    await until(lambda: len([one for one in near.packets if one.pt == 101]) > 10, what="the other party's keys are heard")
    assert live.transfer is None
    assert world.carrier.events.empty()
    assert not live.is_ended, "the call could be transferred all the time"


async def test_no_caller_whom_a_key_calls_back_gets_out_what_the_list_forbids(databases: Databases, tmp_path: Path) -> None:
    """Whoever calls chooses what caller id to show: a message from a forged one is bait."""
    async with office(databases, tmp_path) as (world, _):
        await world.limit(**{signal.value.replace("-", "_"): "off" for signal in signals_of("each-agent")})
        await left(world, "+5371234567")
        phone, accepted, _ = await heard(world)
        await keyed(phone, accepted, "8")
        await until(lambda: count(world, 1), what="the forged caller is refused by the judge")
        assert world.carrier.events.empty()
        (live,) = (one for one in world.gateway.calling.live if not one.is_ended)
        texts = [trick.sent.format(host=HOST) for trick in tricks(Way.CALLBACK, Stack.INSIDE)]
        for text in texts:
            assert await world.gateway.calling.originating.call_back(live, text) is not None, text
            assert world.carrier.events.empty(), text
        await until(lambda: count(world, 1 + len(texts)), what="each is refused by the judge")
        assert not live.is_ended
        assert await world.gateway.calling.originating.call_back(live, ALLOWED) is None
        assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith(f"sip:{ALLOWED}@")
        assert live.is_ended, "the visitor is in a call of its own"


async def press(ear: Ear, keys: str) -> None:
    """At the pace of a quick hand: the media process tells of 20 keys a second and leg."""
    for key in keys:
        ear.key(key)
        await asyncio.sleep(0.055)


async def count(world: World, wanted: int) -> bool:
    return sum(row["end_reason"] == "refused" for row in await world.rows("calls")) == wanted
