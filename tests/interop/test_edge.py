"""Two gateways behind one address: Kamailio spreads phones and calls over them; they share nothing but the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, Voice, bundled
from hushwire.app.gateway import Gateway
from hushwire.calls.call import State
from hushwire.core.ids import AgentId
from hushwire.services.handing_over import HandingOver
from hushwire.sip.effects import TxId
from hushwire.sip.flow import Flow, Transport
from tests.databases import Databases
from tests.interop.authorities import ThrowAway
from tests.interop.edge import Edge, edge
from tests.interop.hearing import hears
from tests.interop.web_phone import browser, need_bundle, page_server, web_phone
from tests.polling import until
from tests.services.running import HOST, World, need_program, running
from tests.services.test_two_gateways import another

pytestmark = [pytest.mark.interop, need_program]
PASSWORDS = {"anna": "annas-password", "ben": "bens-password", "sue": "sues-password"}


@dataclass
class Behind:
    """Both gateways, what stands before them, and an authority that its certificate is of."""

    world: World
    other: Gateway
    edge: Edge
    authority: ThrowAway
    folder: Path

    @asynccontextmanager
    async def phone(self, user: str, speech: Voice = AGENT) -> AsyncIterator[Party]:
        async with await Party.start(user, transport="udp", speech=bundled(speech)) as party:
            await party.tell(
                "account", uri=f"sip:{user}@{HOST}", proxy=f"sip:127.0.0.1:{self.edge.port};transport=udp;lr", username=user,
                password=PASSWORDS[user], srtp="mandatory", registrar=f"sip:{HOST};transport=udp",
            )  # fmt: skip
            event = await party.expect("registration")
            assert event["status"] == 200, event
            yield party

    @property
    def gateways(self) -> tuple[Gateway, Gateway]:
        return self.world.gateway, self.other

    def carrying(self) -> set[int]:
        """Which gateways have a call."""
        return {at for at, gateway in enumerate(self.gateways) if any(not live.is_ended for live in gateway.calling.live)}

    async def are_free(self, *users: str) -> None:
        """Until nobody is in a call, and each gateway has heard so of the other: it hands an agent's further call over to that one."""
        agents = [self.agent(user) for user in users]

        def is_so() -> bool:
            return not self.carrying() and not any(gateway.counts.engaged_at(agent) for gateway in self.gateways for agent in agents)

        await until(is_so, what="the call before is over, and both gateways know")

    def agent(self, user: str) -> AgentId:
        return self.world.organisation.by_username[user].id

    def has_taken(self, user: str) -> bool:
        """Whether an agent has the place of somebody in a call, with whoever stayed in it."""
        replacing = (
            live.replaced.values() for gateway in self.gateways for live in gateway.calling.live if live.call.state is State.ACTIVE
        )
        return any(party.agent is not None and party.agent.id == self.agent(user) for parties in replacing for party in parties)

    async def everybody_knows(self, *users: str) -> None:
        for gateway in self.gateways:
            org = gateway.directory.default_organisation
            assert org is not None
            agents = [org.by_username[user].id for user in users]

            def is_known(gateway: Gateway = gateway, agents: list[AgentId] = agents) -> bool:
                return all(gateway.registrations.count(agent) == 1 for agent in agents)

            await until(is_known, timeout_s=10, what="the phones are known")


@pytest.fixture
async def behind(databases: Databases, tmp_path: Path) -> AsyncIterator[Behind]:
    authority = ThrowAway.make(tmp_path / "authority")
    async with running(databases, tmp_path) as world, another(databases, tmp_path / "b") as other:
        ports = [gateway.endpoint.addresses[Transport.UDP].port for gateway in (world.gateway, other)]
        async with edge(ports, authority.certify(address="127.0.0.1"), tmp_path) as started:
            yield Behind(world, other, started, authority, tmp_path)


