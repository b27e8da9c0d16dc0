"""Messages of a carrier that stays away go by another one, where that is the same message there.

Whole messages move, and only those of which nothing has left: a message that was partly sent stays with its carrier, since a phone joins
parts of one carrier alone, and one in doubt is never sent elsewhere. The other carrier must cut long texts the same way and take every
number that the first one takes, so that nothing has to be opened to decide.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId
from hushwire.services.message_centres import Way, ways
from hushwire.sip.resolve import by_weight
from hushwire.store import message_link_states, message_parts
from hushwire.store.database import Database

MOST: Final = 500
_ALIVE_WITHIN: Final = timedelta(seconds=30)
_log = structlog.get_logger(__name__)


def instead_of(away: Way, carriers: Sequence[Way], present: Collection[UUID], random: Random) -> Way | None:
    """The carrier that takes over: of those present that fit, one of the lowest priority, by weight and chance."""
    fitting = [one for one in carriers if one.id in present and one.id != away.id and _fits(one, away)]
    lowest = min((one.priority for one in fitting), default=0)
    return next(iter(by_weight([one for one in fitting if one.priority == lowest], lambda one: one.weight, random)), None)


def _fits(one: Way, away: Way) -> bool:
    is_open = not one.prefixes or (bool(away.prefixes) and all(prefix.startswith(one.prefixes) for prefix in away.prefixes))
    is_allowed = one.subprocessor in (None, away.subprocessor)  # of whom nobody was told anything that they may object to
    return one.style == away.style and is_open and is_allowed


async def move_on(main: Database, centre_id: UUID, clock: Clock, random: Random) -> int:
    """Move what this carrier, which is away, has not begun; returns how many parts. Raises Unavailable.

    A carrier whose links another process has bound is not away.
    """
    async with main.transaction() as connection:
        carriers = await ways(connection)
        told = await message_link_states.told(connection, _ALIVE_WITHIN)
        linked = {state.centre_id for _, state in told if state.is_bound and state.sends}
        away = next((one for one in carriers if one.id == centre_id), None)
        if away is None or centre_id in linked:
            return 0
        # A carrier by https has no links: whether it is there shows when it is asked.
        target = instead_of(away, carriers, linked | {one.id for one in carriers if not one.has_links}, random)
        found = [] if target is None else await message_parts.not_begun(connection, centre_id, clock.now(), MOST)
    by_org: dict[OrgId, list[UUID]] = defaultdict(list)
    for org_id, message_id in found:
        by_org[org_id].append(message_id)
    moved = 0
    for org_id, ids in by_org.items():
        assert target is not None
        async with main.organisation(org_id) as connection:
            moved += await message_parts.give_to(connection, ids, centre_id, target.id, clock.now())
    if moved:
        _log.warning("message_parts.moved", parts=moved, carriers=1)
    return moved
