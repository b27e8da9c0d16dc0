"""Cases: what a regulator, a complainant or an opponent asked, and the answer, which waits for the customer's word.

An answer is given only once the customer authorised it, or a legal compulsion and its reason stand on file (clauses 3.4, 3.6). A dispute
starts its clock (5.8). Texts are sealed under the case's own key; reading one is noted in the access log.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.privacy.agreement import Answering, may_answer
from hushwire.privacy.clocks import ClockKind
from hushwire.privacy.notices import NoticeKind, Values
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.store import cases as table
from hushwire.store.cases import CaseRow
from hushwire.store.database import Database
from hushwire.store.recordings import Place
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

SUBJECT: Final = "case"


class CaseKind(StrEnum):
    """Who asks."""

    REGULATOR = "regulator"
    COMPLAINT = "complaint"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case with its texts opened; a text is None where there is none, or where it was erased."""

    row: CaseRow
    text: str | None = field(repr=False)
    compulsion: str | None = field(repr=False)
    answer: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoCase:
    """The organisation has no such case."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """The case is not in a state for this."""

    why: Answering


class Cases:
    """One organisation's cases at a time."""

    def __init__(self, main: Database, keyring: Keyring, clocks: Clocks, notices: Notices, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clocks = clocks
        self._notices = notices
        self._clock = clock
        self._random = random

    async def open(self, org_id: OrgId, kind: CaseKind, text: str, *, actor: str) -> CaseRow:
        """A new case; the designated contact is told, a dispute's clock starts."""
        now = self._clock.now()
        case_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        key = await self._keyring.new_data_key(org_id, "case", case_id)
        sealed = Columns(key.key).seal(text.encode(), table="cases", column="text_sealed", row=case_id, org=org_id)
        row = CaseRow(case_id, kind.value, "open", actor, sealed, now, None, None, None, None, None, None, None)
        async with self._main.organisation(org_id) as connection:
            await table.open_case(connection, org_id, row)
            if kind is CaseKind.DISPUTE:
                await self._clocks.start(connection, org_id, ClockKind.DISPUTE, SUBJECT, case_id, now)
            values: Values = {"case": case_id, "kind": kind.value, "opened_at": now}
            await self._notices.queue(connection, org_id, NoticeKind.CASE, SUBJECT, case_id, values)
            await audit.append(connection, org_id, now, actor, "case.opened", f"case:{case_id}", {"kind": kind.value})
        return row

    async def listed(self, org_id: OrgId, *, after: Place | None = None, limit: int = 50) -> list[CaseRow]:
        """Cases newest first, texts closed."""
        async with self._main.organisation(org_id) as connection:
            return await table.listed(connection, after=after, limit=limit)

    async def get(self, org_id: OrgId, case_id: UUID, why: Why) -> CaseView | NoCase:
        """One case with its texts."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, case_id)
        if row is None:
            return NoCase()
        key = (await self._keyring.open_many(org_id, "case", [case_id], why)).get(case_id)

        def opened(sealed: bytes | None, column: str) -> str | None:
            if key is None or sealed is None:
                return None
            return Columns(key.key).open(sealed, table="cases", column=column, row=case_id, org=org_id).decode()

        return CaseView(
            row,
            opened(row.text_sealed, "text_sealed"),
            opened(row.compulsion_sealed, "compulsion_sealed"),
            opened(row.answer_sealed, "answer_sealed"),
        )

    async def authorise(self, org_id: OrgId, case_id: UUID, *, actor: str) -> CaseRow | NoCase | NotNow:
        """The customer's word: the case may be answered."""
        return await self._release(org_id, case_id, "authorised", None, actor=actor)

    async def compel(self, org_id: OrgId, case_id: UUID, reason: str, *, actor: str) -> CaseRow | NoCase | NotNow:
        """The law compels an answer without the customer's word; the reason is kept, and the customer told."""
        return await self._release(org_id, case_id, "compelled", reason, actor=actor)

    async def answer(self, org_id: OrgId, case_id: UUID, text: str, *, actor: str) -> CaseRow | NoCase | NotNow:
        """The answer, once it may be given."""
        sealed = await self._sealed(org_id, case_id, text, "answer_sealed", actor)
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, case_id, for_update=True)
            if row is None or sealed is None:
                return NoCase()
            if (standing := may_answer(row.state)) is not Answering.ALLOWED:
                return NotNow(standing)
            await table.answer(connection, case_id, sealed, now)
            await audit.append(connection, org_id, now, actor, "case.answered", f"case:{case_id}", {"released": row.state})
            return await table.get(connection, case_id) or row

    async def close(self, org_id: OrgId, case_id: UUID, outcome: str, *, actor: str) -> CaseRow | NoCase | NotNow:
        """The end of a case, with a code for what came of it; ends the dispute's clock."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, case_id, for_update=True)
            if row is None:
                return NoCase()
            if row.state == "closed":
                return NotNow(Answering.CLOSED)
            await table.close(connection, case_id, outcome, now)
            if row.kind == CaseKind.DISPUTE.value:
                await self._clocks.end(
                    connection, org_id, ClockKind.DISPUTE, SUBJECT, case_id, outcome=outcome, evidence={"case": str(case_id)}
                )
            await audit.append(connection, org_id, now, actor, "case.closed", f"case:{case_id}", {"outcome": outcome})
            return await table.get(connection, case_id) or row

    async def _release(self, org_id: OrgId, case_id: UUID, state: str, reason: str | None, *, actor: str) -> CaseRow | NoCase | NotNow:
        sealed = None if reason is None else await self._sealed(org_id, case_id, reason, "compulsion_sealed", actor)
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, case_id, for_update=True)
            if row is None or (reason is not None and sealed is None):
                return NoCase()
            if (standing := may_answer(row.state)) is not Answering.NOT_RELEASED:
                return row if row.state == state else NotNow(standing)
            await table.release(connection, case_id, state, actor, sealed, now)
            if state == "compelled":
                values: Values = {"case": case_id, "kind": f"{row.kind}, answered by legal compulsion", "opened_at": row.opened_at}
                await self._notices.queue(connection, org_id, NoticeKind.CASE, SUBJECT, case_id, values, occasion="compelled")
            await audit.append(connection, org_id, now, actor, f"case.{state}", f"case:{case_id}")
            return await table.get(connection, case_id) or row

    async def _sealed(self, org_id: OrgId, case_id: UUID, text: str, column: str, actor: str) -> bytes | None:
        """A text for one of the case's columns; None where the case, or its key, is not there."""
        found = await self._keyring.open_many(org_id, "case", [case_id], Why(actor, "legal-obligation"))
        key = found.get(case_id)
        return None if key is None else Columns(key.key).seal(text.encode(), table="cases", column=column, row=case_id, org=org_id)
