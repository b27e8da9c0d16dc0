"""Transfers by REFER: who takes a place, who is told what, and what no trick gets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.calls.transfer import SPARE
from hushwire.sdp.offer_answer import Direction, Refusal, Srtp, answer_offer, build_offer
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.refer import Replaces, parse_sipfrag, refer_to_line
from hushwire.sip.subscriptions import EventName
from hushwire.sip.uri import parse_sip_uri
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, HOST, Peer, World, local_media, need_program, running
from tests.services.test_diversion import forward

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def to_carrier(world: World, phone: Peer, number: str = FAR_NUMBER) -> tuple[LiveCall, DialogKey, DialogKey]:
    """A call of this phone with the carrier: ours, the phone's dialog and the carrier's."""
    known = set(world.gateway.calling.table.calls)
    phone.invite(number)
    world.carrier.local = local_media(41000, keys=False)
    far, _ = world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=world.carrier.local)
    near = (await phone.expect(sip.Accepted)).dialog
    await world.carrier.expect(sip.AckReceived)
    (new,) = set(world.gateway.calling.table.calls) - known
    live = world.gateway.calling.table.calls[new]
    if live.route.plan.is_recorded:
        await until(lambda: live.recording is not None and live.recording.is_running, what="it is recorded")
    return live, near, far


def refer(phone: Peer, dialog: DialogKey, to: str, replaces: DialogKey | None = None, headers: tuple[Line, ...] = ()) -> None:
    """REFER with this phone's credentials; `replaces` is a dialog of the phone's own."""
    named = None if replaces is None else Replaces(replaces.call_id, replaces.remote_tag, replaces.local_tag)
    line = refer_to_line(parse_sip_uri(to if to.startswith("sip:") else f"sip:{to}@{HOST}"), named)
    refer_raw(phone, dialog, line[1], headers)


def refer_raw(phone: Peer, dialog: DialogKey, refer_to: str, headers: tuple[Line, ...] = ()) -> None:
    """REFER with this value, whatever it is; challenges are answered."""
    ua, now = phone.endpoint.ua, phone.endpoint.now()
    session = ua._core.call(dialog)
    assert session is not None
    outgoing = ua._client.in_dialog(session, "REFER", [("Contact", str(session.dialog.contact)), ("Refer-To", refer_to), *headers])
    outgoing.credentials = phone.credentials
    ua._subscriptions.open(session, EventName("refer"), now, 180.0, is_notifier=False)
    ua._client.start(outgoing, now)
    phone.endpoint.flush()


class Heard:
    """What reaches a phone; re-INVITEs are taken, whatever they offer."""

    def __init__(self, phone: Peer) -> None:
        self.phone = phone
        self.statuses: list[int | None] = []
        self.reinvites: list[Request] = []
        self.acknowledged = 0
        self.ended: list[sip.DialogEnded] = []
        self.answers: list[sip.Responded] = []
        self.is_over = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            match event := await self.phone.events.get():
                case sip.Responded():
                    self.answers.append(event)
                case sip.Notified():
                    self.statuses.append(parse_sipfrag(event.request.body))
                    self.is_over = self.is_over or event.is_over
                case sip.InDialogRequest() if event.request.method == "INVITE":
                    self.reinvites.append(event.request)
                    take(self.phone, event)
                case sip.DialogEnded():
                    self.ended.append(event)
                case sip.AckReceived():
                    self.acknowledged += 1
                case _:
                    raise AssertionError(f"unexpected {event}")

    async def until(self, true: Any, what: str) -> None:
        await until(lambda: self._task.done() or true(self), timeout_s=10, what=what)
        if self._task.done():
            self._task.result()

    async def stop(self) -> "Heard":
        """Leave what comes from now on to others."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self


def take(phone: Peer, event: sip.InDialogRequest) -> None:
    """Answer a re-INVITE."""
    assert phone.local is not None
    phone.local = replace(phone.local, version=phone.local.version + 1)
    outcome = answer_offer(event.request.body, phone.local, Srtp.REQUIRED if phone.local.keys else Srtp.NEVER)
    assert not isinstance(outcome, Refusal), outcome
    phone.endpoint.respond(event.tx, 200, body=outcome.body)


