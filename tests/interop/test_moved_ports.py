"""Phones whose media does not come from where a shared port could find it: two seconds on they are told a pair of their own, and hear."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import FAR_NUMBER, PROVISIONING, Deployment, Kind, start_deployment
from tests.interop.hearing import hears
from tests.interop.middlebox import media_at, middlebox
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

ROUTER, NOBODY = "127.0.0.3", "127.0.0.5"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sharing() -> AsyncIterator[Deployment]:
    """A hushwire whose trunk's legs share ports from the first call on."""
    trunk = 'srtp = "never"\nusername'
    assert trunk in PROVISIONING
    async with start_deployment(provisioning=PROVISIONING.replace(trunk, f'media_ports = "shared"\n{trunk}')) as running:
        yield running


def port(description: str) -> int:
    found = re.search(r"(?m)^m=audio (\d+)", description)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("kind", ["pjsua2", "baresip"])
async def test_a_phone_behind_a_router_that_announces_and_sends_elsewhere_hears_again_after_its_re_invite(
    sharing: Deployment, kind: Kind
) -> None:
    """Its signalling comes from the router, its SDP names a third address, and its packets come from neither."""
    async with (
        middlebox(sharing.stack.sip("udp"), outward=media_at(NOBODY), host=ROUTER) as router,
        sharing.carrier(account={"rtcp_mux": True}) as carrier,
        sharing.phone("anna", kind=kind, rtcp_mux=True, through=router.address) as anna,
    ):
        near = await anna.call(sharing.uri(FAR_NUMBER))
        far = int((await carrier.expect("incoming"))["call"])
        await anna.expect_state(near, "confirmed")
        first = router.descriptions[0]
        assert "a=rtcp-mux" in first
        await until(lambda: port(router.descriptions[-1]) != port(first), what="a re-INVITE with a pair of ports")
        await hears(carrier, far, AGENT, CARRIER)
        await hears(anna, near, CARRIER, AGENT)
        await anna.hangup(near)
        assert (await carrier.expect_state(far, "disconnected"))["status"] == 200


async def test_a_carrier_that_announces_another_address_than_it_sends_from_hears_after_its_re_invite(sharing: Deployment) -> None:
    """It sits behind a NAT that it does not know of: what its SDP says finds nobody, and gets nobody's packets."""
    account = {"rtcp_mux": True, "public": NOBODY}
    async with sharing.carrier(account=account) as carrier, sharing.phone("anna") as anna:
        near = await anna.call(sharing.uri(FAR_NUMBER))
        far = int((await carrier.expect("incoming"))["call"])
        await anna.expect_state(near, "confirmed")
        await hears(carrier, far, AGENT, CARRIER)
        await hears(anna, near, CARRIER, AGENT)
        log = sharing.stack.log.read_text()
        assert '"why":"unheard","event":"call.ports_moved"' in log
        await anna.hangup(near)
        assert (await carrier.expect_state(far, "disconnected"))["status"] == 200
