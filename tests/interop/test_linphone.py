"""Linphone, a stack that none of the others shares code with: it takes its account from a link, over TLS, and calls."""

import asyncio
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest
import pytest_asyncio
import zxingcpp

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment, start_deployment
from tests.interop.browser import chromium
from tests.interop.hearing import hears, samples
from tests.interop.test_device_credentials import agent_id
from tests.polling import until
from tests.ports import free_port

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

PROGRAM = (sys.executable, "-m", "tests.interop.linphone_phone")
# Linphone's TLS knows certificates by names alone, and the link says where to register.
CONFIG = """\
[data]
dir = "{{data}}"
[sip]
listen = ["udp://127.0.0.1:0", "tls://127.0.0.1:{port}"]
proxy = "sip:localhost:{port};transport=tls"
domain = "{{domain}}"
[api]
listen = "https://127.0.0.1:0"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[Deployment]:
    async with start_deployment(config=CONFIG.format(port=free_port())) as running:
        yield running


@asynccontextmanager
async def linphone(house: Deployment, agent: str, **options: object) -> AsyncIterator[Party]:
    """An agent's Linphone, which was given nothing but a link, and is registered."""
    for program in ("linphone-daemon", "pulseaudio"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    api, number = house.api(), await agent_id(house, agent)
    device = await api.post(f"/v1/agents/{number}/devices", {"name": "linphone"})
    link = (await api.post(f"/v1/agents/{number}/devices/{device['id']}/link", {}))["url"]

    async def is_registered() -> bool:
        return bool((await api.get(f"/v1/agents/{number}"))["devices"])

    async with await Party.start(agent, program=PROGRAM, ca=str(house.stack.authority), speech=bundled(AGENT)) as phone:
        await phone.tell("account", link=link.replace("127.0.0.1", "localhost"), **options)
        await until(is_registered, timeout_s=20, what="Linphone has registered")
        assert (await api.ask("GET", link.partition(str(house.stack.api))[2])).status == 404, "the link served once"
        yield phone


async def test_linphone_takes_its_account_from_a_link_and_calls_and_both_hear_each_other(house: Deployment, tmp_path: Path) -> None:
    log = tmp_path / "linphone.log"
    async with house.carrier() as carrier, linphone(house, "anna", log=str(log)) as anna:
        call = await anna.call(FAR_NUMBER)
        incoming = await carrier.expect("incoming")
        assert ANNA_NUMBER in incoming["from"]
        await anna.expect_state(call, "confirmed")
        await asyncio.gather(
            hears(anna, call, CARRIER, AGENT),
            hears(carrier, incoming["call"], AGENT, CARRIER),
        )
        (live,) = [row for row in (await house.api().get("/v1/calls"))["items"] if row["state"] == "active"]
        assert live["agent_leg"]["media"] == "srtp"
        await carrier.hangup(incoming["call"])
        await anna.expect_state(call, "disconnected")
    # It calls by the GRUU that it was given (RFC 5627 section 4.3), and was reached there when the carrier ended the call.
    assert re.search(r"^Contact: <sip:anna@acme\.[^>;]*;gr=urn:uuid:[^>]*>", log.read_text(errors="replace"), re.MULTILINE)


async def test_linphone_is_called_holds_and_goes_on_and_both_hear_each_other_again(house: Deployment) -> None:
    async with house.carrier() as carrier, linphone(house, "anna") as anna:
        host, port = house.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = (await anna.expect("incoming"))["call"]
        await carrier.expect_state(call, "confirmed")
        await anna.expect_state(incoming, "confirmed")
        await asyncio.gather(hears(anna, incoming, CARRIER, AGENT), hears(carrier, call, AGENT, CARRIER))
        await anna.tell("hold", call=incoming)
        await anna.expect("held")
        held = await samples(carrier, call)
        await anna.tell("resume", call=incoming)
        await asyncio.gather(hears(anna, incoming, CARRIER, AGENT), hears(carrier, call, AGENT, CARRIER, since=held))
        await carrier.hangup(call)
        await anna.expect_state(incoming, "disconnected")


async def test_a_call_is_transferred_by_linphone_and_by_nobody_elses_leave(house: Deployment) -> None:
    """It sends REFER with its credentials; who stays hears whom it was transferred to."""
    async with house.carrier() as carrier, linphone(house, "anna") as anna, house.phone("ben") as ben:
        host, port = house.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = (await anna.expect("incoming"))["call"]
        await anna.expect_state(incoming, "confirmed")
        await hears(anna, incoming, CARRIER, AGENT)
        await anna.tell("transfer", call=incoming, to=house.uri("102"))
        taken = (await ben.expect("incoming"))["call"]
        await anna.expect_state(incoming, "disconnected")
        await hears(ben, taken, CARRIER, AGENT)
        await carrier.hangup(call)
        await ben.expect_state(taken, "disconnected")


async def test_linphone_registers_again_by_itself_once_its_gateway_was_killed(house: Deployment) -> None:
    async with house.carrier() as carrier, linphone(house, "anna") as anna:
        os.kill(house.stack.children()["gateway"], signal.SIGKILL)
        host, port = house.stack.sip("udp")

        async def is_reached() -> bool:
            since = len(anna.events)
            call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
            over = await carrier.expect("state", lambda e: e["call"] == call and e["state"] in ("confirmed", "disconnected"))
            if over["state"] == "disconnected":
                return False
            incoming = (await anna.expect("incoming", since=since))["call"]
            await anna.expect_state(incoming, "confirmed")
            await hears(anna, incoming, CARRIER, AGENT)
            await carrier.hangup(call)
            return True

        await until(is_reached, timeout_s=90, every_s=0.5, what="Linphone is called again")


async def test_a_camera_reads_the_link_from_the_qr_code(house: Deployment) -> None:
    api, number = house.api(), await agent_id(house, "ben")
    device = await api.post(f"/v1/agents/{number}/devices", {"name": "pocket"})
    made = await api.post(f"/v1/agents/{number}/devices/{device['id']}/link", {})
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 640, "height": 640})
        await page.set_content(f'<body style="margin: 60px; width: 420px">{made["qr_svg"]}</body>')
        picture = await page.screenshot(type="png")
    with av.open(io.BytesIO(picture)) as images:
        (frame,) = images.decode(video=0)
    (found,) = zxingcpp.read_barcodes(frame.to_ndarray(format="gray"))
    assert (found.format.name, found.text) == ("QRCode", made["url"])
