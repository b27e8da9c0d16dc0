"""Who is seen calling, through a whole gateway: what carriers and phones are sent, and what rows keep."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.services.provisioning_specs import Desired
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, DOMAIN, FAR_NUMBER, World, need_program, running, specs, until_ended
from tests.services.test_diversion import forward

pytestmark = need_program
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as world:
        yield world


def with_trunk(world: World, **trunk: Any) -> Desired:
    desired = specs(world.carrier.local_port)
    return replace(desired, trunks=tuple(replace(one, **trunk) for one in desired.trunks))


def with_anna(world: World, **agent: Any) -> Desired:
    desired = specs(world.carrier.local_port)
    (org,) = desired.orgs
    anna, *others = org.agents
    return replace(desired, orgs=(replace(org, agents=(replace(anna, **agent), *others)),))


async def test_a_call_with_the_code_before_its_number_hides_the_agents_at_an_untrusted_carrier(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(f"*31{FAR_NUMBER}")
    request = (await world.carrier.expect(sip.RequestReceived)).request
    assert request.uri.startswith(f"sip:{FAR_NUMBER}@")
    assert str(request.from_).startswith(ANONYMOUS)
    assert request.headers.get("Privacy") == "id"
    said = request.to_bytes().decode()
    for leak in (ANNA_NUMBER, ANNA_NUMBER[1:], "anna", "acme", "*31"):
        assert leak not in said
    row = await world.row("calls", state="ringing")
    assert row["caller_hidden"]


async def test_an_agent_that_hides_is_asserted_to_a_trusted_carrier_and_shown_where_it_asks_or_needs_help(world: World) -> None:
    desired = with_anna(world, hides_identity=True)
    trunks = with_trunk(world, trusted=True).trunks
    await world.provisioning.apply(replace(desired, trunks=trunks))
    await until(lambda: world.organisation.by_username["anna"].hides_identity and world.gateway.directory.trunks[0].trusted)
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    request = (await world.carrier.expect(sip.RequestReceived)).request
    assert str(request.from_).startswith(ANONYMOUS)
    assert request.headers.get("P-Asserted-Identity") == f"<sip:{ANNA_NUMBER}@{DOMAIN}>"
    assert request.headers.get("Privacy") == "id"
    for dialled in (f"*82{FAR_NUMBER}", "*31112"):
        anna.invite(dialled)
        request = (await world.carrier.expect(sip.RequestReceived)).request
        assert request.from_.sip_uri.user == ANNA_NUMBER
        assert request.headers.get("Privacy") is None


async def test_a_caller_from_outside_who_hides_is_seen_by_no_phone_and_kept_in_no_row(world: World) -> None:
    await world.provisioning.apply(with_trunk(world, trusted=True))
    await until(lambda: world.gateway.directory.trunks[0].trusted, what="the trunk is trusted")
    anna = await world.peer("anna")
    world.carrier.user = "+4930111222333"
    headers = [("P-Asserted-Identity", f"<sip:{FAR_NUMBER}@carrier.example>"), ("Privacy", "id")]
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, headers=headers)
    event = await anna.expect(sip.RequestReceived)
    said = event.request.to_bytes().decode()
    assert str(event.request.from_).startswith(ANONYMOUS)
    for leak in (FAR_NUMBER[1:], "4930111222333", "carrier.example"):
        assert leak not in said
    anna.accept(event, srtp=Srtp.REQUIRED)
    await world.carrier.expect(sip.Accepted)
    row = await world.row("calls", state="active")
    assert row["caller_hidden"]
    assert (row["remote_sealed"], row["remote_index"]) == (None, None)
    assert row["device_id"] == row["agent_id"], "answered by the phone that has the agent's own password"


async def test_the_devices_of_both_colleagues_stand_on_the_calls_row(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    anna.invite("*31102")
    event = await ben.expect(sip.RequestReceived)
    assert str(event.request.from_).startswith(ANONYMOUS)
    assert "anna" not in event.request.to_bytes().decode()
    dialog, _ = ben.accept(event, srtp=Srtp.REQUIRED)
    await anna.expect(sip.Accepted)
    row = await world.row("calls", state="active")
    assert (row["device_id"], row["peer_device_id"]) == (row["agent_id"], row["peer_agent_id"])
    ben.endpoint.bye(dialog)
    await until_ended(anna)


@pytest.mark.parametrize(("trusted", "hides"), [(False, False), (True, False), (True, True)])
async def test_who_forwards_a_call_out_is_told_to_a_trusted_carrier_alone_and_hidden_where_it_hides(
    world: World, trusted: bool, hides: bool
) -> None:
    desired = replace(with_anna(world, hides_identity=hides), trunks=with_trunk(world, trusted=trusted).trunks)
    await world.provisioning.apply(desired)
    await until(
        lambda: world.organisation.by_username["anna"].hides_identity is hides and world.gateway.directory.trunks[0].trusted is trusted,
        timeout_s=5,
        what="the settings are known",
    )
    await forward(world, "anna", always="+4915112345678")
    world.carrier.user = FAR_NUMBER
    diverted = [("Diversion", "<sip:+4930999999@elsewhere.example>;reason=no-answer;counter=1")]
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, headers=diverted)
    await world.carrier.expect(sip.Progress)
    headers = (await world.carrier.expect(sip.RequestReceived)).request.headers
    by = "anonymous@anonymous.invalid" if hides else f"{ANNA_NUMBER}@{DOMAIN}"
    told = f"<sip:{by}>;reason=unconditional;counter=2;privacy={'full' if hides else 'off'}" if trusted else None
    assert headers.get("Diversion") == told
    assert (headers.get("History-Info") is not None) is trusted
    assert hides is False or ANNA_NUMBER[1:] not in (headers.get("History-Info") or "")


async def test_a_phone_is_told_who_forwarded_the_call_to_it_by_a_colleague_or_a_trusted_carrier(world: World) -> None:
    await world.provisioning.apply(with_trunk(world, trusted=True))
    await until(lambda: world.gateway.directory.trunks[0].trusted, what="the trunk is trusted")
    anna, ben = await world.peer("anna"), await world.peer("ben")
    world.carrier.user = FAR_NUMBER
    by_carrier = [("Diversion", '"The boss" <tel:+49-30-999999>;reason=time-of-day;x=secret')]
    invite = world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, headers=by_carrier)
    headers = (await anna.expect(sip.RequestReceived)).request.headers
    assert headers.get("Diversion") == f"<sip:+4930999999@{DOMAIN}>;reason=time-of-day;counter=1;privacy=off"
    world.carrier.endpoint.cancel(invite)
    await anna.expect(sip.CancelReceived)
    await forward(world, "anna", always="102")
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    request = (await ben.expect(sip.RequestReceived)).request
    assert request.headers.get("Diversion") == f"<sip:101@acme.{DOMAIN}>;reason=unconditional;counter=1;privacy=off"
    assert request.from_.sip_uri.user == FAR_NUMBER
