"""Rules changed on three whole gateways of one database: the next call obeys within a second, and so do live calls where that is wished."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from uuid import UUID

import pytest

from hushwire.app.gateway import Gateway
from hushwire.app.sources import SystemClock
from hushwire.core.ids import NodeId
from hushwire.policy.model import OwnHosts
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.rule_changes import Change, Saved
from hushwire.services.voice_security import VoiceSecurity
from hushwire.sip import effects as sip
from hushwire.sip.flow import Transport
from hushwire.store.rules import RulesRow
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.services.running import (
    ANNA_NUMBER,
    FAR_NUMBER,
    ROOT,
    MediaProgram,
    Peer,
    World,
    facts,
    need_program,
    running,
    start_gateway,
    until_ended,
)

pytestmark = need_program
BRITISH = "+442079460123"
GERMAN_AND_BRITISH, GERMAN_ONLY, BRITISH_ONLY = frozenset({"DE", "GB"}), frozenset({"DE"}), frozenset({"GB"})


class Cluster:
    """Three gateways, and the administrator of their one database."""

    def __init__(self, world: World, gateways: list[Gateway], office: VoiceSecurity) -> None:
        self.world, self.gateways, self.office = world, gateways, office

    async def change(self, countries: frozenset[str], *, applies_to_live: bool = False) -> RulesRow:
        change = Change(allowed_countries=countries, applies_to_live=applies_to_live)
        saved = await self.office.change(self.world.organisation.id, change, actor="api-key:x")
        assert isinstance(saved, Saved)
        return saved.rules

    async def phone(self, gateway: Gateway, user: str = "anna") -> Peer:
        phone = await Peer.open(gateway.endpoint.addresses[Transport.UDP].port)
        self.world.peers.append(phone)
        assert await phone.register(user) == 200
        return phone

    async def know(self, version: int) -> float:
        """Seconds until the last of them knows the rules, from now."""
        started = time.monotonic()

        def newest() -> bool:
            known = [gateway.directory.default_organisation for gateway in self.gateways]
            return all(org is not None and org.rules.version >= version for org in known)

        await until(newest, timeout_s=10, what="every gateway knows the rules")
        return time.monotonic() - started

    async def call(self, phone: Peer, number: str) -> None:
        """A call that is answered."""
        carrier = self.world.carrier
        phone.invite(number)
        carrier.accept(await carrier.expect(sip.RequestReceived))
        await phone.expect(sip.Accepted)
        await carrier.expect(sip.AckReceived)


@pytest.fixture
async def cluster(databases: Databases, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        folder = tmp_path / "a"
        folder.mkdir()
        world = await stack.enter_async_context(running(databases, folder))
        gateways = [world.gateway]
        for position, name in enumerate("bc"):
            (tmp_path / name).mkdir()
            media = MediaProgram(tmp_path / name)
            await media.start()
            stack.push_async_callback(media.stop)
            gateway, wired, task = await start_gateway(databases, tmp_path / name, NodeId(UUID(int=8 + position)))
            stack.push_async_callback(asyncio.wait_for, task, 20)
            stack.callback(wired.stop.set)
            gateways.append(gateway)
        main = await databases.connect("main", "api", max_size=2)
        keyring = Keyring(await databases.connect("keyring", "api", max_size=2), ROOT.role_keys(opener=False))
        yield Cluster(world, gateways, VoiceSecurity(main, keyring, SystemClock(), lambda _slug: OwnHosts()))


async def test_the_next_call_on_each_of_three_gateways_obeys_a_change_within_a_second(cluster: Cluster) -> None:
    phones = [await cluster.phone(gateway, user) for gateway, user in zip(cluster.gateways, ("anna", "ben", "sue"), strict=True)]
    took = []
    for _ in range(3):
        took.append(await cluster.know((await cluster.change(BRITISH_ONLY)).version))
        for phone in phones:
            phone.invite(FAR_NUMBER)
        for phone in phones:
            assert (await phone.expect(sip.Rejected)).status == 403
        assert cluster.world.carrier.events.empty()
        took.append(await cluster.know((await cluster.change(GERMAN_AND_BRITISH)).version))
        for phone in phones:
            invite = phone.invite(FAR_NUMBER)
            await cluster.world.carrier.expect(sip.RequestReceived)
            phone.endpoint.cancel(invite)
            await cluster.world.carrier.expect(sip.CancelReceived)
            await phone.expect(sip.Rejected)
    # Of six changes the usual one: a machine that is busy with other things may take its time once.
    assert median(took) < 1.0


async def test_a_change_that_is_to_hold_for_live_calls_ends_those_that_are_not_allowed_any_more_on_every_gateway(cluster: Cluster) -> None:
    world = cluster.world
    german = [await cluster.phone(gateway, user) for gateway, user in zip(cluster.gateways, ("anna", "ben", "sue"), strict=True)]
    british = await cluster.phone(cluster.gateways[1], "ben")
    for phone in german:
        await cluster.call(phone, FAR_NUMBER)
    await cluster.call(british, BRITISH)
    # Who called us is nobody whom we called: where they are is not the list's business.
    world.carrier.gateway_port = world.port
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    german[0].accept(await german[0].expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
    await german[0].expect(sip.AckReceived)
    await world.carrier.expect(sip.Accepted)

    await cluster.know((await cluster.change(BRITISH_ONLY)).version)
    assert sum(len(list(gateway.calling.live)) for gateway in cluster.gateways) == 5, "a change alone ends nothing"
    await cluster.change(BRITISH_ONLY, applies_to_live=True)
    for phone in german:
        ended = await until_ended(phone)
        assert ended is not None
    for _ in german:
        await until_ended(world.carrier)

    async def settled() -> bool:
        rows = await world.rows("calls", "started_at")
        return [row["end_reason"] for row in rows] == ["rules-changed"] * 3 + [None, None]

    await until(settled, timeout_s=10, what="the rows of the three calls")
    ends = [row for row in await world.rows("outbox", "at") if row["kind"] == "call.ended"]
    assert len(ends) == 3
    assert {facts(row, "fields")["reason"] for row in ends} == {"rules-changed"}
    assert sum(len(list(gateway.calling.live)) for gateway in cluster.gateways) == 2
