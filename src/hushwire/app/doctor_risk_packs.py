"""What `hushwire doctor` finds about risk packs, while hushwire runs: those that were obeyed and whose key is not trusted any more."""

import asyncio
from collections.abc import Sequence

from hushwire.app import obligations
from hushwire.app.config import Config
from hushwire.core.errors import ConfigError
from hushwire.services.risk_packs import PROJECT_KEY, left_behind, trusted_keys
from hushwire.store import risk_packs


def in_words(config: Config) -> str:
    """One sentence, or ConfigError with what to do. Raises Unavailable where the database does not answer."""
    rows = asyncio.run(obligations.asked(config, risk_packs.versions))
    return told(left_behind(rows, trusted_keys((PROJECT_KEY, *config.risk_packs.keys))))


def told(left: Sequence[tuple[str, int, str]]) -> str:
    """One sentence of the packs (name, version, key) that are not obeyed any more, or ConfigError."""
    if left:
        names = ", ".join(f"{name} {version} (signed by {key_id or 'nobody'})" for name, version, key_id in left)
        raise ConfigError(
            f"not obeyed any more, since their key is not in [risk_packs] keys: {names}: their ranges may stand open; sign them with a key"
            " that is trusted, trust that key again, or let them go: hushwire risk-pack forget NAME"
        )
    return "every one that was obeyed is signed by a trusted key"
