"""Erasing a recording, up to the receipt. What follows it (sweeping, renewal) is in `erasure_upkeep`.

async with Erasures.open(...) as erasures:
    match await erasures.erase(org_id, recording_id, actor="api-key:...", reason="customer-request"):
        case Erased(receipt): ...      # 200, and the same bytes each time it is asked again
        case Pending(retry_after_s): ...  # 503, Retry-After: the ledger holds it, the worker carries it out
        case NoRecording(): ...        # 404
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import Unavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, RecordingId, uuid7
from hushwire.privacy import audit, endings, receipts
from hushwire.privacy.canonical import canonical
from hushwire.privacy.erasure import NODE_IS_DEAD_AFTER, UNANSWERED_FOR, Step, copies_unusable_by, next_step
from hushwire.store import ledger, outbox, recordings
from hushwire.store.database import Connection, Database
from hushwire.store.ledger import Intent, LedgerEntry
from hushwire.store.recordings import Recording
from hushwire.vault.keyring import Keyring

RETRY_AFTER_S: Final = 5
WAIT_S: Final = 5.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """Unreadable from now on: the receipt's canonical bytes."""

    receipt: bytes
    ledger_id: UUID


@dataclass(frozen=True, slots=True)
class Pending:
    """Entered, so it will be done, and nothing is given out any more; but a live recording didn't confirm yet, or a store is away."""

    ledger_id: UUID
    retry_after_s: int = RETRY_AFTER_S


@dataclass(frozen=True, slots=True)
class NoRecording:
    """The organisation has no such recording."""


Outcome = Erased | Pending | NoRecording


