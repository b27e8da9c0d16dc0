"""Do-not-call and recording consent through a whole gateway: what is refused never reaches the carrier."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hushwire.app.sources import SystemClock
from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import OwnHosts
from hushwire.services.carriage import Inbound
from hushwire.services.do_not_call import Changed, DoNotCall, NoNumbers
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.verdicts import INDEX
from hushwire.services.voice_security import VoiceSecurity
from hushwire.sip import effects as sip
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.recorded import Chance, House
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, NODE, ROOT, World, need_program, running, specs

pytestmark = need_program
NATIONAL = "030 23125999"
BRITISH = "+442079460123"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def change(world: World, *, telemarketing: bool = False, **org: Any) -> None:
    """As `apply` does it; returns once the gateway knows."""
    before = world.organisation.rules.version
    desired = specs(world.carrier.local_port, **org)
    spec = desired.orgs[0]
    anna = replace(spec.agents[0], telemarketing=telemarketing)
    await world.provisioning.apply(replace(desired, orgs=(replace(spec, agents=(anna, *spec.agents[1:])),)))
    await until(lambda: world.organisation.rules.version > before)


async def listing(world: World) -> DoNotCall:
    main = await world.databases.connect("main", "api", max_size=1)
    keyring = Keyring(await world.databases.connect("keyring", "api", max_size=1), ROOT.role_keys(opener=False))
    return DoNotCall(main, keyring, SystemClock())


async def listed(world: World, number: str = FAR_NUMBER) -> DoNotCall:
    service = await listing(world)
    assert isinstance(await service.add(OrgId(world.organisation.id), [number], actor="api-key:x"), Changed)
    index = world.organisation.keys.index(INDEX, number)
    await until(lambda: index in world.organisation.do_not_call)
    return service


async def refusal(world: World, dialled: str = FAR_NUMBER) -> sip.Rejected:
    anna = await world.peer("anna")
    anna.invite(dialled)
    rejected = await anna.expect(sip.Rejected)
    assert world.carrier.events.empty()
    return rejected


async def rings(world: World, user: str, dialled: str = FAR_NUMBER) -> None:
    peer = await world.peer(user)
    invite = peer.invite(dialled)
    await world.carrier.expect(sip.RequestReceived)
    peer.endpoint.cancel(invite)
    await world.carrier.expect(sip.CancelReceived)
    await peer.expect(sip.Rejected)


@pytest.mark.parametrize("dialled", [FAR_NUMBER, "03023125999", "004930 23125999".replace(" ", "")])
async def test_a_telemarketing_agents_call_to_a_listed_number_is_refused_with_its_reason_however_it_is_dialled(
    world: World, dialled: str
) -> None:
    await change(world, telemarketing=True)
    await listed(world)
    rejected = await refusal(world, dialled)
    assert rejected.status == 403
    assert rejected.response is not None
    assert rejected.response.headers.get("Reason") == (
        'SIP;cause=403;text="The number is on the do-not-call list, and the agent does telemarketing"'
    )
    row = await world.row("calls", state="refused", verdict="deny", verdict_reason="do-not-call")
    assert row["country"] == "DE"


async def test_other_agents_and_other_numbers_are_called_and_who_is_taken_off_the_list_too(world: World) -> None:
    await change(world, telemarketing=True)
    service = await listed(world)
    await rings(world, "ben")
    await rings(world, "anna", "03023125998")
    await service.remove(OrgId(world.organisation.id), [NATIONAL], actor="api-key:x")
    await until(lambda: not world.organisation.do_not_call)
    await rings(world, "anna")


async def test_who_said_stop_by_text_is_not_called_by_telemarketing_either_until_they_say_start(world: World) -> None:
    await change(world, telemarketing=True)
    house = House(world.databases, ROOT, world.folder, OrgId(world.organisation.id), NODE)
    main, keyring = await house.main("worker"), await house.keyring("worker")
    inbox = MessageInbox(main, keyring, VoiceSecurity(main, keyring, house.clock, lambda _: OwnHosts()), house.clock, Chance())

    async def texts(word: str) -> None:
        parties = Personal(NATIONAL.replace(" ", "")), Personal(ANNA_NUMBER)
        assert await inbox.receive(uuid4(), [Inbound(*parties, Personal(word.encode()), 0, False, None, house.clock.now())]) == {0}

    await texts("Stop")
    await until(lambda: world.organisation.do_not_call)
    assert (await refusal(world)).status == 403
    await rings(world, "ben")
    await texts("Start")
    await until(lambda: not world.organisation.do_not_call)
    await rings(world, "anna")


async def test_an_emergency_call_goes_out_whatever_is_listed_and_declared(world: World) -> None:
    await change(world, telemarketing=True, recording_consent="none")
    service = await listed(world)
    await service.add(OrgId(world.organisation.id), ["+49112"], actor="api-key:x")
    await rings(world, "anna", "112")


async def test_a_list_with_a_line_that_is_no_number_changes_nothing(world: World) -> None:
    service, org = await listing(world), OrgId(world.organisation.id)
    assert await service.add(org, [FAR_NUMBER, "x", "", "+1\0"], actor="a") == NoNumbers((1, 2, 3))
    assert (await service.size(org)).count == 0
    assert await service.add(org, [FAR_NUMBER, NATIONAL], actor="a") == Changed(1, 1)
    assert await service.add(org, [FAR_NUMBER], actor="a") == Changed(0, 1)
    assert await service.is_listed(org, NATIONAL) is True
    assert await service.is_listed(org, "x") is None


async def test_where_no_consent_is_declared_a_call_that_all_parties_must_agree_to_record_is_refused(world: World) -> None:
    await change(world, recording_consent="none")
    rejected = await refusal(world)
    assert rejected.status == 403
    await world.row("calls", state="refused", verdict_reason="recording-consent")


async def test_where_calls_may_go_unrecorded_it_is_made_so_and_nothing_is_recorded_on_demand_either(world: World) -> None:
    await change(world, recording_consent="none", without_recording="unrecorded")
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    accepted = await anna.expect(sip.Accepted)
    await world.row("calls", state="active")
    live = next(iter(world.gateway.calling.live))
    assert "declares no consent" in await world.gateway.calling.recorder.start(live)
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended", recording_id=None)
    assert await world.rows("recordings") == []


@pytest.mark.parametrize(("declared", "basis"), [("contract", "contract"), ("announced", "consent")])
async def test_what_is_declared_is_the_lawful_basis_of_the_recording(world: World, declared: str, basis: str) -> None:
    if declared != "contract":
        await change(world, recording_consent=declared)
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await anna.expect(sip.Accepted)
    await world.row("recordings", lawful_basis=basis)


async def test_a_declaration_that_is_withdrawn_ends_the_recording_of_a_call_under_way(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await anna.expect(sip.Accepted)
    await world.row("recordings", state="live")
    await change(world, recording_consent="none")
    await world.row("recordings", state="closed")
    await world.row("calls", state="active")