def accept(phone: Peer, event: sip.RequestReceived) -> DialogKey:
    """Answer as an agent's phone."""
    phone.local = local_media(42000)
    return phone.accept(event, srtp=Srtp.REQUIRED, local=phone.local)[0]


async def settled(live: LiveCall) -> None:
    """Once nobody has to be asked any more."""
    await until(lambda: not live.call._own.owed and live.exchange is None, what="the parties were told")


async def row_of(world: World, live: LiveCall, **wanted: Any) -> Any:
    async def found() -> Any:
        rows = [row for row in await world.rows("calls") if row["id"] == live.id]
        return rows[0] if rows and all(rows[0][name] == value for name, value in wanted.items()) else None

    return await until(found, what=f"the call's row with {wanted}")


async def test_a_blind_transfer_to_a_colleague_leaves_the_carriers_party_with_the_colleague(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, far = await to_carrier(world, anna)
    refer(anna, near, "102")
    rung = await ben.expect(sip.RequestReceived)
    assert FAR_NUMBER in str(rung.request.from_.uri)
    ben.endpoint.respond(rung.tx, 180)
    dialog = accept(ben, rung)
    told, hears = Heard(anna), Heard(ben)
    await told.until(lambda heard: heard.is_over and heard.ended, "the transfer is done and anna's dialog over")
    assert (told.statuses[0], told.statuses[-1]) == (100, 200)
    await hears.until(lambda heard: heard.reinvites, "ben learns who is there")
    assert FAR_NUMBER in (hears.reinvites[0].headers.get("P-Asserted-Identity") or "")
    await settled(live)
    report = await world.gateway.link.client.bridge(live.id)
    assert [leg.leg for leg in report.legs] == [0, 1]
    world.gateway.calling.obey_directory()
    assert not live.is_ended
    ben.endpoint.bye(dialog)
    assert (await world.carrier.expect(sip.DialogEnded)).dialog == far
    await row_of(world, live, state="ended")
    rows = await world.rows("calls")
    assert len(rows) == 2
    other = next(row for row in rows if row["id"] != live.id)
    assert (other["transferred_to"], other["transferred_as"], other["end_reason"]) == (live.id, "blind", "transferred")
    assert other["leg_ended_at"] is not None
    recordings = await world.rows("recordings", "segment")
    assert [(row["call_id"], row["segment"], row["state"]) for row in recordings] == [(live.id, 0, "closed"), (live.id, 1, "closed")]
    assert recordings[1]["agent_id"] != recordings[0]["agent_id"]


async def test_an_attended_transfer_makes_one_call_of_two_and_both_carriers_parties_talk(world: World) -> None:
    anna = await world.peer("anna")
    first, near, far = await to_carrier(world, anna)
    second, consulted, other_far = await to_carrier(world, anna, "+493023125998")
    refer(anna, near, "+493023125998", replaces=consulted)
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over and len(heard.ended) == 2, "both of anna's dialogs are over")
    assert (told.statuses[0], told.statuses[-1]) == (100, 200)
    await settled(first)
    assert {dialog.call_id for dialog in first.dialogs.values()} == {far.call_id, other_far.call_id}
    assert [leg.leg for leg in (await world.gateway.link.client.bridge(first.id)).legs] == [0, 1]
    assert world.gateway.calling.table.on_trunk(first.route.trunk.id) == 2  # type: ignore[union-attr]
    await row_of(world, second, transferred_to=first.id, transferred_as="attended", end_reason="transferred", leg_ended_at=None)
    world.carrier.endpoint.bye(other_far)
    assert (await Heard(world.carrier).until(lambda heard: heard.ended, "the other one is told")) is None
    await row_of(world, first, state="ended", end_reason="bye-peer")
    ended = await row_of(world, second, state="ended")
    assert ended["leg_ended_at"] is not None
    recordings = await world.rows("recordings", "started_at")
    assert [(row["call_id"], row["segment"], row["state"]) for row in recordings] == [
        (first.id, 0, "closed"), (second.id, 0, "closed"), (first.id, 1, "closed"),
    ]  # fmt: skip


