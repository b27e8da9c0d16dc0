"""Why a call came to nothing or ended, told across the gateway as far as a peer's word may travel (RFC 3326)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, World, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as world:
        yield world


async def test_a_call_that_the_carrier_says_was_answered_elsewhere_is_missed_on_no_phone_and_in_no_row(world: World) -> None:
    phones = [await world.peer("anna"), await world.peer("anna")]
    invite = world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    for phone in phones:
        phone.endpoint.respond((await phone.expect(sip.RequestReceived)).tx, 180)
    await world.carrier.expect(sip.Progress)
    said = 'SIP;cause=200;text="her mobile, +442079460123"'
    world.carrier.endpoint.cancel(invite, headers=[("Reason", said)])
    for phone in phones:
        cancel = (await phone.expect(sip.CancelReceived)).request
        assert cancel.headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    await world.row("calls", state="ended", end_reason="answered-elsewhere")


async def test_the_networks_cause_of_a_refusal_and_of_the_end_of_a_call_reaches_the_agent_without_its_words(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 486, headers=[("Reason", 'Q.850;cause=17;text="with the doctor", X-Inner;cause=3')])
    rejected = await anna.expect(sip.Rejected)
    assert rejected.response is not None
    assert rejected.response.headers.get("Reason") == 'SIP;cause=486;text="Busy Here", Q.850;cause=17;text="User busy"'
    anna.invite(FAR_NUMBER)
    dialog, _ = world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    world.carrier.endpoint.bye(dialog, headers=[("Reason", 'Q.850;cause=16;text="+442079460123 hung up"')])
    ended = await anna.expect(sip.DialogEnded)
    assert ended.request.headers.get("Reason") == 'Q.850;cause=16;text="Normal call clearing"'
