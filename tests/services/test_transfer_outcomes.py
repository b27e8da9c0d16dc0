"""What nobody thought of breaks a transfer off, wherever it is by then: it has an outcome, all are told, and nobody is left hanging.

What breaks here is our own, and no peer can bring it about: so it is put where it is to break.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hushwire.calls import events
from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.calls.transfer import SPARE
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from tests.databases import Databases
from tests.polling import until
from tests.services.running import HOST, World, need_program, running, until_ended
from tests.services.test_takeovers import named, ringing_at_ben
from tests.services.test_transfers import Heard, accept, refer, row_of, settled, to_carrier

pytestmark = need_program
OTHER_NUMBER = "+493023125998"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


def breaks_as_it_comes(world: World, monkeypatch: pytest.MonkeyPatch, *, also_back: bool = False) -> None:
    """The move of the leg that comes breaks; and that of the one that was put aside, back to its place."""
    client = world.gateway.link.client
    move_leg = client.move_leg

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        if to_leg != SPARE and (leg != SPARE or also_back):
            raise ZeroDivisionError
        await move_leg(bridge, leg, to, to_leg)

    monkeypatch.setattr(client, "move_leg", moving)


async def legs_of(world: World, live: LiveCall) -> list[int]:
    return [leg.leg for leg in (await world.gateway.link.client.bridge(live.id)).legs]


async def consulting(world: World, anna: Any) -> tuple[LiveCall, DialogKey, LiveCall, DialogKey]:
    """Two calls of anna's with the carrier, and her dialogs."""
    first, near, _ = await to_carrier(world, anna)
    second, consulted, _ = await to_carrier(world, anna, OTHER_NUMBER)
    return first, near, second, consulted


async def all_over(world: World, first: LiveCall, second: LiveCall, anna: Heard, why: str) -> None:
    """Both calls, for all who were in them, and nothing of them is left."""
    carrier = Heard(world.carrier)
    await carrier.until(lambda heard: len(heard.ended) == 2, "both of the carrier's parties are told")
    await anna.until(lambda heard: len(heard.ended) == 2, "both of anna's dialogs are over")
    await row_of(world, first, state="ended", end_reason="internal-error")
    row = await row_of(world, second, state="ended", end_reason=why)
    assert row["transferred_to"] == (first.id if why == "transferred" else None)
    await until(lambda: not world.gateway.calling.table.calls, what="both are closed")
    assert first.transfer is None
    assert not world.gateway.calling.table.by_dialog
    await until(lambda: not world.gateway.calling.journal._written, what="the journal has no more of them")
    await carrier.stop()


async def test_an_attended_transfer_that_breaks_off_leaves_both_calls_and_tells_who_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await world.peer("anna")
    first, near, second, consulted = await consulting(world, anna)
    breaks_as_it_comes(world, monkeypatch)
    refer(anna, near, OTHER_NUMBER, replaces=consulted)
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over, "anna is told")
    assert told.statuses == [100, 503]
    await until(lambda: first.transfer is None and not first.replacing.locked(), what="all is as it was")
    assert (first.call.state, second.call.state, told.ended) == (State.ACTIVE, State.ACTIVE, [])
    assert await legs_of(world, first) == await legs_of(world, second) == [0, 1]
    monkeypatch.undo()
    refer(anna, near, OTHER_NUMBER, replaces=consulted)
    await told.until(lambda heard: len(heard.ended) == 2, "she can ask once more")
    await settled(first)


async def test_who_was_rung_for_a_transfer_that_breaks_off_is_told_and_so_is_who_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    breaks_as_it_comes(world, monkeypatch)
    refer(anna, near, "102")
    accept(ben, await ben.expect(sip.RequestReceived))
    told, hears = Heard(anna), Heard(ben)
    await hears.until(lambda heard: heard.ended, "ben's call is over")
    assert "Internal error" in (hears.ended[0].request.headers.get("Reason") or "")
    await told.until(lambda heard: heard.is_over, "anna is told")
    assert told.statuses[-1] == 480
    assert (live.call.state, live.transfer, told.ended) == (State.ACTIVE, None, [])
    assert await legs_of(world, live) == [0, 1]


