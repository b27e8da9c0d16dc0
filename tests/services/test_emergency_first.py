"""Who calls for help gets through though nothing else of theirs does: from a flooded source, suspended, on a full gateway; no stranger."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.services.emergencies import may_call_for_help
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.transport.limits import SourceLimiter
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, Peer, World, need_program, running
from tests.services.test_suspension import suspend

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def is_put_through(world: World, caller: Peer) -> None:
    caller.invite("112")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith("sip:112@")
    world.carrier.accept(incoming)
    await caller.expect(sip.Accepted)


async def test_a_suspended_agent_calls_for_help_and_nobody_else(world: World) -> None:
    anna = await world.peer("anna")
    await suspend(world, "anna")
    await until(lambda: world.organisation.by_username["anna"].is_suspended)
    anna.invite(FAR_NUMBER)
    assert (await anna.expect(sip.Rejected)).status == 403
    assert await anna.register("anna") == 403
    await is_put_through(world, anna)
    # Its suspension, seen once more while it talks, ends it no more than it began it.
    world.gateway.calling.obey_directory()
    await world.row("calls", state="active")


async def test_a_credential_that_asked_too_much_and_a_full_gateway_hold_up_no_call_for_help(world: World) -> None:
    anna = await world.peer("anna")
    world.gateway.guard.admits = lambda _credential: False  # type: ignore[method-assign]
    anna.invite(FAR_NUMBER)
    assert (await anna.expect(sip.Rejected)).status == 503
    world.gateway.calling.table.max_calls = 0
    await is_put_through(world, anna)


async def test_a_call_for_help_is_read_from_a_source_that_has_used_up_its_rate_and_still_has_to_prove_whose_it_is(world: World) -> None:
    anna, stranger = await world.peer("anna"), await world.peer("ben")
    stranger.user, stranger.credentials = "anna", Credentials("anna", "wrong")
    endpoint = world.gateway.endpoint
    endpoint._limiter = SourceLimiter(0.0, 0.5)
    for host in ("127.0.0.1", "192.0.2.7"):
        endpoint._limiter.admit(host, endpoint.now(), 0.5)
    assert not endpoint.admits_message("192.0.2.7", f"INVITE sip:{FAR_NUMBER}@x SIP/2.0".encode())
    admitted = [endpoint.admits_message("192.0.2.7", b"INVITE sip:112@x SIP/2.0") for _ in range(40)]
    assert 20 <= admitted.count(True) < 40, "a flood that says 112 is one"
    stranger.invite("112")
    assert (await stranger.expect(sip.Rejected)).status == 401
    anna.invite("112")
    # The carrier's own word would come from the same address, so this is as far as it gets here.
    assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith("sip:112@")


@pytest.mark.parametrize(
    ("target", "is_so"),
    [
        ("sip:112@voice.example.org", True),
        ("sip:0112@voice.example.org", True),
        ("tel:999", True),
        ("urn:service:sos.fire", True),
        ("urn:service:sos", True),
        ("sip:911", True),
        ("sip:000@x", False),
        ("sip:1121@x", False),
        ("sip:+112@x", False),
        ("urn:service:sosx", False),
        ("sip:anna@112", False),
    ],
)
def test_what_may_be_a_call_for_help_is_told_by_the_homes_of_those_who_are_here(target: str, is_so: bool) -> None:
    assert may_call_for_help(target, [("DE", "0"), ("GB", None)]) is is_so
