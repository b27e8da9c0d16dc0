"""An attended transfer between calls on two threads of hushwire-media: the consulted browser chooses another way, and both are heard."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.demo.party import Party
from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.sip.flow import Transport
from tests.databases import Databases
from tests.interop.authorities import ThrowAway
from tests.interop.test_web_phone import carrier_hears, tone
from tests.interop.web_phone import browser, need_bundle, page_server, web_phone
from tests.polling import until
from tests.services.running import HOST, World, need_program, running
from tests.services.test_beside import Apart

pytestmark = [pytest.mark.interop, need_program]
PAGE, BEN, SUE = 440, 660, 880


async def phone(world: World, user: str, hertz: float) -> Party:
    party = await Party.start(user, transport="udp", speech=tone(hertz))
    await party.tell(
        "account", uri=f"sip:{user}@{HOST}", proxy=f"sip:127.0.0.1:{world.port};transport=udp;lr", username=user,
        password=f"{user}s-password", srtp="mandatory", registrar=f"sip:{HOST};transport=udp",
    )  # fmt: skip
    assert (await party.expect("registration"))["status"] == 200
    return party


async def test_a_browser_that_was_consulted_on_another_thread_comes_into_the_call_and_both_hear_each_other(
    databases: Databases, tmp_path: Path
) -> None:
    need_bundle()
    authority = ThrowAway.make(tmp_path / "authority")
    certified = authority.certify(address="127.0.0.1")
    async with page_server(certified) as origin, browser(authority, tmp_path) as started:
        environ = {
            "HUSHWIRE_SIP__LISTEN": '["udp://127.0.0.1:0", "wss://127.0.0.1:0"]', "HUSHWIRE_SIP__ORIGINS": f'["{origin}"]',
            "HUSHWIRE_TLS__CERTIFICATE": str(certified.certificate), "HUSHWIRE_TLS__KEY": str(certified.key),
        }  # fmt: skip
        async with running(databases, tmp_path, "--workers", "4", environ=environ) as world:
            world.gateway.calling._media.neighbours = Apart()
            wss = world.gateway.endpoint.addresses[Transport.WSS].port
            options: dict[str, Any] = {
                "url": f"wss://127.0.0.1:{wss}/",
                "uri": f"sip:anna@{HOST}",
                "password": "annas-password",
                "hertz": PAGE,
            }
            async with (
                web_phone(started, origin, **options) as page,
                await phone(world, "ben", BEN) as ben,
                await phone(world, "sue", SUE) as sue,
            ):
                await page.expect("registered")
                call = await ben.call(f"sip:103@{HOST}")
                theirs = (await sue.expect("incoming"))["call"]
                await ben.expect_state(call, "confirmed")
                (host,) = world.gateway.calling.live
                consulted = await ben.call(f"sip:101@{HOST}")
                await page.expect("session remote")
                await page.do("answer")
                await ben.expect_state(consulted, "confirmed")
                (consultation,) = (live for live in world.gateway.calling.live if live is not host)
                await until(lambda: consultation.call.state is State.ACTIVE, what="they talk")
                assert consultation.call.leg(Side.CALLEE) in consultation.shared_legs
                assert not await world.gateway.link.client.is_beside(host.id, consultation.id)
                await ben.tell("transfer", call=call, replaces=consulted)
                await ben.expect_state(call, "disconnected", timeout_s=20)
                await ben.expect_state(consulted, "disconnected")
                await asyncio.gather(page.hears(SUE), carrier_hears(sue, theirs, PAGE))
                await sue.hangup(theirs)
                await page.expect("ended")
