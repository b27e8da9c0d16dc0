"""Chromium with JsSIP over WSS, and a PJSUA2 carrier behind the gateway: the whole way, under certificates of the test's own authority."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import RATE
from hushwire.app.demo.stack import DOMAIN
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment, start_deployment
from tests.e2e.test_gateway_death import killed
from tests.interop.authorities import Certified, ThrowAway
from tests.interop.web_phone import WebPhone, browser, need_bundle, page_server, web_phone
from tests.polling import until

# Slow: a deployment of its own, under certificates of its own, and a browser.
pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

PAGE, CARRIER = 440, 880
CONFIG = """\
[data]
dir = "{{data}}"
[sip]
listen = ["udp://127.0.0.1:0", "wss://127.0.0.1:0"]
origins = ["{origin}"]
domain = "{{domain}}"
[tls]
certificate = "{certificate}"
key = "{key}"
[api]
listen = "https://127.0.0.1:0"
"""


@dataclass
class Web:
    """A deployment that browsers reach, a browser, and the page that it may load the phone from."""

    deployment: Deployment
    browser: Any
    origin: str
    certified: Certified

    @asynccontextmanager
    async def phone(self, *, password: str = "anna's secret", origin: str | None = None) -> AsyncIterator[WebPhone]:
        host, port = self.deployment.stack.sip("wss")
        options = {"url": f"wss://{host}:{port}/", "uri": f"sip:anna@acme.{DOMAIN}", "password": password, "hertz": PAGE}
        async with web_phone(self.browser, origin or self.origin, **options) as there:
            yield there

    async def row(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.deployment.api().get("/v1/calls"))["items"][0]
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    need_bundle()
    folder: Path = tmp_path_factory.mktemp("web")
    authority = ThrowAway.make(folder / "authority")
    certified = authority.certify(address="127.0.0.1")
    async with page_server(certified) as origin:
        config = CONFIG.format(origin=origin, certificate=certified.certificate, key=certified.key)
        async with start_deployment(config=config) as deployment, browser(authority, folder) as started:
            deployment.stack.authority = authority.file
            yield Web(deployment, started, origin, certified)


def tone(hertz: float) -> np.ndarray:
    """Half a second that goes on without a seam."""
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE)).astype(np.int16)


async def carrier_hears(carrier: Party, call: int, hertz: float) -> None:
    """Returns once the loudest of the carrier's last half second is this tone."""

    async def is_heard() -> bool:
        last = (await carrier.heard(call)).samples[-RATE // 2 :].astype(float)
        if len(last) < RATE // 2 or np.sqrt(np.mean(last**2)) < 300:
            return False
        return abs(float(np.argmax(np.abs(np.fft.rfft(last)))) * 2 - hertz) < 8

    await until(is_heard, timeout_s=30, what=f"the carrier hears {hertz} Hz")


async def test_a_page_registers_calls_a_number_both_hear_each_other_hold_and_take_back_and_the_page_hangs_up(web: Web) -> None:
    async with web.deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier, web.phone() as there:
        await there.expect("connected", "registered")
        await there.do("call", f"sip:{FAR_NUMBER}@acme.{DOMAIN}")
        call = (await carrier.expect("incoming"))["call"]
        await there.expect("session local", "accepted remote", "confirmed local")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        row = await web.row()
        assert row["agent_leg"]["media"] == "dtls-srtp"

        await there.do("hold")
        await until(lambda: _is_quiet(carrier, call), timeout_s=30, what="the carrier hears the page no more")
        await there.do("unhold")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))

        await there.do("hangUp")
        await carrier.expect_state(call, "disconnected")
        await there.expect("ended local Terminated")


