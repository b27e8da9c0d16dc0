"""Live recordings end before their keys do: the node stops them, the media process wipes the keys, and only then an erasure goes on."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy.erasure import NODE_IS_DEAD_AFTER, UNANSWERED_FOR
from hushwire.store import ledger, recordings
from hushwire.store.database import Connection, Database
from hushwire.store.ledger import LedgerEntry


class Stopping:
    """Waits for nodes. The commands to them were written together with the ledger entries, so all are under way at once."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random
        self._waiting: set[asyncio.Event] = set()

    async def listen(self) -> None:
        """Hear nodes' confirmations at once; without it they are seen at the end of the wait."""
        await self._main.listen("hushwire_done", self._ring)

    async def stop(self, org_id: OrgId, entries: Sequence[LedgerEntry], wait_s: float) -> bool:
        """Waits until no process records any of these any more, and notes each that has stopped; False if some have not in time."""
        bell = asyncio.Event()
        self._waiting.add(bell)
        until = self._clock.monotonic() + wait_s
        left = [entry for entry in entries if entry.stopped_at is None]
        may_ask_again = {entry.id for entry in left}
        try:
            while left:
                bell.clear()
                async with self._main.organisation(org_id) as connection:
                    stopped = [entry for entry in left if await self._is_stopped(connection, entry)]
                    await ledger.note_stopped(connection, [entry.id for entry in stopped], self._clock.now())
                    left = [entry for entry in left if entry not in stopped]
                    for entry in left:
                        if entry.id in may_ask_again and await self._ask_again(connection, entry):
                            may_ask_again.discard(entry.id)
                remaining_s = until - self._clock.monotonic()
                if not left or remaining_s <= 0:
                    break
                try:
                    async with asyncio.timeout(remaining_s):
                        await bell.wait()
                except TimeoutError:
                    until = self._clock.monotonic()
        finally:
            self._waiting.discard(bell)
        return not left

    async def _is_stopped(self, connection: Connection, entry: LedgerEntry) -> bool:
        """Whether the row says so: a node closes it once the media process has wiped the key, and before it answers the command.

        The answer alone isn't enough: a gateway that was just started knows nothing of a call that its media process still records.
        """
        if entry.kind != "recording":
            return True
        recording = await recordings.get(connection, entry.recording_id)
        if recording is None or recording.state != "live":
            return True
        if self._clock.now() - entry.requested_at < UNANSWERED_FOR:
            return False
        unseen_for = await recordings.node_unseen_for(connection, recording.node_id)
        return unseen_for is None or unseen_for > NODE_IS_DEAD_AFTER

    async def _ask_again(self, connection: Connection, entry: LedgerEntry) -> bool:
        """Asks the node anew if it never was asked, or answered that it couldn't."""
        recording = await recordings.get(connection, entry.recording_id)
        if recording is None or recording.call_id is None:
            return False
        wipe = await ledger.last_wipe(connection, recording.call_id, entry.requested_at)
        if wipe is not None and (not wipe.is_done or wipe.outcome == "ok"):
            return False
        now = self._clock.now()
        await ledger.command_wipe(connection, recording.org_id, [(self._new_id(), recording.node_id, recording.call_id)], now)
        return True

    def _ring(self, _command_id: str) -> None:
        for bell in self._waiting:
            bell.set()

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))
