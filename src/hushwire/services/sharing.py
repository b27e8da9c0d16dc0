"""Whether a credential is used in two places at once: it belongs to one device, so somebody else may have it. Pure.

A place is the address that a REGISTER came from (of IPv6 the /64). A device is told by its `+sip.instance`; without one by its
Call-ID, which stays the same as long as a phone runs (RFC 3261 section 10.2). Two instances in two places are told at once. A phone
without an instance that was started anew elsewhere leaves its old binding behind, which is no sharing; so such a pair is told only
when the first place is heard of again after the second.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from uuid import UUID

from hushwire.core.values import frozen


class Evidence(StrEnum):
    """Why a credential is taken to be shared."""

    DEVICES = "devices"  # more of them at once than one person has
    PLACES = "places"  # two of them, in two places


@frozen
class Seen:
    """One live binding made with the credential. `host` is None where a proxy hides the device's own address."""

    instance: str | None
    call_id: str
    host: str | None

    @property
    def place(self) -> str | None:
        """The network that the device is in."""
        if self.host is None or ":" not in self.host:
            return self.host
        return str(ipaddress.ip_network(f"{self.host}/64", strict=False))


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is told: counts, and nothing of anybody."""

    evidence: Evidence
    devices: int
    places: int


class Sharing:
    """Remembers what was told: once for each credential, until it is seen to be one device's again."""

    def __init__(self, most_devices: int) -> None:
        self._most = most_devices
        self._told: set[UUID] = set()
        self._last: dict[UUID, tuple[Seen, Seen | None]] = {}

    def look(self, credential: UUID, live: Sequence[Seen], newest: Seen | None) -> Alarm | None:
        """What is to be told now that `newest` has registered (None: something ended) and `live` is all there is."""
        if len(live) == 1 and newest is not None and credential not in self._told:
            self._last[credential] = (live[0], None)  # by far the most: one phone that refreshes
            return None
        has_returned = newest is not None and self._returned(credential, newest, live)
        if len(live) > self._most:
            evidence = Evidence.DEVICES
        elif has_returned or _apart([seen for seen in live if seen.instance is not None]):
            evidence = Evidence.PLACES
        else:
            if not _apart(live):
                self._told.discard(credential)
            return None
        if credential in self._told:
            return None
        self._told.add(credential)
        return Alarm(evidence, len(live), len({seen.place for seen in live}))

    def remember(self, credential: UUID, live: Sequence[Seen]) -> None:
        """Take over what an earlier process has told already."""
        if len(live) > self._most or _apart([seen for seen in live if seen.instance is not None]):
            self._told.add(credential)

    def forget(self, credential: UUID) -> None:
        """Nothing is registered with it any more."""
        self._told.discard(credential)
        self._last.pop(credential, None)

    def _returned(self, credential: UUID, newest: Seen, live: Sequence[Seen]) -> bool:
        """Whether a device is heard of again after another one, which is still there, was heard of elsewhere."""
        last, before = self._last.get(credential, (newest, None))
        if _is_apart(newest, last):
            self._last[credential] = newest, last
            return before == newest and last in live
        self._last[credential] = newest, before
        return False


def _apart(seen: Sequence[Seen]) -> bool:
    return any(_is_apart(one, other) for one, other in combinations(seen, 2))


def _is_apart(one: Seen, other: Seen) -> bool:
    if one.place is None or other.place is None or one.place == other.place:
        return False
    if one.instance is not None and other.instance is not None:
        return one.instance != other.instance
    return one.call_id != other.call_id
