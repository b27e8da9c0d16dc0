"""Numbers whose owners asked for no more messages: keyed hashes in the do-not-call set, so that telemarketing does not call them either.

Each stands there twice: as any entry (calls ask for that), and as a mark that says that the person themselves asked, which messages obey
whatever they are about. Neither names anybody; both outlive the erasure of all else. START lifts what STOP listed, never what the
organisation listed by itself.

Who writes under a name, a short code, or digits that no plan knows is nobody's number, and somebody else elsewhere: what such a sender
asks for holds between it and the number that it wrote to, and is no entry of the list. (Once it was marked for all of our numbers: those
marks are obeyed as they stand.)
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from hushwire.services.message_parties import is_number
from hushwire.services.message_replies import OPT_OUT
from hushwire.services.verdicts import INDEX
from hushwire.store import do_not_call
from hushwire.store.database import Connection
from hushwire.vault.keyring import OrgKeys

MARK_INDEX: Final = "do_not_call.opted_out"


Pair = tuple[str, str]
"""Who is written to, and under which number or name of ours."""


async def opted_out(connection: Connection, keys: OrgKeys, pairs: Iterable[Pair]) -> set[Pair]:
    """Who of these must get no message at all."""
    marks: dict[bytes, list[Pair]] = {}
    for pair in set(pairs):
        for mark in {_mark(keys, *pair), keys.index(MARK_INDEX, pair[0])}:
            marks.setdefault(mark, []).append(pair)
    return {pair for index in await do_not_call.among(connection, list(marks)) for pair in marks[index]}


async def listed(connection: Connection, keys: OrgKeys, numbers: Sequence[str]) -> set[str]:
    """Which of these telemarketing must not reach, for whatever reason they are listed."""
    entries = {keys.index(INDEX, number): number for number in set(numbers)}
    return {entries[index] for index in await do_not_call.among(connection, list(entries))}


async def opt_out(connection: Connection, keys: OrgKeys, remote: str, local: str, at: datetime) -> bool:
    """No more messages from this commit on; False if that was so before."""
    await do_not_call.lock(connection)
    if is_number(remote):
        await do_not_call.add(connection, keys.org_id, [keys.index(INDEX, remote)], at, OPT_OUT)
    return await do_not_call.add(connection, keys.org_id, [_mark(keys, remote, local)], at, do_not_call.MARK) == 1


async def opt_in(connection: Connection, keys: OrgKeys, remote: str, local: str) -> bool:
    """Messages again; False if they were not ended."""
    await do_not_call.lock(connection)
    if is_number(remote):
        await do_not_call.remove_added_by(connection, keys.index(INDEX, remote), OPT_OUT)
    return await do_not_call.remove(connection, [*{_mark(keys, remote, local), keys.index(MARK_INDEX, remote)}]) > 0


def _mark(keys: OrgKeys, remote: str, local: str) -> bytes:
    return keys.index(MARK_INDEX, remote if is_number(remote) else f"{remote}\0{local}")
