"""Transfers by keys on a whole gateway: the agent's own telephone-events, the agent's own rules, and nobody else's."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from tests.databases import Databases
from tests.polling import until
from tests.services.clicking import BRITISH
from tests.services.listening import Ear
from tests.services.running import FAR_NUMBER, Peer, World, local_media, need_program, running

pytestmark = need_program
ULAW = b"\x11" * 160


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, environ={"HUSHWIRE_FEATURES__TRANSFER_BY_KEYS": "*2"}) as made:
        yield made
        Ear.close_all()


@dataclass
class Caller:
    """Anna's phone, and her dialog."""

    phone: Peer
    dialog: DialogKey


async def call(world: World) -> tuple[LiveCall, Caller, Ear, DialogKey, Ear]:
    """Anna and somebody outside: the call, her phone and ear, and the other's dialog and ear."""
    anna, near, far = await world.peer("anna"), Ear(), Ear()
    anna.invite(FAR_NUMBER, local=local_media(near.port))
    dialog, media = world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(far.port, keys=False))
    far.agree(media)
    accepted = await anna.expect(sip.Accepted)
    near.agree(anna.answer_of(accepted.response))
    await world.carrier.expect(sip.AckReceived)

    def hear_each_other() -> bool:
        # As phones do: what comes before the media process was told of the answer is nobody's, and nobody says it again.
        near.speak(ULAW)
        far.speak(ULAW)
        return len(far.packets) >= 3 and len(near.packets) >= 3

    await until(hear_each_other, what="they hear each other")
    (live,) = world.gateway.calling.live
    return live, Caller(anna, accepted.dialog), near, dialog, far


async def test_an_agent_keys_a_number_and_the_other_party_goes_on_there_without_hearing_which(world: World) -> None:
    live, anna, near, dialog, far = await call(world)
    near.key("*2")
    await until(lambda: live.hears.get(1) == frozenset(), what="the other party hears no more keys")
    known = len(far.packets)
    near.key("00442079460123#")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith(f"sip:{BRITISH}@")
    keys = [packet for packet in far.packets[known:] if packet.pt == 101]
    assert not keys, "the number was keyed to us alone"
    await until(lambda: live.hears.get(1) != frozenset(), what="both hear each other while it rings there")
    third = Ear()
    _, media = world.carrier.accept(incoming, local=local_media(third.port, keys=False))
    third.agree(media)
    await anna.phone.expect(sip.DialogEnded)

    def heard() -> bool:
        third.speak(ULAW)
        return len(far.packets) >= known + 10

    await until(heard, what="they hear each other")
    world.carrier.endpoint.bye(dialog)
    await until(lambda: live.is_ended, what="it is over")

    async def written() -> bool:
        rows = await world.rows("calls", "started_at")
        return [row["transferred_as"] for row in rows] == [None, "blind"] and all(row["state"] == "ended" for row in rows)

    await until(written, what="the rows say how it went")


async def test_a_number_that_the_agent_may_not_call_is_refused_and_the_call_goes_on(world: World) -> None:
    live, _, near, _, far = await call(world)
    near.key("*2005371234567#")

    async def refused() -> bool:
        return [row["verdict_reason"] for row in await world.rows("calls", "started_at")] == [None, "country"]

    await until(refused, what="the refusal is a row")
    await until(lambda: live.hears.get(1) != frozenset(), what="both hear each other again")
    known = len(far.packets)
    near.speak(ULAW, 5)
    await until(lambda: len(far.packets) >= known + 5, what="the call goes on")
    assert world.carrier.events.empty()
    near.key("*200442079460123#")
    assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith(f"sip:{BRITISH}@"), "an allowed one is called"


async def test_keys_of_the_other_party_and_keys_by_info_transfer_nothing(world: World) -> None:
    live, anna, near, _, far = await call(world)
    far.key("*200442079460123#")
    for digit in "*2030#":
        body = f"Signal={digit}\r\nDuration=100\r\n".encode()
        anna.phone.endpoint.request(anna.dialog, "INFO", body=body, content_type="application/dtmf-relay")
        assert (await anna.phone.expect(sip.Responded)).status == 200
    await until(lambda: any(packet.pt == 101 for packet in near.packets), what="anna hears the other party's keys")
    assert live.transfer is None
    assert world.carrier.events.empty()
    near.key("*200442079460123#")
    assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith(f"sip:{BRITISH}@"), "her own do"
