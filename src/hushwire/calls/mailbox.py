"""Hearing one's own messages: new ones first, one after another, each ended, repeated or deleted by a key. Pure; beside the call's machine.

    LOOKING -> SAYING (how many there are) -> PLAYING (a message) -> ASKING (what next) -> PLAYING ... -> SAYING (no more) -> OVER

Keys work at any time from the first message on: 1 the next one, 2 once more, 7 delete, 8 call who left it, # or * end. Who presses nothing
hears the next one.
"""

from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from hushwire.core.values import frozen

END: Final = frozenset({"#", "*"})
WAIT_S: Final = 4.0
"""How long a key is waited for after a message."""


class Phase(StrEnum):
    """Where it stands."""

    LOOKING = "looking"
    SAYING = "saying"
    PLAYING = "playing"
    ASKING = "asking"
    CALLING = "calling"
    LEAVING = "leaving"
    OVER = "over"


class Prompt(StrEnum):
    """What is said; the names of `services/sound_library.VOICEMAIL_WORDS`."""

    EMPTY = "empty"
    NEW = "new"
    OLD = "old"
    MENU = "menu"
    DELETED = "deleted"
    UNPLAYABLE = "unplayable"
    END = "end"
    NOT_CALLED = "not-called"


# What happens.


@frozen
class Found:
    """What lies in the mailbox, in the order in which it is to be heard; `new` of them were not heard yet."""

    messages: tuple[UUID, ...]
    new: int


@frozen
class Ended:
    """What was begun last, a prompt or a message, is not played any more, or could not be."""

    was_heard: bool


@frozen
class Unplayable:
    """The message can't be had now."""


@frozen
class Gone:
    """The message was erased while it was played."""


@frozen
class NotCalledBack:
    """Who left the message is not called back, and the owner was told why."""


@frozen
class Pressed:
    """A key."""

    digit: str


@frozen
class WaitIsOver:
    """No key came."""


Event = Found | Ended | Unplayable | Gone | NotCalledBack | Pressed | WaitIsOver


# What is to be done.


@frozen
class Look:
    """Find the messages; Found follows."""


@frozen
class Say:
    """Let the caller hear a prompt, instead of whatever it hears; Ended follows."""

    prompt: Prompt


@frozen
class Play:
    """Let the caller hear a message, instead of whatever it hears; Ended, Unplayable or Gone follows."""

    message: UUID


@frozen
class MarkHeard:
    """The message was heard."""

    message: UUID


@frozen
class Erase:
    """The message is to go for good."""

    message: UUID


@frozen
class CallBack:
    """Call who left the message; NotCalledBack follows, or the visit is over."""

    message: UUID


@frozen
class Wait:
    """WaitIsOver after so many seconds."""

    seconds: float


@frozen
class HangUp:
    """There is nothing more."""


Effect = Look | Say | Play | MarkHeard | Erase | CallBack | Wait | HangUp


class MailboxListening:
    """One visit. `begin`, then `handle` each event; both give what to do, in order."""

    def __init__(self) -> None:
        self.phase = Phase.LOOKING
        self._messages: tuple[UUID, ...] = ()
        self._at = -1
        self._was_told = False
        self._later: str | None = None

    def begin(self) -> list[Effect]:
        """The owner was answered."""
        return [Look()]

    def handle(self, event: Event) -> list[Effect]:
        """What follows; nothing where it has no meaning any more."""
        match self.phase:
            case Phase.LOOKING:
                return self._looking(event)
            case Phase.SAYING | Phase.PLAYING | Phase.ASKING:
                return self._key(event.digit) if isinstance(event, Pressed) else self._going_on(event)
            case Phase.CALLING:
                return self._calling(event)
            case Phase.LEAVING:
                return self._over() if isinstance(event, (Ended, Pressed)) else []
            case Phase.OVER:
                return []
            case _:
                assert_never(self.phase)

    def _calling(self, event: Event) -> list[Effect]:
        if isinstance(event, Pressed):
            self._later = event.digit  # who hears why not may press on already
        if not isinstance(event, NotCalledBack):
            return []
        later, self._later = self._later, None
        steps = self._ask()
        return steps if later is None else self._key(later) or steps

    def _looking(self, event: Event) -> list[Effect]:
        if not isinstance(event, Found):
            return []
        self._messages = event.messages
        if not event.messages:
            return self._leave(Prompt.EMPTY)
        self.phase = Phase.SAYING
        return [Say(Prompt.NEW if event.new else Prompt.OLD)]

    def _going_on(self, event: Event) -> list[Effect]:
        match self.phase, event:
            case Phase.SAYING, Ended():
                return self._next()
            case Phase.PLAYING, Ended(was_heard):
                heard: list[Effect] = [MarkHeard(self._messages[self._at])] if was_heard else []
                return [*heard, *self._ask()]
            case Phase.PLAYING, Unplayable():
                self.phase = Phase.SAYING
                return [Say(Prompt.UNPLAYABLE)]
            case Phase.PLAYING, Gone():
                return self._next()
            case Phase.ASKING, Ended():
                return [Wait(WAIT_S)]
            case Phase.ASKING, WaitIsOver():
                return self._next()
            case _:
                return []

    def _key(self, digit: str) -> list[Effect]:
        if digit in END:
            return self._over()
        if self._at < 0:
            return self._next() if digit == "1" else []
        message = self._messages[self._at]
        match digit:
            case "1":
                # Who passes a message on has heard enough of it.
                return [*([MarkHeard(message)] if self.phase is not Phase.SAYING else []), *self._next()]
            case "2" if self.phase is not Phase.SAYING:
                self.phase = Phase.PLAYING
                return [Play(message)]
            case "8" if self.phase is not Phase.SAYING:
                self.phase = Phase.CALLING
                return [MarkHeard(message), CallBack(message)]
            case "7" if self.phase is not Phase.SAYING:
                self.phase = Phase.SAYING
                return [Erase(message), Say(Prompt.DELETED)]
            case _:
                return []

    def _next(self) -> list[Effect]:
        self._at += 1
        if self._at >= len(self._messages):
            return self._leave(Prompt.END)
        self.phase = Phase.PLAYING
        return [Play(self._messages[self._at])]

    def _ask(self) -> list[Effect]:
        self.phase = Phase.ASKING
        if self._was_told:
            return [Wait(WAIT_S)]
        self._was_told = True
        return [Say(Prompt.MENU)]

    def _leave(self, prompt: Prompt) -> list[Effect]:
        self.phase = Phase.LEAVING
        return [Say(prompt)]

    def _over(self) -> list[Effect]:
        self.phase = Phase.OVER
        return [HangUp()]
