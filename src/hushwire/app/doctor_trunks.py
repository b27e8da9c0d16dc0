"""What `hushwire doctor` finds about trunks, while hushwire runs: keys that travel in the clear, and carriers that can't be reached."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from hushwire.app import obligations
from hushwire.app.config import Config
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.sip.errors import ParseError
from hushwire.sip.resolve import transport_of
from hushwire.sip.uri import parse_sip_uri
from hushwire.store import listing, trunk_states
from hushwire.store.database import Connection
from hushwire.store.listing import TrunkRow
from hushwire.store.trunk_states import TrunkState

_ALIVE_WITHIN: Final = timedelta(seconds=30)
_MOST: Final = 1000
Found = tuple[list[TrunkRow], list[tuple[str, TrunkState]]]


def look(config: Config) -> Found:
    """The trunks, and how they stand. Raises Unavailable where the database does not answer."""
    return asyncio.run(obligations.asked(config, _read))


def protection_in_words(trunks: Iterable[TrunkRow]) -> str:
    """One sentence, or ConfigError with what to do: SRTP whose keys anybody on the way can read protects from nobody there."""
    known = list(trunks)
    keyed = [trunk for trunk in known if trunk.srtp != "never" and trunk.keying in ("sdes", "best-effort")]
    exposed = [trunk.name for trunk in keyed if not _is_protected(trunk)]
    if exposed:
        mend = 'use transport=tls or sips:, or keying = "dtls" (docs/trunks.md)'
        raise ConfigError(f"{', '.join(exposed)}: SRTP keys (SDES) travel in clear signalling: {mend}")
    clear = [trunk.name for trunk in known if trunk.srtp == "never"]
    return f"{len(known)} trunks; media in the clear by their srtp = never: {', '.join(clear)}" if clear else f"{len(known)} trunks"


def standing_in_words(states: Iterable[tuple[str, TrunkState]]) -> str:
    """One sentence, or Unavailable with who is in trouble."""
    told = list(states)
    poor = sorted({f"{name} is {state.standing} ({state.reason or 'unknown'})" for name, state in told if state.standing != "up"})
    if poor:
        raise Unavailable("; ".join(poor))
    return "all are up, for all that is known" if told else "no gateway has said anything yet"


def _is_protected(trunk: TrunkRow) -> bool:
    """Whether the signalling is TLS whatever DNS says."""
    try:
        transport = transport_of(parse_sip_uri(trunk.uri))
    except ParseError:
        return True
    return transport is not None and transport.is_protected


async def _read(connection: Connection) -> Found:
    return await listing.trunks(connection, limit=_MOST), await trunk_states.told(connection, _ALIVE_WITHIN)
