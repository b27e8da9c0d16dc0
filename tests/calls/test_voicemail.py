"""Taking a message, step by step."""

from hushwire.calls.voicemail import (
    Beep,
    Event,
    Greeted,
    HangUp,
    Lengths,
    Listen,
    MessageTaking,
    Phase,
    PlayGreeting,
    Pressed,
    Quiet,
    Record,
    Recording,
    StopGreeting,
    TimeIsUp,
)

LENGTHS = Lengths(longest_s=60, silence_s=4)


def taking(*events: Event) -> MessageTaking:
    machine = MessageTaking(LENGTHS)
    assert machine.begin() == [PlayGreeting()]
    for event in events:
        machine.handle(event)
    return machine


def test_the_tone_is_heard_only_once_the_recording_runs() -> None:
    machine = taking()
    assert machine.handle(Greeted(was_heard=True)) == [Record()]
    assert machine.handle(Recording(is_on=True)) == [Beep(), Listen(60)]


def test_who_could_not_be_told_that_it_is_recorded_is_not_recorded() -> None:
    assert taking().handle(Greeted(was_heard=False)) == [HangUp(is_kept=False)]


def test_who_cuts_the_greeting_short_hears_the_tone_at_once_and_is_recorded_once() -> None:
    machine = taking()
    assert machine.handle(Pressed("1")) == []
    assert machine.handle(Pressed("#")) == [StopGreeting(), Record()]
    assert machine.handle(Greeted(was_heard=False)) == []
    assert machine.handle(Pressed("#")) == []
    assert machine.handle(Recording(is_on=True)) == [Beep(), Listen(60)]


def test_without_a_recording_there_is_no_tone() -> None:
    assert taking(Greeted(was_heard=True)).handle(Recording(is_on=False)) == [HangUp(is_kept=False)]


def test_a_message_ends_by_its_key_by_silence_and_by_its_length() -> None:
    for end in (Pressed("#"), Quiet(4.0), TimeIsUp()):
        machine = taking(Greeted(was_heard=True), Recording(is_on=True), Quiet(3.9), Pressed("5"))
        assert machine.phase is Phase.TAKING
        assert machine.handle(end) == [HangUp(is_kept=True)]
        assert [machine.handle(event) for event in (Pressed("#"), Quiet(9), TimeIsUp())] == [[], [], []]


def test_another_process_goes_on_with_what_is_left_of_the_time() -> None:
    machine = MessageTaking(LENGTHS)
    assert machine.resume(45.0) == [Listen(15.0)]
    assert machine.handle(Quiet(4.0)) == [HangUp(is_kept=True)]
    assert MessageTaking(LENGTHS).resume(900.0) == [Listen(1.0)]
