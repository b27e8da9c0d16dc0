"""Making one's own greeting by phone: the present one is heard, another recorded, heard, and kept or not. Pure; beside the call's machine.

    LOOKING -> HEARING (the present one) -> ASKING
    LOOKING -> TELLING -> BEGINNING (the recording) -> TAKING -> ENDING -> HEARING (the draft) -> ASKING -> LEAVING -> OVER

Keys, once something was recorded or there is a greeting: 1 keep, 2 again, 3 remove. Only what its owner heard, or could have, and kept by a
key is played to callers. Who hangs up before that leaves everything as it was: whoever runs this discards drafts that were not kept.
"""

from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from hushwire.core.values import frozen

LONGEST_S: Final = 60.0
"""No greeting is longer: who calls waits for its end."""
WAIT_S: Final = 8.0
"""How long a key is waited for, twice; then nothing changes."""


class Phase(StrEnum):
    """Where it stands."""

    LOOKING = "looking"
    TELLING = "telling"
    BEGINNING = "beginning"
    TAKING = "taking"
    ENDING = "ending"
    HEARING = "hearing"
    ASKING = "asking"
    CHANGING = "changing"
    LEAVING = "leaving"
    OVER = "over"


class Prompt(StrEnum):
    """What is said; names of `services/sound_library.VOICEMAIL_WORDS`."""

    RECORD = "greeting-record"
    MENU = "greeting-menu"
    KEPT = "greeting-kept"
    REMOVED = "greeting-removed"
    UNCHANGED = "greeting-unchanged"
    FAILED = "greeting-failed"
    UNPLAYABLE = "unplayable"


# What happens.


@frozen
class Found:
    """The greeting that callers hear now; None: the agent has none of its own."""

    greeting: UUID | None


@frozen
class Ended:
    """What was begun last, a prompt or a greeting, is not played any more, or could not be."""


@frozen
class Recording:
    """The recording runs, or could not be begun."""

    is_on: bool


@frozen
class Recorded:
    """The recording has ended, and this is what there is of it; None: nothing that can be used."""

    draft: UUID | None


@frozen
class Changed:
    """What was to change did, or could not."""

    is_done: bool


@frozen
class Pressed:
    """A key."""

    digit: str


@frozen
class TimeIsUp:
    """The greeting is as long as it may be."""


@frozen
class WaitIsOver:
    """No key came."""


Event = Found | Ended | Recording | Recorded | Changed | Pressed | TimeIsUp | WaitIsOver


# What is to be done.


@frozen
class Look:
    """Find the present greeting; Found follows."""


@frozen
class Say:
    """Let the owner hear a prompt, instead of whatever it hears; Ended follows."""

    prompt: Prompt


@frozen
class Play:
    """Let the owner hear a greeting, instead of whatever it hears; Ended follows."""

    greeting: UUID


@frozen
class Record:
    """Record the owner from now on; Recording follows."""


@frozen
class Beep:
    """Let the owner hear the tone, and tell TimeIsUp after so many seconds."""

    longest_s: float


@frozen
class Stop:
    """End the recording; Recorded follows."""


@frozen
class Keep:
    """Callers hear this from now on; Changed follows."""

    draft: UUID


@frozen
class Discard:
    """A draft is to go for good."""

    draft: UUID


@frozen
class Remove:
    """Callers hear none of the agent's own from now on, and it is to go for good; Changed follows."""


@frozen
class Wait:
    """WaitIsOver after so many seconds."""

    seconds: float


@frozen
class HangUp:
    """There is nothing more."""


Effect = Look | Say | Play | Record | Beep | Stop | Keep | Discard | Remove | Wait | HangUp


