"""What a verdict costs: uncached, where phonenumbers is asked, and remembered; for plain rules and for all that rules can hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hushwire.policy.judge import Judge, decide
from hushwire.policy.model import Attempt, Channel, OwnHosts
from hushwire.policy.rules import Level, Rules, Term, Window
from hushwire.services.risk_packs import RiskPacks

OWN = OwnHosts(frozenset({"pbx.test"}))
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NUMBERS = ("030123456", "+4930123456", "+12125550123", "+18005551234", "+441534456789", "sip:+12125550123@pbx.test;user=phone")
_ROUNDS, _CALLS = 15, 400


@dataclass(frozen=True, slots=True)
class Cost:
    """One destination under one kind of rules, microseconds each: the best of the rounds, by the processor's clock."""

    rules: str
    destination: str
    uncached_us: float
    cached_us: float


def run() -> list[dict[str, Any]]:
    """The costs of every destination under both kinds of rules."""
    return [asdict(_cost(name, rules, number)) for name, rules in (("plain", _plain()), ("all levels", _whole())) for number in NUMBERS]


def _plain() -> Rules:
    return Rules(1, "DE", frozenset({"DE", "US", "CA", "GB", "JE"}), own_hosts=OWN)


def _whole() -> Rules:
    office = (Window(frozenset(range(1, 8)), 0, 1440),)
    terms = tuple((code, Term(until=datetime(2030, 1, 1, tzinfo=UTC), windows=office)) for code in ("CA", "DE", "GB", "JE", "US"))
    countries = frozenset({"DE", "US", "CA", "GB", "JE"})
    narrower = (Level("team", countries, terms=terms, hours=office), Level("agent", countries, terms=terms, hours=office))
    zone = ZoneInfo("Europe/Berlin")
    return Rules(1, "DE", countries, own_hosts=OWN, terms=terms, hours=office, narrower=narrower, zone=zone, packs=RiskPacks(None).packs())


def _cost(name: str, rules: Rules, number: str) -> Cost:
    attempt, judge = Attempt(number, Channel.INVITE), Judge()
    return Cost(name, number, _best_us(lambda: decide(attempt, rules, NOW)), _best_us(lambda: judge.decide(attempt, rules, NOW)))


def _best_us(asked: Callable[[], object]) -> float:
    rounds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(_CALLS):
            asked()
        rounds.append((time.process_time() - started) / _CALLS * 1e6)
    return min(rounds)
