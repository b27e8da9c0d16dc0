"""Re-INVITEs that meet one of the party's own: tried again after the time that RFC 3261 gives, through a whole gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Answered, Direction, Srtp, answer_offer, build_offer
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.services.running import FAR_NUMBER, World, local_media, need_program, running, until_ended

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, record="none") as made:
        yield made


async def test_a_hold_that_meets_the_carriers_own_request_gets_through_the_second_time(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    dialog, _ = world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    assert anna.local is not None
    hold = build_offer(anna.local, Srtp.REQUIRED, direction=Direction.SENDONLY)
    request = anna.endpoint.reinvite(accepted.dialog, body=hold)
    assert request is not None
    met = await world.carrier.expect(sip.InDialogRequest)
    assert b"a=sendonly" in met.request.body
    world.carrier.endpoint.respond(met.tx, 491)
    again = await world.carrier.expect(sip.InDialogRequest, timeout_s=10)
    assert again.request.body.splitlines()[6:] == met.request.body.splitlines()[6:]
    world.carrier.endpoint.respond(again.tx, 500, headers=[("Retry-After", "0")])
    third = await world.carrier.expect(sip.InDialogRequest)
    answer = answer_offer(third.request.body, local_media(41000, keys=False), Srtp.NEVER)
    assert isinstance(answer, Answered)
    world.carrier.endpoint.respond(third.tx, 200, body=answer.body)
    held = await anna.expect(sip.Responded)
    assert (held.request, held.status) == (request, 200)
    assert b"a=recvonly" in (held.response.body if held.response is not None else b"")
    world.carrier.endpoint.bye(dialog)
    await until_ended(anna)
