"""Shared and own ports of whole calls: a gateway, real databases and the real media program, phones that can or can't multiplex RTCP."""

from dataclasses import replace
from pathlib import Path

from hushwire.sdp.offer_answer import PCMA, Srtp, accept_answer, answer_offer, build_offer
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.listening import Ear
from tests.services.running import ANNA_NUMBER, World, local_media, need_program, running, specs

pytestmark = need_program


def port_of(body: bytes) -> int:
    (line,) = [line for line in body.split(b"\r\n") if line.startswith(b"m=audio ")]
    return int(line.split()[1])


async def shared_ports(world: World) -> set[int]:
    return {one.port for one in await world.gateway.link.client.shared_ports()}


async def test_a_device_that_answers_without_rtcp_mux_gets_ports_of_its_own_in_this_very_call(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world:
        anna, agent, far = await world.peer("anna"), Ear(), Ear()
        world.carrier.invite(
            f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=local_media(far.port, keys=False, codecs=(PCMA,))
        )
        incoming = await anna.expect(sip.RequestReceived)
        assert port_of(incoming.request.body) in await shared_ports(world)
        old_phone = replace(local_media(agent.port, codecs=(PCMA,)), rtcp_mux=False)
        dialog, media = anna.accept(incoming, srtp=Srtp.REQUIRED, local=old_phone)
        agent.agree(media)
        accepted = await world.carrier.expect(sip.Accepted)
        far.agree(world.carrier.answer_of(accepted.response))
        await anna.expect(sip.AckReceived)
        again = await anna.expect(sip.InDialogRequest)
        assert (again.dialog, again.request.method) == (dialog, "INVITE")
        own = port_of(again.request.body)
        assert own not in await shared_ports(world)
        assert own % 2 == 0
        outcome = answer_offer(again.request.body, replace(old_phone, version=2), Srtp.REQUIRED)
        anna.endpoint.respond(again.tx, 200, body=outcome.body)  # type: ignore[union-attr]
        agent.agree(outcome.media)  # type: ignore[union-attr]
        await anna.expect(sip.AckReceived)
        assert (agent.to[1], outcome.media.rtcp_port) == (own, own + 1)  # type: ignore[union-attr]
        agent.speak(b"\x11" * 160)
        await until(lambda: far.packets and far.packets[-1].payload == b"\x11" * 160)
        far.speak(b"\x22" * 160)
        await until(lambda: agent.packets and agent.packets[-1].payload == b"\x22" * 160)
        world.carrier.endpoint.bye(accepted.dialog)
        await world.row("calls", state="ended", end_reason="bye-peer")


async def test_a_deployment_whose_agents_have_ports_of_their_own_puts_none_on_a_shared_one(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path, environ={"HUSHWIRE_MEDIA__AGENT_PORTS": "own"}) as world:
        anna, agent = await world.peer("anna"), Ear()
        anna.invite("echo", local=local_media(agent.port))
        accepted = await anna.expect(sip.Accepted)
        assert port_of(accepted.response.body) not in await shared_ports(world)
        agent.agree(anna.answer_of(accepted.response))
        agent.speak(b"\x11" * 160)
        await until(lambda: agent.packets)


async def test_agents_that_share_by_what_they_announce_are_heard_though_their_media_is_plain(databases: Databases, tmp_path: Path) -> None:
    environ = {"HUSHWIRE_MEDIA__AGENT_PORTS": "shared"}
    async with running(databases, tmp_path, environ=environ, agent_srtp="optional") as world:
        anna, one, two = await world.peer("anna"), Ear(), Ear()
        for ear in (one, two):
            local = local_media(ear.port, keys=False)
            anna.invite("echo", srtp=Srtp.NEVER, local=local, body=build_offer(local, Srtp.NEVER))
            accepted = await anna.expect(sip.Accepted)
            assert port_of(accepted.response.body) in await shared_ports(world)
            media = accept_answer(anna.offer, accepted.response.body, local)
            ear.agree(media)  # type: ignore[arg-type]
        for ear, payload in ((one, b"\x11" * 160), (two, b"\x22" * 160)):
            ear.speak(payload)
            await until(lambda ear=ear, payload=payload: ear.packets and ear.packets[-1].payload == payload)


async def test_what_is_provisioned_for_an_agent_holds_from_its_next_call_on(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world:
        anna, agent = await world.peer("anna"), Ear()
        desired = specs(world.carrier.local_port)
        (org,) = desired.orgs
        for setting, is_shared in (("own", False), ("auto", True)):
            agents = (replace(org.agents[0], media_ports=setting), *org.agents[1:])
            await world.provisioning.apply(replace(desired, orgs=(replace(org, agents=agents),)))
            await until(lambda setting=setting: world.organisation.by_username["anna"].media_ports == setting)
            anna.invite("echo", local=local_media(agent.port))
            accepted = await anna.expect(sip.Accepted)
            assert (port_of(accepted.response.body) in await shared_ports(world)) is is_shared
            anna.endpoint.bye(accepted.dialog)
            await anna.expect(sip.Responded)
