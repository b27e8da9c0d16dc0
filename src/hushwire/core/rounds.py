"""Many things that are done one after the other, where what is wrong with one of them must not hold up the rest."""

from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import TypeVar

import structlog

from hushwire.core.errors import Unfinished

_log = structlog.get_logger(__name__)
K = TypeVar("K", bound=Hashable)


async def for_each(things: Iterable[K], work: Callable[[K], Awaitable[int]], task: str) -> int:
    """The sum of what `work` returns for each of them; `things` are ids.

    Raises Unfinished where some broke, once all others had their turn: whoever keeps the task going tells of it and tries again.
    """
    done, broken = 0, dict[str, int]()
    for one in things:
        try:
            done += await work(one)
        except Exception as error:
            subject = ",".join(str(part) for part in one) if isinstance(one, tuple) else str(one)
            _log.error("round.one_failed", task=task, subject=subject, exc_info=error)
            name = type(error).__name__
            broken[name] = broken.get(name, 0) + 1
    if broken:
        raise Unfinished(", ".join(f"{count} {name}" for name, count in sorted(broken.items())))
    return done
