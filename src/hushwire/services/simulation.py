"""What other rules would have refused, and newly allowed: of numbers that somebody pastes, or of what was called lately. Saves nothing.

Both sides are asked of the one judge, away from the loop that serves. Numbers of calls are opened as the organisation's, for a purpose,
each noted in the access log; the answer names calls by id and no number.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.policy.judge import decide
from hushwire.policy.model import Allow, Attempt, Channel, Deny, Emergency, Verdict
from hushwire.policy.rules import Rules
from hushwire.privacy import audit
from hushwire.privacy.audit import Action
from hushwire.services.voice_security import NoAgent, VoiceSecurity, WhatIf
from hushwire.store import simulation as table
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

MOST_NUMBERS: Final = 5_000
MOST_SHOWN: Final = 200
_AT_ONCE: Final = 250
_BOTH: Final = 2


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is judged otherwise, and how many calls it stands for: its place in what was pasted, or its newest call."""

    before: Verdict = field(repr=False)
    after: Verdict = field(repr=False)
    calls: int = 1
    position: int | None = None
    call_id: UUID | None = None

    @property
    def is_refused_now(self) -> bool:
        """Whether it is the new rules that refuse."""
        return not _goes_out(self.after)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it. Counts are of numbers, or of calls where calls were asked about.

    `differences`: those that stand for most first, `MOST_SHOWN` at most. `unread`: calls whose number is erased or only the customer's to
    open. `is_whole`: False where there were more different numbers than are judged at once.
    """

    judged: int
    allowed_before: int
    allowed_after: int
    newly_refused: int
    newly_allowed: int
    by_country: Mapping[tuple[str | None, bool], int]
    differences: Sequence[Difference]
    unread: int = 0
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class _Case:
    text: str = field(repr=False)
    agent_id: UUID | None
    at: datetime
    calls: int = 1
    position: int | None = None
    call_id: UUID | None = None


class Simulation:
    """Of every organisation. `_BOTH` at once in this process: each keeps a processor busy for a second or so."""

    def __init__(self, main: Database, keyring: Keyring, voice_security: VoiceSecurity, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._voice_security = voice_security
        self._clock = clock
        self._turns = asyncio.Semaphore(_BOTH)

    async def of_numbers(
        self, org_id: OrgId, typed: Sequence[str], channel: Channel, what_if: WhatIf, *, agent: str | None = None
    ) -> Simulated | NoAgent:
        """As if each of these was dialled now, for the organisation or one of its agents."""
        agent_id = await self._voice_security.agent_id(org_id, agent)
        if isinstance(agent_id, NoAgent):
            return agent_id
        now = self._clock.now()
        cases = [_Case(text, agent_id, now, position=position) for position, text in enumerate(typed)]
        return await self._judged(org_id, cases, channel, what_if)

    async def of_calls(self, org_id: OrgId, days: int, what_if: WhatIf, why: Why, *, agent: str | None = None) -> Simulated | NoAgent:
        """What was called outside in the last days, each number once for each agent, judged as of its newest call."""
        agent_id = await self._voice_security.agent_id(org_id, agent)
        if isinstance(agent_id, NoAgent):
            return agent_id
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            rows = await table.called(connection, now - timedelta(days=days), agent_id=agent_id, limit=MOST_NUMBERS + 1)
            fields: audit.Fields = {"days": days, "numbers": min(len(rows), MOST_NUMBERS), "purpose": why.purpose}
            await audit.append(connection, org_id, now, why.actor, Action.RULES_SIMULATED, f"organisation:{org_id}", fields)
        cases, unread = list[_Case](), 0
        for begin in range(0, min(len(rows), MOST_NUMBERS), _AT_ONCE):
            part = rows[begin : min(begin + _AT_ONCE, MOST_NUMBERS)]
            wanted = {row.sealed_with: row.call_id for row in part}
            keys = await self._keyring.open_many(org_id, "call", wanted, why, of=wanted)
            for row in part:
                if (key := keys.get(row.sealed_with)) is None:
                    unread += row.calls
                    continue
                place = {"table": "calls", "column": "remote_sealed", "row": row.call_id, "org": org_id}
                text = Columns(key.key).open(row.remote_sealed, **place).decode()  # type: ignore[arg-type]
                cases.append(_Case(text, row.agent_id, row.started_at, row.calls, call_id=row.call_id))
        return await self._judged(org_id, cases, Channel.INVITE, what_if, unread=unread, is_whole=len(rows) <= MOST_NUMBERS)

    async def _judged(
        self, org_id: OrgId, cases: Sequence[_Case], channel: Channel, what_if: WhatIf, *, unread: int = 0, is_whole: bool = True
    ) -> Simulated:
        rules = {
            agent_id: (
                await self._voice_security.rules_of(org_id, agent_id),
                await self._voice_security.rules_of(org_id, agent_id, what_if),
            )
            for agent_id in dict.fromkeys(case.agent_id for case in cases)
        }
        found: list[Difference] = []
        async with self._turns:
            for begin in range(0, len(cases), _AT_ONCE):
                found += await asyncio.to_thread(_judge, cases[begin : begin + _AT_ONCE], channel, rules)
        return _summed(found, unread, is_whole)


def _judge(cases: Iterable[_Case], channel: Channel, rules: Mapping[UUID | None, tuple[Rules, Rules]]) -> list[Difference]:
    judged = []
    for case in cases:
        attempt = Attempt(case.text, channel)
        before, after = (decide(attempt, one, case.at) for one in rules[case.agent_id])
        judged.append(Difference(before, after, case.calls, case.position, case.call_id))
    return judged


def _summed(judged: Sequence[Difference], unread: int, is_whole: bool) -> Simulated:
    changed = [one for one in judged if _goes_out(one.before) != _goes_out(one.after)]
    by_country: Counter[tuple[str | None, bool]] = Counter()
    for one in changed:
        by_country[_country(one.after) or _country(one.before), one.is_refused_now] += one.calls
    return Simulated(
        judged=sum(one.calls for one in judged),
        allowed_before=sum(one.calls for one in judged if _goes_out(one.before)),
        allowed_after=sum(one.calls for one in judged if _goes_out(one.after)),
        newly_refused=sum(one.calls for one in changed if one.is_refused_now),
        newly_allowed=sum(one.calls for one in changed if not one.is_refused_now),
        by_country=dict(by_country.most_common()),
        differences=sorted(changed, key=lambda one: -one.calls)[:MOST_SHOWN],
        unread=unread,
        is_whole=is_whole,
    )


def _goes_out(verdict: Verdict) -> bool:
    return isinstance(verdict, Allow | Emergency)


def _country(verdict: Verdict) -> str | None:
    return verdict.country if isinstance(verdict, Allow | Deny | Emergency) else None