class GreetingMaking:
    """One visit. `begin` or `resume`, then `handle` each event; all give what to do, in order."""

    def __init__(self) -> None:
        self.phase = Phase.LOOKING
        self._draft: UUID | None = None
        self._asked = 0
        self._says = Prompt.KEPT

    def begin(self) -> list[Effect]:
        """The owner was answered."""
        return [Look()]

    def resume(self) -> list[Effect]:
        """Go on with a greeting that another process was recording: it ends here, and its owner hears what there is of it."""
        self.phase = Phase.ENDING
        return [Stop()]

    def handle(self, event: Event) -> list[Effect]:
        """What follows; nothing where it has no meaning any more."""
        match self.phase:
            case Phase.LOOKING:
                return self._looking(event)
            case Phase.TELLING | Phase.BEGINNING | Phase.TAKING | Phase.ENDING:
                return self._recording(event)
            case Phase.HEARING | Phase.ASKING:
                return self._asking(event)
            case Phase.CHANGING:
                return self._changing(event)
            case Phase.LEAVING:
                return self._over() if isinstance(event, (Ended, Pressed)) else []
            case Phase.OVER:
                return []
            case _:
                assert_never(self.phase)

    def _looking(self, event: Event) -> list[Effect]:
        if not isinstance(event, Found):
            return []
        if event.greeting is None:
            return self._tell()
        self.phase = Phase.HEARING
        return [Play(event.greeting)]

    def _recording(self, event: Event) -> list[Effect]:
        match self.phase, event:
            case (Phase.TELLING, Ended()) | (Phase.TELLING, Pressed("#")):
                self.phase = Phase.BEGINNING
                return [Record()]
            case Phase.BEGINNING, Recording(is_on):
                if not is_on:
                    return self._leave(Prompt.FAILED)
                self.phase = Phase.TAKING
                return [Beep(LONGEST_S)]
            case (Phase.TAKING, Pressed("#")) | (Phase.TAKING, TimeIsUp()):
                self.phase = Phase.ENDING
                return [Stop()]
            case Phase.ENDING, Recorded(draft):
                if draft is None:
                    return self._leave(Prompt.FAILED)
                self._draft, self._asked, self.phase = draft, 0, Phase.HEARING
                return [Play(draft)]
            case _:
                return []

    def _asking(self, event: Event) -> list[Effect]:
        match event:
            case Pressed(digit):
                return self._key(digit)
            case Ended() if self.phase is Phase.HEARING:
                self.phase = Phase.ASKING
                return [Say(Prompt.MENU)]
            case Ended():
                return [Wait(WAIT_S)]
            case WaitIsOver():
                self._asked += 1
                return [Say(Prompt.MENU)] if self._asked < 2 else [*self._without_draft(), *self._leave(Prompt.UNCHANGED)]
            case _:
                return []

    def _key(self, digit: str) -> list[Effect]:
        match digit:
            case "1" if self._draft is not None:
                return self._change(Keep(self._draft), Prompt.KEPT)
            case "1":
                return self._leave(Prompt.UNCHANGED)
            case "2":
                return [*self._without_draft(), *self._tell()]
            case "3":
                return [*self._without_draft(), *self._change(Remove(), Prompt.REMOVED)]
            case "#" | "*":
                return [*self._without_draft(), *self._leave(Prompt.UNCHANGED)]
            case _:
                return []

    def _changing(self, event: Event) -> list[Effect]:
        if not isinstance(event, Changed):
            return []
        if event.is_done:
            self._draft = None
            return self._leave(self._says)
        return [*self._without_draft(), *self._leave(Prompt.FAILED)]

    def _tell(self) -> list[Effect]:
        self.phase, self._asked = Phase.TELLING, 0
        return [Say(Prompt.RECORD)]

    def _change(self, change: Effect, then: Prompt) -> list[Effect]:
        self.phase, self._says = Phase.CHANGING, then
        return [change]

    def _without_draft(self) -> list[Effect]:
        draft, self._draft = self._draft, None
        return [] if draft is None else [Discard(draft)]

    def _leave(self, prompt: Prompt) -> list[Effect]:
        self.phase = Phase.LEAVING
        return [Say(prompt)]

    def _over(self) -> list[Effect]:
        self.phase = Phase.OVER
        return [HangUp()]
