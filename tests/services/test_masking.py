"""Masked calls through a whole gateway: two people outside who reach each other by a proxy number and never see each other's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.masking import Masking, SessionView
from hushwire.services.provisioning_specs import NumberSpec
from hushwire.sip import effects as sip
from hushwire.sip import refusals
from hushwire.sip.headers import Line
from hushwire.store import erasable, masking
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, ROOT, Peer, World, need_program, running, specs, until_ended
from tests.services.test_diversion import forward
from tests.services.test_transfers import refer

pytestmark = need_program
PROXY, SECOND_PROXY = "+493023125900", "+493023125901"
RIDER, DRIVER = "+4915112345678", "+442079460123"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as world:
        await give_proxies(world)
        yield world


async def give_proxies(world: World) -> None:
    """The organisation gets a pool of proxy numbers."""
    desired = specs(world.carrier.local_port)
    (org,) = desired.orgs
    pool = (NumberSpec(PROXY, None, masks=True), NumberSpec(SECOND_PROXY, None, masks=True))
    await world.provisioning.apply(replace(desired, orgs=(replace(org, numbers=(*org.numbers, *pool)),)))
    proxy = await until(lambda: world.gateway.directory.find_number(PROXY), what="the proxy number is known")
    assert proxy.masks


async def session(world: World, *parties: str, expires_in_s: int = 600) -> SessionView:
    """A session that the gateway knows."""
    keyring = Keyring(await world.databases.connect("keyring", "api"), ROOT.role_keys(opener=True, buckets=world.folder / "buckets"))
    service = Masking(await world.databases.connect("main", "api"), keyring, SystemClock(), SystemRandom())
    org = world.organisation
    one, other = parties
    made = await service.begin(org.id, org.by_username["anna"].id, (one, other), expires_in_s, actor="test")
    assert isinstance(made, SessionView), made
    directory = world.gateway.directory
    proxy = directory.find_number(made.number)
    assert proxy is not None
    await until(lambda: directory.masked(proxy, one), what="the gateway knows the session")
    return made


def call(world: World, caller: str, number: str, *headers: Line) -> Any:
    world.carrier.user = caller
    return world.carrier.invite(f"sip:{number}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, headers=headers)


async def answered(carrier: Peer) -> tuple[sip.RequestReceived, str, str]:
    """The carrier takes the call that comes back to it: the INVITE, and all that the called and the calling party are sent."""
    incoming = await carrier.expect(sip.RequestReceived)
    carrier.accept(incoming)
    called, calling = incoming.request.to_bytes().decode(), ""
    for _ in range(2):
        event = await carrier.events.get()
        assert isinstance(event, sip.Accepted | sip.AckReceived), event
        if isinstance(event, sip.Accepted):
            calling += event.response.to_bytes().decode()
        else:
            called += event.request.to_bytes().decode()
    assert calling
    return incoming, called, calling


@pytest.mark.parametrize(("caller", "callee"), [(RIDER, DRIVER), (DRIVER, RIDER)])
async def test_either_party_reaches_the_other_by_the_proxy_number_and_neither_number_is_seen_or_kept(
    world: World, caller: str, callee: str
) -> None:
    made = await session(world, RIDER, DRIVER)
    assert made.number in (PROXY, SECOND_PROXY)
    call(world, caller, made.number)
    incoming, to_callee, to_caller = await answered(world.carrier)
    assert incoming.request.uri.startswith(f"sip:{callee}@")
    assert incoming.request.from_.sip_uri.user == made.number
    assert caller[1:] not in to_callee
    assert callee[1:] not in to_caller
    row = await world.row("calls", state="active")
    assert (row["masking_session_id"], row["direction"], row["verdict"]) == (made.id, "inbound", "allow")
    assert (row["remote_sealed"], row["diverted_to_sealed"], row["diversions"]) == (None, None, None)
    keys = world.organisation.keys
    assert (row["remote_index"], row["diverted_to_index"]) == (keys.index("calls.remote", caller), keys.index("calls.remote", callee))


async def test_who_is_no_party_or_comes_too_late_reaches_nobody(world: World) -> None:
    made = await session(world, RIDER, DRIVER)
    call(world, "+4915199999999", made.number)
    assert (await world.carrier.expect(sip.Rejected)).status == 404
    async with world.owner.organisation(world.organisation.id) as connection:
        keys = world.organisation.keys
        await erasable.forget_indexes(connection, [keys.index("calls.remote", DRIVER)])
        assert await masking.parties(connection) == []
    proxy = world.gateway.directory.find_number(made.number)
    assert proxy is not None
    await until(lambda: world.gateway.directory.masked(proxy, RIDER) is None, what="the gateway forgot the session")
    call(world, RIDER, made.number)
    assert (await world.carrier.expect(sip.Rejected)).status == 404

    async def are_written() -> bool:
        return len(await world.rows("calls")) == 2

    await until(are_written, timeout_s=10, what="both calls' rows")
    assert {row["remote_sealed"] for row in await world.rows("calls")} == {None}


async def test_a_destination_that_the_agent_may_not_call_is_refused_without_a_word_of_it_to_the_caller(world: World) -> None:
    made = await session(world, RIDER, "+390612345678")
    call(world, RIDER, made.number)
    rejected = await world.carrier.expect(sip.Rejected)
    assert rejected.status == 403
    assert rejected.response is not None
    assert rejected.response.headers.get("Reason") == 'SIP;cause=403;text="The masked call is not allowed"'
    row = await world.row("calls", state="refused")
    assert (row["verdict_reason"], row["country"], row["remote_sealed"]) == ("country", "IT", None)


async def test_an_agent_who_is_a_party_rings_for_the_proxy_number_and_calls_back_by_it(world: World) -> None:
    made = await session(world, ANNA_NUMBER, DRIVER)
    anna = await world.peer("anna")
    call(world, DRIVER, made.number)
    event = await anna.expect(sip.RequestReceived)
    said = event.request.to_bytes().decode()
    assert event.request.from_.sip_uri.user == made.number
    assert DRIVER[1:] not in said
    dialog, _ = anna.accept(event, srtp=Srtp.REQUIRED)
    await world.carrier.expect(sip.Accepted)
    anna.endpoint.bye(dialog)
    await until_ended(world.carrier)
    anna.invite(made.number)
    outgoing = await world.carrier.expect(sip.RequestReceived)
    assert outgoing.request.uri.startswith(f"sip:{DRIVER}@")
    assert outgoing.request.from_.sip_uri.user == made.number
    assert ANNA_NUMBER[1:] not in outgoing.request.to_bytes().decode()


async def test_a_colleague_who_is_given_a_masked_call_sees_the_proxy_number_and_no_more(world: World) -> None:
    made = await session(world, ANNA_NUMBER, DRIVER)
    anna, ben = await world.peer("anna"), await world.peer("ben")
    anna.invite(made.number)
    outgoing = await world.carrier.expect(sip.RequestReceived)
    world.carrier.accept(outgoing)
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    refer(anna, accepted.dialog, "102")
    event = await ben.expect(sip.RequestReceived)
    assert DRIVER[1:] not in event.request.to_bytes().decode()
    assert event.request.from_.sip_uri.user == made.number


async def test_a_session_has_two_calls_at_once_whoever_makes_them_so_that_a_forged_number_costs_no_more(world: World) -> None:
    made = await session(world, ANNA_NUMBER, DRIVER)
    anna = await world.peer("anna")
    invites = [call(world, DRIVER, made.number) for _ in range(2)]
    for _ in invites:
        await anna.expect(sip.RequestReceived)
    call(world, DRIVER, made.number)
    refused = await world.carrier.expect(sip.Rejected)
    assert refused.status == 486
    assert refused.response is not None
    assert refused.response.headers.get("Reason") == refusals.header("mask-full")
    anna.invite(made.number)
    assert (await anna.expect(sip.Rejected)).status == 486
    world.carrier.endpoint.cancel(invites[0])
    assert (await world.carrier.expect(sip.Rejected)).status == 487
    await anna.expect(sip.CancelReceived)
    anna.invite(made.number)
    await world.carrier.expect(sip.RequestReceived)


async def test_a_call_that_carriers_diverted_too_often_is_not_masked_once_more(world: World) -> None:
    made = await session(world, RIDER, DRIVER)
    call(world, RIDER, made.number, ("Diversion", "<sip:anonymous@anonymous.invalid>;reason=unknown;counter=5"))
    assert (await world.carrier.expect(sip.Rejected)).status == 483
    await world.row("calls", end_reason="too-many-diversions")


async def test_an_agent_who_does_not_want_to_be_disturbed_is_not_rung_by_a_masked_call_either(world: World) -> None:
    made = await session(world, ANNA_NUMBER, DRIVER)
    await world.peer("anna")
    await forward(world, "anna", do_not_disturb=True)
    call(world, DRIVER, made.number)
    assert (await world.carrier.expect(sip.Rejected)).status == 480
