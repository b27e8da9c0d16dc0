"""The world of all ways out: one running hushwire, a carrier whose socket is the proof, and phones in many hands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest_asyncio

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, bundled
from tests.deployments import Deployment, need_module, start_deployment
from tests.polling import until
from tests.redteam.phones import Dialog, Phone, Socket
from tests.redteam.tricks import ALLOWED, Trick
from tests.redteam.ways import ATTACKER, HOST, MORE, PROVISIONING, SALES

CODES = {"always": "*72", "busy": "*90", "no_answer": "*92"}


@dataclass
class House:
    """A running hushwire, its carrier, and the phones of three agents."""

    deployment: Deployment
    carrier: Socket
    agents: dict[str, str]
    phones: list[Phone] = field(default_factory=list)

    async def phone(self, user: str) -> Phone:
        made = Phone(user=user, password=f"{user}'s secret", host=HOST, gateway=self.deployment.stack.sip("udp"))
        self.phones.append(await made.bind())
        assert await made.register() == 200
        return made

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[tuple[Phone, Dialog, Phone, Dialog]]:
        """Anna and Ben in a call that Anna began; ended afterwards, as far as it still stands."""
        anna, ben = await self.phone("anna"), await self.phone("ben")
        ben.reply = lambda _request: "200"
        status, dialog = await anna.invite(f"sip:102@{HOST}")
        assert status == 200
        assert dialog is not None
        await until(lambda: ben.dialogs, what="Ben's call")
        yield anna, dialog, ben, next(iter(ben.dialogs.values()))
        await anna.within(dialog, "BYE")

    async def forward(self, user: str, **settings: object) -> int:
        answer = await self.deployment.api().ask("PUT", f"/v1/agents/{self.agents[user]}/forwarding", settings)
        return answer.status

    async def allow(self, *countries: str) -> None:
        """Change the list, and wait until the API's own checks know it."""
        api = self.deployment.api()
        await api.put("/v1/voice-security", {"allowed_countries": list(countries)})

        async def known() -> bool:
            said = await api.post("/v1/voice-security/check", {"destination": ALLOWED, "channel": "forward"})
            return (said["verdict"] == "allow") is ("GB" in countries)

        await until(known, timeout_s=10, what="the list in force")

    async def click(self, agent: str, to: str) -> int:
        """Ask by the API that an agent calls somebody; the status."""
        return (await self.deployment.api().ask("POST", "/v1/calls", {"agent": agent, "to": to})).status

    async def hang_up_all(self) -> None:
        """End every call, as an administrator would; nothing of them is on its way any more."""
        api = self.deployment.api()

        async def are_over() -> bool:
            calls = (await api.get("/v1/calls?state=active"))["items"]
            for call in calls:
                await api.ask("POST", f"/v1/calls/{call['id']}/hangup")
            return not calls

        await until(are_over, timeout_s=20, what="all calls are over")

    async def quiet(self, caller: Phone) -> None:
        """What another test set is forgotten: calls to Ben and to his group stay in the house."""

        async def stays() -> bool:
            self.carrier.seen.clear()
            for extension in ("102", SALES):
                await caller.invite(f"sip:{extension}@{HOST}")
            return not self.carrier.seen

        await until(stays, timeout_s=10, what="what another test set is forgotten")

    async def refused(self) -> int:
        """How many calls the judge has refused so far."""
        async with self.deployment.database("main") as main:
            return int(await main.fetchval("SELECT count(*) FROM calls WHERE end_reason = 'refused'"))

    async def refused_are(self, wanted: int) -> bool:
        return await self.refused() == wanted

    async def picked_up(self, caller: Phone, rung: Phone, pick_up: Callable[[], Awaitable[int]]) -> None:
        """The code that picks calls up does so: a colleague's ringing call is taken by it."""
        rung.seen.clear()
        calling = asyncio.create_task(caller.invite(f"sip:103@{HOST}"))
        await until(lambda: any(text.startswith("INVITE ") for text in rung.seen), what="the colleague's phone rings")
        assert await pick_up() == 200
        assert (await calling)[0] == 200

    @asynccontextmanager
    async def away(self, one: Socket) -> AsyncIterator[int]:
        """Its port, which is somebody else's meanwhile."""
        port = one.port
        one.close()
        await until(lambda: one.is_closed, what="the port is free")
        try:
            yield port
        finally:
            await one.bind(port)

    def invited(self) -> list[str]:
        return [text for text in self.carrier.seen if text.startswith("INVITE ")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running() -> AsyncIterator[tuple[Deployment, Socket, dict[str, str]]]:
    async with start_deployment(more=MORE, provisioning=PROVISIONING) as deployment:
        carrier = await Socket().bind(deployment.carrier_port)
        try:
            listed = (await deployment.api().get("/v1/agents"))["items"]
            yield deployment, carrier, {agent["username"]: agent["id"] for agent in listed}
        finally:
            carrier.close()


@pytest_asyncio.fixture(loop_scope="session")
async def house(running: tuple[Deployment, Socket, dict[str, str]]) -> AsyncIterator[House]:
    deployment, carrier, agents = running
    carrier.seen.clear()
    carrier.reply = lambda _request: "486 Busy Here"
    made = House(deployment, carrier, agents)
    for user in agents:
        phone = Phone(user=user, password=f"{user}'s secret", host=HOST, gateway=deployment.stack.sip("udp"))
        await phone.bind()
        assert await phone.register("*", 0) == 200, "no call rings where a test before left a phone"
        phone.close()
    try:
        yield made
        await made.allow("DE", "GB")
        for user in agents:
            assert await made.forward(user) == 200
        await made.hang_up_all()
    finally:
        for phone in made.phones:
            with suppress(TimeoutError):  # calls of the tests that follow must not ring where nobody is
                await phone.register(expires_s=0)
            phone.close()


async def tried(house: House, tricks: Sequence[Trick], attempt: Callable[[str], Awaitable[object]]) -> None:
    """Each trick brings nothing to the carrier; its twin brings an INVITE for the allowed number, and for nothing else."""
    wrong: list[str] = []
    for trick in tricks:
        house.carrier.seen.clear()
        await attempt(trick.sent)
        if house.carrier.seen:
            wrong.append(f"{trick.name}: {trick.sent!r} reached the carrier: {house.carrier.seen[0].splitlines()[0]}")
        house.carrier.seen.clear()
        await attempt(trick.twin)
        asked = {text.split()[1].partition(";")[0] for text in house.invited()}
        if asked != {f"sip:{trick.known_as}@127.0.0.1:{house.deployment.carrier_port}"}:
            wrong.append(f"{trick.name}: {trick.twin!r} brought {sorted(asked) or 'nothing'}")
        wrong += [f"{trick.name}: the carrier reads of 5371234567" for text in house.carrier.seen if "5371234567" in text]
    assert not wrong, "\n".join(wrong)


async def until_reached(house: House, caller: Phone, extension: str) -> None:
    """The setting is known to the gateway within moments, and calls get out by it."""

    async def out() -> bool:
        house.carrier.seen.clear()
        await caller.invite(f"sip:{extension}@{HOST}")
        return bool(house.invited())

    await until(out, timeout_s=10, what="the call that is forwarded to the carrier")


async def until_refused(house: House, caller: Phone, uri: str) -> None:
    async def refused() -> bool:
        return (await caller.invite(uri))[0] == 403

    await until(refused, timeout_s=10, what="the narrower list")


@asynccontextmanager
async def softphone(house: House, user: str) -> AsyncIterator[Party]:
    """An agent's phone of PJSIP."""
    need_module("pjsua2")
    sip = house.deployment.stack.sip("udp")
    async with await Party.start(user, program=ATTACKER, transport="udp", speech=bundled(AGENT)) as party:
        await party.tell(
            "account", uri=f"sip:{user}@{HOST}", proxy=f"sip:{sip[0]}:{sip[1]};transport=udp;lr", username=user,
            password=f"{user}'s secret", srtp="off", registrar=f"sip:{HOST};transport=udp",
        )  # fmt: skip
        assert (await party.expect("registration"))["status"] == 200
        yield party


@asynccontextmanager
async def carrier_of_pjsip(house: House) -> AsyncIterator[Party]:
    """The carrier, as PJSIP would be one: it has the port of the other one meanwhile."""
    need_module("pjsua2")
    async with (
        house.away(house.carrier) as port,
        await Party.start("carrier", program=ATTACKER, transport="udp", port=port, speech=bundled(AGENT)) as party,
    ):
        await party.tell("account", uri=f"sip:carrier@127.0.0.1:{port}", srtp="off")
        yield party


def emptied(house: House, *played: Trick) -> None:
    """Nothing of these came to the carrier."""
    names = ", ".join(trick.name for trick in played)
    assert not house.carrier.seen, f"{names}: {house.carrier.seen[0].splitlines()[0]} reached the carrier"


async def reached_alike(house: House, caller: Phone, extension: str, trick: Trick) -> None:
    """Calls to the extension go on to the number that the trick's twin names, within moments, and to no other from then on."""

    async def out() -> bool:
        house.carrier.seen.clear()
        await caller.invite(f"sip:{extension}@{HOST}")
        return {text.split()[1].partition("@")[0] for text in house.invited()} == {f"sip:{trick.known_as}"}

    await until(out, timeout_s=10, what=f"{trick.name}: the call that is forwarded to the allowed number")
    house.carrier.seen.clear()
