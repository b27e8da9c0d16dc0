"""What `hushwire doctor` finds about clocks and notices: it asks the main database, as the API's role, while hushwire runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from hushwire.app.config import Config
from hushwire.app.databases import Databases
from hushwire.app.folders import Folders, account
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.errors import Unavailable
from hushwire.services.clocks import Clocks
from hushwire.services.obligations import Standing, standing
from hushwire.store.database import Connection, Database
from hushwire.store.roles import API

_PATIENCE_S = 3.0
T = TypeVar("T")


def look(config: Config) -> Standing:
    """How clocks and notices stand. Raises Unavailable where the database does not answer, ConfigError where it can't be reached."""
    return asyncio.run(asked(config, lambda connection: standing(connection, Clocks(SystemClock(), SystemRandom()))))


def clocks_in_words(found: Standing) -> str:
    """One sentence, or Unavailable with what to do."""
    if found.overdue_clocks:
        kinds = ", ".join(f"{count} {kind.value}" for kind, count in found.overdue.items() if count)
        raise Unavailable(f"overdue: {kinds}: see /v1/privacy/clocks?state=overdue of each organisation")
    return "nothing is overdue"


def notices_in_words(found: Standing, config: Config) -> str:
    """One sentence, or Unavailable with what to do."""
    waiting = {state: count for state, count in found.unsent.items() if count}
    if not waiting:
        return "none waits" if config.mail.smtp else "none waits; [mail] smtp is not set: they would stay in the outbox"
    mends = {
        "queued": "set [mail] smtp" if config.mail.smtp is None else "the worker's log says why",
        "unaddressed": "designate contacts ([[orgs.contacts]])",
        "failed": "designate other contacts",
    }
    raise Unavailable("; ".join(f"{count} {state}: {mends[state]}" for state, count in waiting.items()))


async def asked(config: Config, question: Callable[[Connection], Awaitable[T]]) -> T:
    """What the main database of a hushwire that runs says, asked as the API's role. Raises as `look`."""
    folders = Folders(config.data.dir)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            main = await Database.connect(Databases(config, folders, account(config.run.user)).main_dsn(API), max_size=1)
            try:
                async with main.transaction() as connection:
                    return await question(connection)
            finally:
                await main.close()
    except TimeoutError:
        raise Unavailable("the main database does not answer") from None
    except asyncpg.PostgresError as error:
        raise Unavailable(f"the main database can't be asked ({type(error).__name__})") from None
