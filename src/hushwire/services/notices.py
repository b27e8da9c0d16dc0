"""Queueing notices in the transaction of what they tell of, showing them, and taking the customer's word that one was read.

    await notices.queue(connection, org_id, NoticeKind.CASE, "case", case.id, {"case": case.id, "kind": "regulator", "opened_at": now})

They are sent by the worker (`notice_sending`). A notice whose acceptance ends a clock is given that clock's id.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy.clocks import Evidence
from hushwire.privacy.jurisdictions import tags_for_country
from hushwire.privacy.notices import NoticeKind, Values, Words, worded
from hushwire.services.clocks import Clocks
from hushwire.store import notices as table
from hushwire.store import organisation, outbox
from hushwire.store.database import Connection, Database
from hushwire.store.notices import NewNotice, NoticeRow, Position
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

KEY_KIND: Final = "document"
_TABLE: Final = "notices"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NoticeView:
    """A notice with its words opened; None where its key is gone."""

    row: NoticeRow
    words: Words | None = field(repr=False)
    recipient: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Notices:
    """Notices of every organisation."""

    main: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    clocks: Clocks
    clock: Clock
    random: Random

    async def queue(
        self,
        connection: Connection,
        org_id: OrgId,
        kind: NoticeKind,
        subject_kind: str,
        subject_id: UUID,
        values: Values,
        *,
        occasion: str = "",
        clock_id: UUID | None = None,
    ) -> NoticeRow:
        """Put a notice into the outbox with the caller's transaction; the one that is there already, if there is one.

        Raises ValueError unless `values` are exactly those that the kind takes.
        """
        known = await table.about(connection, kind, subject_kind, subject_id, occasion)
        if known is not None:
            return known
        org = await organisation.profile(connection)
        if org is None or org.id != org_id:
            raise LookupError("the organisation was not entered")
        notice_id, now = self._new_id(), self.clock.now()
        tags = org.jurisdictions or tags_for_country(org.home_country)
        where = f"/v1/privacy/notices/{notice_id}"
        words = worded(kind, values, notice=notice_id, organisation=org.name, where=where, jurisdictions=tags)
        key = await self.keyring.new_data_key(org_id, KEY_KIND, notice_id)
        content = json.dumps({"subject": words.subject, "body": words.body}).encode()
        is_addressed = bool(await organisation.contacts(connection))
        new = NewNotice(
            id=notice_id,
            org_id=org_id,
            kind=kind.value,
            subject_kind=subject_kind,
            subject_id=subject_id,
            occasion=occasion,
            clock_id=clock_id,
            state="queued" if is_addressed else "unaddressed",
            content_sealed=Columns(key.key).seal(content, table=_TABLE, column="content_sealed", row=notice_id, org=org_id),
            at=now,
        )
        if await table.insert(connection, new):
            _log.info("notice.queued", org_id=str(org_id), notice_id=str(notice_id), kind=kind.value)
            if not is_addressed:
                await self.alarm_unaddressed(connection, org_id, notice_id, kind.value)
        row = await table.about(connection, kind, subject_kind, subject_id, occasion)
        assert row is not None, "notices are never removed"
        return row

    async def alarm_unaddressed(self, connection: Connection, org_id: OrgId, notice_id: UUID, kind: str) -> None:
        """Say that nobody can be told: the organisation has designated no contact."""
        await self.tell(connection, org_id, EventKind.NOTICE_FAILED, notice_id, notice=kind, reason="no-contact")
        _log.error("notice.no_contact", org_id=str(org_id), notice_id=str(notice_id), kind=kind, mend="designate a contact")

    async def get(self, org_id: OrgId, notice_id: UUID, why: Why) -> NoticeView | None:
        """One notice with its words; the reading is noted."""
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, notice_id)
        if row is None:
            return None
        try:
            words, columns = await self.opened(row, why)
        except KeyUnavailable:
            return NoticeView(row, None, None)
        sealed = row.recipient_sealed
        recipient = None
        if sealed is not None:
            recipient = columns.open(sealed, table=_TABLE, column="recipient_sealed", row=row.id, org=org_id).decode()
        return NoticeView(row, words, recipient)

    async def listed(
        self, connection: Connection, *, state: str | None = None, after: Position | None = None, limit: int = 50
    ) -> Sequence[NoticeRow]:
        """Notices of the organisation that was entered, newest first, without their words."""
        return await table.listed(connection, state=state, after=after, limit=limit)

    async def acknowledge(self, org_id: OrgId, notice_id: UUID, by: str) -> NoticeRow | None:
        """The customer has read it, so it need not be sent any more, and its clock ends. Again: changes nothing."""
        now = self.clock.now()
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, notice_id, for_update=True)
            if row is None:
                return None
            if await table.acknowledge(connection, notice_id, now, by):
                await self.tell(connection, org_id, EventKind.NOTICE_ACKNOWLEDGED, notice_id, notice=row.kind, actor=by)
                await self.end_clock(connection, row, "notice-acknowledged", {"by": by})
            return await table.get(connection, notice_id)

    async def end_clock(self, connection: Connection, row: NoticeRow, outcome: str, evidence: Evidence) -> None:
        """End the clock that the notice was owed by, if it still runs."""
        if row.clock_id is None:
            return
        running = await self.clocks.get(connection, row.clock_id)
        if running is not None and running.ended_at is None:
            await self.clocks.end_row(connection, running, outcome=outcome, evidence={"notice": str(row.id), **evidence})

    async def opened(self, row: NoticeRow, why: Why) -> tuple[Words, Columns]:
        """What a notice says, and its key. Raises KeyUnavailable if that is gone."""
        key = await self.keyring.open_data_key(row.org_id, KEY_KIND, row.id, why)
        return _words(Columns(key.key), row), Columns(key.key)

    async def tell(self, connection: Connection, org_id: OrgId, kind: EventKind, notice_id: UUID, **fields: str | int) -> None:
        """A domain event about a notice."""
        await outbox.add(connection, DomainEvent(self._new_id(), org_id, kind, notice_id, self.clock.now(), dict(fields)))

    def _new_id(self) -> UUID:
        return uuid7(int(self.clock.now().timestamp() * 1000), self.random.token_bytes(10))


def sealed_recipient(columns: Columns, row: NoticeRow, recipient: str) -> bytes:
    """The address that a notice went to, as it is kept."""
    return columns.seal(recipient.encode(), table=_TABLE, column="recipient_sealed", row=row.id, org=row.org_id)


def _words(columns: Columns, row: NoticeRow) -> Words:
    content = columns.open(row.content_sealed, table=_TABLE, column="content_sealed", row=row.id, org=row.org_id)
    return Words(**json.loads(content))
