"""Texts are a way out as calls are: by the API and by MESSAGE, every trick is tried; the proof is what the carrier's centre was given."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from hushwire.app.demo.stack import DOMAIN
from tests.deployments import Deployment, start_deployment
from tests.interop.message_centre import MessageCentre, message_centre, need_centre
from tests.polling import until
from tests.redteam.phones import Phone
from tests.redteam.tricks import ALLOWED, NUMBERS, URIS
from tests.redteam.ways import MORE, PROVISIONING, whole

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]
HOST = f"acme.{DOMAIN}"
CENTRE = """
[[message_centres]]
name = "texts"
system_id = "esme"
password = "secret"
links = [{{ host = "127.0.0.1", port = {centre}, tls = false }}]

"""
NUMBER = """
[[orgs.numbers]]
number = "+493023125000"
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
        assert set(given()) <= {"442079460123", "493023125999"}
        assert len(given()) == count
        async with self.deployment.database("main") as main:
            assert not await main.fetchval("SELECT count(*) FROM message_parts WHERE state IN ('queued', 'sending')")


@pytest_asyncio.fixture(loop_scope="session")
async def house() -> AsyncIterator[House]:
    need_centre()
    async with message_centre() as centre:
        provisioning = CENTRE.replace("{centre}", str(centre.port)).replace("{{", "{{").replace("}}", "}}") + PROVISIONING + NUMBER
        async with start_deployment(more=MORE, provisioning=provisioning) as deployment:
            await centre.event("bind")
            yield House(deployment, centre)


async def test_no_text_gets_out_by_the_api_nor_from_a_phone(house: House) -> None:
    api = house.deployment.api()
    sent = 0
    for trick in NUMBERS:
        body = {"to": trick.sent.format(host=HOST), "text": "hello", "agent": "anna"}
        refused = await api.ask("POST", "/v1/messages", body)
        assert 400 <= refused.status < 500, (trick.name, refused.body)
        refused = await api.ask("POST", "/v1/messages/bulk", {"to": [body["to"]], "text": "hello", "agent": "anna"})
        assert refused.status >= 400 or not refused.json()["accepted"], (trick.name, refused.body)
    answer = await api.ask("POST", "/v1/messages", {"to": ALLOWED, "text": "hello", "agent": "anna"})
    assert answer.status == 202, answer.body
    sent += 1
    await house.only(sent)
    anna = await Phone(user="anna", password="anna's secret", host=HOST, gateway=house.deployment.stack.sip("udp")).bind()
    try:
        assert await anna.register() == 200
        for trick in (*NUMBERS, *URIS):
            assert await anna.message(whole(trick.sent), "hello") >= 400, trick.name
            assert await anna.message(whole(trick.twin), "hello") == 202, trick.name
            sent += 1
        await house.only(sent)
    finally:
        anna.close()