async def test_a_transfer_that_fails_leaves_the_party_with_who_asked_or_brings_it_back_when_that_one_hung_up(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "102", headers=(("Refer-Sub", "true"),))
    ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 486)
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over, "anna is told")
    assert told.statuses[-1] == 486
    assert not told.ended
    assert live.transfer is None

    await told.stop()
    refer(anna, near, "102")
    rung = await ben.expect(sip.RequestReceived)
    told = Heard(anna)
    await told.until(lambda heard: 100 in heard.statuses, "the transfer is under way")
    anna.endpoint.bye(near)
    await until(lambda: live.call.end(Side.CALLER) is None, what="the carrier's party waits")
    await told.stop()
    ben.endpoint.respond(rung.tx, 603)
    while not isinstance(event := await anna.expect(sip.Event), sip.RequestReceived):  # type: ignore[arg-type]
        assert isinstance(event, sip.Responded | sip.Notified)
    back, _anna = accept(anna, event), Heard(anna)
    await until(lambda: live.dialogs.get(Side.CALLER) is not None and live.call.end(Side.CALLER) is not None, what="they talk again")
    assert live.dialogs[Side.CALLER].call_id == back.call_id
    assert not live.is_ended
    await settled(live)

    async def said() -> bool:
        return "return" in [row["transferred_as"] for row in await world.rows("calls")]

    await until(said, what="the row of the way back says what it was")


REFUSED = {
    "<sip:102@169.254.169.254>": 403,
    "<sip:102@127.0.0.1:8443>": 403,
    "<http://127.0.0.1/>": 403,
    f"<sip:+79161234567@{HOST}>": 403,
    f"<sip:102@{HOST};method=BYE>": 400,
    f"<sip:+493023125998%0d%0aX:@{HOST}>": 484,
    f"<sip:+493023125998@{HOST}?Route=%3Csip:10.0.0.1%3E>x": 400,
    "<<<": 400,
}


async def test_nothing_leaves_for_a_refer_that_is_refused_and_the_call_goes_on(world: World) -> None:
    anna = await world.peer("anna")
    live, near, far = await to_carrier(world, anna)
    answers = {}
    for value in REFUSED:
        refer_raw(anna, near, value)
        answers[value] = await anna.expect(sip.Responded)
    assert {value: answer.status for value, answer in answers.items()} == REFUSED
    for answer in answers.values():
        assert answer.response is not None
        assert "text=" in (answer.response.headers.get("Reason") or "")
    # Of a carrier none is taken, whoever it names.
    world.carrier.endpoint.refer(far, parse_sip_uri(f"sip:102@{HOST}"))
    assert (await world.carrier.expect(sip.Responded)).status == 403
    assert live.transfer is None
    assert live.call.state is State.ACTIVE
    assert world.carrier.events.empty()

    async def noted() -> bool:
        return len([row for row in await world.rows("calls") if row["state"] == "refused"]) == 5

    await until(noted, what="rows of what the rules refused")


async def test_a_refer_is_judged_by_the_rules_of_its_moment_and_not_of_when_the_call_began(world: World) -> None:
    anna = await world.peer("anna")
    live, near, _ = await to_carrier(world, anna)
    async with world.owner.organisation(live.route.org.id) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = '{GB}'")

    def is_narrowed() -> bool:
        newest = world.gateway.directory.organisation(live.route.org.id)
        return newest is not None and newest.rules.countries == {"GB"}

    await until(is_narrowed, timeout_s=10, what="the gateway knows")
    refer(anna, near, "+493023125990")
    assert (await anna.expect(sip.Responded)).status == 403
    assert live.transfer is None
    assert world.carrier.events.empty()

    async def noted() -> bool:
        return "country" in [row["verdict_reason"] for row in await world.rows("calls") if row["state"] == "refused"]

    await until(noted, what="the row says why")


