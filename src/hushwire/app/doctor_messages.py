"""What `hushwire doctor` finds about carriers of short messages, while hushwire runs: links that are not bound, and since when."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from hushwire.app import obligations
from hushwire.app.config import Config
from hushwire.core.errors import Unavailable
from hushwire.store import message_link_states
from hushwire.store.message_link_states import LinkState

_ALIVE_WITHIN: Final = timedelta(seconds=30)


def in_words(config: Config) -> str:
    """One sentence, or Unavailable with who is away."""
    return told(asyncio.run(obligations.asked(config, lambda connection: message_link_states.told(connection, _ALIVE_WITHIN))))


def told(states: Iterable[tuple[str, LinkState]]) -> str:
    """One sentence of these links, or Unavailable: a link that no process has bound is as bad as a carrier that is away."""
    known = list(states)
    bound = {(name, state.link) for name, state in known if state.is_bound}
    carriers = {name for name, _ in bound}
    away = sorted(
        {
            f"{name} is away: {state.reason}, since {state.since:%Y-%m-%dT%H:%M:%SZ}"
            if name not in carriers
            else f"link {state.link} of {name} is down: {state.reason}, since {state.since:%Y-%m-%dT%H:%M:%SZ}"
            for name, state in known
            if (name, state.link) not in bound
        }
    )
    if away:
        raise Unavailable("; ".join(away) + ": docs/sms.md lists the reasons")
    return f"{len(bound)} links to {len(carriers)} carriers are bound" if known else "no links are held"
