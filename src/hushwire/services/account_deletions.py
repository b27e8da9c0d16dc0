"""Deleting an agent's account on a written application: a register, a gate, and the one erasure path.

    received --verified, suspended--> verified --everything of the agent erased--> done (the account is removed)
       |                                  `--a legal hold keeps something--> held --released--> done
       `--refused, withdrawn

The clock of 15 days runs from the receipt. Whoever finds a verified row goes on with it: each step may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError, KeyUnavailable
from hushwire.core.ids import AgentId, OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit, endings, selection
from hushwire.privacy.clocks import Clock as RunningClock
from hushwire.privacy.clocks import ClockKind
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.notices import NoticeKind
from hushwire.privacy.selection import Selector
from hushwire.services.agents import Agents
from hushwire.services.erasure import Erasures
from hushwire.services.notices import Notices
from hushwire.store import account_deletions as table
from hushwire.store import erasable, listing
from hushwire.store.account_deletions import DeletionRow, Position
from hushwire.store.database import Connection, Database
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

SUBJECT: Final = "account-deletion"
_KEY_KIND: Final = "case"
_AHEAD: Final = timedelta(minutes=5)
_log = structlog.get_logger(__name__)


class Method(StrEnum):
    """How the application was verified."""

    EMAIL = "email"  # answered from the address that the customer knows
    CONSOLE = "console"  # confirmed while signed in
    IDENTITY_DOCUMENT = "identity-document"
    CUSTOMER = "customer"  # the organisation vouches


class Refusal(StrEnum):
    """Why it is not carried out."""

    NOT_VERIFIED = "not-verified"
    NOT_THE_ACCOUNTS_OWNER = "not-the-accounts-owner"
    LEGAL_OBLIGATION = "legal-obligation"


@dataclass(frozen=True, slots=True)
class NoAgent:
    """The organisation has no such agent."""


@dataclass(frozen=True, slots=True)
class InTheFuture:
    """An application is not received before now."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Not in the present state."""

    state: str


