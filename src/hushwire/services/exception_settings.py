"""Numbers that one rule does not hold for, as administrators set them besides the provisioning file: with a reason, and an end.

Where what an exception would reach is guarded, it waits for a second person: what its number says is looked at, and not only the country
that is said with it. It stands in its row from then on, and holds once it is agreed to; an erasure of its number takes it away before as
after, and a proposal that is over takes its row along.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId, uuid7
from hushwire.policy.four_eyes import Opening, is_guarded
from hushwire.policy.model import NumberClass
from hushwire.policy.rules import ExceptionKind
from hushwire.privacy import audit
from hushwire.services.agent_rules import Said, checked, exception_row, opened, reached
from hushwire.services.contacts import Unfit
from hushwire.services.rule_changes import RuleChanges, found, lists_of
from hushwire.store import levels
from hushwire.store import rules as rules_table
from hushwire.store.database import Database
from hushwire.store.levels import ExceptionRow
from hushwire.store.rule_proposals import ProposalRow
from hushwire.vault.keyring import Keyring

MOST: Final = 1000
LONGEST: Final = timedelta(days=366)
"""So long one that is added here holds at most: nobody has to remember it for ever."""


@dataclass(frozen=True, slots=True)
class View:
    """An exception, and what it is about."""

    row: ExceptionRow
    said: Said


@dataclass(frozen=True, slots=True)
class TooMany:
    """The organisation has as many as it may have."""


class ExceptionSettings:
    """Every organisation's."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random, changes: RuleChanges) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._changes = changes

    async def listed(self, org_id: OrgId) -> list[View]:
        """Those that hold or have ended, the oldest first."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await levels.exceptions(connection)
        return [View(row, opened(keys, row)) for row in rows]

    async def add(
        self, org_id: OrgId, kind: ExceptionKind, said: Said, until: datetime, *, actor: str
    ) -> View | ProposalRow | Unfit | TooMany:
        """Let one rule not hold for a number or prefix until then; or have it wait."""
        now = self._clock.now()
        if not now < until <= now + LONGEST:
            return Unfit("until", f"must lie ahead, {LONGEST.days} days at most")
        try:
            checked(said, kind)
        except ConfigError as error:
            return Unfit("country", str(error))
        keys = await self._keyring.org_context(org_id)
        row = exception_row(keys, uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10)), kind, said, until, now, actor)
        async with self._main.organisation(org_id) as connection:
            lists = lists_of(found(await rules_table.get(connection, for_update=True)))
            await levels.remove_unagreed(connection, now)
            if await levels.count_exceptions(connection) >= MOST:
                return TooMany()
            names = frozenset(name for name in reached(said, kind) if is_guarded(name, lists))
            waits = bool(names)
            await levels.put_exception(connection, org_id, row, waits=waits)
            fields: audit.Fields = {"rule": kind.value, "ends_at": until.isoformat(), "waits": waits}
            await audit.append(connection, org_id, now, actor, audit.Action.EXCEPTION_MADE, f"exception:{row.id}", fields)
            if waits:
                classes = names & {one.value for one in NumberClass}
                opening = Opening(names - classes, classes)
                return await self._changes.propose(connection, org_id, opening, actor, subject=f"exception:{row.id}", wanted="{}")
        return View(row, said)

    async def remove(self, org_id: OrgId, exception_id: UUID, *, actor: str) -> bool:
        """Let the rule hold again; False where there is no such exception."""
        async with self._main.organisation(org_id) as connection:
            if not await levels.remove_exception(connection, exception_id):
                return False
            await audit.append(connection, org_id, self._clock.now(), actor, audit.Action.EXCEPTION_REMOVED, f"exception:{exception_id}")
        return True
