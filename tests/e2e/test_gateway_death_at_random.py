"""kill -9 of the gateway at random points of set-up, talk, hold and transfer: who talks goes on, and can do all that parties can."""

import asyncio
import os
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from hushwire.app.demo.party import Party, PartyError
from tests.deployments import FAR_NUMBER, Deployment, start_deployment
from tests.e2e.test_gateway_death import calls, killed
from tests.interop.hearing import goes_on
from tests.polling import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ACTIVE, LOCAL_HOLD, REMOTE_HOLD = 1, 2, 3  # pjsua_call_media_status
TESTS, DEATHS = 7, 3
"""The supervisor waits twice as long before each new start of a gateway that dies young."""
PATIENCE_S = 40.0
"""A request of a phone over UDP is sent again for 32 s."""


@dataclass(frozen=True)
class Talker:
    """A party, and its number of the call."""

    party: Party
    call: int

    @property
    def is_gone(self) -> bool:
        return self.was("disconnected")

    def was(self, state: str) -> bool:
        return any(event.get("call") == self.call and event.get("state") == state for event in self.party.events)

    async def gone(self) -> None:
        await self.party.expect_state(self.call, "disconnected", timeout_s=PATIENCE_S)

    async def hangs_up(self) -> None:
        if not self.is_gone:
            await self.party.tell("hangup", call=self.call)
        await self.gone()

    async def sees(self, status: int, since: int) -> None:
        await self.party.expect(
            "media", lambda event: event["call"] == self.call and event["status"] == status, since=since, timeout_s=PATIENCE_S
        )


@dataclass(frozen=True)
class Death:
    """A deployment whose gateway dies again and again, and who calls there: two agents, and the carrier's side."""

    running: Deployment
    chance: random.Random
    anna: Party
    ben: Party
    carrier: Party

    async def dies(self, longest_s: float, phase: str) -> None:
        after_s = self.chance.uniform(0.0, longest_s)
        print(f"killed in {phase} after {after_s:.3f} s")
        await asyncio.sleep(after_s)
        await killed(self.running)

    async def connected(self, to: Party) -> tuple[Talker, Talker]:
        """Anna with the carrier's party, or with ben."""
        seen = len(to.events)
        call = await self.anna.call(self.running.uri(FAR_NUMBER if to is self.carrier else "ben"))
        incoming = await to.expect("incoming", since=seen, timeout_s=PATIENCE_S)
        await self.anna.expect_state(call, "confirmed", timeout_s=PATIENCE_S)
        await to.expect_state(incoming["call"], "confirmed", timeout_s=PATIENCE_S)
        return Talker(self.anna, call), Talker(to, incoming["call"])

    # Where the gateway dies, and who talks afterwards.

    async def set_up(self) -> None:
        seen = len(self.carrier.events)
        near = Talker(self.anna, await self.anna.call(self.running.uri(FAR_NUMBER)))
        await self.dies(0.8, "set-up")
        if near.was("confirmed"):
            far = Talker(self.carrier, (await self.carrier.expect("incoming", since=seen))["call"])
            await self.everything_works(near, far)
            return
        # Whatever the agent believes now, hanging up ends it, and the carrier's side of it too.
        await near.hangs_up()
        for event in [event for event in self.carrier.events[seen:] if event["event"] == "incoming"]:
            await Talker(self.carrier, event["call"]).gone()

    async def talk(self) -> None:
        near, far = await self.connected(self.ben)
        await self.dies(0.5, "talk")
        await self.everything_works(far, near)

    async def hold(self) -> None:
        near, far = await self.connected(self.carrier)
        seen = len(self.anna.events)
        await self.anna.tell("hold", call=near.call)
        await self.dies(0.1, "hold")
        await near.sees(LOCAL_HOLD, seen)
        seen = len(self.anna.events)
        await self.anna.tell("resume", call=near.call)
        await near.sees(ACTIVE, seen)
        await self.everything_works(near, far)

    async def attended(self) -> None:
        near, far = await self.connected(self.carrier)
        consulting, consulted = await self.connected(self.ben)
        await self.anna.tell("transfer", call=near.call, replaces=consulting.call)
        await self.dies(0.06, "attended transfer")
        if await self.was_moved(near):
            await consulting.gone()
            await self.everything_works(consulted, far)
        else:
            await hear_each_other(consulting, consulted)
            await consulting.hangs_up()
            await consulted.gone()
            await self.everything_works(near, far)

    async def blind(self) -> None:
        near, far = await self.connected(self.carrier)
        seen = len(self.ben.events)
        await self.anna.tell("transfer", call=near.call, to=self.running.uri("ben"))
        await self.dies(0.5, "blind transfer")
        if await self.was_moved(near):
            his = Talker(self.ben, (await self.ben.expect("incoming", since=seen))["call"])
            await self.everything_works(his, far)
        else:
            for event in [event for event in self.ben.events[seen:] if event["event"] == "incoming"]:
                await Talker(self.ben, event["call"]).gone()
            await self.everything_works(near, far)

    async def was_moved(self, near: Talker) -> bool:
        """Whether the agent who transferred is out of the call, once that is decided."""

        def told() -> list[int]:
            return [event["status"] for event in self.anna.events if event["event"] == "transferred" and event["call"] == near.call]

        await until(lambda: near.is_gone or told(), timeout_s=PATIENCE_S, what="what became of the transfer")
        if told() and told()[0] // 100 == 2:
            await near.gone()
        return near.is_gone

    # What has to work afterwards.

    async def everything_works(self, agent: Talker, other: Talker) -> None:
        """They hear each other; either holds, resumes and presses keys; the agent transfers the other one, and either ends that."""
        await hear_each_other(agent, other)
        for one, two in ((agent, other), (other, agent)):
            await held_and_resumed(one, two)
            since = len(two.party.events)
            await one.party.tell("dtmf", call=one.call, digits="5")
            await two.party.expect(
                "dtmf", lambda event, two=two: event["call"] == two.call and event["digit"] == "5", since=since, timeout_s=PATIENCE_S
            )
        if other.party is not self.carrier:
            target, name = self.carrier, FAR_NUMBER
        else:
            target, name = (self.ben, "ben") if agent.party is self.anna else (self.anna, "anna")
        seen = len(target.events)
        await agent.party.tell("transfer", call=agent.call, to=self.running.uri(name))
        incoming = await target.expect("incoming", since=seen, timeout_s=PATIENCE_S)
        third = Talker(target, incoming["call"])
        await agent.gone()
        await hear_each_other(third, other)
        first, last = self.chance.sample((third, other), 2)
        await first.hangs_up()
        await last.gone()


