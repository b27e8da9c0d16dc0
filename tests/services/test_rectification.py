"""A corrected caller id and extension are what gateways call with, within a second."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.app.sources import SystemClock
from hushwire.services.agents import Agents
from hushwire.sip import effects as sip
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, ROOT, World, need_program, running

pytestmark = need_program
CORRECTED = "+493023125042"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def test_a_corrected_caller_id_and_extension_are_called_with_within_a_second(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    agent = world.organisation.by_username["anna"]
    assert agent.caller_id is not None
    assert agent.caller_id.reveal() == ANNA_NUMBER
    keyring = Keyring(await world.databases.connect("keyring", "api", max_size=1), ROOT.role_keys(opener=False))
    service = Agents(await world.databases.connect("main", "api", max_size=1), keyring, SystemClock())
    async with asyncio.timeout(1.0):
        assert await service.rectify(agent.org_id, agent.id, actor="api-key:test", caller_id=CORRECTED, extension="303") is True
        await until(lambda: "303" in world.organisation.by_extension)
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.from_.sip_uri.user == CORRECTED
    assert ANNA_NUMBER not in str(incoming.request.headers)
    ben.invite("101")
    assert (await ben.expect(sip.Rejected)).status in (403, 404, 484)
    ben.invite("303")
    await anna.expect(sip.RequestReceived)
