"""RFC 5626 with a phone that we did not write: PJSIP names its instance and flow, and its next connection takes the place of the last."""

from pathlib import Path

import pytest

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, bundled
from hushwire.services.bindings import Place
from hushwire.sip.flow import Flow, Transport
from tests.databases import Databases
from tests.deployments import need_module
from tests.services.running import ANNA_NUMBER, HOST, Srtp, World, local_media, need_program, running

pytestmark = [pytest.mark.interop, need_program]


def places(world: World) -> list[Place]:
    agent = world.organisation.agent_named("101")
    assert agent is not None
    return world.gateway.bindings.of(agent.id)


async def test_a_phone_that_connects_again_has_one_binding_and_rings_at_its_new_connection(databases: Databases, tmp_path: Path) -> None:
    need_module("pjsua2")
    async with running(databases, tmp_path) as world:
        proxy = f"sip:127.0.0.1:{world.gateway.endpoint.addresses[Transport.TCP].port};transport=tcp"
        async with await Party.start("anna", transport="tcp", speech=bundled(AGENT)) as anna:
            account = {"uri": f"sip:anna@{HOST}", "username": "anna", "password": "annas-password", "srtp": "mandatory", "retry_s": 1}
            await anna.tell("account", **account, proxy=f"{proxy};lr", registrar=f"sip:{HOST};transport=tcp", outbound=True)
            assert (await anna.expect("registration"))["status"] == 200
            (first,) = places(world)
            assert first.binding.reg_id == 1
            assert first.binding.instance is not None
            since = len(anna.events)
            assert isinstance(first.source, Flow)
            next(one for one in world.gateway.endpoint._connections.values() if one.flow == first.source).abort()
            assert (await anna.expect("registration", since=since))["status"] == 200
            (second,) = places(world)
            assert (second.binding.reg_id, second.binding.instance) == (1, first.binding.instance)
            assert second.source != first.source
            world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=local_media(41000, keys=False))
            incoming = (await anna.expect("incoming"))["call"]
            await anna.expect_state(incoming, "confirmed")
            assert [one for one in anna.events if one["event"] == "incoming"] == [await anna.expect("incoming")], "it rings once"
            await anna.hangup(incoming)
