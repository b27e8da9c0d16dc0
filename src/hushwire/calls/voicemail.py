"""Taking a message: a caller whom nobody answers hears a greeting and a tone, and speaks. Pure; beside the call's own machine.

    GREETING -> BEGINNING (the recording) -> TAKING -> OVER

The recording runs before the tone is heard: the tone is the promise that what follows is kept, and nobody's first word is lost. Nothing is
recorded of who neither heard the greeting nor cut it short by a key. A message ends by `#`, when its caller says no more, when it is as
long as it may be, or with the call.
"""

from enum import StrEnum
from typing import Final, assert_never

from hushwire.core.values import frozen


@frozen
class Lengths:
    """How long what may take, in seconds. `least_s`: with less speech than this there is no message."""

    longest_s: float = 180.0
    silence_s: float = 6.0
    least_s: float = 1.0


class Phase(StrEnum):
    """Where it stands."""

    GREETING = "greeting"
    BEGINNING = "beginning"
    TAKING = "taking"
    OVER = "over"


# What happens.


@frozen
class Greeted:
    """The greeting is not played any more. `was_heard`: to its end."""

    was_heard: bool


@frozen
class Recording:
    """The recording runs, or could not be begun."""

    is_on: bool


@frozen
class Pressed:
    """The caller pressed a key."""

    digit: str


@frozen
class Quiet:
    """For so long the caller has said nothing."""

    seconds: float


@frozen
class TimeIsUp:
    """The message is as long as it may be."""


Event = Greeted | Recording | Pressed | Quiet | TimeIsUp


# What is to be done.


@frozen
class PlayGreeting:
    """Let the caller hear the greeting; Greeted follows."""


@frozen
class StopGreeting:
    """The caller has heard enough of it; Greeted, which follows all the same, says nothing new."""


@frozen
class Record:
    """Record the caller from now on; Recording follows."""


@frozen
class Beep:
    """Let the caller hear the tone."""


@frozen
class Listen:
    """Tell how long the caller is quiet, now and then, and TimeIsUp after so many seconds."""

    longest_s: float


@frozen
class HangUp:
    """It is over. `is_kept`: there may be a message."""

    is_kept: bool


Effect = PlayGreeting | StopGreeting | Record | Beep | Listen | HangUp

END_KEY: Final = "#"


class MessageTaking:
    """One message. `begin`, then `handle` each event; both give what to do, in order."""

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self.phase = Phase.GREETING

    def begin(self) -> list[Effect]:
        """The caller was answered."""
        return [PlayGreeting()]

    def resume(self, taken_s: float) -> list[Effect]:
        """Go on with a message that another process was taking, for so long already."""
        self.phase = Phase.TAKING
        return [Listen(max(1.0, self._lengths.longest_s - taken_s))]

    def handle(self, event: Event) -> list[Effect]:
        """What follows; nothing where it has no meaning any more."""
        match self.phase:
            case Phase.GREETING:
                return self._greeting(event)
            case Phase.BEGINNING:
                return self._beginning(event)
            case Phase.TAKING:
                return self._taking(event)
            case Phase.OVER:
                return []
            case _:
                assert_never(self.phase)

    def _greeting(self, event: Event) -> list[Effect]:
        match event:
            case Greeted(was_heard):
                if not was_heard:
                    return self._end(is_kept=False)
                self.phase = Phase.BEGINNING
                return [Record()]
            case Pressed(digit) if digit == END_KEY:
                self.phase = Phase.BEGINNING
                return [StopGreeting(), Record()]
            case _:
                return []

    def _beginning(self, event: Event) -> list[Effect]:
        match event:
            case Recording(is_on):
                if not is_on:
                    return self._end(is_kept=False)
                self.phase = Phase.TAKING
                return [Beep(), Listen(self._lengths.longest_s)]
            case _:
                return []

    def _taking(self, event: Event) -> list[Effect]:
        match event:
            case Pressed(digit) if digit == END_KEY:
                return self._end(is_kept=True)
            case Quiet(seconds) if seconds >= self._lengths.silence_s:
                return self._end(is_kept=True)
            case TimeIsUp():
                return self._end(is_kept=True)
            case _:
                return []

    def _end(self, *, is_kept: bool) -> list[Effect]:
        self.phase = Phase.OVER
        return [HangUp(is_kept)]
