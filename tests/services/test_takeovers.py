"""Park and pickup, and INVITE with Replaces: who may take a place does, and nobody else learns that there is one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushwire.calls import effects, events
from hushwire.calls.call import State
from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import Side
from hushwire.calls.transfer import SPARE, TransferKind
from hushwire.services.live import LiveCall
from hushwire.services.provisioning_specs import AgentSpec, OrgSpec
from hushwire.services.shared_counts import Counted
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey
from hushwire.sip.refer import Replaces
from tests.databases import Databases
from tests.polling import until
from tests.services.running import (
    ANNA_NUMBER,
    DOMAIN,
    GROUP_NUMBER,
    HOST,
    Peer,
    Srtp,
    World,
    local_media,
    need_program,
    running,
    specs,
    until_ended,
)
from tests.services.test_diversion import forward
from tests.services.test_transfers import Heard, accept, refer, row_of, settled, to_carrier

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


def named(dialog: DialogKey) -> tuple[tuple[str, str], ...]:
    """A Replaces header for a dialog as a phone of ours knows it."""
    return (("Replaces", str(Replaces(dialog.call_id, dialog.remote_tag, dialog.local_tag))),)


async def foreigner(world: World) -> Peer:
    """A phone of an agent of another organisation."""
    desired = specs(world.carrier.local_port)
    (acme,) = desired.orgs
    row = replace(acme.row, slug="other", name="Other")
    agent = AgentSpec("zoe", "agent", "101", None, "zoes-password", False)
    await world.provisioning.apply(replace(desired, orgs=(acme, OrgSpec(row, (agent,), (), ()))))
    await until(lambda: len(world.gateway.directory.organisation_ids()) == 2, what="the gateway knows both")
    zoe = await world.peer()
    zoe.user, zoe.credentials = "zoe", Credentials("zoe@other", "zoes-password")
    return zoe


async def refused(phone: Peer) -> int:
    return (await phone.expect(sip.Rejected)).status


async def test_a_parked_call_waits_in_its_slot_and_is_taken_by_who_dials_it(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, far = await to_carrier(world, anna)
    refer(anna, near, "*68")
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over and heard.ended, "anna is told the slot, and out of the call")
    assert told.statuses[-1] == 200
    await until(lambda: live.call.state is State.WAITING, what="the carrier's party waits")
    assert world.gateway.calling.transfers.park.find(live.route.org.id, "1") is live
    ben.invite("*692")
    assert await refused(ben) == 404
    ben.invite("*691")
    dialog = (await ben.expect(sip.Accepted)).dialog
    _ben = Heard(ben)
    await until(lambda: live.call.state is State.ACTIVE, what="they talk")
    await settled(live)
    assert live.dialogs[live.side_of(live.dialogs[Side.CALLER]) or Side.CALLER].call_id == dialog.call_id
    assert world.gateway.calling.transfers.park.find(live.route.org.id, "1") is None
    await _ben.stop()
    ben.endpoint.bye(dialog)
    assert (await world.carrier.expect(sip.DialogEnded)).dialog == far


async def test_who_parked_a_call_is_not_in_it_any_more_and_without_call_waiting_free_to_the_next(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    await forward(world, "anna", call_waiting=False)
    live, near, _ = await to_carrier(world, anna)
    engaged, table = (Counted.ENGAGED, live.route.agent.id), world.gateway.calling.table
    assert table.counted((), tells_engaged=True)[engaged] == 1
    ben.invite("101")
    assert await refused(ben) == 486
    refer(anna, near, "*68")
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over and heard.ended, "anna is out of the call")
    await told.stop()
    await until(lambda: live.call.state is State.WAITING, what="the carrier's party waits")
    assert table.counted((), tells_engaged=True)[engaged] == 0, "her next call belongs nowhere"
    ben.invite("101")
    accept(anna, await anna.expect(sip.RequestReceived))
    await ben.expect(sip.Accepted)
    assert table.counted((), tells_engaged=True)[engaged] == 1


async def test_a_parked_call_that_nobody_takes_comes_back_to_who_parked_it(world: World) -> None:
    anna = await world.peer("anna")
    live, near, _ = await to_carrier(world, anna)
    world.gateway.calling.transfers.park.parked_s = 0.3
    refer(anna, near, "*697")
    while not isinstance(event := await anna.expect(sip.Event), sip.RequestReceived):  # type: ignore[arg-type]
        pass
    accept(anna, event)
    _anna = Heard(anna)
    await until(lambda: live.call.state is State.ACTIVE, what="they talk again")
    await settled(live)
    assert live.transfer is None


async def test_a_parked_call_still_comes_back_where_somebody_failed_to_take_it_as_its_time_was_over(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    transfers = world.gateway.calling.transfers
    refer(anna, near, "*697")
    await until(lambda: live.call.state is State.WAITING, what="the carrier's party waits")
    transfers.park.parked_s = 0.0
    ben.invite("*697", body=b"no description of a session")
    while live.transfer is None or live.transfer.successor is None:  # noqa: ASYNC110  # the moment is shorter than a poll
        await asyncio.sleep(0)
    transfers.park.put("7", live)  # its time is over in this moment
    await asyncio.sleep(0)
    assert await refused(ben) == 488
    while not isinstance(event := await anna.expect(sip.Event), sip.RequestReceived):  # type: ignore[arg-type]
        pass
    assert "anna" in event.request.uri


async def test_a_parked_call_waits_on_where_who_dialled_its_slot_is_refused_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "*697")
    await until(lambda: live.call.state is State.WAITING, what="the carrier's party waits")
    with monkeypatch.context() as patch:
        patch.setattr(world.gateway.calling._router.rights, "is_barred", lambda *_: True)  # suspended as it was routed
        ben.invite("*697")
        assert await refused(ben) == 403
    assert live.transfer is not None
    assert live.transfer.kind is TransferKind.PARK
    ben.invite("*697")
    await until(lambda: live.call.state is State.ACTIVE, what="ben has the call")


@pytest.mark.parametrize("how", ["code", "replaces"])
async def test_a_call_that_rings_at_a_colleague_is_picked_up(world: World, how: str) -> None:
    anna, sue = await world.peer("anna"), await world.peer("sue")
    carrier = world.carrier
    carrier.user = "+493023125777"
    carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=local_media(41000, keys=False))
    rung = await anna.expect(sip.RequestReceived)
    early = anna.endpoint.respond(rung.tx, 180)
    assert early is not None
    await carrier.expect(sip.Progress)
    (live,) = world.gateway.calling.table.calls.values()
    if how == "code":
        sue.invite("**101")
    else:
        sue.invite(f"sip:anna@{HOST}", headers=named(early))
    dialog = (await sue.expect(sip.Accepted)).dialog
    _sue = Heard(sue)
    await anna.expect(sip.CancelReceived)
    while not isinstance(event := await carrier.expect(sip.Event), sip.Accepted):  # type: ignore[arg-type]
        pass
    await settled(live)
    assert live.call.state is State.ACTIVE
    assert live.dialogs[Side.CALLEE].call_id == dialog.call_id
    await until(lambda: live.recording is not None and live.recording.is_running, what="it is recorded")
    await _sue.stop()
    carrier.endpoint.bye(event.dialog)
    await sue.expect(sip.DialogEnded)
    await row_of(world, live, state="ended")


async def test_an_agent_moves_its_own_call_to_another_phone_and_nobody_elses(world: World) -> None:
    anna, ben, desk = await world.peer("anna"), await world.peer("ben"), await world.peer()
    live, near, _ = await to_carrier(world, anna)
    for wrong in (near._replace(call_id="guessed"), near._replace(local_tag="guessed"), near._replace(remote_tag="guessed"), near):
        ben.invite(f"sip:anna@{HOST}", headers=named(wrong))
        assert await refused(ben) == 481
    zoe = await foreigner(world)
    for place in (f"sip:zoe@other.{DOMAIN}", f"sip:anna@{HOST}"):
        zoe.invite(place, headers=named(near))
        assert await refused(zoe) == 481
    assert live.call.state is State.ACTIVE
    assert live.transfer is None
    desk.user, desk.credentials = "anna", anna.credentials
    desk.invite(f"sip:anna@{HOST}", headers=named(near))
    dialog = (await desk.expect(sip.Accepted)).dialog
    _desk, told = Heard(desk), Heard(anna)
    await told.until(lambda heard: heard.ended, "the phone that had the call is out of it")
    await settled(live)
    assert live.dialogs[Side.CALLER].call_id == dialog.call_id


async def test_a_call_whose_phone_hung_up_does_not_wait_for_another_that_can_not_take_it(world: World) -> None:
    anna, desk = await world.peer("anna"), await world.peer()
    live, near, far = await to_carrier(world, anna)
    desk.user, desk.credentials = "anna", anna.credentials
    desk.invite(f"sip:anna@{HOST}", headers=named(near), body=b"no description of a session")
    while live.transfer is None:  # noqa: ASYNC110  # the moment is shorter than a poll
        await asyncio.sleep(0)
    anna.endpoint.bye(near)  # before the other phone's call has begun
    assert await refused(desk) in (400, 481, 488)

    def is_over() -> bool:
        while not anna.events.empty():
            event = anna.events.get_nowait()
            if isinstance(event, sip.RequestReceived):  # who hung up is asked once more
                anna.endpoint.respond(event.tx, 486)
        return live.is_ended

    await until(is_over, timeout_s=10, what="nobody is left alone in it")
    assert (await world.carrier.expect(sip.DialogEnded)).dialog == far


async def until_row(world: World, live: LiveCall) -> Any:
    """The call's row once it is answered."""

    async def found() -> Any:
        return next((row for row in await world.rows("calls") if row["id"] == live.id and row["state"] == "active"), None)

    return await until(found, what="the row is answered")


