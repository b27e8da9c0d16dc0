"""Texts as the fraud breaker counts them: parts a minute and a day, and what they are estimated to cost, of agents and organisations.

Whoever accepts texts asks in the transaction that accepts them, so that each is counted once, by whatever process and however many at
once; what is beyond a limit is rolled back with its count, and told afterwards (`tell`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import AgentId, OrgId
from hushwire.policy.breaker import Action, Bound, Bounds, Level, Signal, refuses
from hushwire.policy.limits import book
from hushwire.store import fraud as rows
from hushwire.store import fraud_texts as table
from hushwire.store import outbox
from hushwire.store.database import Connection
from hushwire.store.fraud_texts import TextsRow

_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class TextUse:
    """What is to be sent. `agent_id`: who wrote it at a phone; None: a program did. `price_micros`: millionths of the stated currency."""

    agent_id: AgentId | None
    parts: int
    price_micros: int = 0


@dataclass(frozen=True, slots=True)
class Over:
    """More than a limit lets through."""

    level: Level
    signal: Signal
    agent_id: AgentId | None
    seen: float
    bound: Bound


class TextCounters:
    """Counts what is accepted. `new_id` makes ids of alarms and events."""

    def __init__(self, new_id: Callable[[datetime], UUID]) -> None:
        self._new_id = new_id

    async def count(self, connection: Connection, org_id: OrgId, uses: Sequence[TextUse], now: datetime) -> Over | None:
        """Count these, in the transaction that accepts them; or what they would be too much of: then nothing may be accepted.

        Limits that only warn are told of here.
        """
        if not uses:
            return None
        limits = book(await rows.limits(connection))
        agents = sorted({use.agent_id for use in uses if use.agent_id is not None})
        whose: list[tuple[AgentId | None, Bounds]] = [(agent_id, limits.of_agent(agent_id)) for agent_id in agents]
        # The organisation's row comes last: it is held the shortest, and always in the same order.
        warned: list[Over] = []
        for agent_id, bounds in [*whose, (None, limits.organisation)]:
            held = {signal: bound for signal in _SIGNALS if (bound := bounds.get(signal)) is not None and _holds(bound)}
            if not held:
                continue
            mine = [use for use in uses if agent_id is None or use.agent_id == agent_id]
            counted = await self._added(connection, org_id, agent_id, mine, now)
            for over in _beyond(agent_id, held, counted, now):
                if refuses(over.bound.action):
                    return over
                warned.append(over)
        for over in warned:
            await self.tell(connection, org_id, over, now)
        return None

    async def _added(
        self, connection: Connection, org_id: OrgId, agent_id: AgentId | None, uses: Sequence[TextUse], now: datetime
    ) -> TextsRow:
        parts, micros = sum(use.parts for use in uses), sum(use.price_micros for use in uses)
        minute = int(now.timestamp()) // _MINUTE_S
        return await table.add(connection, org_id, agent_id, now.astimezone(UTC).date(), minute, parts, micros)

    async def tell(self, connection: Connection, org_id: OrgId, over: Over, now: datetime) -> None:
        """Raise the alarm: once an hour for one thing, with its domain event. After a refusal in a transaction of its own."""
        alarm_id = self._new_id(now)
        row = rows.AlarmRow(
            id=alarm_id,
            level=over.level.value,
            subject_id=over.agent_id or org_id,
            agent_id=over.agent_id,
            credential_id=None,
            signal=over.signal.value,
            action=over.bound.action.value,
            seen=over.seen,
            most=over.bound.most,
            times=1,
            hour=int(now.timestamp()) // 3600,
            first_at=now,
            last_at=now,
        )
        if await rows.put_alarm(connection, org_id, row) != alarm_id:
            return
        fields: dict[str, str | int | bool | None] = {
            "agent": None if over.agent_id is None else str(over.agent_id),
            "level": row.level,
            "signal": row.signal,
            "action": row.action,
            "seen": round(row.seen),
            "most": None if row.most is None else round(row.most),
            "credential": None,
            "locked": False,
            "minted": None,
        }
        await outbox.add(connection, DomainEvent(self._new_id(now), org_id, EventKind.FRAUD_ALARM, alarm_id, now, fields))


_SIGNALS: Final = (Signal.TEXTS, Signal.TEXTS_A_DAY, Signal.TEXT_SPEND)


def _holds(bound: Bound) -> bool:
    return bound.most is not None and bound.action is not Action.OFF


def _beyond(agent_id: AgentId | None, held: Bounds, counted: TextsRow, now: datetime) -> list[Over]:
    level = Level.ORGANISATION if agent_id is None else Level.AGENT
    # Of the minute before so much as still lies within the last sixty seconds.
    left = 1 - (now.timestamp() % _MINUTE_S) / _MINUTE_S
    seen = {
        Signal.TEXTS: counted.minute_parts + counted.before_parts * left,
        Signal.TEXTS_A_DAY: float(counted.parts),
        Signal.TEXT_SPEND: counted.spent_micros / 1_000_000,
    }
    return [
        Over(level, signal, agent_id, seen[signal], bound)
        for signal, bound in held.items()
        if bound.most is not None and seen[signal] > bound.most
    ]