class Erasures:
    """The one erasure path: api and worker both walk it."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._waiting: set[asyncio.Event] = set()

    async def listen(self) -> None:
        """Hear nodes' confirmations at once; without it they are seen at the end of the wait."""
        await self._main.listen("hushwire_done", self._ring)

    async def erase(self, org_id: OrgId, recording_id: RecordingId, *, actor: str, reason: str, wait_s: float = WAIT_S) -> Outcome:
        """Erases for good. Idempotent: asked again, the answer is the same receipt.

        Raises Unavailable only if nothing was entered in the ledger.
        """
        entry = await self._enter(org_id, recording_id, actor, reason)
        if entry is None:
            return NoRecording()
        try:
            return await self.advance(entry, wait_s=wait_s)
        except Unavailable:
            _log.warning("erasure.delayed", org_id=str(org_id), ledger_id=str(entry.id))
            return Pending(entry.id)

    async def advance(self, entry: LedgerEntry, *, wait_s: float = 0.0) -> Erased | Pending:
        """Carries an entry on to its receipt, from wherever it stands."""
        if next_step(entry) is Step.STOP and not await self._stop(entry, wait_s):
            return Pending(entry.id)
        if entry.receipt is not None:
            return Erased(canonical(entry.receipt), entry.id)
        return Erased(await self._destroy(entry), entry.id)

    async def receipt(self, org_id: OrgId, recording_id: RecordingId) -> bytes | None:
        """The receipt of an erased recording, if there is one."""
        async with self._main.organisation(org_id) as connection:
            entry = await ledger.by_recording(connection, recording_id)
        return None if entry is None or entry.receipt is None else canonical(entry.receipt)

    async def _enter(self, org_id: OrgId, recording_id: RecordingId, actor: str, reason: str) -> LedgerEntry | None:
        """The ledger row, committed: before it nothing is destroyed, after it nothing is given out."""
        held = await self._keyring.fingerprint(org_id, "recording", recording_id)
        async with self._main.organisation(org_id) as connection:
            if (known := await ledger.by_recording(connection, recording_id)) is not None:
                return known
            recording = await recordings.get(connection, recording_id, for_update=True)
            if recording is None:
                return None
            bucket_id = held.bucket_id if held else (await self._keyring.current_bucket(org_id)).id
            now, salt = self._clock.now(), self._random.token_bytes(32)
            entry = await ledger.append(
                connection,
                org_id,
                Intent(
                    id=self._new_id(now),
                    kind="recording",
                    object_id=recording_id,
                    requested_at=now,
                    actor=actor,
                    reason=reason,
                    commitment=receipts.commitment(salt, recording_id, recording.key_fingerprint, recording.digest),
                    commitment_salt=salt,
                    key_fingerprint=recording.key_fingerprint,
                    bucket_id=bucket_id,
                    stopped_at=None if recording.state == "live" else now,
                ),
            )
            if entry.stopped_at is None:
                await self._command(connection, recording, now)
        _log.info("erasure.entered", org_id=str(org_id), ledger_id=str(entry.id), recording_id=str(recording_id))
        return entry

    async def _stop(self, entry: LedgerEntry, wait_s: float) -> bool:
        """Waits until no process records it any more; False if that isn't known in time."""
        bell = asyncio.Event()
        self._waiting.add(bell)
        until = self._clock.monotonic() + wait_s
        may_repeat = True
        try:
            while True:
                bell.clear()
                async with self._main.organisation(entry.org_id) as connection:
                    if await self._is_stopped(connection, entry):
                        await ledger.note_stopped(connection, entry.id, self._clock.now())
                        return True
                    may_repeat = may_repeat and not await self._command_again(connection, entry)
                left = until - self._clock.monotonic()
                if left <= 0:
                    return False
                try:
                    async with asyncio.timeout(left):
                        await bell.wait()
                except TimeoutError:
                    until = self._clock.monotonic()
        finally:
            self._waiting.discard(bell)

    async def _is_stopped(self, connection: Connection, entry: LedgerEntry) -> bool:
        """Whether the row says so: a node closes it once the media process has wiped the key, and before it answers the command.

        The answer alone isn't enough: a gateway that was just started knows nothing of a call that its media process still records.
        """
        recording = await recordings.get(connection, entry.recording_id)
        if recording is None or recording.state != "live":
            return True
        if self._clock.now() - entry.requested_at < UNANSWERED_FOR:
            return False
        unseen_for = await recordings.node_unseen_for(connection, recording.node_id)
        return unseen_for is None or unseen_for > NODE_IS_DEAD_AFTER

    async def _command_again(self, connection: Connection, entry: LedgerEntry) -> bool:
        """Asks the node anew if it never was asked, or answered that it couldn't."""
        recording = await recordings.get(connection, entry.recording_id)
        if recording is None:
            return False
        wipe = await ledger.last_wipe(connection, recording.call_id, entry.requested_at)
        if wipe is not None and (not wipe.is_done or wipe.outcome == "ok"):
            return False
        await self._command(connection, recording, self._clock.now())
        return True

    async def _command(self, connection: Connection, recording: Recording, now: datetime) -> None:
        await ledger.command_wipe(connection, self._new_id(now), recording.org_id, recording.node_id, recording.call_id, now)

    async def _destroy(self, entry: LedgerEntry) -> bytes:
        """Destroys the key, then notes it everywhere in one transaction. Between the two a crash leaves no key and an open entry."""
        _, (key_id, key) = await asyncio.gather(
            self._keyring.destroy_data_key(entry.org_id, "recording", entry.recording_id, endings.of_erasure(entry)),
            self._keyring.signing_key(),
        )
        async with self._main.organisation(entry.org_id) as connection:
            entry = await ledger.lock(connection, entry.id)
            if entry.receipt is not None:
                return canonical(entry.receipt)
            now = max(self._clock.now(), entry.requested_at)  # two machines' clocks may differ
            await recordings.mark_erased(connection, entry.recording_id, now)
            event = DomainEvent(self._new_id(now), entry.org_id, EventKind.RECORDING_ERASED, entry.recording_id, now, {})
            await outbox.add(connection, event)
            head = await audit.append(
                connection,
                entry.org_id,
                now,
                entry.actor,
                EventKind.RECORDING_ERASED.value,
                f"recording:{entry.recording_id}",
                {"ledger_position": entry.position, "reason": entry.reason, "receipt_id": str(entry.id)},
            )
            statement = receipts.Erasure(
                receipt_id=entry.id,
                org_id=entry.org_id,
                recording_id=entry.recording_id,
                ledger_position=entry.position,
                commitment=entry.commitment,
                key_fingerprint=entry.key_fingerprint or b"",
                audit_position=head.position,
                audit_head=head.hash,
                requested_at=entry.requested_at,
                unreadable_at=now,
                copies_unusable_by=copies_unusable_by(entry, now),
            )
            receipt = canonical(receipts.sign(statement, key_id, key))
            await ledger.note_unreadable(connection, entry.id, now, receipt)
        _log.info("erasure.unreadable", org_id=str(entry.org_id), ledger_id=str(entry.id), recording_id=str(entry.recording_id))
        return receipt

    def _ring(self, _command_id: str) -> None:
        for bell in self._waiting:
            bell.set()

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
