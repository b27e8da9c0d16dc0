"""From rows to the rules that one agent's attempts are judged by: the organisation's, narrowed by its team and by itself.

Gateways build them for all agents at once (`Narrowing`), the API for one; both say the same, and verdicts depend on nothing else.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hushwire.core.errors import ConfigError
from hushwire.policy import numbers
from hushwire.policy.corrections import CORRECTIONS
from hushwire.policy.grants import Grant
from hushwire.policy.model import PERMITTED_CLASSES, NumberClass, OwnHosts
from hushwire.policy.risk import RiskPack
from hushwire.policy.rules import AGENT, TEAM, ExceptionKind, Level, NumberException, Rules
from hushwire.policy.terms import read_hours, read_terms
from hushwire.services.phone_numbers import REMOTE
from hushwire.store.access_requests import GrantRow
from hushwire.store.levels import ExceptionRow, LevelRow, TeamRow
from hushwire.vault.keyring import OrgKeys

PLACE: Final = {"table": "number_exceptions", "column": "said_sealed"}


LEAST_PREFIX: Final = 2
"""Digits of a prefix of unassigned numbers, after its calling code."""


def code_length(number: str) -> int:
    """How many digits the calling code of a +E.164 number has, 3 at most."""
    digits = number.removeprefix("+")
    return next((length for length in (1, 2, 3) if numbers.is_calling_code(digits[:length])), 3)


class OrgLevel(Protocol):
    """What of an organisation's row makes its own level; several row types have it."""

    @property
    def home_country(self) -> str: ...

    @property
    def outside_prefix(self) -> str | None: ...

    @property
    def allowed_countries(self) -> Sequence[str]: ...

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def time_zone(self) -> str: ...

    @property
    def terms(self) -> str: ...

    @property
    def hours(self) -> str: ...

    @property
    def short_codes(self) -> Sequence[str]: ...

    @property
    def risk_packs_off(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Said:
    """An exception as a person said it: a number, or the prefix of many, where it lies, and why."""

    number: str = field(repr=False)
    is_prefix: bool
    country: str
    reason: str = field(repr=False)


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises ConfigError for one that is not known here."""
    if name == "UTC":
        return UTC
    return _zone(name)


def zone_name(name: str) -> str:
    """The IANA name of a time zone, as it is. Raises ValueError for one that is not known here."""
    try:
        zone(name)
    except ConfigError:
        raise ValueError('must be an IANA name of a time zone such as "Europe/Berlin"') from None
    return name


def organisation_rules(
    row: OrgLevel, version: int, own_hosts: OwnHosts, exceptions: Iterable[NumberException], packs: Iterable[RiskPack]
) -> Rules:
    """The organisation's own level: what an agent has who is in no team and narrows nothing."""
    return Rules(
        version=version,
        home_country=row.home_country,
        allowed_countries=frozenset(row.allowed_countries),
        classes=_classes(row.classes),
        outside_prefix=row.outside_prefix,
        own_hosts=own_hosts,
        terms=read_terms(row.terms),
        hours=read_hours(row.hours),
        short_codes=frozenset(row.short_codes),
        zone=zone(row.time_zone),
        exceptions=tuple(exceptions),
        packs=tuple(pack for pack in packs if pack.name not in row.risk_packs_off),
    )


def narrowed(rules: Rules, team: LevelRow | None, agent: LevelRow | None) -> Rules:
    """The organisation's rules as somebody of this team and with these lists meets them."""
    levels = tuple(_level(name, row) for name, row in ((TEAM, team), (AGENT, agent)) if row is not None)
    if not levels:
        return rules
    own_zone = None if agent is None else agent.time_zone
    return replace(rules, narrower=levels, zone=rules.zone if own_zone is None else zone(own_zone))


def by_agent(rules: Rules, teams: Iterable[TeamRow], rows: Iterable[LevelRow]) -> dict[UUID, Rules]:
    """The rules of every agent who does not simply have the organisation's. Who has nothing of its own shares its team's."""
    listed = list(rows)
    of_team = {row.team_id: row for row in listed if row.team_id is not None}
    of_agent = {row.agent_id: row for row in listed if row.agent_id is not None}
    found: dict[UUID, Rules] = {agent_id: narrowed(rules, None, row) for agent_id, row in of_agent.items()}
    for team in teams:
        level = of_team.get(team.id)
        if level is None:
            continue
        shared = narrowed(rules, level, None)
        for agent_id in team.members:
            own = of_agent.get(agent_id)
            found[agent_id] = shared if own is None else narrowed(rules, level, own)
    return found


def grants_by_agent(rows: Iterable[GrantRow]) -> dict[UUID, list[Grant]]:
    """What agents were given access to, by agent."""
    found: dict[UUID, list[Grant]] = {}
    for row in rows:
        found.setdefault(row.agent_id, []).append(Grant(frozenset(row.countries), row.ends_at))
    return found


def opened_exceptions(keys: OrgKeys, rows: Iterable[ExceptionRow]) -> tuple[NumberException, ...]:
    """The exceptions of an organisation, their numbers opened."""
    found = []
    for row in rows:
        said = opened(keys, row)
        found.append(NumberException(ExceptionKind(row.kind), said.number, said.is_prefix, said.country, row.ends_at))
    return tuple(found)


def opened(keys: OrgKeys, row: ExceptionRow) -> Said:
    """What an exception is about."""
    said: Mapping[str, Any] = json.loads(keys.operational.open(row.said_sealed, row=row.id, org=keys.org_id, **PLACE))
    return Said(said["number"], said["is_prefix"], said["country"], said["reason"])


def exception_row(
    keys: OrgKeys, row_id: UUID, kind: ExceptionKind, said: Said, ends_at: datetime | None, now: datetime, by: str
) -> ExceptionRow:
    """The row of a new exception."""
    index = None if said.is_prefix else keys.index(REMOTE, said.number)
    return ExceptionRow(row_id, kind.value, _sealed(keys, row_id, said), index, ends_at, now, by)


def checked(said: Said, kind: ExceptionKind) -> Said:
    """An exception that can be kept. Raises ConfigError with the mend: a country that has no such number would only seem to be one."""
    shared = numbers.regions_of(said.number if not said.is_prefix else said.number.ljust(9, "0"))
    if kind is ExceptionKind.UNASSIGNED and said.country not in shared:
        known = f": its calling code is that of {', '.join(sorted(shared))}" if shared else ""
        raise ConfigError(f"the country of an unassigned number must be one that has its calling code{known}")
    claimed = numbers.claimed_by(said.number)
    if kind is ExceptionKind.UNASSIGNED and claimed and said.country not in claimed:
        raise ConfigError(f"the number begins with digits of {', '.join(sorted(claimed))}: name that as its country")
    if kind is ExceptionKind.UNASSIGNED and said.is_prefix and len(said.number) < len("+") + code_length(said.number) + LEAST_PREFIX:
        raise ConfigError(f"the prefix of unassigned numbers needs {LEAST_PREFIX} digits after its calling code at least")
    if not said.reason.strip():
        raise ConfigError("an exception needs its reason in words")
    return said


def reached(said: Said, kind: ExceptionKind) -> frozenset[str]:
    """The territories and classes in which numbers lie that an exception lets through; rather more of them than too few."""
    number = said.number
    apart = {code for prefix, codes in CORRECTIONS.items() if number.startswith(prefix) or prefix.startswith(number) for code in codes}
    names = {said.country, *apart}
    if kind is ExceptionKind.UNASSIGNED:
        kin = numbers.class_of_kin(number, said.country)
        return frozenset(names if kin is None else {*names, kin.value})
    # Of a range of high risk the country was only said: where it lies is what its digits say.
    read = None if said.is_prefix else numbers.international(number.removeprefix("+"), said.country)
    if isinstance(read, numbers.Found):
        return frozenset({*names, *read.territories, read.number_class.value})
    shared = numbers.claimed_by(number) or (numbers.plans_of(number) if said.is_prefix else frozenset(numbers.regions_of(number)))
    return frozenset({*names, *shared, *(one.value for one in PERMITTED_CLASSES)})


def _sealed(keys: OrgKeys, row_id: UUID, said: Said) -> bytes:
    text = json.dumps({"number": said.number, "is_prefix": said.is_prefix, "country": said.country, "reason": said.reason})
    return keys.operational.seal(text.encode(), row=row_id, org=keys.org_id, **PLACE)


def _level(name: str, row: LevelRow) -> Level:
    return Level(
        name,
        None if row.countries is None else frozenset(row.countries),
        None if row.classes is None else _classes(row.classes),
        None if row.short_codes is None else frozenset(row.short_codes),
        read_terms(row.terms),
        read_hours(row.hours),
    )


def _classes(names: Iterable[str]) -> frozenset[NumberClass]:
    return frozenset(NumberClass(name) for name in names)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'the time zone "{name[:64]}" is not known here: give an IANA name such as "Europe/Berlin"') from None
