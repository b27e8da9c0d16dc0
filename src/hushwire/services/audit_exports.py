"""Streams an organisation's audit log as a file that proves itself (docs/audit.md). Batches, so that a slow reader holds no transaction."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import audit, audit_chain
from hushwire.privacy.audit_export import Lines, Span
from hushwire.privacy.audit_heads import SignedHead
from hushwire.store import audit as table
from hushwire.store.database import Connection, Database
from hushwire.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Export:
    """An export about to be read, once."""

    span: Span
    chunks: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Beyond:
    """The log does not reach the first row that was asked for."""

    newest: int


class AuditExports:
    """Exports of one organisation's log at a time. That it was exported is a row of the log itself."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock

    async def export(self, org_id: OrgId, *, actor: str, first: int | None = None, last: int | None = None) -> Export | Beyond:
        """Rows `first` to `last` (all, where None), widened to whole stretches between signed heads."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            newest = (await audit.append(
                connection, org_id, now, actor, audit.Action.EXPORT_DELIVERED, f"audit:{org_id}", {"first": first or 1, "last": last}
            )).position  # fmt: skip
            if first is not None and first > newest:
                return Beyond(newest)
            before, after = await table.heads_around(connection, first or 1, newest if last is None else min(last, newest))
            heads = [SignedHead(**row) for row in await table.heads(connection, first=before or 1, last=(1 << 62) - 1)]
            if last is not None and after is not None:
                heads = [head for head in heads if head.seq <= after]
            begin = heads[0].position + 1 if before is not None else 1
            end = heads[-1].position if last is not None and after is not None else newest
            previous = heads[0].hash if before is not None else audit_chain.beginning(org_id)
            named_by = await table.receipts(connection, first=begin, last=end)
        span = Span(org_id, begin, end, previous, end == newest, now)
        return Export(span, self._lines(span, heads, named_by))

    async def _lines(self, span: Span, heads: list[SignedHead], named_by: list[dict[str, object]]) -> AsyncGenerator[bytes, None]:
        lines = Lines(span)
        yield lines.header()
        yield lines.heads(heads)
        yield lines.receipts(named_by)
        position = span.first - 1
        while position < span.last:
            async with self._main.organisation(span.org_id) as connection:
                rows = await self._next(connection, position, span.last)
            if not rows:
                break
            yield lines.rows(rows)
            position = rows[-1].position
        yield lines.end(*await self._keyring.signing_key())

    @staticmethod
    async def _next(connection: Connection, position: int, last: int) -> list[table.AuditRow]:
        return await table.following(connection, position, last=last)
