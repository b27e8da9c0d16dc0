"""SDES suites with a phone that we did not write, baresip: it offers AES-CM alone, but takes AES-GCM (RFC 7714) where that is offered."""

from typing import Any

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment
from tests.interop.hearing import hears, samples
from tests.interop.middlebox import middlebox, only_suite
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

HELD_HERE, TALKING = 2, 1  # PJSUA_CALL_MEDIA_LOCAL_HOLD, PJSUA_CALL_MEDIA_ACTIVE
AES_CM = "AES_CM_128_HMAC_SHA1_80"


async def agents_leg(deployment: Deployment) -> tuple[str, str]:
    """How the agent's leg of the only active call is protected."""

    async def look() -> list[dict[str, Any]]:
        return list((await deployment.api().get("/v1/calls?state=active"))["items"])

    (row,) = await until(look, what="the call's row")
    return row["agent_leg"]["media"], row["agent_leg"]["suite"]


@pytest.mark.parametrize("suite", ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM"])
async def test_aes_gcm_with_keys_in_sdp_carries_sound_both_ways(deployment: Deployment, suite: str) -> None:
    async with (
        middlebox(deployment.stack.sip("udp"), inward=only_suite(suite)) as box,
        deployment.carrier() as carrier,
        deployment.phone("anna", kind="baresip", through=box.address) as anna,
    ):
        host, port = deployment.stack.sip("udp")
        far = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        near = int((await anna.expect("incoming"))["call"])
        await carrier.expect_state(far, "confirmed")
        assert suite in (await anna.expect("encrypted"))["text"]
        await hears(anna, near, CARRIER, AGENT)
        await hears(carrier, far, AGENT, CARRIER)
        assert await agents_leg(deployment) == ("srtp", suite)
        await carrier.hangup(far)
        await anna.expect_state(near, "disconnected")


async def test_a_call_that_was_held_from_afar_is_heard_again_under_the_suite_that_it_began_with(deployment: Deployment) -> None:
    """hushwire's re-INVITE must not tempt the phone with a better suite: it would agree, and go on sending under the old one."""
    async with deployment.carrier() as carrier, deployment.phone("anna", kind="baresip") as anna:
        near = await anna.call(deployment.uri(FAR_NUMBER))
        far = int((await carrier.expect("incoming"))["call"])
        await anna.expect_state(near, "confirmed")
        assert await agents_leg(deployment) == ("srtp", AES_CM)
        for command, status in (("hold", HELD_HERE), ("resume", TALKING)):
            seen, told = len(anna.events), len(carrier.events)
            await carrier.tell(command, call=far)
            await anna.expect("remote-sdp", lambda event: event["text"] == "offer", since=seen)
            await carrier.expect("media", lambda event, status=status: event["status"] == status, since=told)
        begins = [await samples(carrier, far), await samples(anna, near)]
        await hears(carrier, far, AGENT, CARRIER, since=begins[0])
        await hears(anna, near, CARRIER, AGENT, since=begins[1])
        assert await agents_leg(deployment) == ("srtp", AES_CM)
        await anna.hangup(near)
        assert (await carrier.expect_state(far, "disconnected"))["status"] == 200
