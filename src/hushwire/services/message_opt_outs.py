"""Numbers whose owners asked for no more messages: keyed hashes in the do-not-call set, so that telemarketing does not call them either.

Each stands there twice: as any entry (calls ask for that), and as a mark that says that the person themselves asked, which messages obey
whatever they are about. Neither names anybody; both outlive the erasure of all else. START lifts what STOP listed, never what the
organisation listed by itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from hushwire.services.message_replies import OPT_OUT
from hushwire.services.verdicts import INDEX
from hushwire.store import do_not_call
from hushwire.store.database import Connection
from hushwire.vault.keyring import OrgKeys

MARK_INDEX: Final = "do_not_call.opted_out"


async def opted_out(connection: Connection, keys: OrgKeys, numbers: Sequence[str]) -> set[str]:
    """Which of these canonical numbers must get no message at all."""
    marks = {keys.index(MARK_INDEX, number): number for number in set(numbers)}
    return {marks[index] for index in await do_not_call.among(connection, list(marks))}


async def listed(connection: Connection, keys: OrgKeys, numbers: Sequence[str]) -> set[str]:
    """Which of these telemarketing must not reach, for whatever reason they are listed."""
    entries = {keys.index(INDEX, number): number for number in set(numbers)}
    return {entries[index] for index in await do_not_call.among(connection, list(entries))}


async def opt_out(connection: Connection, keys: OrgKeys, number: str, at: datetime) -> bool:
    """No more messages from this commit on; False if that was so before."""
    await do_not_call.lock(connection)
    await do_not_call.add(connection, keys.org_id, [keys.index(INDEX, number)], at, OPT_OUT)
    return await do_not_call.add(connection, keys.org_id, [keys.index(MARK_INDEX, number)], at, do_not_call.MARK) == 1


async def opt_in(connection: Connection, keys: OrgKeys, number: str) -> bool:
    """Messages again; False if they were not ended."""
    await do_not_call.lock(connection)
    await do_not_call.remove_added_by(connection, keys.index(INDEX, number), OPT_OUT)
    return await do_not_call.remove(connection, [keys.index(MARK_INDEX, number)]) == 1
