"""No call goes to a carrier that something of the customer's stands against; with a real gateway and a real carrier's port."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hushwire.core.ids import OrgId
from hushwire.services.agreement_provisioning import SubprocessorSpec
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import World, need_program, running, specs

pytestmark = need_program
CARRIER = SubprocessorSpec("far-carrier", "calls to the telephone network", "DE", ("content",), None)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, record="none") as made:
        await name_carrier(made)
        yield made


async def name_carrier(world: World) -> None:
    """The trunk becomes a sub-processor's, announced to a customer who was there before."""
    desired = specs(world.carrier.local_port, record="none")
    trunk = replace(desired.trunks[0], subprocessor=CARRIER.name)
    await world.provisioning.apply(replace(desired, trunks=(trunk,), subprocessors=(CARRIER,)))
    await until(lambda: world.gateway.directory.trunks[0].subprocessor == CARRIER.name, what="the gateway knows whose trunk it is")


async def stand(world: World, active_from: datetime) -> None:
    """The customer was told; it is free to be used from then on."""
    org = OrgId(world.organisation.id)
    async with world.owner.organisation(org) as connection:
        entry: UUID = await connection.fetchval("SELECT id FROM subprocessors")
        await connection.execute(
            "INSERT INTO subprocessor_standings (org_id, subprocessor_id, notified_at, active_from) VALUES ($1, $2, now(), $3)"
            " ON CONFLICT (org_id, subprocessor_id) DO UPDATE SET active_from = EXCLUDED.active_from",
            org,
            entry,
            active_from,
        )


async def refused(world: World, number: str = "03023125999") -> int:
    anna = await world.peer("anna")
    anna.invite(number)
    rejected = await anna.expect(sip.Rejected)
    assert world.carrier.events.empty()
    return rejected.status


async def test_a_carrier_that_the_customer_was_not_told_of_gets_no_call(world: World) -> None:
    assert await refused(world) == 503
    row = await world.row("calls", state="failed")
    assert row["trunk_id"] is None


async def test_an_emergency_call_goes_by_any_carrier(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite("112")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith("sip:112@")


async def test_before_its_day_it_gets_none_and_from_its_day_on_it_does(world: World) -> None:
    await stand(world, datetime.now(UTC) + timedelta(days=3))
    assert await refused(world) == 503
    await stand(world, datetime.now(UTC) - timedelta(seconds=1))
    await until(lambda: CARRIER.name in world.organisation.subprocessors, what="the gateway knows that its day has come")
    anna = await world.peer("anna")
    anna.invite("03023125999")
    await world.carrier.expect(sip.RequestReceived)


async def test_an_objection_bars_it_within_a_second_and_its_withdrawal_frees_it(world: World) -> None:
    await stand(world, datetime.now(UTC) - timedelta(seconds=1))
    await until(lambda: CARRIER.name in world.organisation.subprocessors, what="it is used")
    org, objection = OrgId(world.organisation.id), uuid4()
    async with world.owner.organisation(org) as connection:
        await connection.execute(
            "INSERT INTO objections (id, org_id, subprocessor_id, actor, grounds_sealed, objected_at, state)"
            " SELECT $1, $2, id, 'api-key:1', 's', now(), 'open' FROM subprocessors",
            objection,
            org,
        )
    await until(lambda: CARRIER.name not in world.organisation.subprocessors, timeout_s=2, what="the objection is known")
    assert await refused(world) == 503
    async with world.owner.organisation(org) as connection:
        await connection.execute("UPDATE objections SET state = 'withdrawn'")
    await until(lambda: CARRIER.name in world.organisation.subprocessors, timeout_s=2, what="it is used again")


async def test_an_organisation_that_is_made_later_agrees_to_the_list_as_it_stands(world: World) -> None:
    desired = specs(world.carrier.local_port, slug="bolt")
    org = replace(desired.orgs[0], agents=(), numbers=(), groups=())
    await world.provisioning.apply(replace(desired, trunks=(), orgs=(org,)))
    rows = await world.rows("subprocessor_standings", "org_id")
    assert len(rows) == 1
    assert rows[0]["org_id"] != world.gateway.directory.organisation_ids()[0] or rows[0]["active_from"] <= datetime.now(UTC)


async def test_when_the_agreement_has_ended_nobody_of_it_registers_or_calls(world: World) -> None:
    await stand(world, datetime.now(UTC) - timedelta(seconds=1))
    anna = await world.peer("anna")
    org = OrgId(world.organisation.id)
    async with world.owner.organisation(org) as connection:
        await connection.execute(
            "INSERT INTO terminations (org_id, id, requested_at, effective_at, actor) VALUES ($1, $2, now(), now(), 'api-key:1')",
            org,
            uuid4(),
        )
        await connection.execute("UPDATE terminations SET suspended_at = now()")
    await until(lambda: all(agent.is_suspended for agent in world.organisation.by_id.values()), what="it is known")
    anna.invite("03023125999")
    assert (await anna.expect(sip.Rejected)).status == 403
    late = await world.peer()
    assert await late.register("anna") == 403
