"""What `hushwire doctor` finds about bundles of what is held of a person, while hushwire runs: which can't be built, and why."""

import asyncio
from collections.abc import Iterable

from hushwire.app import obligations
from hushwire.app.config import Config
from hushwire.app.sources import SystemClock
from hushwire.core.errors import Unavailable
from hushwire.services.export_failures import Failure
from hushwire.store import documents
from hushwire.store.documents import Trouble


def in_words(config: Config) -> str:
    """One sentence, or Unavailable with why they can't be built."""
    now, reasons = SystemClock().now(), tuple(Failure)
    return told(asyncio.run(obligations.asked(config, lambda connection: documents.in_trouble(connection, now, reasons))))


def told(troubles: Iterable[Trouble]) -> str:
    """One sentence of these, or Unavailable."""
    found = list(troubles)
    failed = ", ".join(f"{one.documents} {one.failure}" for one in found if one.is_over)
    delayed = ", ".join(f"{one.documents} {one.failure}" for one in found if not one.is_over)
    said = [f"could not be built: {failed}: mend the cause, then execute their requests again"] if failed else []
    said += [f"tried again by themselves: {delayed}"] if delayed else []
    if said:
        raise Unavailable("; ".join(said) + " (docs/exports.md lists the reasons)")
    return "none waits in vain"
