"""The four transaction machines by themselves: timers, and no transition outside their tables."""

import random

import pytest

from hushwire.sip.invite_client import InviteClient
from hushwire.sip.invite_server import InviteServer
from hushwire.sip.message import Request, Response
from hushwire.sip.parse import parse
from hushwire.sip.request_client import RequestClient
from hushwire.sip.request_server import RequestServer
from hushwire.sip.timers import Timer, Timings
from hushwire.sip.transaction import Failed, State, Transaction
from tests.sip.world import answer, request_text

Machine = InviteClient | RequestClient | InviteServer | RequestServer


def request(method: str) -> Request:
    message = parse(request_text(method))
    assert isinstance(message, Request)
    return message


def response(to: Request, status: int) -> Response:
    message = parse(answer(to, status))
    assert isinstance(message, Response)
    return message


def drive(machine: Machine, chance: random.Random) -> set[tuple[State, State]]:
    """Feed whatever may come, in any order; the transitions seen."""
    seen: set[tuple[State, State]] = set()
    now = 0.0
    ack = parse(request_text("ACK"))
    assert isinstance(ack, Request)

    def note(before: State) -> None:
        if machine.state is not before:
            seen.add((before, machine.state))

    before = machine.state
    machine.start(now)
    note(before)
    for _ in range(30):
        before = machine.state
        status = chance.choice([100, 180, 200, 302, 486, 503])
        kind = chance.random()
        if kind < 0.3:
            now += chance.choice([0.1, 1.0, 10.0, 64.0])
            machine.fire(now)
        elif isinstance(machine, InviteClient | RequestClient):
            machine.receive(response(machine.request, status), now)
        elif kind < 0.6:
            machine.receive(ack if chance.random() < 0.5 and isinstance(machine, InviteServer) else machine.request, now)
        else:
            machine.respond(status, b"response", now)
        note(before)
        if machine.state is State.TERMINATED:
            assert machine.deadline() is None
            break
    return seen


@pytest.mark.parametrize("is_reliable", [True, False])
@pytest.mark.parametrize(
    ("kind", "method"), [(InviteClient, "INVITE"), (RequestClient, "OPTIONS"), (InviteServer, "INVITE"), (RequestServer, "OPTIONS")]
)
def test_only_transitions_of_the_table_happen_and_all_of_them_do(kind: type[Machine], method: str, is_reliable: bool) -> None:
    seen: set[tuple[State, State]] = set()
    for seed in range(300):
        seen |= drive(kind(request(method), Timings(), is_reliable=is_reliable), random.Random(seed))
    assert seen <= kind.TRANSITIONS
    table = kind.TRANSITIONS
    if is_reliable:
        # Timers D, I, J and K are zero over reliable transports: those states are passed through at once.
        skipped = {State.COMPLETED, State.CONFIRMED} if kind is not InviteServer else {State.CONFIRMED}
        table = frozenset(pair for pair in table if not skipped & set(pair))
    assert table <= seen | {(State.PROCEEDING, State.TERMINATED), (State.TRYING, State.TERMINATED)}


def test_timer_d_is_at_least_32_s_and_timer_k_is_t4() -> None:
    invite = InviteClient(request("INVITE"), Timings(), is_reliable=False)
    invite.start(0.0)
    invite.receive(response(invite.request, 486), 1.0)
    assert invite.timers == {Timer.D: 33.0}
    options = RequestClient(request("OPTIONS"), Timings(), is_reliable=False)
    options.start(0.0)
    options.receive(response(options.request, 200), 1.0)
    assert options.timers == {Timer.K: 6.0}


def test_a_request_that_is_being_worked_on_is_repeated_every_t2() -> None:
    options = RequestClient(request("OPTIONS"), Timings(), is_reliable=False)
    options.start(0.0)
    options.receive(response(options.request, 100), 0.1)
    times = []
    while (at := options.deadline()) is not None and at < 20:
        if options.fire(at):
            times.append(at)
    assert times == [0.5, 4.5, 8.5, 12.5, 16.5]


def test_timer_h_gives_up_on_an_ack_that_never_comes() -> None:
    invite = InviteServer(request("INVITE"), Timings(), is_reliable=True)
    invite.start(0.0)
    invite.respond(486, b"no", 1.0)
    assert invite.fire(33.0) == [Failed(Timer.H)]
    assert invite.state is State.TERMINATED


def test_the_base_machine_knows_no_timers() -> None:
    with pytest.raises(NotImplementedError):
        base = Transaction(Timings(), is_reliable=True)
        base.timers[Timer.A] = 0.0
        base.fire(1.0)
