"""Greetings that are given as files: decoded by a process that holds nothing, sealed before they are written, and recordings from then on.

No plaintext touches a disk. The key is committed before the file is written; the row is committed after it, and the worker takes the
file to the object store as any other. A file whose row was never committed is removed after some hours.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError
from hushwire.core.ids import AgentId, NodeId, OrgId, RecordingId, uuid7
from hushwire.privacy import audit
from hushwire.recording import made
from hushwire.recording.hwr import Identity
from hushwire.services.erasure import Erasures, Held
from hushwire.services.recordings_shipping import GIVEN, Spool
from hushwire.services.sound_decoding import Busy, Decoding, Unusable
from hushwire.store import agents, organisation
from hushwire.store import greetings as table
from hushwire.store.database import Database
from hushwire.store.greetings import Greeting, Uploaded
from hushwire.vault.keyring import Keyring

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an organisation's greetings may be: seconds of sound, bytes of file."""

    seconds: int = 60
    size: int = 10 << 20


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The file has more bytes than a greeting may."""

    most: int


@dataclass(frozen=True, slots=True)
class Unopenable:
    """Only the customer's key would open it: nobody could ever hear it."""


Outcome = Greeting | Unusable | Busy | TooLarge | Unopenable | None


class GreetingUploads:
    """The API's share. `bounds` are those of an organisation, by its slug."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        spool: Spool,
        erasures: Erasures,
        clock: Clock,
        random: Random,
        node_id: NodeId,
        bounds: Callable[[str], Bounds] = lambda _slug: Bounds(),
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._spool = spool
        self._erasures = erasures
        self._clock = clock
        self._random = random
        self._node_id = node_id
        self._bounds = bounds
        self._decoding = Decoding()
        self._busy: set[OrgId] = set()

    async def put(self, org_id: OrgId, agent_id: AgentId, read: Callable[[], Awaitable[bytes]], *, actor: str) -> Outcome:
        """Have the agent's callers hear the file that `read` gives from now on, and erase what they heard before; None where there is no
        such agent. Of an organisation one file at a time is read: many at once would fill the memory that is everybody's, and take the
        places in which files are decoded, of which each has one at most.
        """
        if org_id in self._busy:
            return Busy()
        self._busy.add(org_id)
        try:
            async with self._main.organisation(org_id) as connection:
                found, before = await organisation.profile(connection), await table.used(connection, agent_id)
                if found is None or await agents.forwarding(connection, agent_id) is None:
                    return None
            bounds = self._bounds(found.slug)
            file = await read()
            if len(file) > bounds.size:
                return TooLarge(bounds.size)
            packets = await self._decoding.packets(file, bounds.seconds)
            if isinstance(packets, Unusable | Busy):
                return packets
            placed = await self._place(org_id, found.residency, agent_id, packets, actor)
        finally:
            self._busy.discard(org_id)
        if isinstance(placed, Greeting) and before is not None:
            await self._erase(org_id, before.id, actor)
        return placed

    async def _place(self, org_id: OrgId, region: str, agent_id: AgentId, packets: list[bytes], actor: str) -> Outcome:
        now = self._clock.now()
        recording = RecordingId(uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10)))
        key = await self._keyring.new_data_key(org_id, "recording", recording)
        if key.custody == "customer":
            return Unopenable()
        begun = int(now.timestamp() * 1_000_000)
        file = await asyncio.to_thread(made.sealed, key.key, Identity(org_id, recording), self._random, packets, begun)
        name = f"{GIVEN}{recording}.hwr"
        path = self._spool.folder / name
        await asyncio.to_thread(_write, path, file.data)
        row = Uploaded(
            recording, agent_id, self._node_id, name, region, now, file.duration_ms, file.frames, len(file.data),
            hashlib.sha256(file.data).digest(), key.fingerprint, key.custody, key.custody_version, key.good_until,
        )  # fmt: skip
        # Where the transaction breaks nobody knows whether it was committed: then the file stays, and the worker sees to it.
        async with self._main.organisation(org_id) as connection:
            is_placed = await table.place(connection, org_id, row)
            if is_placed:
                fields = {"fields": "greeting"}
                await audit.append(connection, org_id, now, actor, audit.Action.AGENT_RECTIFIED, f"agent:{agent_id}", fields)
        if not is_placed:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            return Unusable("the organisation's custody changed meanwhile: send it once more")
        _log.info("greeting.given", org_id=str(org_id), recording_id=str(recording), duration_ms=file.duration_ms)
        return Greeting(recording, now, file.duration_ms)

    async def _erase(self, org_id: OrgId, before: RecordingId, actor: str) -> None:
        """What callers heard before goes at once, on the word of who replaced it; where that can't be now, the worker sees to it."""
        try:
            outcome = await self._erasures.erase(org_id, before, actor=actor, reason="customer-request")
            if isinstance(outcome, Held):
                async with self._main.organisation(org_id) as connection:
                    await table.hold(connection, before)
        except HushwireError as error:
            _log.warning("greeting.erased_later", org_id=str(org_id), recording_id=str(before), error=type(error).__name__)


def _write(path: Path, data: bytes) -> None:
    """On the disk itself, before any row names it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
