"""Limits as they are set: JSON of a row, of a request or of a provisioning file, and what they make of the defaults. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from hushwire.policy.breaker import (
    COUNTED,
    EACH_AGENT,
    EACH_TEAM,
    OF_TEXTS,
    ORGANISATION,
    STANDING,
    Action,
    Bound,
    Bounds,
    LimitBook,
    Signal,
)

MOST: Final = 1_000_000_000
LEVELS: Final = ("organisation", "each-team", "each-agent", "team", "agent")
_OF_TEXTS: Final = (Action.OFF, Action.WARN, Action.REFUSE)
_DEFAULTS: Final[Mapping[str, Bounds]] = {
    "organisation": ORGANISATION,
    "each-team": EACH_TEAM,
    "team": EACH_TEAM,
    "each-agent": EACH_AGENT,
    "agent": EACH_AGENT,
}


class LimitsUnreadableError(ValueError):
    """What was given are no limits: its words say where and why."""


def signals_of(level: str) -> frozenset[Signal]:
    """What may be set at a level: teams and organisations are held to counts alone, and texts are of no team."""
    if level in ("agent", "each-agent"):
        return frozenset(Signal)
    return COUNTED | OF_TEXTS if level == "organisation" else COUNTED


def read(said: Any, level: str) -> dict[Signal, Bound]:
    """Bounds as they are given: `{"concurrent-calls": {"most": 5, "action": "refuse"}}`, either of the two left out for its default.

    `"off"` stands for `{"action": "off"}`. Raises LimitsUnreadableError.
    """
    if not isinstance(said, Mapping):
        raise LimitsUnreadableError("limits must be an object of signals")
    found: dict[Signal, Bound] = {}
    allowed = signals_of(level)
    for name, value in said.items():
        if name not in allowed:
            names = ", ".join(sorted(allowed))
            raise LimitsUnreadableError(f"there is no such limit of {_words(level)}; there are: {names}")
        signal = Signal(name)
        default = _DEFAULTS[level][signal]
        if value == "off":
            value = {"action": "off"}
        if not isinstance(value, Mapping) or not set(value) <= {"most", "action"}:
            raise LimitsUnreadableError(f'{name}: must be an object with most and action, or "off"')
        found[signal] = Bound(_most(signal, value.get("most", default.most)), _action(signal, value.get("action", default.action.value)))
    return found


def is_default(name: str, said: Any, level: str) -> bool:
    """Whether a limit says what holds at the level anyway. Raises LimitsUnreadableError for what is no limit."""
    return all(_DEFAULTS[level][signal] == bound for signal, bound in read({name: said}, level).items())


def written(bounds: Bounds) -> dict[str, dict[str, float | str | None]]:
    """Bounds as they are kept and shown."""
    return {signal.value: {"most": bound.most, "action": bound.action.value} for signal, bound in sorted(bounds.items())}


def book(rows: Iterable[tuple[str, UUID, Mapping[str, Any]]]) -> LimitBook:
    """The limits of an organisation from its rows: level, subject, bounds. Each level's own stand over those of each."""
    own: dict[str, dict[UUID, dict[Signal, Bound]]] = {level: {} for level in LEVELS}
    for level, subject_id, said in rows:
        own[level][subject_id] = read(said, level)

    def of_all(level: str) -> Bounds:
        return {**_DEFAULTS[level], **next(iter(own[level].values()), {})}

    each_team, each_agent = of_all("each-team"), of_all("each-agent")
    return LimitBook(
        of_all("organisation"),
        each_team,
        each_agent,
        {subject: {**each_team, **bounds} for subject, bounds in own["team"].items()},
        {subject: {**each_agent, **bounds} for subject, bounds in own["agent"].items()},
    )


def _most(signal: Signal, value: Any) -> float | None:
    if value is None or signal in STANDING:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= MOST:
        raise LimitsUnreadableError(f"{signal.value}: most must be a number from 0 to {MOST}, or null for no limit")
    return float(value)


def _action(signal: Signal, value: Any) -> Action:
    try:
        action = Action(value)
    except ValueError:
        raise LimitsUnreadableError(f"{signal.value}: action must be one of {', '.join(Action)}") from None
    if signal in OF_TEXTS and action not in _OF_TEXTS:
        raise LimitsUnreadableError(f"{signal.value}: action must be one of {', '.join(_OF_TEXTS)}: a text is no call to cut")
    return action


def _words(level: str) -> str:
    return {"organisation": "an organisation", "each-team": "each team", "team": "a team", "each-agent": "each agent", "agent": "an agent"}[
        level
    ]