@pytest.mark.parametrize("line", ["600", "102"])
async def test_a_call_that_rings_at_a_group_is_picked_up_by_the_groups_number_or_by_a_members(world: World, line: str) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    world.carrier.invite(f"sip:{GROUP_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    for phone in (anna, ben):
        phone.endpoint.respond((await phone.expect(sip.RequestReceived)).tx, 180)
    (live,) = world.gateway.calling.live
    sue.invite("**601")
    assert await refused(sue) == 404, "the other group's line is quiet"
    sue.invite(f"**{line}")
    dialog = (await sue.expect(sip.Accepted)).dialog
    for phone in (anna, ben):
        await phone.expect(sip.CancelReceived)
    while not isinstance(await world.carrier.expect(sip.Event), sip.Accepted):  # type: ignore[arg-type]
        pass
    heard = Heard(sue)
    await settled(live)
    agent = live.party(Side.CALLEE).agent
    assert agent is not None
    assert agent.username.reveal() == "sue"
    assert live.route.group is None
    row = await until_row(world, live)
    assert row["agent_id"] == agent.id, "it is hers, in its row too"
    sue.endpoint.bye(dialog)
    await world.carrier.expect(sip.DialogEnded)
    await heard.stop()


async def test_what_who_goes_agrees_to_while_its_leg_is_put_aside_ends_no_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer to a re-INVITE of before comes in the very moment in which its leg is nowhere."""
    anna, desk = await world.peer("anna"), await world.peer()
    live, near, far = await to_carrier(world, anna)
    media, client, stated = world.gateway.calling._media, world.gateway.link.client, list[asyncio.Future[Any]]()
    move_leg = client.move_leg

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        await move_leg(bridge, leg, to, to_leg)
        if to_leg == SPARE:
            stated.append(asyncio.ensure_future(media.state(live, [live.stated[leg]])))
            await asyncio.sleep(0)

    monkeypatch.setattr(client, "move_leg", moving)
    desk.user, desk.credentials = "anna", anna.credentials
    desk.invite(f"sip:anna@{HOST}", headers=named(near))
    dialog = (await desk.expect(sip.Accepted)).dialog
    _desk, told = Heard(desk), Heard(anna)
    await told.until(lambda heard: heard.ended, "the phone that had the call is out of it")
    await settled(live)
    (outcome,) = stated
    assert await outcome == []
    assert live.dialogs[Side.CALLER].call_id == dialog.call_id
    world.carrier.endpoint.bye(far)
    await _desk.until(lambda heard: heard.ended, "the call goes on until the carrier ends it")


async def test_what_who_comes_asks_for_while_its_leg_is_moved_is_done_and_ends_no_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone that sends a re-INVITE right after its pickup was answered, as PJSIP does to agree on one codec."""
    anna, ben, sue = [await world.peer(name) for name in ("anna", "ben", "sue")]
    anna.invite(f"sip:102@{HOST}")
    ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 180)
    await anna.expect(sip.Progress)
    (live,) = world.gateway.calling.table.calls.values()
    media, client, stated = world.gateway.calling._media, world.gateway.link.client, list[tuple[Any, int]]()
    move_leg, set_legs = client.move_leg, client.set_legs

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        await move_leg(bridge, leg, to, to_leg)
        if to_leg != SPARE:
            (source,) = (one for one in world.gateway.calling.table.calls.values() if one is not live)
            assert await media.state(source, [replace(source.stated[leg])]) == []
            monkeypatch.setattr(client, "set_legs", stating)

    def stating(bridge: Any, legs: Any) -> Any:
        stated.extend((bridge, number) for number, _ in legs)
        return set_legs(bridge, legs)

    monkeypatch.setattr(client, "move_leg", moving)
    sue.invite("**102")
    dialog = (await sue.expect(sip.Accepted)).dialog
    _sue = Heard(sue)
    await ben.expect(sip.CancelReceived)
    await anna.expect(sip.Accepted)
    await settled(live)
    assert (live.id, 1) in stated, "it is stated where the leg is now"
    assert live.dialogs[Side.CALLEE].call_id == dialog.call_id
    sue.endpoint.bye(dialog)
    await until(lambda: live.is_ended, what="the call goes on until one hangs up")
    await _sue.stop()


