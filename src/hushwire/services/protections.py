"""What protects people outlives the main database: objections, the do-not-call set, restrictions and legal holds in force; and what narrows
calls: terms, hours, short codes, what two must agree to, levels and limits.

The worker keeps the keyring's copy of these rows as they are now, within seconds of each change (`Keeping`): what is lifted or withdrawn
leaves the copy too, so no history of it comes into being. A main database that counts fewer changes than the keyring was restored from an
older state: before anything serves it gets back what it lacks (`bring_back`, by services/replay.py). What it has and the keyring no
longer has stays in force: to protect too much can be mended by hand. Rules stand as they did last,
so that nobody reaches more than then. docs/adr/0017-protections-outlive-the-main-database.md.
"""

from typing import Final

import structlog

from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.store import protections as rows
from hushwire.store.database import Connection, Database
from hushwire.store.protections import KINDS, NARROWING, Protecting

_PAGE: Final = 5000
_log = structlog.get_logger(__name__)


class Keeping:
    """The worker's share; any number of workers at once."""

    def __init__(self, main: Database, keyring: Database) -> None:
        self._main = main
        self._keyring = keyring

    async def keep_all(self) -> int:
        """Every organisation whose protections were changed; returns how many were written."""
        async with self._main.transaction() as connection:
            waiting = await rows.to_keep(connection)
        return await for_each(waiting, self.keep, "protections")

    async def keep(self, org_id: OrgId) -> bool:
        """Make the keyring's copy what the main database has; False if somebody else's newer look was written already.

        The count is read before the rows: what changes meanwhile raises it again, and is looked at again.
        """
        async with self._main.organisation(org_id) as main, self._keyring.organisation(org_id) as keyring:
            await rows.lock(keyring, org_id)
            upto = await rows.changes(main)
            if await rows.kept_changes(keyring) > upto or not await rows.has_organisation(keyring):
                return False
            for what in (*KINDS, *(narrowing.what for narrowing in NARROWING)):
                await self._copy(main, keyring, org_id, what)
            await rows.note_kept_changes(keyring, org_id, upto)
        async with self._main.organisation(org_id) as main:
            await rows.note_kept(main, org_id, upto)
        return True

    @staticmethod
    async def _copy(main: Connection, keyring: Connection, org_id: OrgId, what: Protecting) -> None:
        after: bytes | None = None
        while True:
            found = await rows.page(main, what, after, _PAGE)
            upto = max(found) if len(found) == _PAGE else None
            kept = await rows.kept_page(keyring, what, after, upto)
            if gone := kept.keys() - found.keys():
                await rows.drop(keyring, what, gone)
            if changed := {key: said for key, said in found.items() if kept.get(key) != said}:
                await rows.put(keyring, org_id, what, changed)
            if upto is None:
                return
            after = upto


async def bring_back(main: Database, keyring: Database, org_id: OrgId) -> dict[str, int]:
    """Give a main database that is behind the keyring what protects people and it lacks; by table, how many rows. As the owner, at a start.

    Safe to repeat: it is behind until its last step is committed.
    """
    async with keyring.organisation(org_id) as kept, main.organisation(org_id) as connection:
        upto = await rows.kept_changes(kept)
        if upto <= await rows.changes(connection):
            return {}
        found: dict[str, int] = {}
        for what in KINDS:
            after: bytes | None = None
            while page := await rows.kept_page(kept, what, after, None, _PAGE):
                found[what.table] = found.get(what.table, 0) + await rows.bring_back(connection, what, page.values())
                after = max(page)
        rules = {narrowing: await rows.kept_page(kept, narrowing.what, None, None) for narrowing in NARROWING}
        # A keyring that was never told of rules says nothing about them.
        for narrowing, said in rules.items() if rules[NARROWING[0]] else ():
            found[narrowing.what.table] = await rows.put_back(connection, narrowing, said)
        await rows.overtake(connection, org_id, upto)
    _log.warning("protections.brought_back", org_id=str(org_id), **found)
    return {table: count for table, count in found.items() if count}