async def test_a_dialog_that_is_not_the_agents_own_is_never_replaced(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    other, bens, _ = await to_carrier(world, ben)
    for named in (bens, near._replace(call_id="guessed"), near._replace(remote_tag="guessed"), near):
        refer(anna, near, FAR_NUMBER, replaces=named)
        told = Heard(anna)
        await told.until(lambda heard: heard.is_over, "anna is told")
        assert told.statuses[-1] == 481
        await told.stop()
    assert live.call.state is other.call.state is State.ACTIVE
    assert live.transfer is None
    # And without the password of who is in the call there is no REFER at all.
    anna.credentials = Credentials("ben", "bens-password")
    refer(anna, near, "102")
    assert (await anna.expect(sip.Responded)).status == 403
    anna.credentials = None
    refer(anna, near, "102")
    assert (await anna.expect(sip.Responded)).status == 401
    assert ben.events.empty()


async def test_who_was_held_is_heard_again_and_a_pause_goes_on(world: World) -> None:
    anna = await world.peer("anna")
    live, near, _ = await to_carrier(world, anna)
    carrier = Heard(world.carrier)
    await hold(anna, near)
    await carrier.until(lambda heard: heard.reinvites, "the carrier's party is held")
    await settled(live)
    await carrier.stop()
    second, consulted, _ = await to_carrier(world, anna, "+493023125998")
    assert await world.gateway.calling.recorder.pause(second) == "ok"
    refer(anna, near, FAR_NUMBER, replaces=consulted)
    told, _carrier = Heard(anna), Heard(world.carrier)
    await told.until(lambda heard: len(heard.ended) == 2, "both of anna's dialogs are over")
    await settled(live)
    for side in Side:
        media = live.call.media(side)
        assert media is not None
        assert media.direction.sends
        assert media.direction.receives
    assert live.recording is not None
    assert live.recording.is_paused
    assert live.recording.segment == 1


async def test_whoever_objects_to_being_recorded_is_not_recorded_in_the_other_call_either(world: World) -> None:
    anna = await world.peer("anna")
    live, near, _ = await to_carrier(world, anna)
    _second, consulted, _ = await to_carrier(world, anna, "+493023125998")
    org = world.organisation
    index = org.keys.index("calls.remote", "+493023125998")
    world.gateway.directory._orgs[org.id] = replace(org, unrecorded=frozenset({index}))
    refer(anna, near, FAR_NUMBER, replaces=consulted)
    told = Heard(anna)
    await told.until(lambda heard: len(heard.ended) == 2, "both of anna's dialogs are over")
    await settled(live)
    assert live.recording is None


async def hold(phone: Peer, dialog: DialogKey) -> None:
    """A re-INVITE that holds."""
    assert phone.local is not None
    phone.local = replace(phone.local, version=phone.local.version + 1)
    phone.endpoint.reinvite(dialog, body=build_offer(phone.local, Srtp.REQUIRED, direction=Direction.SENDONLY))
    while not isinstance(await phone.expect(sip.Event), sip.Responded):  # type: ignore[arg-type]
        pass


async def test_who_is_transferred_to_a_colleague_goes_on_where_that_one_forwards_calls(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    await forward(world, "ben", busy="103")
    live, near, far = await to_carrier(world, anna)
    refer(anna, near, "102")
    ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 486)
    dialog = accept(sue, await sue.expect(sip.RequestReceived))
    told, _sue = Heard(anna), Heard(sue)
    await told.until(lambda heard: heard.is_over and heard.ended, "the transfer is done")
    assert told.statuses[-1] == 200
    await settled(live)
    party = live.party(Side.CALLER)
    assert party.agent is not None
    assert party.agent.username.reveal() == "sue"
    await _sue.stop()
    sue.endpoint.bye(dialog)
    assert (await world.carrier.expect(sip.DialogEnded)).dialog == far


async def test_a_colleague_may_forward_a_transferred_call_out_and_pays_for_that(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "ben", always="+493023125990")
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "102")
    out = await world.carrier.expect(sip.RequestReceived)
    assert "+493023125990" in out.request.uri
    world.carrier.accept(out, local=local_media(43000, keys=False))
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over and heard.ended, "the transfer is done")
    assert told.statuses[-1] == 200
    await settled(live)
    assert {agent.username.reveal() for agent in live.route.payers} == {"ben"}
    (ben,) = live.route.payers
    assert world.gateway.calling.table.out_for(ben.id) == 1, "of the ten that one agent's forwarding may let out"
    assert world.gateway.calling.table.on_trunk(live.route.trunk.id) == 2  # type: ignore[union-attr]
    world.gateway.calling.obey_directory()
    assert not live.is_ended