async def test_who_answers_a_call_keeps_it_though_somebody_was_about_to_pick_it_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, ben, sue = [await world.peer(name) for name in ("anna", "ben", "sue")]
    anna.invite(f"sip:102@{HOST}")
    rung = await ben.expect(sip.RequestReceived)
    ben.endpoint.respond(rung.tx, 180)
    await anna.expect(sip.Progress)
    (live,) = world.gateway.calling.table.calls.values()
    client, dialogs = world.gateway.link.client, list[DialogKey]()
    open_leg = client.open_leg

    async def opening(*args: Any) -> Any:
        dialogs.append(accept(ben, rung))
        await until(lambda: live.call.state is State.ACTIVE, what="ben has answered")
        return await open_leg(*args)

    monkeypatch.setattr(client, "open_leg", opening)
    sue.invite("**102")
    await sue.expect(sip.Accepted)
    gone = await sue.expect(sip.DialogEnded)
    assert "elsewhere" in (gone.request.headers.get("Reason") or "")
    assert live.call.state is State.ACTIVE
    assert live.transfer is None
    assert live.dialogs[Side.CALLEE].call_id == dialogs[0].call_id
    await anna.expect(sip.Accepted)
    ben.endpoint.bye(dialogs[0])
    await until_ended(anna)


async def test_a_call_whose_pickup_fails_in_the_last_moment_goes_on_as_one_that_nobody_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phones that rang were told that it is taken: its caller must not wait for them."""
    anna, ben, sue = [await world.peer(name) for name in ("anna", "ben", "sue")]
    anna.invite(f"sip:102@{HOST}")
    ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 180)
    await anna.expect(sip.Progress)
    client = world.gateway.link.client
    move_leg, dialogs = client.move_leg, list[DialogKey]()

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        await move_leg(bridge, leg, to, to_leg)
        if to_leg == SPARE:
            dialogs.append((await sue.expect(sip.Accepted)).dialog)
            sue.endpoint.bye(dialogs[0])  # picked up, and put down at once
            (source,) = (one for one in world.gateway.calling.table.calls.values() if one.joining is not None)
            await until(lambda: source.is_ended, what="who came is gone")

    monkeypatch.setattr(client, "move_leg", moving)
    sue.invite("**102")
    await ben.expect(sip.CancelReceived)
    assert (await anna.expect(sip.Rejected, timeout_s=10)).status == 480


async def ringing_at_ben(world: World, anna: Peer, ben: Peer) -> LiveCall:
    """Anna's call to ben, whose phone rings."""
    anna.invite(f"sip:102@{HOST}")
    ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 180)
    await anna.expect(sip.Progress)
    (live,) = world.gateway.calling.table.calls.values()
    return live


