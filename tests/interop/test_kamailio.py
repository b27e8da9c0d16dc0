"""A carrier that wants registration: Kamailio as its registrar, PJSUA2 as the telephone network behind it, real sound."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, PROVISIONING, Deployment, start_deployment
from tests.interop.hearing import hears
from tests.interop.kamailio import PASSWORD, REALM, USER, Kamailio, kamailio
from tests.polling import until
from tests.ports import free_port

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


@dataclass
class Registered:
    running: Deployment
    registrar: Kamailio


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registered() -> AsyncIterator[Registered]:
    network = free_port()
    async with kamailio(network) as registrar:
        tail = PROVISIONING.split("[[orgs]]", 1)[1]
        trunk = f"""
[[trunks]]
name = "registered"
uri = "sip:127.0.0.1:{registrar.port};transport=udp"
srtp = "never"
username = "{USER}"
password = "{PASSWORD}"
realm = "{REALM}"
register_every_s = 60
options_every_s = 5

[[orgs]]"""
        async with start_deployment(provisioning=trunk + tail) as running:
            running.carrier_port = network
            yield Registered(running, registrar)


async def health(running: Deployment) -> dict[str, Any]:
    (trunk,) = (await running.api().get("/v1/trunks"))["items"]
    assert "password" not in trunk
    assert "username" not in trunk
    return dict(trunk["health"][0]) if trunk["health"] else {}


async def test_we_register_with_digest_and_the_api_says_until_when(registered: Registered) -> None:
    async def is_told() -> dict[str, Any] | None:
        found = await health(registered.running)
        return found if found.get("registered_until") else None

    found = await until(is_told, timeout_s=30, what="the registration is told of")
    assert found is not None
    assert (found["standing"], found["reason"]) == ("up", None)
    assert registered.registrar.said(f"kept: <sip:{USER}@127.0.0.1:")


async def test_calls_go_out_and_come_in_through_the_registrar_and_both_hear_each_other(registered: Registered) -> None:
    running = registered.running
    await until(lambda: registered.registrar.said("kept:"), timeout_s=30, what="the registration")
    # The network behind the registrar is at the port that Kamailio passes calls to.
    async with running.carrier() as far, running.phone("anna") as anna:
        out = await anna.call(running.uri(FAR_NUMBER))
        incoming = await far.expect("incoming")
        await anna.expect_state(out, "confirmed")
        await hears(anna, out, CARRIER, AGENT)
        await hears(far, incoming["call"], AGENT, CARRIER)
        await anna.hangup(out)
        await far.expect_state(incoming["call"], "disconnected")
        seen = len(anna.events)
        back = await far.call(f"sip:{ANNA_NUMBER}@127.0.0.1:{registered.registrar.port}")
        ringing = await anna.expect("incoming", since=seen)
        await far.expect_state(back, "confirmed")
        await hears(anna, ringing["call"], CARRIER, AGENT)
        await hears(far, back, AGENT, CARRIER)
        await far.hangup(back)
        await anna.expect_state(ringing["call"], "disconnected")

    async def ended() -> list[dict[str, Any]]:
        rows = [row for row in (await running.api().get("/v1/calls"))["items"] if row["state"] == "ended"]
        return rows if len(rows) >= 2 else []

    rows = await until(ended, what="both rows")
    outbound = next(row for row in rows if row["direction"] == "outbound")
    assert [(one["trunk"], one["outcome"]) for one in outbound["trunk_attempts"]] == [("registered", "answered")]
    assert all(row["trunk_id"] for row in rows)


async def test_a_wrong_password_leaves_the_trunk_down_and_says_so() -> None:
    async with kamailio(free_port()) as registrar:
        tail = PROVISIONING.split("[[orgs]]", 1)[1]
        trunk = f"""
[[trunks]]
name = "registered"
uri = "sip:127.0.0.1:{registrar.port};transport=udp"
srtp = "never"
username = "{USER}"
password = "not the password"
register_every_s = 60

[[orgs]]"""
        async with start_deployment(provisioning=trunk + tail) as running:

            async def is_down() -> bool:
                found = await health(running)
                return (found.get("standing"), found.get("reason")) == ("down", "401")

            await until(is_down, timeout_s=30, what="the trunk is down")
            assert not registrar.said("kept:")