async def test_a_call_whose_pickup_breaks_off_waits_for_nobody_and_neither_does_who_came(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, ben, sue = [await world.peer(name) for name in ("anna", "ben", "sue")]
    live = await ringing_at_ben(world, anna, ben)
    replacing = world.gateway.calling.transfers._replacing
    note = replacing._note

    def noting(_live: LiveCall) -> None:
        monkeypatch.setattr(replacing, "_note", note)
        raise ZeroDivisionError

    monkeypatch.setattr(replacing, "_note", noting)
    sue.invite("**102")
    await ben.expect(sip.CancelReceived)
    await sue.expect(sip.Accepted)
    await until_ended(sue)
    assert (await anna.expect(sip.Rejected, timeout_s=10)).status == 480
    assert live.transfer is None


async def test_legs_that_nobody_can_say_the_place_of_end_their_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, desk = await world.peer("anna"), await world.peer()
    live, near, _ = await to_carrier(world, anna)
    breaks_as_it_comes(world, monkeypatch, also_back=True)
    desk.user, desk.credentials = "anna", anna.credentials
    desk.invite(f"sip:anna@{HOST}", headers=named(near))
    await desk.expect(sip.Accepted)
    for phone in (anna, desk):
        await until_ended(phone)
    await until_ended(world.carrier)
    await row_of(world, live, state="ended", end_reason="media-failed")


def breaks_in_handing_over(world: World, _first: LiveCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.gateway.calling._media.neighbours, "note", broken)


def breaks_in_telling(world: World, _first: LiveCall, monkeypatch: pytest.MonkeyPatch) -> None:
    notify = world.gateway.calling._endpoint.notify

    def notifying(subscription: Any, **given: Any) -> None:
        if given["is_final"]:
            raise ZeroDivisionError
        notify(subscription, **given)

    monkeypatch.setattr(world.gateway.calling._endpoint, "notify", notifying)


def breaks_in_the_machine(_world: World, first: LiveCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first.call, "_leave_exchange", broken)


@pytest.mark.parametrize(
    ("breaks", "statuses", "why"),
    [
        (breaks_in_handing_over, [100, 487], "internal-error"),
        (breaks_in_telling, [100], "internal-error"),
        (breaks_in_the_machine, [100, 200], "transferred"),  # that one has done its part
    ],
    ids=["handing-over", "telling", "the-machine"],
)
async def test_what_breaks_off_between_two_calls_ends_both_for_all_who_are_in_them(
    world: World, monkeypatch: pytest.MonkeyPatch, breaks: Callable[..., None], statuses: list[int], why: str
) -> None:
    """Their sound is moved, and perhaps it was said that it is done: nobody can be untold."""
    anna = await world.peer("anna")
    first, near, second, consulted = await consulting(world, anna)
    breaks(world, first, monkeypatch)
    refer(anna, near, OTHER_NUMBER, replaces=consulted)
    told = Heard(anna)
    await all_over(world, first, second, told, why)
    assert told.statuses == statuses


async def test_nobody_takes_a_place_who_was_parked_in_the_same_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was said that the transfer is done, and nobody was in the call."""
    anna = await world.peer("anna")
    first, near, second, consulted = await consulting(world, anna)
    client = world.gateway.link.client
    move_leg = client.move_leg

    async def moving(bridge: Any, leg: int, to: Any, to_leg: int) -> None:
        await move_leg(bridge, leg, to, to_leg)
        if (bridge, to_leg) == (first.id, SPARE):
            world.gateway.calling.feed(second, events.StoodAside(Side.CALLEE, False))

    monkeypatch.setattr(client, "move_leg", moving)
    refer(anna, near, OTHER_NUMBER, replaces=consulted)
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over, "anna is told")
    assert told.statuses == [100, 503]
    assert (first.call.state, second.call.state) == (State.ACTIVE, State.WAITING)
    assert await legs_of(world, first) == [0, 1]


@pytest.mark.parametrize("where", ["claiming", "saying"])
async def test_a_call_of_which_parking_breaks_off_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    anna = await world.peer("anna")
    live, near, _ = await to_carrier(world, anna)
    transfers = world.gateway.calling.transfers
    monkeypatch.setattr(*((transfers, "_claimed") if where == "claiming" else (transfers._words, "say")), broken)
    refer(anna, near, "*68")
    told = Heard(anna)
    await told.until(lambda heard: heard.ended and heard.answers and (heard.is_over or where == "claiming"), "anna is told")
    assert [one.status for one in told.answers] == [500 if where == "claiming" else 202]
    assert told.statuses == ([] if where == "claiming" else [100, 487])
    await until_ended(world.carrier)
    await row_of(world, live, state="ended", end_reason="internal-error")
    assert transfers.park.find(live.route.org.id, "1") is None


async def test_a_transfer_of_which_ringing_breaks_off_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, _ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    monkeypatch.setattr(world.gateway.calling._starts, "succeed", broken)
    refer(anna, near, "102")
    told = Heard(anna)
    await told.until(lambda heard: heard.ended and heard.is_over, "anna is told")
    assert told.statuses == [100, 487]
    await until_ended(world.carrier)
    await row_of(world, live, state="ended", end_reason="internal-error")
