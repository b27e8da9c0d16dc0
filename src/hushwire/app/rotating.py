"""`hushwire keys rotate-root` and `rotate-signing`, on one deployment."""

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from hushwire.app.config import Config
from hushwire.app.deployment import administration
from hushwire.app.folders import Folders
from hushwire.app.wiring import bucket_folders, key_provider
from hushwire.core.errors import ConfigError
from hushwire.store import nodes
from hushwire.vault import rotation
from hushwire.vault.rotation import Rewrapped

_ALIVE_WITHIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was wrapped anew, in how long, and where the new key is."""

    rewrapped: Rewrapped
    took_ms: float
    where: str


async def rotate_root(config: Config) -> Rotated:
    """Put everything under a new root key, and destroy the old one. hushwire must not be running: roles hold what the old key gave them.

    Raises ConfigError if it runs. Killed anywhere, the next start goes on with the key that the keyring is under.
    """
    folders = Folders(config.data.dir)
    async with administration(config, is_alone=True) as means:
        if config.database.dsn is not None:
            async with means.main.transaction() as connection:
                if await nodes.count_alive(connection, _ALIVE_WITHIN):
                    raise ConfigError("a gateway was alive in the last 30 s: end every role of this deployment, and do this again")
        provider = key_provider(config, folders, os.environ)
        new = provider.prepare(means.random)
        begun = time.monotonic()
        done = await rotation.rewrap(means.keyring.db, means.root, new, bucket_folders(config, folders))
        provider.settle(new)
        took_ms = 1000 * (time.monotonic() - begun)
        await means.databases.discard_old_root(means.keyring)
        return Rotated(done, took_ms, provider.where)


async def rotate_signing(config: Config) -> UUID:
    """Sign with a new key from now on; beside a running hushwire too. Returns the new key's id."""
    async with administration(config) as means:
        return await rotation.rotate_signing(means.keyring.db, means.root.opener_wrap())
