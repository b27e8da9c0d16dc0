"""Messages of a carrier that stays away go by another one, where that is the same message there.

Whole messages move, and only those of which nothing has left: a message that was partly sent stays with its carrier, since a phone joins
parts of one carrier alone, and one in doubt is never sent elsewhere. The other carrier must cut long texts the same way. Whether it takes
the number is known without opening anything: it takes every number that the first one takes, or it was among those that fit when the
message was accepted, and has not changed since (docs/adr/0064).
"""

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.services.message_centres import Way, ways
from hushwire.sip.resolve import by_weight
from hushwire.store import message_link_states, message_parts
from hushwire.store.database import Database

MOST: Final = 500
_ALIVE_WITHIN: Final = timedelta(seconds=30)
_log = structlog.get_logger(__name__)

Asking = Callable[[Collection[UUID]], Awaitable[Collection[UUID]]]
"""Which of these carriers, that have no links, are there: they are asked."""


def takers(away: Way, carriers: Sequence[Way], present: Collection[UUID]) -> list[Way]:
    """The carriers that may take over messages of this one, where they take the number: those present that cut alike, and are nobody's
    of whom nobody was told anything that they may object to."""
    return [
        one
        for one in carriers
        if one.id in present and one.id != away.id and one.style == away.style and one.subprocessor in (None, away.subprocessor)
    ]


def takes_all(one: Way, away: Way) -> bool:
    """Whether it takes every number that the other one takes."""
    return not one.prefixes or (bool(away.prefixes) and all(prefix.startswith(one.prefixes) for prefix in away.prefixes))


def floor(one: Way) -> UUID:
    """The smallest id of a message that was accepted when the carrier was as it is."""
    return uuid7(math.ceil(one.updated_at.timestamp() * 1000), bytes(10))


def instead_of(away: Way, fitted: UUID | None, taking: Sequence[Way], random: Random) -> UUID | None:
    """The carrier that takes a message over: the next choice when it was accepted, else one that takes every number, of several one of the
    lowest priority, by weight and chance."""
    if fitted is not None:
        return fitted
    wide = [one for one in taking if takes_all(one, away)]
    lowest = min((one.priority for one in wide), default=0)
    chosen = by_weight([one for one in wide if one.priority == lowest], lambda one: one.weight, random)
    return chosen[0].id if chosen else None


async def move_on(main: Database, centre_id: UUID, clock: Clock, random: Random, asking: Asking) -> int:
    """Move what this carrier, which is away, has not begun; returns how many parts. Raises Unavailable.

    A carrier whose links another process has bound is not away.
    """
    async with main.transaction() as connection:
        carriers = await ways(connection)
        told = await message_link_states.told(connection, _ALIVE_WITHIN)
    present = {state.centre_id for _, state in told if state.is_bound and state.sends}
    away = next((one for one in carriers if one.id == centre_id), None)
    if away is None or centre_id in present:
        return 0
    # A carrier by https has no links: whether it is there shows when it is asked.
    if unlinked := {one.id for one in takers(away, carriers, {one.id for one in carriers if not one.has_links})}:
        present |= set(await asking(unlinked))
    taking = takers(away, carriers, present)
    if not taking:
        return 0
    async with main.transaction() as connection:
        known = [(one.id, floor(one), takes_all(one, away)) for one in taking]
        found = await message_parts.not_begun(connection, centre_id, clock.now(), MOST, known)
    going: dict[tuple[OrgId, UUID], list[UUID]] = defaultdict(list)
    for org_id, message_id, fitted in found:
        if (target := instead_of(away, fitted, taking, random)) is not None:
            going[org_id, target].append(message_id)
    moved = 0
    for (org_id, target_id), ids in going.items():
        async with main.organisation(org_id) as connection:
            moved += await message_parts.give_to(connection, ids, centre_id, target_id, clock.now())
    if moved:
        _log.warning("message_parts.moved", parts=moved, carriers=len({target_id for _, target_id in going}))
    return moved
