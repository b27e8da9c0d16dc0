"""OPTIONS to registered devices: who is asked how often, and what silence means."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.sources import SystemRandom
from hushwire.core.ids import AgentId
from hushwire.services.keepalive import MOST_MISSES, UNTRANSLATED, KeepAlive
from hushwire.sip.effects import Cause, RequestId, Responded
from hushwire.sip.flow import Transport
from tests.databases import Databases
from tests.polling import until
from tests.services.location import Phone, World, build
from tests.services.running import need_program, running

EACH_S = 25.0


@dataclass
class Asked:
    """Requests that would have gone out."""

    sent: list[tuple[RequestId, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, method: str, **more: Any) -> RequestId:
        assert method == "OPTIONS"
        self.sent.append((RequestId(len(self.sent)), more))
        return self.sent[-1][0]


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> World:
    return await build(databases, tmp_path)


def anna(world: World) -> AgentId:
    org = world.directory.default_organisation
    assert org is not None
    return org.by_username["anna"].id


def kept(world: World, asked: Asked) -> KeepAlive:
    return KeepAlive(world.bindings, world.directory, asked, world.clock, SystemRandom(), EACH_S)  # type: ignore[arg-type]


async def test_a_device_behind_a_nat_is_asked_each_interval_where_its_register_came_from_and_others_seldom(world: World) -> None:
    assert await Phone().register(world, contact="<sip:anna@10.0.0.7:5060>", expires=3600) == 200
    assert await Phone(port=40001, call_id="plain").register(world, expires=3600) == 200
    asked = Asked()
    keepalive = kept(world, asked)
    keepalive.tick()
    for _ in range(4 * UNTRANSLATED):
        world.clock.ahead_s += EACH_S
        keepalive.tick()
    ports = [more["hop"].remote.port for _, more in asked.sent]
    assert ports.count(40000) == 4 * UNTRANSLATED
    assert 3 <= ports.count(40001) <= 5
    assert str(asked.sent[0][1]["uri"]).startswith("sip:anna@")


async def test_whoever_answers_whatever_stays_and_who_is_silent_three_times_goes(world: World) -> None:
    assert await Phone().register(world, contact="<sip:anna@10.0.0.7:5060>", expires=3600) == 200
    asked = Asked()
    keepalive = kept(world, asked)
    outcomes = [Cause.TIMEOUT, Cause.TRANSPORT, Cause.RESPONSE, *[Cause.TIMEOUT] * MOST_MISSES]
    keepalive.tick()
    for position, cause in enumerate(outcomes):
        assert world.registrations.count(anna(world)) == 1
        world.clock.ahead_s += EACH_S
        keepalive.tick()
        assert len(asked.sent) == position + 1
        assert keepalive.responded(Responded(asked.sent[-1][0], 481 if cause is Cause.RESPONSE else 408, None, cause))
    assert world.registrations.count(anna(world)) == 0
    await world.bindings.write(world.directory.default_organisation.id)  # type: ignore[union-attr]
    async with world.db.organisation(world.directory.default_organisation.id) as connection:  # type: ignore[union-attr]
        assert await connection.fetchval("SELECT count(*) FROM registrations WHERE expires_at > now()") == 0
    assert not keepalive.responded(Responded(RequestId(999), 200, None, Cause.RESPONSE)), "what is not ours is another's"


async def test_devices_on_connections_and_behind_edge_proxies_are_not_asked(world: World) -> None:
    assert await Phone(transport=Transport.TCP).register(world, contact="<sip:anna@10.0.0.7:5060;transport=tcp>", expires=3600) == 200
    behind = Phone(port=40001, call_id="edge", more=("Path: <sip:edge.example.org;lr>",))
    assert await behind.register(world, contact="<sip:anna@10.0.0.8:5060>", expires=3600) == 200
    asked = Asked()
    keepalive = kept(world, asked)
    keepalive.tick()
    for _ in range(8):
        world.clock.ahead_s += EACH_S
        keepalive.tick()
    assert asked.sent == []


@need_program
async def test_a_phone_answers_the_gateways_options_and_stays_registered(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path, environ={"HUSHWIRE_SIP__KEEPALIVE_S": "1"}) as world:
        await world.peer("anna")
        keepalive = world.gateway.keepalive
        await until(lambda: keepalive.answered >= 2, timeout_s=30, what="it was asked, and has answered")
        assert not keepalive._misses
