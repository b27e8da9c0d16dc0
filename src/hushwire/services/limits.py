"""Limits of calling as the API and provisioning set them: read, merged over the defaults, saved with a row of the audit log.

Gateways learn of them as of every rule: by the organisation's version, within a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.policy.breaker import Bounds
from hushwire.policy.limits import book, is_default, read, written
from hushwire.privacy import audit
from hushwire.store import fraud as table
from hushwire.store.database import Connection, Database

OF_ALL: Final = ("organisation", "each-team", "each-agent")
"""Levels that an organisation has one of."""
Shown = dict[str, dict[str, float | str | None]]


@dataclass(frozen=True, slots=True)
class UsedToday:
    """What an agent has used of this day (UTC): minutes, and what they are estimated to cost by currency."""

    minutes: float
    spent: dict[str, float]


@dataclass(frozen=True, slots=True)
class SubjectLimits:
    """The limits of one team or agent, its own over those of each; and what an agent has used."""

    limits: Shown
    used: UsedToday | None = None


class Limits:
    """Every organisation's."""

    def __init__(self, main: Database, clock: Clock) -> None:
        self._main = main
        self._clock = clock

    async def of_all(self, org_id: OrgId) -> dict[str, Shown]:
        """The limits of the organisation, of each team and of each agent that has none of its own."""
        async with self._main.organisation(org_id) as connection:
            found = book(await table.limits(connection))
        return {
            "organisation": written(found.organisation),
            "each-team": written(found.each_team),
            "each-agent": written(found.each_agent),
        }

    async def of(self, org_id: OrgId, level: str, subject_id: UUID) -> SubjectLimits | None:
        """Those of one `team` or `agent`; None where there is none."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await table.has_subject(connection, level, subject_id):
                return None
            found = book(await table.limits(connection))
            if level == "team":
                return SubjectLimits(written(found.of_team(subject_id)))
            days = [one for one in await table.days(connection, now.astimezone(UTC).date()) if one.agent_id == subject_id]
        spent = {one.currency: one.spent_micros / 1_000_000 for one in days if one.currency}
        return SubjectLimits(written(found.of_agent(subject_id)), UsedToday(round(sum(one.talk_ms for one in days) / 60_000, 1), spent))

    async def change(
        self, org_id: OrgId, changes: Mapping[str, Mapping[str, Any]], *, actor: str, subject_id: UUID | None = None
    ) -> bool | None:
        """Set limits, by level and signal; a signal with None has its default again. None where there is no such subject.

        Raises LimitsUnreadableError, with nothing changed, for what are no limits.
        """
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            for level in changes:
                if subject_id is not None and not await table.has_subject(connection, level, subject_id):
                    return None
            await table.lock_limits(connection)
            stand = {(level, subject): said for level, subject, said in await table.limits(connection)}
            changed: list[str] = []
            for level, said in changes.items():
                subject = subject_id or org_id
                before = dict(stand.get((level, subject), {}))
                bounds = before | {
                    name: bound
                    for name, bound in said.items()
                    # What GET answers may be sent back as a whole: defaults that are only repeated are not kept.
                    if bound is not None and (name in before or subject_id is not None or not is_default(name, bound, level))
                }
                for name in [name for name, bound in said.items() if bound is None]:
                    read({name: "off"}, level)  # there must be such a limit
                    bounds.pop(name, None)
                if await put(connection, org_id, level, subject, bounds, now):
                    changed += [f"{level}:{name}" for name in said]
            if changed:
                of = f"organisation:{org_id}" if subject_id is None else f"{next(iter(changes))}:{subject_id}"
                await audit.append(connection, org_id, now, actor, audit.Action.LIMITS_CHANGED, of, {"limits": ",".join(sorted(changed))})
        return bool(changed)


async def put(connection: Connection, org_id: OrgId, level: str, subject: UUID, said: Mapping[str, Any], now: datetime) -> bool:
    """Save what is set at a level, in its canonical form; whether it changed anything. Raises LimitsUnreadableError."""
    bounds: Bounds = read(said, level)
    return await table.put_limits(connection, org_id, level, subject, written(bounds), now)