async def answered(phone: Peer) -> DialogKey:
    """The dialog of a phone's call, whatever it is told before."""
    while not isinstance(event := await phone.expect(sip.Event), sip.Accepted):  # type: ignore[arg-type]
        assert isinstance(event, sip.Progress)
    return event.dialog


@pytest.mark.parametrize("is_moved", [False, True], ids=["as-it-is-put-aside", "as-it-has-come"])
async def test_a_call_that_is_being_picked_up_goes_on_to_nobody_else_as_its_time_to_ring_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    """It did: asked for other ports of a leg that was nowhere, or another party's, the media process refused, and both calls ended. Where
    its leg had ports of its own a phone rang on that nobody needed any more.
    """
    anna, ben, sue, desk = [await world.peer(name) for name in ("anna", "ben", "sue", None)]
    desk.user, desk.credentials = "sue", sue.credentials
    await forward(world, "ben", no_answer="103")
    live = await ringing_at_ben(world, anna, ben)
    assert 1 in live.shared_legs, "who is rung next would be found on ports of its own"
    client, loop, reopened, over = world.gateway.link.client, asyncio.get_running_loop(), list[int](), asyncio.Event()
    open_leg, move_leg, reopen_leg = client.open_leg, client.move_leg, client.reopen_leg

    async def opening(*args: Any) -> Any:
        world.gateway.calling._effects.carry_out(live, effects.ArmRing(0.5))
        loop.call_later(0.5, over.set)
        return await open_leg(*args)

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        await move_leg(bridge, leg, to, to_leg)
        if not over.is_set() and (to_leg != SPARE) is is_moved:
            await over.wait()
            await until(lambda: live.call.state is not State.DIVERTING, what="it would have gone on by now")

    async def reopening(bridge: Any, leg: int) -> Any:
        reopened.append(leg)
        return await reopen_leg(bridge, leg)

    monkeypatch.setattr(client, "open_leg", opening)
    monkeypatch.setattr(client, "move_leg", moving)
    monkeypatch.setattr(client, "reopen_leg", reopening)
    desk.invite("**102")
    dialog = (await desk.expect(sip.Accepted)).dialog
    _desk = Heard(desk)
    await ben.expect(sip.CancelReceived)
    await answered(anna)
    await settled(live)
    assert reopened == [], "the leg is who has come's"
    assert sue.events.empty(), "nobody else is rung"
    assert live.dialogs[Side.CALLEE].call_id == dialog.call_id
    desk.endpoint.bye(dialog)
    await until(lambda: live.is_ended, what="the call goes on until one hangs up")
    await _desk.stop()


