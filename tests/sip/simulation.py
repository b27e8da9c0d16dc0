"""Two engines over a network that loses, doubles, delays and reorders, and users above them who do whatever they are told by chance.

Nothing here waits: time goes on to whatever is next. `settle` ends all that is under way, after which nothing may be left of it.
"""

import heapq
import random
from dataclasses import dataclass, field

from hushwire.sip.effects import (
    Accepted,
    CancelReceived,
    DialogEnded,
    DialogKey,
    DialogTimedOut,
    Effect,
    InDialogRequest,
    InviteId,
    Notified,
    Rejected,
    RequestId,
    RequestReceived,
    Responded,
    Send,
    SubscriptionEnded,
    SubscriptionId,
    SubscriptionRefreshed,
    TxId,
)
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.sip.refer import sipfrag
from hushwire.sip.uri import parse_sip_uri
from hushwire.sip.useragent import UserAgent, UserAgentConfig
from tests.sip.world import ANNA, BOB, OFFER, SeededRandom

ADDRESSES = (Address("192.0.2.1", 5060), Address("192.0.2.2", 5060))
CARL = parse_sip_uri("sip:carl@example.com")
MOST_STEPS = 100_000


@dataclass
class User:
    """What the layer above one engine knows."""

    waiting: dict[TxId, Request] = field(default_factory=dict)
    invites: dict[InviteId, str] = field(default_factory=dict)
    requests: dict[RequestId, str] = field(default_factory=dict)
    calls: list[DialogKey] = field(default_factory=list)
    taken: list[SubscriptionId] = field(default_factory=list)
    asked: list[SubscriptionId] = field(default_factory=list)


