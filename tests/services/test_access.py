"""An agent asks by phone for what it was refused, an administrator gives it until a day, and its phone is told."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.ids import OrgId
from hushwire.policy.terms import terms_of, written_terms
from hushwire.services.access_requests import AccessRequests
from hushwire.sip import effects as sip
from hushwire.store.access_requests import AccessRow
from tests.databases import Databases
from tests.polling import until
from tests.services.running import Peer, World, need_program, running, until_ended

pytestmark = need_program
FRENCH = "+33145678901"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def refused(phone: Peer, number: str = FRENCH) -> int:
    phone.invite(number)
    return (await phone.expect(sip.Rejected)).status


async def asked(world: World, phone: Peer) -> AccessRow:
    phone.invite("*27")
    await phone.expect(sip.Accepted)
    await until_ended(phone)
    row = await world.row("access_requests", state="open")
    office = await administrators(world)
    found = await office.get(OrgId(world.organisation.id), row["id"])
    assert isinstance(found, AccessRow)
    return found


async def administrators(world: World) -> AccessRequests:
    return AccessRequests(await world.databases.connect("main", "api", max_size=1), SystemClock(), SystemRandom())


async def knows(world: World, version: int) -> None:
    await until(lambda: world.organisation.rules.version > version, what="the gateway knows of the decision")


async def told(phone: Peer) -> str:
    message = await phone.expect(sip.RequestReceived)
    assert message.request.method == "MESSAGE"
    phone.endpoint.respond(message.tx, 200)
    return message.request.body.decode()


async def test_what_was_asked_for_and_given_is_reached_by_this_agent_until_it_is_taken_back(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    assert await refused(anna) == 403
    request = await asked(world, anna)
    assert (request.countries, request.call_id) == (("FR",), (await world.rows("calls"))[0]["id"])
    office, org, version = await administrators(world), OrgId(world.organisation.id), world.organisation.rules.version
    end = datetime.now(UTC) + timedelta(days=1)
    assert isinstance(await office.approve(org, request.id, end, actor="api-key:x"), AccessRow)
    await knows(world, version)
    assert await told(anna) == f"You may call France (FR) until {end:%Y-%m-%d %H:%M} UTC."
    invite = anna.invite(FRENCH)
    await world.carrier.expect(sip.RequestReceived)
    anna.endpoint.cancel(invite)
    await world.carrier.expect(sip.CancelReceived)
    await anna.expect(sip.Rejected)
    assert await refused(ben) == 403
    version = world.organisation.rules.version
    assert isinstance(await office.revoke(org, request.id, actor="api-key:x"), AccessRow)
    await knows(world, version)
    assert await refused(anna) == 403
    kinds = {row["kind"] for row in await world.rows("outbox", "at")}
    assert {"access.requested", "access.decided"} <= kinds


async def test_a_permission_that_is_over_leaves_what_the_lists_say_on_terms(world: World) -> None:
    anna = await world.peer("anna")
    assert await refused(anna) == 403
    request = await asked(world, anna)
    org, version = OrgId(world.organisation.id), world.organisation.rules.version
    terms = written_terms(terms_of({"FR": {"windows": [{"days": [1, 2, 3, 4, 5, 6, 7], "from": "00:00", "to": "24:00"}]}}))
    async with (await world.databases.connect("main", "owner", max_size=1)).organisation(org) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = allowed_countries || '{FR}', terms = $1", terms)
    await knows(world, version)
    version = world.organisation.rules.version
    end = datetime.now(UTC) + timedelta(seconds=6)
    assert isinstance(await (await administrators(world)).approve(org, request.id, end, actor="api-key:x"), AccessRow)
    await knows(world, version)
    agent = next(iter(world.organisation.narrowed))
    assert dict(world.organisation.narrowed[agent].terms)["FR"].until == end
    await until(lambda: not world.organisation.narrowed, timeout_s=25, what="the gateway has the rules of now")
    anna.invite(FRENCH)
    await world.carrier.expect(sip.RequestReceived)


async def test_who_was_refused_nothing_has_nothing_to_ask_for_and_a_rejection_is_told(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite("*27")
    assert (await anna.expect(sip.Rejected)).status == 404
    # An Australian mobile may lie on Christmas Island or the Cocos Islands too: all three are asked for.
    assert await refused(anna, "+61491570156") == 403
    request = await asked(world, anna)
    assert request.countries == ("AU", "CC", "CX")
    await (await administrators(world)).reject(OrgId(world.organisation.id), request.id, actor="api-key:x")
    assert await told(anna) == "Access to Australia (AU), Cocos Islands (CC), Christmas Island (CX) was not given."