@dataclass(frozen=True, slots=True)
class View:
    """An application, its clock, and what was written (None once it is over)."""

    row: DeletionRow
    clock: RunningClock | None
    application: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AccountDeletions:
    """Account deletions of every organisation."""

    main: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    erasures: Erasures
    agents: Agents
    notices: Notices
    clock: Clock
    random: Random

    async def register(
        self, org_id: OrgId, agent_id: AgentId, application: str, by: str, *, received_at: datetime | None = None
    ) -> View | NoAgent | InTheFuture:
        """Enter a written application; the open one for the account, if there is one. Its clock runs from `received_at`."""
        now = self.clock.now()
        received = received_at or now
        if received > now + _AHEAD:
            return InTheFuture()
        async with self.main.organisation(org_id) as connection:
            known = await table.open_for(connection, agent_id)
            if known is None and await listing.agent(connection, agent_id) is None:
                return NoAgent()
        if known is not None:
            return await self._view(known)
        row_id = uuid7(int(now.timestamp() * 1000), self.random.token_bytes(10))
        key = await self.keyring.new_data_key(org_id, _KEY_KIND, row_id)
        sealed = Columns(key.key).seal(application.encode(), table="account_deletions", column="application_sealed", row=row_id, org=org_id)
        row = DeletionRow(row_id, org_id, agent_id, "received", sealed, received, by)
        async with self.main.organisation(org_id) as connection:
            if await table.insert(connection, row):
                running = await self.notices.clocks.start(connection, org_id, ClockKind.ACCOUNT_DELETION, SUBJECT, row_id, received)
                await self.notices.queue(
                    connection,
                    org_id,
                    NoticeKind.ACCOUNT_DELETION,
                    SUBJECT,
                    row_id,
                    {"application": row_id, "received_at": received, "due_at": running.due_at},
                )
                await audit.append(connection, org_id, now, by, "account-deletion.received", f"account-deletion:{row_id}")
            found = await table.open_for(connection, agent_id)
        assert found is not None
        return await self._view(found)

    async def verify(self, org_id: OrgId, deletion_id: UUID, method: Method, by: str) -> View | NotNow | None:
        """Pass the gate and carry it out, as far as it goes at once. None: there is none. Again: goes on."""
        now = self.clock.now()
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, deletion_id, for_update=True)
            if row is None:
                return None
            if row.state in ("refused", "withdrawn"):
                return NotNow(row.state)
            if row.state == "received":
                await table.note_verified(connection, deletion_id, now, by, method.value)
                # Nothing new of the agent comes into being from here on.
                await self.agents.suspend_within(connection, org_id, row.agent_id, now, actor=by)
                said: audit.Fields = {"method": method.value}
                await audit.append(connection, org_id, now, by, "account-deletion.verified", f"account-deletion:{deletion_id}", said)
        await self._carry_on_guarded(org_id, deletion_id)
        return await self.get(org_id, deletion_id)

    async def decide(self, org_id: OrgId, deletion_id: UUID, refusal: Refusal | None, by: str) -> View | NotNow | None:
        """Refuse it, or (without a reason) take it back; only before it was verified."""
        now, state = self.clock.now(), "withdrawn" if refusal is None else "refused"
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, deletion_id, for_update=True)
            if row is None:
                return None
            if row.state != "received":
                return NotNow(row.state)
            await table.note_decided(connection, deletion_id, state, now, by, None if refusal is None else refusal.value)
            await table.retire_key(connection, row, now)
            await self.notices.clocks.end(connection, org_id, ClockKind.ACCOUNT_DELETION, SUBJECT, deletion_id, outcome=state)
            fields: audit.Fields = {} if refusal is None else {"reason": refusal.value}
            await audit.append(connection, org_id, now, by, f"account-deletion.{state}", f"account-deletion:{deletion_id}", fields)
        return await self.get(org_id, deletion_id)

    async def get(self, org_id: OrgId, deletion_id: UUID, why: Why | None = None) -> View | None:
        """One application; what was written is opened only for a `why`."""
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, deletion_id)
        return None if row is None else await self._view(row, why)

    async def listed(self, org_id: OrgId, *, state: str | None = None, after: Position | None = None, limit: int = 50) -> Sequence[View]:
        """Applications, newest first, without what was written."""
        async with self.main.organisation(org_id) as connection:
            rows = await table.listed(connection, state=state, after=after, limit=limit)
            return [View(row, await self._clock(connection, row)) for row in rows]

    async def carry_on(self) -> int:
        """The worker's round: goes on with what was verified; returns how many were finished."""
        async with self.main.transaction() as connection:
            waiting = await table.to_do(connection)
        return await for_each(waiting, lambda one: self._carry_on_guarded(*one), "account-deletions")

    async def _carry_on_guarded(self, org_id: OrgId, deletion_id: UUID) -> bool:
        try:
            return await self._carry_on(org_id, deletion_id)
        except (HushwireError, asyncpg.PostgresError, OSError) as error:  # of another fault the round tells
            _log.error("account_deletion.delayed", org_id=str(org_id), deletion_id=str(deletion_id), error=type(error).__name__)
            return False

    async def _carry_on(self, org_id: OrgId, deletion_id: UUID) -> bool:
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, deletion_id)
        if row is None or row.state not in ("verified", "held"):
            return False
        actor = f"account-deletion:{deletion_id}"
        operation_id = row.operation_id or await self._begin(row, actor)
        operation = await self.erasures.operation(org_id, operation_id)
        if operation is not None and not operation.is_unreadable:
            await self.erasures.operations.run(org_id, operation_id)
            operation = await self.erasures.operation(org_id, operation_id)
        if operation is None or not operation.is_unreadable:
            return False
        async with self.main.organisation(org_id) as connection:
            if await self._is_anything_left(connection, row.agent_id):
                await table.note_held(connection, deletion_id)
                return False
        return await self._remove(row, operation_id)

    async def _begin(self, row: DeletionRow, actor: str) -> UUID:
        """The erasure of everything of the agent: the one that was entered before, or a new one."""
        async with self.main.organisation(row.org_id) as connection:
            found = await table.operation_of(connection, actor)
        if found is None:
            selector = Selector(agent=row.agent_id)
            found = (await self.erasures.erase_matching(row.org_id, selector, actor=actor, reason="account-deletion")).id
        async with self.main.organisation(row.org_id) as connection:
            await table.note_operation(connection, row.id, found)
        return found

    async def _is_anything_left(self, connection: Connection, agent_id: UUID) -> bool:
        """Whether something of the agent stands outside the ledger: held, or not yet erased after a hold's release."""
        wanted = selection.searches(Selector(agent=agent_id), (), self.clock.now())
        for kind, search in wanted.items():
            if await erasable.find(connection, KINDS[kind], search, kinds=KINDS, limit=1):
                return True
        return False

    async def _remove(self, row: DeletionRow, operation_id: UUID) -> bool:
        while True:
            async with self.main.organisation(row.org_id) as connection:
                if not await table.detach(connection, row.agent_id):
                    break
        now = self.clock.now()
        # Before the row goes, so that no restore of an older database brings the account back.
        await tombstones.write(self.keyring.db, row.org_id, [endings.agent_removed(tombstones.new_id(), row.agent_id, now)])
        async with self.main.organisation(row.org_id) as connection:
            current = await table.get(connection, row.id, for_update=True)
            if current is None or current.state == "done":
                return False
            await table.remove_account(connection, row.agent_id)
            await table.note_done(connection, row.id, now)
            await table.retire_key(connection, row, now)
            clocks = self.notices.clocks
            proof = {"operation": str(operation_id)}
            await clocks.end(connection, row.org_id, ClockKind.ACCOUNT_DELETION, SUBJECT, row.id, outcome="deleted", evidence=proof)
            await self.notices.queue(
                connection,
                row.org_id,
                NoticeKind.ACCOUNT_DELETED,
                SUBJECT,
                row.id,
                {"application": row.id, "receipt": operation_id, "done_at": now},
            )
            await audit.append(
                connection, row.org_id, now, f"account-deletion:{row.id}", audit.Action.AGENT_REMOVED, f"agent:{row.agent_id}"
            )
        _log.info("account_deletion.done", org_id=str(row.org_id), deletion_id=str(row.id), operation_id=str(operation_id))
        return True

    async def _view(self, row: DeletionRow, why: Why | None = None) -> View:
        application = None
        if why is not None and row.application_sealed is not None:
            try:
                key = await self.keyring.open_data_key(row.org_id, _KEY_KIND, row.id, why)
            except KeyUnavailable:
                key = None
            if key is not None:
                place = {"table": "account_deletions", "column": "application_sealed", "row": row.id, "org": row.org_id}
                application = Columns(key.key).open(row.application_sealed, **place).decode()  # type: ignore[arg-type]
        async with self.main.organisation(row.org_id) as connection:
            return View(row, await self._clock(connection, row), application)

    async def _clock(self, connection: Connection, row: DeletionRow) -> RunningClock | None:
        return await self.notices.clocks.of(connection, ClockKind.ACCOUNT_DELETION, SUBJECT, row.id)
