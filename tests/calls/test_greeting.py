"""Making one's own greeting, step by step."""

from uuid import UUID

import pytest

from hushwire.calls.greeting import (
    LONGEST_S,
    WAIT_S,
    Beep,
    Changed,
    Discard,
    Ended,
    Event,
    Found,
    GreetingMaking,
    HangUp,
    Keep,
    Look,
    Play,
    Pressed,
    Prompt,
    Record,
    Recorded,
    Recording,
    Remove,
    Say,
    Stop,
    TimeIsUp,
    Wait,
    WaitIsOver,
)

PRESENT, DRAFT, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


def visit(*events: Event) -> GreetingMaking:
    machine = GreetingMaking()
    assert machine.begin() == [Look()]
    for event in events:
        machine.handle(event)
    return machine


def recorded(*events: Event) -> GreetingMaking:
    return visit(Found(None), Ended(), Recording(is_on=True), Pressed("#"), Recorded(DRAFT), *events)


def test_who_has_none_records_one_hears_it_and_keeps_it_by_a_key() -> None:
    machine = visit()
    assert machine.handle(Found(None)) == [Say(Prompt.RECORD)]
    assert machine.handle(Ended()) == [Record()]
    assert machine.handle(Recording(is_on=True)) == [Beep(LONGEST_S)]
    assert machine.handle(Pressed("5")) == []
    assert machine.handle(Pressed("#")) == [Stop()]
    assert machine.handle(Recorded(DRAFT)) == [Play(DRAFT)]
    assert machine.handle(Ended()) == [Say(Prompt.MENU)]
    assert machine.handle(Pressed("1")) == [Keep(DRAFT)]
    assert machine.handle(Changed(is_done=True)) == [Say(Prompt.KEPT)]
    assert machine.handle(Ended()) == [HangUp()]
    assert machine.handle(Pressed("3")) == []


def test_who_has_one_hears_it_and_may_leave_it_as_it_is() -> None:
    machine = visit()
    assert machine.handle(Found(PRESENT)) == [Play(PRESENT)]
    assert machine.handle(Pressed("1")) == [Say(Prompt.UNCHANGED)]
    assert machine.handle(Ended()) == [HangUp()]


def test_another_take_discards_the_one_before() -> None:
    assert recorded().handle(Pressed("2")) == [Discard(DRAFT), Say(Prompt.RECORD)]
    machine = recorded(Pressed("2"), Ended(), Recording(is_on=True))
    assert machine.handle(TimeIsUp()) == [Stop()]
    assert machine.handle(Recorded(OTHER)) == [Play(OTHER)]
    assert machine.handle(Pressed("1")) == [Keep(OTHER)]


def test_the_third_key_removes_the_draft_and_the_greeting() -> None:
    machine = recorded(Ended())
    assert machine.handle(Pressed("3")) == [Discard(DRAFT), Remove()]
    assert machine.handle(Changed(is_done=True)) == [Say(Prompt.REMOVED)]
    assert visit(Found(PRESENT)).handle(Pressed("3")) == [Remove()]


@pytest.mark.parametrize("key", ["#", "*"])
def test_who_leaves_by_a_key_keeps_nothing(key: str) -> None:
    assert recorded().handle(Pressed(key)) == [Discard(DRAFT), Say(Prompt.UNCHANGED)]


def test_who_presses_nothing_is_asked_twice_and_keeps_nothing() -> None:
    machine = recorded(Ended())
    assert machine.handle(Ended()) == [Wait(WAIT_S)]
    assert machine.handle(WaitIsOver()) == [Say(Prompt.MENU)]
    assert machine.handle(Ended()) == [Wait(WAIT_S)]
    assert machine.handle(WaitIsOver()) == [Discard(DRAFT), Say(Prompt.UNCHANGED)]


def test_what_could_not_be_recorded_or_kept_is_told() -> None:
    assert visit(Found(None), Ended()).handle(Recording(is_on=False)) == [Say(Prompt.FAILED)]
    assert visit(Found(None), Ended(), Recording(is_on=True), Pressed("#")).handle(Recorded(None)) == [Say(Prompt.FAILED)]
    assert recorded(Pressed("1")).handle(Changed(is_done=False)) == [Discard(DRAFT), Say(Prompt.FAILED)]


def test_what_another_process_was_recording_ends_and_is_heard() -> None:
    machine = GreetingMaking()
    assert machine.resume() == [Stop()]
    assert machine.handle(Recorded(DRAFT)) == [Play(DRAFT)]
