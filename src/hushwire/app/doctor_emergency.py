"""What `hushwire doctor` finds about emergency calls, while hushwire runs: who could not make any."""

import asyncio
from collections.abc import Sequence

from hushwire.app import obligations
from hushwire.app.config import Config
from hushwire.core.errors import ConfigError
from hushwire.store import emergencies

Carrier = tuple[str | None, bool | None]


def in_words(config: Config) -> str:
    """One sentence, or ConfigError with what to do. Raises Unavailable where the database does not answer."""
    return told(asyncio.run(obligations.asked(config, emergencies.countries)))


def told(carriers: Sequence[Carrier]) -> str:
    """One sentence of these carriers (country and mark), or ConfigError."""
    marked = [country for country, mark in carriers if mark]
    unmarked = [country for country, mark in carriers if mark is None]
    if marked:
        return f"{len(marked)} trunk(s) marked for them"
    if not unmarked:
        raise ConfigError("no trunk takes them: 112 is refused; give the carrier that does emergency = true (docs/voice-security.md)")
    if None not in unmarked:
        found = ", ".join(sorted({country for country in unmarked if country is not None}))
        raise ConfigError(f"only organisations at home in {found} can make them: give a carrier of each other country emergency = true")
    return "no trunk is marked for them: they go to any; ask the carrier, and give it emergency = true"
