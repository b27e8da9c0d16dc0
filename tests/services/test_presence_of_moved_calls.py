"""Lamps where calls go on elsewhere: transferred, diverted, into a mailbox."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from hushwire.calls.model import JoinedAs
from hushwire.sdp.offer_answer import Srtp
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.refer import Replaces
from tests.databases import Databases
from tests.services.running import FAR_NUMBER, HOST, World, need_program, running
from tests.services.test_diversion import forward, rejected
from tests.services.test_presence import read, states, watcher
from tests.services.test_transfers import Heard, accept, refer, to_carrier
from tests.services.watcher import Watcher

pytestmark = need_program


async def idle(world: World, phone: Watcher, to: str) -> None:
    assert (await phone.subscribe(to, "dialog")).status == 200
    assert read(await phone.told()).states == []


async def test_a_transfer_puts_out_the_lamp_of_who_transferred_and_lights_that_of_who_took_it(databases: Databases, tmp_path: Path) -> None:
    async with (
        running(databases, tmp_path, presence="numbers") as world,
        watcher(world.port, "sue") as of_anna,
        watcher(world.port, "sue") as of_ben,
    ):
        await idle(world, of_anna, "101")
        await idle(world, of_ben, "102")
        anna, ben = await world.peer("anna"), await world.peer("ben")
        _, near, _ = await to_carrier(world, anna)
        await states(of_anna, ("initiator", "confirmed"))
        refer(anna, near, "102")
        rung = await ben.expect(sip.RequestReceived)
        await states(of_ben, ("recipient", "early"))
        dialog = accept(ben, rung)
        told, _ = Heard(anna), Heard(ben)
        await told.until(lambda heard: heard.is_over and heard.ended, "the transfer is done")
        assert (await states(of_anna, ("initiator", "terminated")))[-1].version > 0
        await _talks_with(of_ben, FAR_NUMBER)
        ben.endpoint.bye(dialog)
        await _quiet(of_ben)


async def _talks_with(phone: Watcher, number: str) -> None:
    """Until some call is confirmed and shown with this number."""
    while True:
        document = read(await phone.told())
        if any(state == "confirmed" for _, state in document.states) and any(number in remote for remote in document.remotes):
            return


async def _quiet(phone: Watcher) -> None:
    while "terminated" not in [state for _, state in read(await phone.told()).states]:
        pass


async def test_a_diverted_call_lights_the_lamp_of_who_is_rung_now(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "anna") as of_ben, watcher(world.port, "ben") as of_sue:
        await idle(world, of_ben, "102")
        await idle(world, of_sue, "103")
        anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
        await forward(world, "ben", busy="103")
        anna.invite("102")
        incoming = await ben.expect(sip.RequestReceived)
        await states(of_ben, ("recipient", "early"))
        ben.endpoint.respond(incoming.tx, 486)
        rung = await sue.expect(sip.RequestReceived)
        await states(of_ben, ("recipient", "terminated"))
        await states(of_sue, ("recipient", "early"))
        sue.endpoint.respond(rung.tx, 603)
        assert await rejected(anna) >= 400
        await states(of_sue, ("recipient", "terminated"))


async def test_a_supervisor_lights_no_lamp(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "ben") as of_sue:
        await idle(world, of_sue, "103")
        anna, sue = await world.peer("anna"), await world.peer("sue")
        live, near, _ = await to_carrier(world, anna)
        agent_id = world.organisation.by_username["sue"].id
        asked = await world.gateway.calling.supervision.supervise(
            live, JoinedAs.LISTEN, agent_id, actor="test", purpose="quality-assurance"
        )
        assert asked == "ok"
        sue.accept(await sue.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
        await sue.expect(sip.AckReceived)
        assert world.gateway.colleagues.engaged(agent_id) == ()
        assert of_sue.notifies.empty()
        anna.endpoint.bye(near)


async def test_a_ringing_call_is_picked_up_by_what_its_lamp_says_and_nothing_of_its_dialog_is_said(
    databases: Databases, tmp_path: Path
) -> None:
    """The lamp's Call-ID and tags name the call for an INVITE with Replaces of who may pick it up, and open the dialog to nobody."""
    async with running(databases, tmp_path) as world, watcher(world.port, "sue") as of_ben:
        await idle(world, of_ben, "102")
        anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
        anna.invite("102")
        rung = await ben.expect(sip.RequestReceived)
        early = ben.endpoint.respond(rung.tx, 180)
        assert early is not None
        while "call-id" not in (shown := ElementTree.fromstring((await of_ben.told()).body)[0].attrib):
            pass
        named = DialogKey(shown["call-id"], shown["local-tag"], shown["remote-tag"])
        assert not {*named} & {early.call_id, early.local_tag, early.remote_tag}
        for method in ("BYE", "SUBSCRIBE", "UPDATE"):
            tags = {"call_id": named.call_id, "to_tag": named.local_tag, "from_tag": named.remote_tag, "with_password": False}
            assert (await of_ben.ask(method, f"sip:102@{HOST}", "Event: dialog\r\n", **tags)).status == 481  # type: ignore[arg-type]
        header = ("Replaces", str(Replaces(named.call_id, named.local_tag, named.remote_tag, is_early_only=True)))
        stranger = await world.peer()
        stranger.invite(f"sip:ben@{HOST}", headers=[header])
        assert (await stranger.expect(sip.Rejected)).status == 401
        sue.invite(f"sip:ben@{HOST}", headers=[header])
        await sue.expect(sip.Accepted)
        await ben.expect(sip.CancelReceived)
        await _quiet(of_ben)
        assert world.gateway.endpoint.ua._core.aliases == {}


async def test_a_call_of_a_group_lights_the_lamps_of_those_who_ring_and_then_of_who_took_it(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "sue") as of_anna, watcher(world.port, "sue") as of_ben:
        await idle(world, of_anna, "101")
        await idle(world, of_ben, "102")
        of_group = await Watcher.open(world.port, "sue")
        await idle(world, of_group, "600")
        anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
        sue.invite("600")
        first, second = await anna.expect(sip.RequestReceived), await ben.expect(sip.RequestReceived)
        await states(of_anna, ("recipient", "early"))
        await states(of_ben, ("recipient", "early"))
        await states(of_group, ("recipient", "early"))
        ben.accept(second, srtp=Srtp.REQUIRED)
        await sue.expect(sip.Accepted)
        await states(of_group, ("recipient", "terminated"))
        of_group.close()
        await states(of_ben, ("recipient", "confirmed"))
        await states(of_anna, ("recipient", "terminated"))
        anna.endpoint.respond(first.tx, 487)


async def test_a_parked_call_lights_the_lamp_of_its_slot_until_it_is_taken(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path, presence="numbers") as world, watcher(world.port, "ben") as of_slot:
        await idle(world, of_slot, "*697")
        assert (await of_slot.subscribe("*69100", "dialog")).status == 404
        assert (await of_slot.subscribe("*697", "presence")).status == 404
        anna, sue = await world.peer("anna"), await world.peer("sue")
        _, near, _ = await to_carrier(world, anna)
        refer(anna, near, "*697")
        told = Heard(anna)
        assert FAR_NUMBER in (await states(of_slot, ("recipient", "confirmed")))[-1].remotes[0]
        await told.until(lambda heard: heard.ended, "anna is out of it")
        sue.invite("*697")
        await sue.expect(sip.Accepted)
        _sue = Heard(sue)
        await _quiet(of_slot)