async def test_phones_behind_one_address_call_each_other_by_whichever_gateway_gets_the_call(behind: Behind) -> None:
    async with behind.phone("anna") as anna, behind.phone("ben", CARRIER) as ben:
        await ben.tell("policy", status=200, ring_s=0.1)
        await behind.everybody_knows("anna", "ben")
        carried: set[int] = set()
        for _ in range(12):
            seen = len(ben.events)
            await behind.are_free("anna", "ben")
            call = await anna.call(f"sip:102@{HOST}")
            incoming = await ben.expect("incoming", since=seen, timeout_s=20)
            await anna.expect_state(call, "confirmed", timeout_s=20)
            carried |= behind.carrying()
            if len(carried) == 1:
                await hears(anna, call, CARRIER, AGENT)
                await hears(ben, incoming["call"], AGENT, CARRIER)
            await ben.hangup(incoming["call"])
            await anna.expect_state(call, "disconnected")
            if carried == {0, 1}:
                break
        assert carried == {0, 1}, "one gateway got every call"


async def test_a_parked_call_is_taken_by_whichever_gateway_gets_who_takes_it(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[AgentId] = []
    over = HandingOver.over

    def noting(self: HandingOver, tx: TxId, flow: Flow, agent_id: AgentId, *asked: Any) -> bool:
        handed.append(agent_id)
        return over(self, tx, flow, agent_id, *asked)

    monkeypatch.setattr(HandingOver, "over", noting)
    async with behind.phone("anna") as anna, behind.phone("ben", CARRIER) as ben, behind.phone("sue") as sue:
        await ben.tell("policy", status=200, ring_s=0.1)
        await behind.everybody_knows("anna", "ben", "sue")
        for _ in range(10):
            seen = len(ben.events)
            await behind.are_free("anna", "ben", "sue")
            call = await anna.call(f"sip:102@{HOST}")
            incoming = await ben.expect("incoming", since=seen, timeout_s=20)
            await anna.expect_state(call, "confirmed", timeout_s=20)
            await anna.tell("transfer", call=call, to=f"sip:*68@{HOST}")
            await anna.expect_state(call, "disconnected", timeout_s=20)
            taken = await sue.call(f"sip:*691@{HOST}")
            await sue.expect_state(taken, "confirmed", timeout_s=20)
            # Who takes it is answered before it has the parker's place, and where it hangs up in between the call waits on.
            await until(lambda: behind.has_taken("sue"), what="sue has the parker's place")
            assert set(handed) <= {behind.agent("sue")}, "nobody else had a call to go to"
            if handed:
                await hears(sue, taken, CARRIER, AGENT)
                await hears(ben, incoming["call"], AGENT, CARRIER)
            await sue.hangup(taken)
            await ben.expect_state(incoming["call"], "disconnected")
            if handed:
                break
        assert handed, "the gateway that held the call always got who took it, too"


async def test_the_gateway_that_is_left_takes_all_calls_and_reaches_all_phones(behind: Behind) -> None:
    async with behind.phone("anna") as anna, behind.phone("ben", CARRIER) as ben:
        await ben.tell("policy", status=200, ring_s=0.1)
        await behind.everybody_knows("anna", "ben")
        await behind.world.abandon()
        for _ in range(4):
            seen = len(ben.events)
            call = await anna.call(f"sip:102@{HOST}")
            incoming = await ben.expect("incoming", since=seen, timeout_s=20)
            await anna.expect_state(call, "confirmed", timeout_s=20)
            await anna.hangup(call)
            await ben.expect_state(incoming["call"], "disconnected")


async def test_a_browser_reaches_a_gateway_through_the_edges_web_socket_and_is_called_there(behind: Behind) -> None:
    need_bundle()
    async with page_server(behind.authority.certify(address="127.0.0.1")) as origin, browser(behind.authority, behind.folder) as started:
        options: dict[str, Any] = {
            "url": f"wss://127.0.0.1:{behind.edge.wss}/", "uri": f"sip:anna@{HOST}", "password": PASSWORDS["anna"], "hertz": 440,
        }  # fmt: skip
        async with web_phone(started, origin, **options) as page, behind.phone("ben", CARRIER) as ben:
            await page.expect("registered")
            await behind.everybody_knows("anna", "ben")
            await ben.tell("policy", status=200, ring_s=0.1)
            await page.do("call", f"sip:102@{HOST}")
            incoming = await ben.expect("incoming", timeout_s=20)
            await page.expect("confirmed")
            await ben.hangup(incoming["call"])
            await page.expect("ended")
            call = await ben.call(f"sip:101@{HOST}")
            await page.expect("ended", "session remote")
            await page.do("answer")
            await ben.expect_state(call, "confirmed", timeout_s=20)
            await ben.hangup(call)
