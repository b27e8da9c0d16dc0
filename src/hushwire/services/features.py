"""Feature codes: what an agent dials to have something done rather than to reach somebody. One table; `[features]` may name other codes.

A code begins with * or #, so it is nobody's extension and no number. Emergency numbers are looked at before any code.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hushwire.core.personal import Personal
from hushwire.core.values import frozen, replace
from hushwire.services.forwarding import Forwarding

_CODE: Final = re.compile(r"[*#][0-9*#]{1,5}", re.ASCII)


class Feature(StrEnum):
    """What a code does. The word is the key in `[features]`."""

    ECHO = "echo"
    MAILBOX = "mailbox"
    GREETING = "greeting"
    LEAVE_MESSAGE = "leave_message"
    CONFERENCE = "conference"
    HIDE_CALLER = "hide_caller"
    SHOW_CALLER = "show_caller"
    FORWARD_ALWAYS = "forward_always"
    FORWARD_ALWAYS_OFF = "forward_always_off"
    FORWARD_BUSY = "forward_busy"
    FORWARD_BUSY_OFF = "forward_busy_off"
    FORWARD_NO_ANSWER = "forward_no_answer"
    FORWARD_NO_ANSWER_OFF = "forward_no_answer_off"
    DO_NOT_DISTURB = "do_not_disturb"
    DO_NOT_DISTURB_OFF = "do_not_disturb_off"
    CALL_WAITING = "call_waiting"
    CALL_WAITING_OFF = "call_waiting_off"
    PARK = "park"
    PARK_SLOT = "park_slot"
    PICKUP = "pickup"
    ASK_ACCESS = "ask_access"


@frozen
class _Row:
    """The code by default, and whether something must follow it: a number, a room."""

    code: str
    takes: bool = False


TABLE: Final[Mapping[Feature, _Row]] = {
    Feature.ECHO: _Row("*43"),
    Feature.MAILBOX: _Row("*97"),
    Feature.GREETING: _Row("*96"),
    Feature.LEAVE_MESSAGE: _Row("*98", takes=True),
    Feature.CONFERENCE: _Row("*88", takes=True),
    Feature.HIDE_CALLER: _Row("*31", takes=True),
    Feature.SHOW_CALLER: _Row("*82", takes=True),
    Feature.FORWARD_ALWAYS: _Row("*72", takes=True),
    Feature.FORWARD_ALWAYS_OFF: _Row("*73"),
    Feature.FORWARD_BUSY: _Row("*90", takes=True),
    Feature.FORWARD_BUSY_OFF: _Row("*91"),
    Feature.FORWARD_NO_ANSWER: _Row("*92", takes=True),
    Feature.FORWARD_NO_ANSWER_OFF: _Row("*93"),
    Feature.DO_NOT_DISTURB: _Row("*78"),
    Feature.DO_NOT_DISTURB_OFF: _Row("*79"),
    Feature.CALL_WAITING: _Row("*70"),
    Feature.CALL_WAITING_OFF: _Row("*71"),
    Feature.PARK: _Row("*68"),
    Feature.PARK_SLOT: _Row("*69", takes=True),
    Feature.PICKUP: _Row("**", takes=True),
    Feature.ASK_ACCESS: _Row("*27"),
}


_KEYS: Final[Mapping[Feature, str]] = {
    Feature.FORWARD_ALWAYS: "always",
    Feature.FORWARD_ALWAYS_OFF: "always",
    Feature.FORWARD_BUSY: "busy",
    Feature.FORWARD_BUSY_OFF: "busy",
    Feature.FORWARD_NO_ANSWER: "no_answer",
    Feature.FORWARD_NO_ANSWER_OFF: "no_answer",
    Feature.DO_NOT_DISTURB: "do_not_disturb",
    Feature.DO_NOT_DISTURB_OFF: "do_not_disturb",
    Feature.CALL_WAITING: "call_waiting",
    Feature.CALL_WAITING_OFF: "call_waiting",
}
SETTINGS: Final = frozenset(_KEYS)
"""Features that change how the agent who dials them is called."""


def changed_by(settings: Forwarding, feature: Feature, wanted: Personal[str] | None) -> Forwarding:
    """The settings once a feature of SETTINGS was dialled; `wanted` is where calls are to go, for one that takes it."""
    key = _KEYS[feature]
    is_switch = key in ("do_not_disturb", "call_waiting")
    value = feature in (Feature.DO_NOT_DISTURB, Feature.CALL_WAITING) if is_switch else wanted
    return replace(settings, **{key: value})  # type: ignore[arg-type]


@frozen
class Dialled:
    """A feature, and what was dialled behind its code."""

    feature: Feature
    argument: str = ""


class Features:
    """The codes of a deployment. Raises ValueError, in one sentence, for codes that are none or that clash."""

    def __init__(self, codes: Mapping[Feature, str] | None = None) -> None:
        chosen = {feature: row.code for feature, row in TABLE.items()} | dict(codes or {})
        self._codes = {feature: code for feature, code in chosen.items() if code}
        for feature, code in self._codes.items():
            if not _CODE.fullmatch(code):
                raise ValueError(f'{feature} = "{code}": a code is * or # and then one to five of 0-9, * and #; "" switches it off')
        for feature, code in self._codes.items():
            for other, another in self._codes.items():
                if feature is not other and code == another:
                    raise ValueError(f'{feature} and {other} have the same code "{code}"')
                if feature is not other and TABLE[feature].takes and another.startswith(code):
                    raise ValueError(f'{feature} = "{code}" takes what is dialled behind it, and {other} = "{another}" begins so too')
        self._exact = {code: feature for feature, code in self._codes.items() if not TABLE[feature].takes}
        self._before = {code: feature for feature, code in self._codes.items() if TABLE[feature].takes}
        self._lengths = sorted({len(code) for code in self._before}, reverse=True)

    def code(self, feature: Feature) -> str | None:
        """How it is dialled; None where it is switched off."""
        return self._codes.get(feature)

    def read(self, dialled: str) -> Dialled | None:
        """The feature that a dial string asks for; None where it asks for none."""
        if dialled[:1] not in ("*", "#"):
            return None
        if (found := self._exact.get(dialled)) is not None:
            return Dialled(found)
        for length in self._lengths:
            if len(dialled) > length and (found := self._before.get(dialled[:length])) is not None:
                return Dialled(found, dialled[length:])
        return None


DEFAULT: Final = Features()
