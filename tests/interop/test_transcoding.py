"""A phone that speaks Opus alone and a carrier that speaks PCMU alone, through the whole gateway: baresip and PJSUA2."""

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment
from tests.interop.hearing import End, hear_each_other

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

OPUS = ["opus/48000/2"]
PCMU = {"codecs": ["PCMU/8000"]}


LIKE = 0.75
"""Of speech that Opus coded: heard as well, but not the same to the sample."""


async def assert_transcoded(deployment: Deployment) -> None:
    (row,) = (await deployment.api().get("/v1/calls?state=active"))["items"]
    assert (row["agent_leg"]["codec"], row["peer_leg"]["codec"]) == ("opus", "PCMU")


async def test_a_phone_with_opus_alone_calls_a_carrier_with_pcmu_alone_and_both_hear_each_other(deployment: Deployment) -> None:
    phone = deployment.phone("anna", kind="baresip", srtp="dtls", codecs=OPUS)
    async with deployment.carrier(opened=PCMU) as carrier, phone as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        incoming = await carrier.expect("incoming")
        await anna.expect_state(call, "confirmed")
        await hear_each_other(End(anna, call, AGENT), End(carrier, incoming["call"], CARRIER), heard=LIKE)
        await assert_transcoded(deployment)
        await anna.hangup(call)
        await carrier.expect_state(incoming["call"], "disconnected")


async def test_a_carrier_with_pcmu_alone_reaches_a_phone_with_opus_alone_and_both_hear_each_other(deployment: Deployment) -> None:
    phone = deployment.phone("anna", kind="baresip", srtp="dtls", codecs=OPUS)
    async with deployment.carrier(opened=PCMU) as carrier, phone as anna:
        host, port = deployment.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = await anna.expect("incoming")
        await carrier.expect_state(call, "confirmed")
        await hear_each_other(End(anna, incoming["call"], AGENT), End(carrier, call, CARRIER), heard=LIKE)
        await assert_transcoded(deployment)
        await carrier.hangup(call)
        await anna.expect_state(incoming["call"], "disconnected")
