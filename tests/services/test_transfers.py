"""Transfers by REFER: who takes a place, who is told what, and what no trick gets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushwire.sdp.offer_answer import Refusal, Srtp, answer_offer
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.refer import Replaces, parse_sipfrag, refer_to_line
from hushwire.sip.subscriptions import EventName
from hushwire.sip.uri import parse_sip_uri
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, HOST, Peer, World, local_media, need_program, running

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
    await until(lambda: not live.call._unmoved and live.call._moving is None and live.exchange is None, what="the parties were told")


async def row_of(world: World, live: LiveCall, **wanted: Any) -> Any:
    async def found() -> Any:
        rows = [row for row in await world.rows("calls") if row["id"] == live.id]
        return rows[0] if rows and all(rows[0][name] == value for name, value in wanted.items()) else None

    return await until(found, timeout_s=5, what=f"the call's row with {wanted}")


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
    await row_of(world, first, state="ended")
    ended = await row_of(world, second, state="ended")
    assert ended["leg_ended_at"] is not None
    recordings = await world.rows("recordings", "started_at")
    assert [(row["call_id"], row["segment"], row["state"]) for row in recordings] == [
        (first.id, 0, "closed"), (second.id, 0, "closed"), (first.id, 1, "closed"),
    ]  # fmt: skip
