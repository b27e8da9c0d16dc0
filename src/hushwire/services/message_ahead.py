"""Parts of one carrier opened before there is room for them, so that its links wait for no key and no row.

Opening is a task of its own, beside the turns that claim and settle. How far ahead it goes follows what is sent: twice as far each time
that the links ran out of opened parts, half as far each time that some had to wait for too long and are opened anew.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Final

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, Unavailable
from hushwire.core.ids import OrgId
from hushwire.core.values import frozen
from hushwire.services import message_runs
from hushwire.services.carriage import Bodies, Change
from hushwire.services.message_centres import Centre
from hushwire.services.message_submission import digits, submission
from hushwire.sms.smpp.bodies import SubmitSm
from hushwire.store import message_parts
from hushwire.store.database import Database
from hushwire.store.message_parts import PartRef
from hushwire.vault.keyring import DeploymentKeys

AHEAD: Final = 8
"""So many windows are opened ahead of what may be sent at the most."""
LOOK_EVERY_S: Final = 5.0
"""So often the outbox is looked at without being told: what was put off may be due."""
STALE_S: Final = 5.0
"""What was opened longer ago is opened anew: it may be erased meanwhile."""
_PAUSE_S: Final = 1.0
_AWAY: Final = (HushwireError, asyncpg.PostgresError, OSError)
_OF_ONE: Final = (HushwireError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What may be wrong with one organisation's keys or rows, unless it is Unavailable: nothing of the others'."""
_log = structlog.get_logger(__name__)


@frozen
class Ready:
    """A part opened to be sent."""

    ref: PartRef
    body: SubmitSm = field(repr=False)
    index: bytes
    opened_at: float


class Ahead:
    """What is opened for one centre. `opened` is called when there is more to take."""

    def __init__(
        self, centre: Centre, main: Database, keys: DeploymentKeys, bodies: Bodies, clock: Clock, opened: Callable[[], None]
    ) -> None:
        self._centre = centre
        self._main = main
        self._keys = keys
        self._bodies = bodies
        self._clock = clock
        self._opened = opened
        self._ready: deque[Ready] = deque()
        self._leaving: set[PartRef] = set()
        self._wanted = asyncio.Event()
        self._windows = 0
        self._most = 0
        self._looked_at = 0.0
        self._resting: dict[OrgId, float] = {}
        """Organisations that are left alone, and until when (monotonic)."""
        self.may_hold_more = True
        """Whether the outbox may have parts that are due, beyond those opened."""

    def __len__(self) -> int:
        return len(self._ready)

    def want(self, windows: int) -> None:
        """The links have room, and windows of so many parts together: see to it that there is something to take."""
        if self._clock.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self.may_hold_more = True
        self._windows = windows
        self._most = max(windows, min(self._most, AHEAD * windows))
        if self._is_low():
            self._wanted.set()

    def _is_low(self) -> bool:
        return self.may_hold_more and 2 * len(self._ready) <= self._most

    def take(self, most: int) -> list[Ready]:
        """The oldest of what is opened and fresh. They count as leaving until `left` is told of them."""
        stale, kept = self._clock.monotonic() - STALE_S, len(self._ready)
        while self._ready and self._ready[0].opened_at < stale:
            self._ready.popleft()
        if len(self._ready) < kept:
            self.may_hold_more = True
            self._most //= 2
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        if taken and not self._ready and self.may_hold_more:
            self._most *= 2
        self._leaving.update(one.ref for one in taken)
        return taken

    def left(self, taken: Iterable[PartRef]) -> None:
        """These are claimed, committed as such, or not ours; or it is written that they did not leave."""
        self._leaving.difference_update(taken)

    async def run(self) -> None:
        """Open what is wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not self._is_low():
                continue  # wanted while it was being filled
            try:
                await self._fill()
            except _AWAY as error:
                self.may_hold_more = True
                _log.error("message_ahead.not_opened", centre=self._centre.name, error=type(error).__name__)
                await asyncio.sleep(_PAUSE_S)
            self._opened()

    async def _fill(self) -> None:
        # What is being claimed looks queued until that is committed.
        known = self._leaving.union(one.ref for one in self._ready)
        most = len(known) + max(self._windows, self._most - len(self._ready))
        self.may_hold_more, self._looked_at = False, self._clock.monotonic()
        async with self._main.transaction() as connection:
            refs = await message_parts.due(connection, self._centre.id, self._clock.now(), most)
        resting = self._rest()
        fresh = [ref for ref in refs if ref not in known and ref.org_id not in resting]
        # They come by turns: where all that is new is of organisations that rest, nothing of the others is behind it.
        self.may_hold_more = self.may_hold_more or (len(refs) == most and bool(fresh))
        by_org: dict[OrgId, list[PartRef]] = defaultdict(list)
        for ref in fresh:
            by_org[ref.org_id].append(ref)
        for org_id, some in by_org.items():
            try:
                await self._open(org_id, some)
            except Unavailable:
                raise
            except _OF_ONE as error:
                _log.error("message_ahead.not_opened", centre=self._centre.name, org_id=str(org_id), error=type(error).__name__)
                await self._put_off(org_id, some)

    def rest(self, org_id: OrgId, for_s: float) -> None:
        """This organisation's rows can't be written: for so long nothing of it is opened or taken, so that it holds up no other."""
        self._resting[org_id] = self._clock.monotonic() + for_s
        self._ready = deque(one for one in self._ready if one.ref.org_id != org_id)

    def _rest(self) -> set[OrgId]:
        now = self._clock.monotonic()
        self._resting = {org_id: until for org_id, until in self._resting.items() if until > now}
        return set(self._resting)

    async def _put_off(self, org_id: OrgId, refs: Sequence[PartRef]) -> None:
        try:
            await message_runs.put_off(self._main, org_id, refs, self._clock)
        except Unavailable:
            raise
        except _OF_ONE as error:
            _log.error("message_ahead.not_put_off", centre=self._centre.name, org_id=str(org_id), error=type(error).__name__)
            self.rest(org_id, message_runs.PUT_OFF_FOR.total_seconds())

    async def _open(self, org_id: OrgId, refs: Sequence[PartRef]) -> None:
        """Open what is due of one organisation; what can't be sent fails here."""
        settings, now = self._centre.settings, self._clock.now()
        opened = await self._bodies.open(org_id, list(dict.fromkeys(ref.message_id for ref in refs)), settings.style)
        if waiting := [ref for ref in refs if opened.get(ref.message_id, ...) is None]:
            _log.error("message_ahead.not_opened", centre=self._centre.name, org_id=str(org_id), parts=len(waiting))
            await message_runs.put_off(self._main, org_id, waiting, self._clock)
        at, failed = self._clock.monotonic(), []
        for ref in refs:
            message = opened.get(ref.message_id)
            if message is None and ref.message_id in opened:
                continue
            if message is None or ref.part > len(message.parts):
                failed.append((ref, "erased" if message is None else "parts"))
                continue
            body = submission(message.parts[ref.part - 1], message.source, message.destination, settings)
            index = self._keys.text_destination(digits(message.destination.reveal()))
            self._ready.append(Ready(ref, body, index, at))
        if failed:
            async with self._main.organisation(org_id) as connection:
                for error in {error for _, error in failed}:
                    refs_of = [ref for ref, why in failed if why == error]
                    moved = await message_parts.move(connection, refs_of, "queued", "failed", error, now)
                    await self._bodies.advance(
                        connection, org_id, [Change(ref.message_id, ref.part, "failed", error, now) for ref in moved]
                    )
