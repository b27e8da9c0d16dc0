"""Hearing one's messages, step by step."""

from uuid import UUID

from hushwire.calls.mailbox import (
    WAIT_S,
    CallBack,
    Ended,
    Erase,
    Event,
    Found,
    Gone,
    HangUp,
    Look,
    MailboxListening,
    MarkHeard,
    NotCalledBack,
    Phase,
    Play,
    Pressed,
    Prompt,
    Say,
    Unplayable,
    Wait,
    WaitIsOver,
)

FIRST, SECOND = UUID(int=1), UUID(int=2)


def visit(*events: Event) -> MailboxListening:
    machine = MailboxListening()
    assert machine.begin() == [Look()]
    for event in events:
        machine.handle(event)
    return machine


def playing(*events: Event) -> MailboxListening:
    return visit(Found((FIRST, SECOND), 1), Ended(was_heard=True), *events)


def test_an_empty_mailbox_says_so_and_hangs_up() -> None:
    machine = visit()
    assert machine.handle(Found((), 0)) == [Say(Prompt.EMPTY)]
    assert machine.handle(Ended(was_heard=True)) == [HangUp()]


def test_who_presses_nothing_hears_all_and_each_is_heard_from_then_on() -> None:
    machine = visit()
    assert machine.handle(Found((FIRST, SECOND), 2)) == [Say(Prompt.NEW)]
    assert machine.handle(Ended(was_heard=True)) == [Play(FIRST)]
    assert machine.handle(Ended(was_heard=True)) == [MarkHeard(FIRST), Say(Prompt.MENU)]
    assert machine.handle(Ended(was_heard=True)) == [Wait(WAIT_S)]
    assert machine.handle(WaitIsOver()) == [Play(SECOND)]
    assert machine.handle(Ended(was_heard=True)) == [MarkHeard(SECOND), Wait(WAIT_S)]
    assert machine.handle(WaitIsOver()) == [Say(Prompt.END)]
    assert machine.handle(Ended(was_heard=False)) == [HangUp()]


def test_keys_work_while_a_message_is_heard_and_after_it() -> None:
    assert playing().handle(Pressed("1")) == [MarkHeard(FIRST), Play(SECOND)]
    assert playing().handle(Pressed("2")) == [Play(FIRST)]
    assert playing().handle(Pressed("7")) == [Erase(FIRST), Say(Prompt.DELETED)]
    assert playing(Ended(was_heard=True)).handle(Pressed("7")) == [Erase(FIRST), Say(Prompt.DELETED)]
    assert playing(Pressed("7")).handle(Ended(was_heard=True)) == [Play(SECOND)]
    for key in ("#", "*"):
        assert playing().handle(Pressed(key)) == [HangUp()]
    assert playing().handle(Pressed("9")) == []


def test_what_was_deleted_is_not_deleted_or_heard_again_by_a_second_key() -> None:
    machine = playing(Pressed("7"))
    assert machine.handle(Pressed("7")) == []
    assert machine.handle(Pressed("2")) == []
    assert machine.handle(Pressed("1")) == [Play(SECOND)]


def test_a_message_that_can_not_be_had_stays_new_and_one_that_is_erased_ends_at_once() -> None:
    machine = playing()
    assert machine.handle(Unplayable()) == [Say(Prompt.UNPLAYABLE)]
    assert machine.handle(Ended(was_heard=True)) == [Play(SECOND)]
    assert playing().handle(Gone()) == [Play(SECOND)]
    assert playing().handle(Ended(was_heard=False)) == [Say(Prompt.MENU)], "what was cut off was not heard"


def test_before_the_first_message_a_key_passes_what_is_said_and_deletes_nothing() -> None:
    machine = visit(Found((FIRST,), 0))
    assert machine.handle(Pressed("7")) == []
    assert machine.handle(Pressed("1")) == [Play(FIRST)]
    assert machine.phase is Phase.PLAYING


def test_a_key_calls_who_left_it_back_and_where_that_fails_the_visit_goes_on_at_that_message() -> None:
    listening = MailboxListening()
    listening.begin()
    first = UUID(int=1)
    listening.handle(Found((first, UUID(int=2)), 2))
    listening.handle(Ended(was_heard=True))
    assert listening.handle(Pressed("8")) == [MarkHeard(first), CallBack(first)]
    assert listening.handle(Pressed("2")) == [], "it is being called"
    assert listening.handle(NotCalledBack()) == [Play(first)], "what was pressed meanwhile counts"
    assert listening.handle(Pressed("8")) == [MarkHeard(first), CallBack(first)]
    assert listening.handle(NotCalledBack()) == [Wait(WAIT_S)]
    assert listening.handle(Pressed("#")) == [HangUp()]
