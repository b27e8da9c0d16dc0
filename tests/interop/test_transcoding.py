"""A phone that speaks Opus alone and a carrier that speaks PCMU alone, through the whole gateway: baresip and PJSUA2."""

import asyncio

import pytest

from hushwire.app.demo.correlate import correlate, correlate_with_slips
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

OPUS = ["opus/48000/2"]
PCMU = {"codecs": ["PCMU/8000"]}


async def assert_heard(anna: tuple[Party, int], carrier: tuple[Party, int]) -> None:
    """The phone heard the carrier's words, the carrier heard the phone's, and nobody heard itself."""
    phone = (await anna[0].heard(anna[1])).samples
    far = (await carrier[0].heard(carrier[1])).samples
    assert len(phone) > 2 * RATE
    assert len(far) > 2 * RATE
    assert correlate_with_slips(bundled(CARRIER)[: len(phone)], phone, RATE).score >= 0.75
    assert correlate_with_slips(bundled(AGENT)[: len(far)], far, RATE).score >= 0.75
    assert correlate(bundled(AGENT), phone, RATE).score < 0.3
    assert correlate(bundled(CARRIER), far, RATE).score < 0.3


async def assert_transcoded(deployment: Deployment) -> None:
    (row,) = (await deployment.api().get("/v1/calls?state=active"))["items"]
    assert (row["agent_leg"]["codec"], row["peer_leg"]["codec"]) == ("opus", "PCMU")


async def test_a_phone_with_opus_alone_calls_a_carrier_with_pcmu_alone_and_both_hear_each_other(deployment: Deployment) -> None:
    phone = deployment.phone("anna", kind="baresip", srtp="dtls", codecs=OPUS)
    async with deployment.carrier(opened=PCMU) as carrier, phone as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        incoming = await carrier.expect("incoming")
        await anna.expect_state(call, "confirmed")
        await asyncio.sleep(4)
        await assert_transcoded(deployment)
        await anna.hangup(call)
        await carrier.expect_state(incoming["call"], "disconnected")
        await assert_heard((anna, call), (carrier, incoming["call"]))


async def test_a_carrier_with_pcmu_alone_reaches_a_phone_with_opus_alone_and_both_hear_each_other(deployment: Deployment) -> None:
    phone = deployment.phone("anna", kind="baresip", srtp="dtls", codecs=OPUS)
    async with deployment.carrier(opened=PCMU) as carrier, phone as anna:
        host, port = deployment.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = await anna.expect("incoming")
        await carrier.expect_state(call, "confirmed")
        await asyncio.sleep(4)
        await assert_transcoded(deployment)
        await carrier.hangup(call)
        await anna.expect_state(incoming["call"], "disconnected")
        await assert_heard((anna, incoming["call"]), (carrier, call))