async def hear_each_other(*talkers: Talker) -> None:
    await asyncio.gather(*(goes_on(one.party, one.call, 0.8, within_s=PATIENCE_S) for one in talkers))


async def held_and_resumed(one: Talker, two: Talker) -> None:
    for command, here, there in (("hold", LOCAL_HOLD, REMOTE_HOLD), ("resume", ACTIVE, ACTIVE)):
        ours, theirs = len(one.party.events), len(two.party.events)

        async def taken(command: str = command) -> bool:
            try:
                await one.party.tell(command, call=one.call)
            except PartyError:  # what was under way in its dialog is not over yet
                return False
            return True

        await until(taken, timeout_s=20, every_s=0.1, what=f"the phone takes {command!r}")
        await one.sees(here, ours)
        await two.sees(there, theirs)


@pytest.mark.parametrize("number", range(TESTS))
async def test_killed_at_21_random_points_who_talks_goes_on_and_no_call_is_without_its_record(number: int) -> None:
    seed = int(os.environ.get("DEATH_SEED") or random.randrange(1 << 32))
    print(f"DEATH_SEED={seed}")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(start_deployment())
        carrier = await stack.enter_async_context(running.carrier(ring_s=0.3))
        anna = await stack.enter_async_context(running.phone("anna"))
        ben = await stack.enter_async_context(running.phone("ben"))
        await ben.tell("policy", status=200, ring_s=0.2)
        death = Death(running, random.Random(seed), anna, ben, carrier)
        phases = [death.set_up, death.talk, death.hold, death.attended, death.blind]
        for at in range(DEATHS):
            await phases[(DEATHS * number + at) % len(phases)]()
        rung = sum(event["event"] == "incoming" for party in (anna, ben, carrier) for event in party.events)

        async def over() -> bool:
            rows = await calls(running)
            return len(rows) >= rung and all(row["state"] in ("ended", "failed") for row in rows)

        await until(over, timeout_s=30, what=f"each of {rung} calls that rang somewhere has its record, and is over")
