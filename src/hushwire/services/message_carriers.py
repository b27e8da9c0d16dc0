"""All carriers by SMPP of one process: started, stopped and changed as provisioned, and what has to be done for all of them."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import Unfinished
from hushwire.services import message_moves, message_runs
from hushwire.services.carriage import Bodies, Inbox
from hushwire.services.message_carrier import MessageCarrier
from hushwire.services.message_centres import Centre, LinkSpec, smpp_centres
from hushwire.services.message_moves import Asking
from hushwire.services.message_runs import Run
from hushwire.sms.smpp.session import Settings
from hushwire.store import message_link_states
from hushwire.store.database import Database
from hushwire.transport.locating import Dns
from hushwire.transport.message_link import BackOff, MessageLink, Place
from hushwire.vault.keyring import Keyring

AWAY_AFTER_S: Final = 60.0
"""So long a carrier may be away before operators are told."""
_STOP_WITHIN_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Means:
    """What links are made of. `verified` trusts authorities and checks the name; `pinned` checks nothing by itself."""

    dns: Dns
    clock: Clock
    random: Random
    verified: ssl.SSLContext
    pinned: ssl.SSLContext
    back_off: BackOff


@dataclass(slots=True)
class _Working:
    centre: Centre
    carrier: MessageCarrier
    task: asyncio.Task[None]


class MessageCarriers:
    """Follows `message_centres`. `on_failure` is told of what nobody expected: then the process has to end. `asking`: carriers by https."""

    def __init__(
        self,
        means: Means,
        run: Run,
        main: Database,
        keyring: Keyring,
        bodies: Bodies,
        inbox: Inbox,
        on_failure: Callable[[BaseException], None],
        asking: Asking,
    ) -> None:
        self._means = means
        self._run = run
        self._main = main
        self._keyring = keyring
        self._bodies = bodies
        self._inbox = inbox
        self._on_failure = on_failure
        self._asking = asking
        self._working: dict[str, _Working] = {}

    @property
    def carriers(self) -> Sequence[MessageCarrier]:
        return [one.carrier for one in self._working.values()]

    def woken(self) -> None:
        """Parts may be due."""
        for one in self._working.values():
            one.carrier.woken()

    async def follow(self) -> int:
        """Start what is new, stop what is gone, begin anew what is changed; returns how many. Raises Unavailable."""
        keys = await self._keyring.deployment()
        async with self._main.transaction() as connection:
            centres = {str(centre.id): centre for centre in await smpp_centres(connection, keys)}
        over = [key for key, one in self._working.items() if centres.get(key) != one.centre]
        await asyncio.gather(*(self._stop(self._working.pop(key)) for key in over))
        new = [key for key in centres if key not in self._working]
        for key in new:
            carrier = MessageCarrier(centres[key], self._run, self._main, keys, self._bodies, self._inbox, self._means.clock, self._links)
            task = asyncio.create_task(carrier.work(), name=f"message-carrier-{centres[key].name}")
            task.add_done_callback(self._ended)
            self._working[key] = _Working(centres[key], carrier, task)
        return len(over) + len(new)

    async def upkeep(self) -> int:
        """What dead processes left, early receipts, what is overdue and what is in doubt for too long; returns how many parts changed."""
        clock = self._means.clock
        count = await self._run.take_over(self._bodies)
        count += await self._run.release(self._bodies)
        count += await message_runs.expire(self._main, self._bodies, clock)
        for one in list(self._working.values()):
            count += await one.carrier.look_again()
            count += await message_runs.resolve_by_rule(self._main, self._bodies, one.centre.id, one.centre.settings, clock)
            after_s = one.centre.settings.move_after_s
            if after_s and one.carrier.away_s() >= after_s:
                count += await message_moves.move_on(self._main, one.centre.id, clock, self._means.random, self._asking)
                self.woken()
        return count

    async def tell(self) -> int:
        """Write how links stand, for metrics and `hushwire doctor`."""
        states = [state for one in self._working.values() for state in one.carrier.states()]
        async with self._main.transaction() as connection:
            await message_link_states.tell(connection, self._run.id, states)
        return 0

    async def look_away(self) -> int:
        """0 where no carrier stays away. Raises Unfinished, with how many do: that is how operators are told."""
        working = list(self._working.values())
        if away := [one for one in working if one.carrier.away_s() >= AWAY_AFTER_S]:
            raise Unfinished(f"{len(away)} of {len(working)} carriers of messages stay away")
        return 0

    async def stop(self) -> None:
        """Leave all centres."""
        working, self._working = list(self._working.values()), {}
        await asyncio.gather(*(self._stop(one) for one in working))

    async def _stop(self, one: _Working) -> None:
        one.task.cancel()
        await asyncio.wait([one.task], timeout=_STOP_WITHIN_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    def _links(self, carrier: MessageCarrier) -> list[tuple[LinkSpec, MessageLink]]:
        means, settings = self._means, carrier.centre.settings
        made = []
        for number, spec in enumerate(settings.links, 1):
            tls = None if not spec.tls else means.pinned if settings.pins else means.verified
            place = Place(f"{carrier.centre.name}/{number}", spec.host, spec.port, tls, settings.pins, settings.networks)
            session = Settings(
                settings.system_id,
                carrier.centre.password,
                mode=spec.mode,
                system_type=settings.system_type,
                window=settings.window,
                per_second=settings.per_second,
                answer_within_s=settings.answer_within_s,
                enquire_every_s=settings.enquire_every_s,
                statuses=settings.statuses,
            )
            made.append((spec, MessageLink(place, session, means.dns, means.clock, means.random, carrier.on_events, means.back_off)))
        return made