def udp_ports() -> set[int]:
    """The local UDP ports of this machine that anybody listens on."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}


async def test_a_page_is_served_on_a_port_that_is_shared_which_was_there_before_its_call(web: Web) -> None:
    async with web.deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier, web.phone() as there:
        await there.expect("connected", "registered")
        before = udp_ports()
        await there.do("call", f"sip:{FAR_NUMBER}@acme.{DOMAIN}")
        call = (await carrier.expect("incoming"))["call"]
        await there.expect("confirmed local")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        answer: str = await there.page.evaluate("() => here.session.connection.remoteDescription.sdp")
        (section,) = [line for line in answer.splitlines() if line.startswith("m=audio")]
        assert int(section.split()[1]) in before
        await there.do("hangUp")
        await carrier.expect_state(call, "disconnected")


async def _is_quiet(carrier: Party, call: int) -> bool:
    last = (await carrier.heard(call)).samples[-RATE // 2 :].astype(float)
    return abs(float(np.argmax(np.abs(np.fft.rfft(last)))) * 2 - PAGE) > 20


async def test_a_page_is_called_from_the_network_answers_and_the_network_hangs_up(web: Web) -> None:
    async with web.deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier, web.phone() as there:
        await there.expect("registered")
        host, port = web.deployment.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        await there.expect("session remote")
        await there.do("answer")
        await carrier.expect_state(call, "confirmed")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        await carrier.hangup(call)
        await there.expect("ended remote Terminated")


async def test_a_page_whose_connection_broke_comes_back_and_its_call_goes_on_until_the_carrier_ends_it(web: Web) -> None:
    async with web.deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier, web.phone() as there:
        await there.expect("registered")
        await there.do("call", f"sip:{FAR_NUMBER}@acme.{DOMAIN}")
        call = (await carrier.expect("incoming"))["call"]
        await there.expect("confirmed local")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        await there.do("drop")
        await there.expect("connected", "disconnected", "connected", "registered")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        await carrier.hangup(call)
        await there.expect("registered", "ended remote Terminated")


async def test_a_page_whose_gateway_was_killed_comes_back_to_the_next_one_and_its_call_goes_on_until_the_carrier_ends_it(web: Web) -> None:
    async with web.deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier, web.phone() as there:
        await there.expect("registered")
        await there.do("call", f"sip:{FAR_NUMBER}@acme.{DOMAIN}")
        call = (await carrier.expect("incoming"))["call"]
        await there.expect("confirmed local")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        await killed(web.deployment)
        await there.expect("connected", "disconnected", "connected", "registered")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, call, PAGE))
        await carrier.hangup(call)
        await there.expect("registered", "ended remote Terminated")

        async def reason() -> object:
            return (await web.row())["end_reason"]

        assert await until(reason, what="the call's row tells how it ended") == "bye-peer"


async def test_a_wrong_password_is_not_registered(web: Web) -> None:
    async with web.phone(password="guessed") as there:
        await there.expect("connected", "registrationFailed 401")


async def test_a_page_of_another_origin_is_not_let_in(web: Web) -> None:
    async with page_server(web.certified) as other, web.phone(origin=other) as there:
        await there.expect("disconnected")
        assert "connected" not in await there.events()


async def test_a_call_is_transferred_to_a_page_and_by_the_page_to_another_phone(web: Web) -> None:
    async with (
        web.deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier,
        web.phone() as there,
        web.deployment.phone("ben", speech=tone(660)) as ben,
    ):
        await there.expect("connected", "registered")
        call = await ben.call(web.deployment.uri(FAR_NUMBER))
        theirs = (await carrier.expect("incoming"))["call"]
        await ben.expect_state(call, "confirmed")
        await ben.tell("transfer", call=call, to=web.deployment.uri("anna"))
        await there.expect("session remote")
        await there.do("answer")
        await ben.expect_state(call, "disconnected")
        await asyncio.gather(there.hears(CARRIER), carrier_hears(carrier, theirs, PAGE))

        seen = len(ben.events)
        await there.page.evaluate("target => { here.session.refer(target); }", web.deployment.uri("ben"))
        his = (await ben.expect("incoming", since=seen))["call"]
        await ben.expect_state(his, "confirmed")
        await there.expect("ended remote Terminated")
        await carrier_hears(carrier, theirs, 660)
        await ben.hangup(his)
        await carrier.expect_state(theirs, "disconnected")
