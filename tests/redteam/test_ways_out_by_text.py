"""Texts are a way out as calls are: by the API and by MESSAGE, every trick is tried; the proof is what the carrier's centre was given."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from hushwire.app.demo.party import Party
from hushwire.app.demo.stack import DOMAIN
from tests.deployments import Deployment, need_module, start_deployment
from tests.interop.message_centre import MessageCentre, message_centre, need_centre
from tests.polling import until
from tests.redteam.campaigns import Stack, Way, tricks
from tests.redteam.phones import Phone
from tests.redteam.sipp_attacker import REFUSED, Stacks
from tests.redteam.tricks import ALLOWED
from tests.redteam.ways import ATTACKER, MORE, PROVISIONING, whole

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]
HOST = f"acme.{DOMAIN}"
OURS = "+493023125000"
CENTRE = """
[[message_centres]]
name = "texts"
system_id = "esme"
password = "secret"
links = [{{ host = "127.0.0.1", port = {centre}, tls = false }}]

"""
NUMBER = """
[[orgs.numbers]]
number = "{ours}"
to = "anna"
"""


@dataclass
class House:
    """A running hushwire, and the message centre of its carrier."""

    deployment: Deployment
    centre: MessageCentre

    async def only(self, count: int) -> None:
        """The centre was given this many texts, each for a number that is allowed; nothing else is on its way."""

        def given() -> list[str]:
            return [event["to"] for event in self.centre.events("submit")]

        await until(lambda: len(given()) >= count, timeout_s=20, what=f"{count} texts at the carrier's")
        async with self.deployment.database("main") as main:

            async def is_settled() -> bool:
                return not await main.fetchval("SELECT count(*) FROM message_parts WHERE state IN ('queued', 'sending')")

            await until(is_settled, timeout_s=20, what="nothing is on its way")
        assert set(given()) <= {"442079460123", "493023125999"}
        assert len(given()) == count


@pytest_asyncio.fixture(loop_scope="session")
async def house() -> AsyncIterator[House]:
    need_centre()
    async with message_centre() as centre:
        provisioning = CENTRE.replace("{centre}", str(centre.port)) + PROVISIONING + NUMBER.format(ours=OURS)
        async with start_deployment(more=MORE, provisioning=provisioning) as deployment:
            await centre.event("bind")
            yield House(deployment, centre)


async def test_no_text_gets_out_by_the_api_nor_from_a_phone(house: House) -> None:
    api = house.deployment.api()
    sent = told = 0
    for trick in tricks(Way.SMS, Stack.API):
        body = {"to": trick.sent.format(host=HOST), "text": "hello", "agent": "anna"}
        refused = await api.ask("POST", "/v1/messages", body)
        assert 400 <= refused.status < 500, (trick.name, refused.body)
        many = {"recipients": [{"to": body["to"]}], "text": "hello", "agent": "anna"}
        refused = await api.ask("POST", "/v1/messages/bulk", many)
        # What is longer than any number is refused as a whole; all else recipient by recipient.
        assert refused.status == 422 or (refused.status, refused.json()["accepted"]) == (202, 0), (trick.name, refused.body)
        told += refused.status == 202
    assert told > len(tricks(Way.SMS, Stack.API)) / 2
    answer = await api.ask("POST", "/v1/messages", {"to": ALLOWED, "text": "hello", "agent": "anna"})
    assert answer.status == 202, answer.body
    sent += 1
    await house.only(sent)
    # Whoever asks for no more texts is obeyed, and answered only where texts may go.
    for source in ("33612345678", "882161234567", "19005551234", "447011234567", "15125550123"):
        house.centre.do("deliver", pdu={"source_addr": source, "source_addr_ton": 1, "destination_addr": OURS[1:], "short_message": "STOP"})
    await house.centre.event("delivered", 5)
    for count, word in enumerate(("STOP", "START"), 6):
        there = {"source_addr": "442079460123", "source_addr_ton": 1}
        house.centre.do("deliver", pdu=there | {"destination_addr": OURS[1:], "short_message": word})
        await house.centre.event("delivered", count)
        sent += 1
    assert {event["status"] for event in house.centre.events("delivered")} == {0}
    await house.only(sent)
    anna = await Phone(user="anna", password="anna's secret", host=HOST, gateway=house.deployment.stack.sip("udp")).bind()
    try:
        assert await anna.register() == 200
        for trick in tricks(Way.MESSAGE, Stack.RAW):
            assert await anna.message(whole(trick.sent), "hello") >= 400, trick.name
            assert await anna.message(whole(trick.twin), "hello") == 202, trick.name
            sent += 1
        await house.only(sent)
    finally:
        anna.close()


async def test_no_text_of_pjsip_or_sipp_gets_out(house: House, tmp_path: Path) -> None:
    need_module("pjsua2")
    gateway, sent = house.deployment.stack.sip("udp"), 0
    async with await Party.start("anna", program=ATTACKER, transport="udp") as anna:
        await anna.tell(
            "account", uri=f"sip:anna@{HOST}", proxy=f"sip:{gateway[0]}:{gateway[1]};transport=udp;lr", username="anna",
            password="anna's secret", srtp="off", registrar=f"sip:{HOST};transport=udp",
        )  # fmt: skip
        assert (await anna.expect("registration"))["status"] == 200

        async def text(uri: str) -> int:
            since = len(anna.events)
            await anna.tell("message", to=uri, text="hello")
            return int((await anna.expect("texted", since=since))["status"])

        for trick in tricks(Way.MESSAGE, Stack.PJSIP):
            assert await text(whole(trick.sent)) >= 400, trick.name
        await house.only(0)
        for trick in tricks(Way.MESSAGE, Stack.PJSIP):
            assert await text(whole(trick.twin)) == 202, trick.name
            sent += 1
        await house.only(sent)
    stacks = Stacks(gateway[1], tmp_path)
    for trick in tricks(Way.MESSAGE, Stack.SIPP):
        await stacks.text(whole(trick.sent), REFUSED)
    await house.only(sent)
    for trick in tricks(Way.MESSAGE, Stack.SIPP):
        await stacks.text(whole(trick.twin), (202,))
        sent += 1
    await house.only(sent)
