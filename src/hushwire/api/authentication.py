"""From `Authorization: Bearer hw_...` to the caller. The key's hash is looked up, and what was found is trusted for one second."""

import hashlib
import re
from collections import OrderedDict
from typing import Final

from hushwire.api.access import Caller
from hushwire.core.clock import Clock
from hushwire.store import api_keys
from hushwire.store.database import Database

FRESH_S: Final = 1.0
_REMEMBERED: Final = 10_000
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(hw_[A-Za-z0-9_\-]{20,128})", re.ASCII)


class Authenticator:
    """Knows API keys by their hash; a revoked key is refused a second later at most."""

    def __init__(self, main: Database, clock: Clock) -> None:
        self._main = main
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def caller(self, authorization: bytes | None) -> Caller | None:
        """Whom the header's value names; None for anything but a valid key. Raises Unavailable if the database is away."""
        match = None if authorization is None else _BEARER.fullmatch(authorization)
        if match is None:
            return None
        secret_hash = hashlib.sha256(match[1]).digest()
        now = self._clock.monotonic()
        known = self._known.get(secret_hash)
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        key = await api_keys.find(self._main, secret_hash, self._clock.now())
        if key is None:
            self._known.pop(secret_hash, None)
            return None
        caller = Caller(key.org_id, key.id, key.role, key.purpose, is_ended=key.is_ended)
        self._known[secret_hash] = (now, caller)
        self._known.move_to_end(secret_hash)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return caller
