"""Random lives of two engines: whatever their users do and the network loses, each request ends once and nothing is left in the end."""

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.sip.simulation import Simulation

SIDES = st.integers(0, 1)
ASKED = ("reinvite", "late-offer", "update", "info", "refer")


class Lives(RuleBasedStateMachine):
    """Rules are what users may do; between them time passes."""

    simulation: Simulation

    @initialize(seed=st.integers(0, 2**16), loss=st.sampled_from((0.0, 0.05, 0.2, 0.4)), session_expires_s=st.sampled_from((90, 300, 1800)))
    def begin(self, seed: int, loss: float, session_expires_s: int) -> None:
        self.simulation = Simulation(seed, loss, session_expires_s)

    @rule(at=SIDES, reliably=st.booleans(), with_offer=st.booleans())
    def call(self, at: int, reliably: bool, with_offer: bool) -> None:
        self.simulation.invite(at, reliably=reliably, with_offer=with_offer)

    @precondition(lambda self: any(user.waiting for user in self.simulation.users))
    @rule(pick=st.integers(0, 100), status=st.sampled_from((180, 183, 200, 200, 200, 302, 404, 486, 491, 503)))
    def respond(self, pick: int, status: int) -> None:
        waiting = [(at, tx) for at, user in enumerate(self.simulation.users) for tx in user.waiting]
        at, tx = waiting[pick % len(waiting)]
        method = self.simulation.users[at].waiting[tx].method
        if method in ("REFER", "SUBSCRIBE") and status == 200:
            self.simulation.take_subscription(at, tx)
        else:
            self.simulation.respond(at, tx, status if method == "INVITE" or status >= 200 else 200)

    @precondition(lambda self: any(user.calls for user in self.simulation.users))
    @rule(pick=st.integers(0, 100), what=st.sampled_from((*ASKED, "bye", "bye", "replace")))
    def go_on(self, pick: int, what: str) -> None:
        calls = [(at, key) for at, user in enumerate(self.simulation.users) for key in user.calls]
        at, key = calls[pick % len(calls)]
        if what == "bye":
            self.simulation.bye(at, key)
        elif what == "replace":
            self.simulation.invite(at, replaces=key)
        else:
            self.simulation.ask(at, what, key)

    @rule(at=SIDES)
    def cancel(self, at: int) -> None:
        for invite, state in list(self.simulation.users[at].invites.items()):
            if state == "open":
                self.simulation.cancel(at, invite)
                break

    @rule(at=SIDES)
    def subscribe(self, at: int) -> None:
        self.simulation.subscribe(at)

    @precondition(lambda self: any(user.taken for user in self.simulation.users))
    @rule(pick=st.integers(0, 100), is_final=st.booleans())
    def notify(self, pick: int, is_final: bool) -> None:
        taken = [(at, item) for at, user in enumerate(self.simulation.users) for item in user.taken]
        at, subscription = taken[pick % len(taken)]
        self.simulation.notify(at, subscription, is_final=is_final)

    @rule(steps=st.integers(1, 12))
    def a_little_later(self, steps: int) -> None:
        for _ in range(steps):
            if not self.simulation.step():
                break

    @rule(seconds=st.sampled_from((1.0, 33.0, 70.0, 400.0)))
    def later(self, seconds: float) -> None:
        self.simulation.run(seconds)

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.settle()


def test_lives_that_chance_invents_and_shrinks_leave_nothing() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Lives, settings=settings(max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    )


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("block", range(10))
def test_two_thousand_random_lives_leave_nothing(block: int, loss: float) -> None:
    for seed in range(block * 70, (block + 1) * 70):
        live(seed, loss)


def live(seed: int, loss: float) -> None:
    """One life, told by its seed."""
    chance = random.Random(seed)
    simulation = Simulation(seed, loss, chance.choice((90, 600, 1800)))
    for _ in range(chance.randrange(4, 30)):
        at = chance.randrange(2)
        user = simulation.users[at]
        kind = chance.random()
        if user.waiting and kind < 0.35:
            tx = chance.choice(list(user.waiting))
            method = user.waiting[tx].method
            if method in ("REFER", "SUBSCRIBE") and chance.random() < 0.7:
                simulation.take_subscription(at, tx)
            elif method == "INVITE":
                simulation.respond(at, tx, chance.choice((180, 183, 200, 200, 486)))
            else:
                simulation.respond(at, tx, chance.choice((200, 200, 488)))
        elif user.calls and kind < 0.6:
            key = chance.choice(user.calls)
            what = chance.choice((*ASKED, "bye"))
            if what == "bye":
                simulation.bye(at, key)
            else:
                simulation.ask(at, what, key)
        elif kind < 0.75:
            simulation.invite(at, reliably=chance.random() < 0.4, with_offer=chance.random() < 0.8)
        elif kind < 0.8:
            simulation.subscribe(at)
        elif kind < 0.85:
            for invite, state in user.invites.items():
                if state == "open":
                    simulation.cancel(at, invite)
                    break
        elif kind < 0.9:
            simulation.run(chance.choice((5.0, 40.0, 120.0)))
        for _ in range(chance.randrange(0, 10)):
            simulation.step()
    simulation.settle()