async def test_a_consultation_that_still_rings_is_transferred_to_once_it_is_answered(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, far = await to_carrier(world, anna)
    anna.invite("102")
    rung = await ben.expect(sip.RequestReceived)
    ben.endpoint.respond(rung.tx, 180)
    early = (await anna.expect(sip.Progress)).dialog
    assert early is not None
    refer(anna, near, "102", replaces=early)
    while 180 not in [parse_sipfrag(event.request.body) for event in [await anna.expect(sip.Event)] if isinstance(event, sip.Notified)]:  # type: ignore[arg-type]
        pass
    dialog = accept(ben, rung)
    _ben = Heard(ben)
    over = 0
    while over < 2:
        over += isinstance(await anna.expect(sip.Event), sip.DialogEnded)  # type: ignore[arg-type]
    await settled(live)
    assert {key.call_id for key in live.dialogs.values()} == {far.call_id, dialog.call_id}


async def test_a_refer_that_wants_no_subscription_gets_none_and_is_obeyed(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "102", headers=(("Refer-Sub", "false"),))
    accept(ben, await ben.expect(sip.RequestReceived))
    told, _ben = Heard(anna), Heard(ben)
    await told.until(lambda heard: heard.ended, "anna is out of the call")
    assert told.answers[0].response is not None
    assert told.answers[0].response.headers.get("Refer-Sub") == "false"
    assert told.statuses == []
    await settled(live)


async def test_whose_party_is_replaced_in_the_moment_in_which_it_goes_elsewhere_is_known_for_who_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anna lets her two calls become one, while who is in the second one transfers her away to a colleague."""
    anna, ben, sue = [await world.peer(name) for name in ("anna", "ben", "sue")]
    first, near, _ = await to_carrier(world, anna)
    anna.invite(f"sip:102@{HOST}")
    bens = accept(ben, await ben.expect(sip.RequestReceived))
    consulted = (await anna.expect(sip.Accepted)).dialog
    second = next(live for live in world.gateway.calling.live if live is not first)
    await until(lambda: second.call.state is State.ACTIVE, what="anna and ben talk")
    client, sues, heard = world.gateway.link.client, list[DialogKey](), list[Heard]()
    move_leg = client.move_leg

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        await move_leg(bridge, leg, to, to_leg)
        if (bridge, to_leg) == (first.id, SPARE):
            monkeypatch.setattr(client, "move_leg", move_leg)
            refer(ben, bens, "103")
            sues.append(accept(sue, await sue.expect(sip.RequestReceived)))
            heard.extend(Heard(phone) for phone in (anna, ben, sue, world.carrier))
            with suppress(AssertionError):
                await until(lambda: heard[1].ended, timeout_s=1, what="ben is out of it before anna is")

    monkeypatch.setattr(client, "move_leg", moving)
    refer(anna, near, "102", replaces=consulted)
    await until(lambda: second.is_ended and heard and heard[0].ended and (heard[1].ended or heard[2].ended), what="two are left")
    await settled(first)
    by_dialog = {bens.call_id: "ben", sues[0].call_id: "sue"}
    for side in Side:
        agent = first.party(side).agent
        assert (None if agent is None else agent.username.reveal()) == by_dialog.get(first.dialogs[side].call_id)
