"""Carriers that are asked how they are: passed over when they stop answering, back when they answer again, and the API says so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.services.trunk_health import Standing
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.names import served
from tests.polling import until
from tests.services.carriers import Silent, carrier, provision, trunk_spec
from tests.services.running import FAR_NUMBER, World, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, record="none") as made:
        yield made


def standing(world: World, name: str) -> Standing:
    (trunk,) = (trunk for trunk in world.gateway.directory.trunks if trunk.name == name)
    return world.gateway.trunks.states.standing(trunk)


async def test_a_carrier_that_answers_no_options_is_passed_over_and_said_to_be_down(world: World) -> None:
    with Silent() as silent:
        # Its first answer is not waited for: two questions of 4 s each without one.
        asked = trunk_spec("first", silent, options_every_s=5, down_after=1)
        await provision(world, asked, trunk_spec("second", world.carrier, priority=1), record="none")
        assert (await silent.hears()).startswith(b"OPTIONS sip:127.0.0.1:")
        await until(lambda: standing(world, "first") is Standing.DOWN, timeout_s=20, what="the silent carrier is down")
        anna = await world.peer("anna")
        anna.invite(FAR_NUMBER)
        world.carrier.endpoint.respond((await world.carrier.expect(sip.RequestReceived, timeout_s=3)).tx, 486)
        await anna.expect(sip.Rejected)

        async def told() -> dict[str, tuple[str, str | None]]:
            names = {row["id"]: row["name"] for row in await world.rows("trunks")}
            return {names[row["trunk_id"]]: (row["standing"], row["reason"]) for row in await world.rows("trunk_states", order="trunk_id")}

        async def said() -> bool:
            return await told() == {"first": ("down", "silent"), "second": ("up", None)}

        await until(said, timeout_s=15, what="the database knows")


async def test_a_carrier_that_answers_again_carries_calls_again(world: World) -> None:
    back = await carrier(world)
    await provision(
        world, trunk_spec("first", back, options_every_s=5, up_after=1), trunk_spec("second", world.carrier, priority=1), record="none"
    )
    (trunk,) = (trunk for trunk in world.gateway.directory.trunks if trunk.name == "first")
    (way,) = world.gateway.trunks.states.ways(trunk)
    world.gateway.trunks.states.health(trunk, way).failed(1, "silent")
    assert standing(world, "first") is Standing.DOWN
    # OPTIONS is answered by the engine of the carrier itself.
    await until(lambda: standing(world, "first") is Standing.UP, timeout_s=20, what="the carrier is up again")
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    back.endpoint.respond((await back.expect(sip.RequestReceived)).tx, 486)
    assert (await anna.expect(sip.Rejected)).status == 486


async def test_a_carrier_is_found_by_srv_and_its_second_server_takes_over_from_a_silent_first(databases: Databases, tmp_path: Path) -> None:
    with Silent() as silent, served("") as zone:
        environ = {"HUSHWIRE_SIP__NAME_SERVERS": f'["{zone.server}"]'}
        async with running(databases, tmp_path, environ=environ, record="none") as world:
            zone.records = f"""
_sip._udp.carrier.example. 60 IN SRV 10 1 {silent.local_port} a.carrier.example.
_sip._udp.carrier.example. 60 IN SRV 20 1 {world.carrier.local_port} a.carrier.example.
a.carrier.example. 60 IN A 127.0.0.1
"""
            spec = trunk_spec("named", world.carrier, uri="sip:carrier.example;transport=udp", networks=("127.0.0.0/8",))
            await provision(world, spec, record="none")
            (trunk,) = world.gateway.directory.trunks
            await until(lambda: len(world.gateway.trunks.states.ways(trunk)) == 2, what="both servers are known")
            anna = await world.peer("anna")
            anna.invite(FAR_NUMBER)
            assert (await silent.hears()).startswith(f"INVITE sip:{FAR_NUMBER}@carrier.example;transport=udp ".encode())
            incoming = await world.carrier.expect(sip.RequestReceived, timeout_s=10)
            world.carrier.accept(incoming)
            await anna.expect(sip.Accepted)
            # What comes from one of its servers is the trunk's.
            world.carrier.user = FAR_NUMBER
            world.carrier.invite(f"sip:+493023125000@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
            await anna.expect(sip.RequestReceived)


async def test_a_name_that_leads_inside_is_no_way_to_a_carrier(databases: Databases, tmp_path: Path) -> None:
    with served("carrier.example. 60 IN A 127.0.0.1\n") as zone:
        async with running(databases, tmp_path, environ={"HUSHWIRE_SIP__NAME_SERVERS": f'["{zone.server}"]'}, record="none") as world:
            uri = f"sip:carrier.example:{world.carrier.local_port};transport=udp"
            await provision(world, trunk_spec("named", world.carrier, uri=uri), record="none")
            await until(lambda: ("carrier.example", "A") in zone.asked, what="the name was asked for")
            anna = await world.peer("anna")
            anna.invite(FAR_NUMBER)
            assert (await anna.expect(sip.Rejected)).status == 503
            assert world.carrier.events.empty()
