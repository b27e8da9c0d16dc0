"""What `hushwire doctor` finds about the work that roles keep going, while hushwire runs: what broke, and whether it works again."""

import asyncio
from collections.abc import Sequence

from hushwire.app import obligations
from hushwire.app.config import Config
from hushwire.core.errors import Unavailable
from hushwire.store import work_states
from hushwire.store.work_states import WorkState


def in_words(config: Config) -> str:
    """One sentence, or Unavailable with what does not work."""
    return told(asyncio.run(obligations.asked(config, work_states.told)))


def told(states: Sequence[tuple[str, WorkState]]) -> str:
    """One sentence of these states, or Unavailable."""
    broken = [
        f"{role}: {state.task} has not worked since {state.since:%Y-%m-%dT%H:%M:%SZ} ({state.error}, {state.failures} time(s))"
        for role, state in states
        if state.since is not None
    ]
    if broken:
        raise Unavailable("; ".join(broken) + ": the role's log says where")
    mended = [f"{role}: {state.task} {state.failures} time(s)" for role, state in states]
    return f"all of it works; it broke before: {', '.join(mended)}" if mended else "all of it works"
