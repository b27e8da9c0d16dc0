"""Asking a gateway under test for calls, as the API does."""

from dataclasses import dataclass
from typing import Any

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.call_requests import Begun, CallRequests, Outcome
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.vault.keyring import Keyring
from tests.polling import until
from tests.services.listening import Ear
from tests.services.running import FAR_NUMBER, ROOT, Peer, World, local_media

GERMAN_ONLY = ("DE",)
BRITISH = "+442079460123"
CUBAN = "+5371234567"


@dataclass
class Office:
    """The API's side of a world."""

    world: World
    requests: CallRequests

    @classmethod
    async def of(cls, world: World) -> "Office":
        keys = ROOT.role_keys(opener=False)
        main, keyring_db = await world.databases.connect("main", "api"), await world.databases.connect("keyring", "api")
        requests = CallRequests(main, Keyring(keyring_db, keys), SystemClock(), SystemRandom())
        await requests.listen()
        return cls(world, requests)

    async def click(self, to: str, agent: str = "anna", **more: Any) -> Outcome:
        org = self.world.organisation
        return await self.requests.ask(org.id, org.by_username[agent].id, to, actor="api-key:x", **more)

    async def begun(self, to: str = FAR_NUMBER, agent: str = "anna", **more: Any) -> LiveCall:
        outcome = await self.click(to, agent, **more)
        assert isinstance(outcome, Begun), outcome
        live = self.world.gateway.calling.find(outcome.call_id)
        assert live is not None
        return live


async def allow(world: World, *countries: str) -> None:
    """Change the list, and wait until the gateway knows."""
    org = world.organisation
    async with world.owner.organisation(org.id) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = $1", list(countries))
    await until(lambda: world.organisation.rules.version > org.rules.version, what="the gateway knows the list")


@dataclass
class Talk:
    """A call that was clicked: the agent's phone and the carrier, both with an ear."""

    live: LiveCall
    phone: Peer
    near: DialogKey
    far: DialogKey
    agent_ear: Ear
    far_ear: Ear


async def ringing(office: Office, phone: Peer, to: str = FAR_NUMBER, **more: Any) -> tuple[LiveCall, sip.RequestReceived]:
    """It is begun, and the agent's phone rings."""
    live = await office.begun(to, phone.user, **more)
    return live, await phone.expect(sip.RequestReceived)


async def talking(office: Office, phone: Peer, to: str = FAR_NUMBER, **more: Any) -> Talk:
    """Both have answered."""
    live, rung = await ringing(office, phone, to, **more)
    agent_ear, far_ear = Ear(), Ear()
    near, media = phone.accept(rung, srtp=Srtp.REQUIRED, local=local_media(agent_ear.port))
    agent_ear.agree(media)
    await phone.expect(sip.AckReceived)
    world = office.world
    far, media = world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(far_ear.port, keys=False))
    far_ear.agree(media)
    await world.carrier.expect(sip.AckReceived)
    return Talk(live, phone, near, far, agent_ear, far_ear)