async def test_a_call_that_went_on_to_others_as_somebody_came_to_pick_it_up_says_so_all_the_same(world: World) -> None:
    anna, ben, sue = [await world.peer(name) for name in ("anna", "ben", "sue")]
    await forward(world, "ben", no_answer="103")
    live = await ringing_at_ben(world, anna, ben)
    table = world.gateway.calling.table.calls
    desk = await world.peer()
    desk.user, desk.credentials = "sue", sue.credentials
    desk.invite("**102")
    while len(table) < 2:  # noqa: ASYNC110  # the moment is shorter than a poll
        await asyncio.sleep(0)
    (source,) = (one for one in table.values() if one is not live)
    async with source.stating:
        await desk.expect(sip.Accepted)
        world.gateway.calling.feed(live, events.RingTimeout())
        rung = await sue.expect(sip.RequestReceived)
    sue.endpoint.respond(rung.tx, 180)
    await sue.expect(sip.CancelReceived)
    await answered(anna)
    await settled(live)
    assert [one.reason for one in live.route.diversions] == [DiversionReason.NO_ANSWER]


async def test_what_was_held_back_of_a_leg_is_stated_though_its_move_broke_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what nobody thought of: the phone was told already that it is so."""
    anna, desk = await world.peer("anna"), await world.peer()
    live, near, far = await to_carrier(world, anna)
    media, client, stated = world.gateway.calling._media, world.gateway.link.client, list[tuple[Any, int]]()
    move_leg, set_legs, moved, sources = client.move_leg, client.set_legs, list[tuple[int, int]](), list[LiveCall]()

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        if SPARE not in (leg, to_leg):
            sources.extend(one for one in world.gateway.calling.table.calls.values() if one is not live)
            assert await media.state(sources[0], [replace(sources[0].stated[leg])]) == []
            monkeypatch.setattr(client, "set_legs", stating)
            raise ZeroDivisionError
        moved.append((leg, to_leg))
        await move_leg(bridge, leg, to, to_leg)

    def stating(bridge: Any, legs: Any) -> Any:
        stated.extend((bridge, number) for number, _ in legs)
        return set_legs(bridge, legs)

    monkeypatch.setattr(client, "move_leg", moving)
    desk.user, desk.credentials = "anna", anna.credentials
    desk.invite(f"sip:anna@{HOST}", headers=named(near))
    await desk.expect(sip.Accepted)
    await until(lambda: stated, what="it is stated where the leg is")
    assert stated == [(live.id, sources[0].call.leg(Side.CALLER))]
    assert sources[0].held_back == []
    await until(lambda: not live.replacing.locked(), what="all is done")
    assert moved == [(0, SPARE), (SPARE, 0)], "who has the call is where it was"
    assert live.dialogs[Side.CALLER].call_id == near.call_id
    await until_ended(desk)
    await until(lambda: sources[0].is_ended, what="who came is gone")
    assert live.call.state is State.ACTIVE
    world.carrier.endpoint.bye(far)
    await until_ended(anna)
