"""Calls over several trunks through a whole gateway: which is tried when, and what the row says of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hushwire.sdp.offer_answer import Refusal, Srtp, answer_offer
from hushwire.services.trunk_health import Standing
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.services.carriers import Silent, carrier, provision, trunk_spec
from tests.services.running import FAR_NUMBER, Peer, World, local_media, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, record="none") as made:
        yield made


def attempts(row: Any) -> list[tuple[str, str]]:
    return [(one["trunk"], one["outcome"]) for one in json.loads(row["trunk_attempts"])]


async def trunk_ids(world: World) -> dict[str, Any]:
    return {row["name"]: row["id"] for row in await world.rows("trunks", order="name")}


async def test_a_silent_carrier_is_left_within_4_s_and_the_row_names_who_carried_the_call(world: World) -> None:
    with Silent() as silent:
        await provision(world, trunk_spec("first", silent), trunk_spec("second", world.carrier, priority=1), record="none")
        anna = await world.peer("anna")
        anna.invite(FAR_NUMBER)
        assert (await silent.hears()).startswith(b"INVITE ")
        incoming = await world.carrier.expect(sip.RequestReceived, timeout_s=10)
        dialog, _ = world.carrier.accept(incoming)
        accepted = await anna.expect(sip.Accepted)
        active = await world.row("calls", state="active")
        ids = await trunk_ids(world)
        assert active["trunk_id"] == ids["second"]
        anna.endpoint.bye(accepted.dialog)
        assert (await world.carrier.expect(sip.AckReceived)).dialog == dialog
        row = await world.row("calls", state="ended")
        assert row["trunk_id"] == ids["second"]
        assert attempts(row) == [("first", "silent"), ("second", "answered")]
        assert 3900 <= json.loads(row["trunk_attempts"])[0]["after_ms"] < 8000
        # And the next call does not wait for it.
        await world.carrier.expect(sip.DialogEnded)
        anna.invite(FAR_NUMBER)
        await world.carrier.expect(sip.RequestReceived, timeout_s=3)


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_a_carrier_that_fails_is_followed_by_the_next(world: World, status: int) -> None:
    failing = await carrier(world)
    await provision(world, trunk_spec("first", failing), trunk_spec("second", world.carrier, priority=1), record="none")
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    failing.endpoint.respond((await failing.expect(sip.RequestReceived)).tx, status)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 486)
    assert (await anna.expect(sip.Rejected)).status == 486
    row = await world.row("calls", state="ended", end_reason="busy")
    assert attempts(row) == [("first", str(status)), ("second", "486")]


async def test_what_a_carrier_decides_is_not_asked_of_another(world: World) -> None:
    deciding = await carrier(world)
    await provision(world, trunk_spec("first", deciding), trunk_spec("second", world.carrier, priority=1), record="none")
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    deciding.endpoint.respond((await deciding.expect(sip.RequestReceived)).tx, 404)
    assert (await anna.expect(sip.Rejected)).status == 404
    assert world.carrier.events.empty()


async def test_every_trunk_gets_the_number_as_it_takes_numbers_and_shows_the_number_that_it_may(world: World) -> None:
    first, second = await carrier(world), await carrier(world)
    await provision(
        world,
        trunk_spec("first", first, number_format="national", country="DE", caller_id="+493099999999"),
        trunk_spec("second", second, priority=1, number_format="e164", caller_id="anonymous"),
        trunk_spec("third", world.carrier, priority=2, codecs=("PCMA",)),
        record="none",
    )
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    seen = []
    for peer in (first, second, world.carrier):
        incoming = await peer.expect(sip.RequestReceived)
        seen.append((incoming.request.request_uri.user, incoming.request.from_.sip_uri.user))  # type: ignore[union-attr]
        if peer is world.carrier:
            assert b"RTP/AVP 8 101\r\n" in incoming.request.body
        peer.endpoint.respond(incoming.tx, 503)
    assert seen == [("0" + FAR_NUMBER[3:], "03099999999"), (FAR_NUMBER[1:], "anonymous"), (FAR_NUMBER, "+493023125000")]
    assert (await anna.expect(sip.Rejected)).status == 503
    await world.row("calls", state="failed", end_reason="trunk-failed")


async def test_a_trunk_without_a_free_channel_is_passed_over_and_refuses_calls_from_the_network(world: World) -> None:
    narrow = await carrier(world)
    await provision(world, trunk_spec("narrow", narrow, channels=1), trunk_spec("wide", world.carrier, priority=1), record="none")
    anna, ben = await world.peer("anna"), await world.peer("ben")
    anna.invite(FAR_NUMBER)
    narrow.accept(await narrow.expect(sip.RequestReceived))
    accepted = await anna.expect(sip.Accepted)
    await narrow.expect(sip.AckReceived)
    ben.invite(FAR_NUMBER)
    world.carrier.endpoint.respond((await world.carrier.expect(sip.RequestReceived)).tx, 486)
    assert (await ben.expect(sip.Rejected)).status == 486
    narrow.user = FAR_NUMBER
    narrow.invite(f"sip:+493023125000@127.0.0.1:{world.port}")
    refused = await narrow.expect(sip.Rejected)
    assert refused.status == 503
    assert refused.response is not None
    assert "no free channel" in (refused.response.headers.get("Reason") or "")
    anna.endpoint.bye(accepted.dialog)
    await narrow.expect(sip.DialogEnded)


async def test_an_emergency_call_goes_over_trunks_that_are_full(world: World) -> None:
    one, two = await carrier(world), await carrier(world)
    await provision(world, trunk_spec("one", one, channels=1), trunk_spec("two", two, priority=1, channels=1), record="none")
    anna, ben, far = await world.peer("anna"), await world.peer("ben"), await world.peer("ben")
    for phone, full in ((anna, one), (far, two)):
        phone.invite(FAR_NUMBER)
        full.accept(await full.expect(sip.RequestReceived))
        await phone.expect(sip.Accepted)
        await full.expect(sip.AckReceived)
    ben.invite(FAR_NUMBER)
    assert (await ben.expect(sip.Rejected)).status == 503
    ben.invite("112")
    urgent = await one.expect(sip.RequestReceived)
    one.endpoint.respond(urgent.tx, 500)
    urgent = await two.expect(sip.RequestReceived)
    assert urgent.request.request_uri.user == "112"  # type: ignore[union-attr]
    two.accept(urgent)
    await ben.expect(sip.Accepted)


async def test_a_carrier_carries_only_numbers_of_its_prefixes(world: World) -> None:
    abroad = await carrier(world)
    await provision(world, trunk_spec("abroad", abroad, prefixes=("+44",)), trunk_spec("home", world.carrier, priority=1), record="none")
    anna = await world.peer("anna")
    for number, reached in ((FAR_NUMBER, world.carrier), ("+442079460123", abroad)):
        anna.invite(number)
        reached.endpoint.respond((await reached.expect(sip.RequestReceived)).tx, 486)
        await anna.expect(sip.Rejected)
    assert abroad.events.empty()


async def test_an_overloaded_carrier_is_left_alone_as_long_as_it_asks(world: World) -> None:
    await provision(world, trunk_spec("only", world.carrier), record="none")
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 503, headers=[("Retry-After", "120")])
    assert (await anna.expect(sip.Rejected)).status == 503
    (trunk,) = world.gateway.directory.trunks
    assert world.gateway.trunks.states.standing(trunk) is Standing.RESTING
    # It is all that there is: an honest try is better than none.
    anna.invite(FAR_NUMBER)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await anna.expect(sip.Accepted)
    assert world.gateway.trunks.states.standing(trunk) is Standing.UP


def early_answer(incoming: sip.RequestReceived) -> bytes:
    outcome = answer_offer(incoming.request.body, local_media(41000, keys=False), Srtp.NEVER)
    assert not isinstance(outcome, Refusal)
    return outcome.body


@pytest.mark.parametrize(
    ("said", "status", "early_media"), [(None, 183, True), ("sendonly", 183, True), ("inactive", 180, True), (None, 180, False)]
)
async def test_early_media_is_heard_as_the_carrier_says_and_the_trunk_allows(
    world: World, said: str | None, status: int, early_media: bool
) -> None:
    await provision(world, trunk_spec("only", world.carrier, early_media=early_media), record="none")
    anna: Peer = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert (incoming.request.headers.get("P-Early-Media") == "supported") is early_media
    headers = [("P-Early-Media", said)] if said else []
    world.carrier.endpoint.respond(incoming.tx, 183, headers=headers, body=early_answer(incoming))
    progress = await anna.expect(sip.Progress)
    assert progress.response.status == status
    assert bool(progress.response.body) is (status == 183)
    world.carrier.accept(incoming)
    await anna.expect(sip.Accepted)