class Simulation:
    """Two engines, one clock, datagrams on their way."""

    def __init__(self, seed: int, loss: float, session_expires_s: int = 1800) -> None:
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.users = (User(), User())
        self.agents = [
            UserAgent(
                UserAgentConfig(
                    sent_by={Transport.UDP: address}, session_expires_s=session_expires_s, supported=("100rel", "timer", "replaces")
                ),
                SeededRandom(2 * seed + n),
            )
            for n, address in enumerate(ADDRESSES)
        ]
        self._flying: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    # --------------------------------------------------------------------------------------------------------- users

    def invite(self, at: int, *, reliably: bool = False, with_offer: bool = True, replaces: DialogKey | None = None) -> None:
        headers = [("Require", "100rel")] if reliably else []
        if replaces is not None:
            headers.append(("Replaces", f"{replaces.call_id};to-tag={replaces.remote_tag};from-tag={replaces.local_tag}"))
        target = Target(Transport.UDP, *ADDRESSES[1 - at])
        body = OFFER if with_offer else b""
        made = self.agents[at].invite(hop=target, uri="sip:bob@example.com", from_=ANNA, to=BOB, now=self.now, body=body, headers=headers)
        self.users[at].invites[made] = "open"
        self.pump()

    def respond(self, at: int, tx: TxId, status: int) -> None:
        user = self.users[at]
        request = user.waiting[tx]
        if status >= 200:
            del user.waiting[tx]
        is_described = request.method in ("INVITE", "UPDATE") and 180 < status < 300
        key = self.agents[at].respond(tx, status, now=self.now, body=OFFER if is_described else b"")
        if key is not None and request.method == "INVITE" and 200 <= status < 300 and key not in user.calls:
            user.calls.append(key)
        self.pump()

    def take_subscription(self, at: int, tx: TxId) -> None:
        user = self.users[at]
        del user.waiting[tx]
        taken = self.agents[at].accept_subscription(tx, now=self.now, longest_s=300)
        if taken is not None:
            user.taken.append(taken)
            self.agents[at].notify(taken, now=self.now, body=sipfrag(100), content_type="message/sipfrag")
        self.pump()

    def notify(self, at: int, subscription: SubscriptionId, *, is_final: bool) -> None:
        if not self.agents[at].notify(subscription, now=self.now, body=sipfrag(200), content_type="message/sipfrag", is_final=is_final):
            self.users[at].taken.remove(subscription)
        self.pump()

    def cancel(self, at: int, invite: InviteId) -> None:
        self.agents[at].cancel(invite, now=self.now)
        self.pump()

    def ask(self, at: int, what: str, key: DialogKey) -> None:
        """A re-INVITE, UPDATE, INFO or REFER in a call."""
        agent, user = self.agents[at], self.users[at]
        made: RequestId | None = None
        if what == "reinvite":
            made = agent.reinvite(key, now=self.now, body=OFFER)
        elif what == "late-offer":
            made = agent.reinvite(key, now=self.now, body=b"")
        elif what == "update":
            made = agent.update(key, now=self.now, body=OFFER)
        elif what == "refer":
            asked = agent.refer(key, CARL, now=self.now)
            if asked is not None:
                made = asked[0]
                user.asked.append(asked[1])
        else:
            made = agent.request(key, "INFO", now=self.now)
        if made is not None:
            user.requests[made] = "open"
        self.pump()

    def subscribe(self, at: int) -> None:
        target = Target(Transport.UDP, *ADDRESSES[1 - at])
        headers = [("Event", "message-summary"), ("Expires", "120")]
        agent = self.agents[at]
        contact = agent._core.contact(target)
        made = agent.send(
            "SUBSCRIBE", hop=target, uri="sip:bob@example.com", from_=ANNA, to=BOB, now=self.now, headers=headers, contact=contact
        )
        self.users[at].requests[made] = "open"
        self.pump()

    def bye(self, at: int, key: DialogKey) -> None:
        user = self.users[at]
        user.calls.remove(key)
        made = self.agents[at].bye(key, now=self.now)
        if made is not None:
            user.requests[made] = "open"
        self.pump()

    # -------------------------------------------------------------------------------------------------------- network

    def pump(self) -> None:
        """Carry out and take note of everything, as often as it causes more."""
        busy = True
        while busy:
            busy = False
            for at, agent in enumerate(self.agents):
                for effect in agent.drain():
                    busy = True
                    self._carry(at, effect)

    def _carry(self, at: int, effect: Effect) -> None:
        user, agent = self.users[at], self.agents[at]
        match effect:
            case Send():
                for _ in range(2 if self.chance.random() < 0.05 else 1):
                    if self.chance.random() >= self.loss:
                        self._count += 1
                        heapq.heappush(self._flying, (self.now + self.chance.uniform(0.001, 0.9), self._count, 1 - at, effect.data))
            case RequestReceived() | InDialogRequest():
                user.waiting[effect.tx] = effect.request
            case CancelReceived():
                user.waiting.pop(effect.tx, None)
            case Accepted():
                assert user.invites[effect.invite] == "open"
                user.invites[effect.invite] = "accepted"
                user.calls.append(effect.dialog)
                if agent._core.sessions[effect.dialog].ack_due is not None:
                    agent.ack(effect.dialog, now=self.now, body=OFFER)
            case Rejected():
                assert user.invites[effect.invite] == "open"
                user.invites[effect.invite] = "rejected"
            case Responded():
                assert user.requests[effect.request] == "open"
                user.requests[effect.request] = "done"
                for key, session in agent._core.sessions.items():
                    if session.ack_due is not None:
                        agent.ack(key, now=self.now, body=OFFER)
            case DialogEnded() | DialogTimedOut():
                if effect.dialog in user.calls:
                    user.calls.remove(effect.dialog)
            case SubscriptionEnded():
                for known in (user.taken, user.asked):
                    if effect.subscription in known:
                        known.remove(effect.subscription)
            case Notified():
                if effect.is_over:
                    user.asked.remove(effect.subscription)
            case SubscriptionRefreshed():
                agent.notify(effect.subscription, now=self.now, body=b"state", content_type="text/plain")
            case _:
                pass

    def step(self) -> bool:
        """Go on to whatever is next; False where nothing is left to happen."""
        times = [at for agent in self.agents if (at := agent.deadline()) is not None]
        if self._flying:
            times.append(self._flying[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self._flying and self._flying[0][0] <= self.now:
            _, _, to, data = heapq.heappop(self._flying)
            self.agents[to].receive(parse(data), Flow(Transport.UDP, 1, ADDRESSES[to], ADDRESSES[1 - to]), self.now)
            self.pump()
        for agent in self.agents:
            agent.handle_timer(self.now)
        self.pump()
        return True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(MOST_STEPS):
            times = [at for agent in self.agents if (at := agent.deadline()) is not None] + [item[0] for item in self._flying[:1]]
            if not times or min(times) > end:
                break
            self.step()
        self.now = max(self.now, end)

    def settle(self) -> None:
        """All that is open is ended by its users, then nothing may be left."""
        for _ in range(MOST_STEPS):
            for at, user in enumerate(self.users):
                for tx in list(user.waiting):
                    self.respond(at, tx, 486)
                for invite, state in list(user.invites.items()):
                    if state == "open":
                        self.cancel(at, invite)
                for key in list(user.calls):
                    self.bye(at, key)
                for subscription in list(user.taken):
                    self.notify(at, subscription, is_final=True)
            if not self.step():
                break
        self.assert_nothing_is_left()

    def assert_nothing_is_left(self) -> None:
        for agent, user in zip(self.agents, self.users, strict=True):
            assert agent.deadline() is None
            assert set(user.invites.values()) <= {"accepted", "rejected"}
            assert set(user.requests.values()) <= {"done"}
            assert agent._client.transactions == {}
            assert agent._client.invites == {}
            assert agent._server.transactions == {}
            assert agent._server.waiting == {}
            assert agent._server._merged == set()
            assert len(agent._server.answered) == 0
            assert agent._server._unacked == {}
            assert len(agent._subscriptions) == 0
            assert agent._core.watch._due == {}
            assert agent._core.sessions == {}
