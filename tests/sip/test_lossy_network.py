"""Two user agents over a network that loses, doubles, delays and reorders: every call ends, and nothing is left of it."""

import heapq
import random

import pytest

from hushwire.sip.effects import (
    Accepted,
    AckReceived,
    CancelReceived,
    DialogEnded,
    DialogKey,
    DialogTimedOut,
    Effect,
    InDialogRequest,
    InviteId,
    Rejected,
    RequestReceived,
    Send,
)
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.parse import parse
from hushwire.sip.useragent import UserAgent, UserAgentConfig
from tests.sip.world import ANNA, BOB, OFFER, SeededRandom

ADDRESSES = (Address("192.0.2.1", 5060), Address("192.0.2.2", 5060))


class Network:
    """Two engines, one clock, and datagrams on their way."""

    def __init__(self, seed: int, loss: float) -> None:
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.agents = [
            UserAgent(UserAgentConfig(sent_by={Transport.UDP: address}), SeededRandom(seed + n)) for n, address in enumerate(ADDRESSES)
        ]
        self.flying: list[tuple[float, int, int, bytes]] = []
        self.count = 0
        self.invites: dict[InviteId, str] = {}
        self.confirmed: tuple[set[DialogKey], set[DialogKey]] = (set(), set())

    def pump(self) -> None:
        for at, agent in enumerate(self.agents):
            while effects := agent.drain():
                for effect in effects:
                    self.carry(at, effect)

    def carry(self, at: int, effect: Effect) -> None:
        agent = self.agents[at]
        if isinstance(effect, Send):
            for _ in range(2 if self.chance.random() < 0.05 else 1):
                if self.chance.random() >= self.loss:
                    self.count += 1
                    heapq.heappush(self.flying, (self.now + self.chance.uniform(0.001, 0.9), self.count, 1 - at, effect.data))
        elif isinstance(effect, RequestReceived):
            if self.chance.random() < 0.7:
                agent.respond(effect.tx, 180, now=self.now)
            if self.chance.random() < 0.8:
                key = agent.respond(effect.tx, 200, now=self.now, body=OFFER)
                assert key is not None
                self.confirmed[at].add(key)
            else:
                agent.respond(effect.tx, 486, now=self.now)
        elif isinstance(effect, InDialogRequest):
            agent.respond(effect.tx, 200, now=self.now, body=OFFER)
        elif isinstance(effect, Accepted):
            assert self.invites[effect.invite] == "open"
            self.invites[effect.invite] = "accepted"
            self.confirmed[at].add(effect.dialog)
        elif isinstance(effect, Rejected):
            assert self.invites[effect.invite] == "open"
            self.invites[effect.invite] = "rejected"
        elif isinstance(effect, DialogEnded | DialogTimedOut):
            self.confirmed[at].discard(effect.dialog)
        else:
            assert isinstance(effect, CancelReceived | AckReceived) or effect is not None

    def step(self) -> bool:
        """Go on to whatever is next; False where nothing is left to happen."""
        times = [at for agent in self.agents if (at := agent.deadline()) is not None]
        if self.flying:
            times.append(self.flying[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self.flying and self.flying[0][0] <= self.now:
            _, _, to, data = heapq.heappop(self.flying)
            self.agents[to].receive(parse(data), Flow(Transport.UDP, 1, ADDRESSES[to], ADDRESSES[1 - to]), self.now)
            self.pump()
        for agent in self.agents:
            agent.handle_timer(self.now)
        self.pump()
        return True


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("seed", range(25))
def test_every_call_ends_once_and_leaves_nothing(seed: int, loss: float) -> None:
    network = Network(seed, loss)
    chance = random.Random(seed * 7 + 1)
    for _ in range(12):
        target = Target(Transport.UDP, *ADDRESSES[1])
        invite = network.agents[0].invite(hop=target, uri="sip:bob@192.0.2.2", from_=ANNA, to=BOB, now=network.now, body=OFFER)
        network.invites[invite] = "open"
        network.pump()
        for _ in range(chance.randrange(0, 12)):
            network.step()
        if chance.random() < 0.3:
            network.agents[0].cancel(invite, now=network.now)
        for at in (0, 1):
            for key in list(network.confirmed[at]):
                if chance.random() < 0.3:
                    network.agents[at].reinvite(key, now=network.now, body=OFFER)
                if chance.random() < 0.3:
                    network.agents[at].bye(key, now=network.now)
                    network.confirmed[at].discard(key)
        network.pump()
    for _ in range(20_000):
        if not network.step():
            break
        for at in (0, 1):
            for key in list(network.confirmed[at]):
                network.agents[at].bye(key, now=network.now)
                network.confirmed[at].discard(key)
        network.pump()
    assert "open" not in network.invites.values()
    for agent in network.agents:
        assert agent.deadline() is None
        assert agent._client.transactions == {}
        assert agent._server.transactions == {}
        # A peer whose BYE was lost for good keeps its dialog until it says goodbye itself.
        assert loss == 0.4 or agent._core.sessions == {}
