"""Makes the main database follow the keyring's tombstones, before anything serves: what ended stays ended, whatever was restored.

    replay = Replay(main, keyring_db, clock)   # both as hushwire_owner
    followed = await replay.run()                      # at each start, and on a database that was just restored

The main database says in its own row how far it has followed (`store/replay.py`). A dump, a copy of its files or a recovery to a point
in time brings that row back together with everything else, so whatever means it was restored by, the next start knows what it missed.
Killed at any moment, the next run does the rest: each statement is safe to repeat and the row is moved on last.

Reads answer 410 for what was erased as soon as its ledger entry is back; receipts and sweeping are the worker's, from that entry on.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.privacy import audit, endings
from hushwire.privacy.erasable import KINDS as ERASABLE
from hushwire.services import protections
from hushwire.store import access_requests, erasable, levels, masking, webhooks
from hushwire.store import replay as rows
from hushwire.store.database import Connection, Database
from hushwire.vault import tombstones
from hushwire.vault.tombstones import Buried

SETTLED_AFTER: Final = timedelta(hours=1)
"""What a tombstone tells of is carried out within seconds: after this long it is taken for done (`keep_up`)."""
_BATCH: Final = 2000  # erasures; of the other kinds, where a later tombstone can lift an earlier one, all are looked at together
_ALL: Final = 1 << 40
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Backup:
    """What the database was restored from."""

    id: UUID
    made_at: datetime


@dataclass(slots=True)
class Followed:
    """What was looked at, what had to be changed (by what it is), ledger entries and protections of people that this database had lost."""

    tombstones: int = 0
    lost_entries: int = 0
    protections: int = 0
    changes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int) -> None:
        if count:
            self.changes[name] = self.changes.get(name, 0) + count

    @property
    def was_behind(self) -> bool:
        """True if the database was in an older state than the keyring."""
        return bool(self.lost_entries or self.changes)


Carry = Callable[[Connection, OrgId, Sequence[Buried], datetime, Followed], Awaitable[None]]


class Replay:
    """One run over one main database. Nothing may serve meanwhile."""

    def __init__(self, main: Database, keyring: Database, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock

    async def run(self, backup: Backup | None = None) -> Followed:
        """Follow everything. With `backup`, every organisation's audit log says what was restored and replayed.

        Raises ConfigError for a kind that this version can't carry out, KeyUnavailable if the keyring is older than the database:
        then nothing is changed.
        """
        async with self._main.transaction() as connection:
            place = await rows.followed(connection)
            known: set[UUID] = {row[0] for row in await connection.fetch("SELECT org_ids()")}
        async with self._keyring.transaction() as connection:
            last = await tombstones.last_place(connection)
            waiting = await tombstones.organisations_after(connection, place)
        if last < place:
            raise KeyUnavailable(
                f"the keyring is older than the main database: it ends at tombstone {last}, the database has followed "
                f"{place}. Bring back the newest keyring (the second zone's copy); an older one would undo erasures"
            )
        await self._check_kinds(list(waiting), place)
        total = Followed()
        for org_id in waiting:
            if org_id in known:
                found = await self._organisation(org_id, place)
                await self._tell(org_id, found, backup)
                _sum(total, found)
        for quiet in sorted(known - set(waiting)):
            found = Followed()
            await self._protections(OrgId(quiet), found)
            await self._tell(OrgId(quiet), found, backup)
            _sum(total, found)
        async with self._main.transaction() as connection:
            await rows.follow(connection, last)
            if backup:
                await rows.note_restored(connection, backup.id, backup.made_at, self._clock.now())
        if total.was_behind:
            _log.warning("replay.was_behind", tombstones=total.tombstones, lost_entries=total.lost_entries, **total.changes)
        return total

    async def _check_kinds(self, organisations: list[OrgId], place: int) -> None:
        unknown: set[str] = set()
        for org_id in organisations:
            async with self._keyring.organisation(org_id) as connection:
                unknown |= await tombstones.kinds_after(connection, place) - KINDS.keys()
        if unknown:
            raise ConfigError(
                f"the keyring tells of endings that this version of hushwire can't carry out ({', '.join(sorted(unknown))}): "
                "run the version that wrote them"
            )

    async def _organisation(self, org_id: OrgId, followed: int) -> Followed:
        done = Followed()
        now = self._clock.now()
        for kind, carry in KINDS.items():
            place = followed
            while True:
                async with self._keyring.organisation(org_id) as connection:
                    stones = await tombstones.after(connection, place, kind, _BATCH if kind in endings.ERASED_KINDS else _ALL)
                if not stones:
                    break
                async with self._main.organisation(org_id) as connection:
                    await carry(connection, org_id, stones, now, done)
                done.tombstones += len(stones)
                place = stones[-1].seq
        if done.lost_entries:
            async with self._main.organisation(org_id) as connection:
                done.add("indexes_forgotten", await rows.forget_indexes_of_nobody(connection))
        await self._protections(org_id, done)
        return done

    async def _protections(self, org_id: OrgId, done: Followed) -> None:
        """What protects people and was placed since: objections, do-not-call entries, restrictions, holds."""
        for table, count in (await protections.bring_back(self._main, self._keyring, org_id)).items():
            done.add(f"{table}_brought_back", count)
            done.protections += count

    async def _tell(self, org_id: OrgId, done: Followed, backup: Backup | None) -> None:
        """The audit log says that the database was older than the keyring, what it was restored from, and what was done about it."""
        if backup is None and not done.lost_entries and not done.protections:
            return
        fields: dict[str, str | int | bool | None] = {"lost_entries": done.lost_entries, **done.changes}
        if backup is not None:
            fields |= {"backup_id": str(backup.id), "backup_at": backup.made_at.isoformat(timespec="microseconds")}
        async with self._main.organisation(org_id) as connection:
            if ended := await masking.end_all(connection, self._clock.now()):
                fields["maskings_ended"] = ended
            if removed := await levels.remove_exceptions(connection):
                fields["number_exceptions_removed"] = removed
            if revoked := await access_requests.end_all(connection, self._clock.now()):
                fields["access_revoked"] = revoked
            if paused := await webhooks.pause_granted(connection, self._clock.now()):
                fields["webhooks_paused"] = paused
            await audit.append(connection, org_id, self._clock.now(), "operator", audit.Action.RESTORED, f"organisation:{org_id}", fields)


async def keep_up(main: Database, keyring: Database, clock: Clock) -> int:
    """What has long been carried out needs no look at the next start; the worker's, once in a while. Returns 1 if the row moved."""
    async with keyring.transaction() as connection:
        place = await tombstones.settled_place(connection, clock.now() - SETTLED_AFTER)
    async with main.transaction() as connection:
        before = await rows.followed(connection)
        if place > before:
            await rows.follow(connection, place)
    return int(place > before)


async def _erasures(connection: Connection, org_id: OrgId, stones: Sequence[Buried], now: datetime, done: Followed) -> None:
    kind = stones[0].tombstone.kind
    objects = [stone.tombstone.object for stone in stones]
    known = await rows.known_entries(connection, kind, objects)
    lost = [endings.lost_entry(stone.tombstone) for stone in stones if stone.tombstone.object not in known]
    if lost:
        await rows.add_entries(connection, org_id, lost)
        done.lost_entries += len(lost)
    if kind in ERASABLE:
        done.add(f"{kind}s_erased", await erasable.empty(connection, ERASABLE[kind], objects, now))
    elif kind == "organisation":
        done.add("organisations_erased", await rows.end_organisation(connection, now))
    elif lost:
        _log.warning("replay.no_rows_of_this_kind", kind=kind, entries=len(lost))


async def _api_keys(connection: Connection, org_id: OrgId, stones: Sequence[Buried], now: datetime, done: Followed) -> None:
    said = [stone.tombstone for stone in stones]
    revoked = [stone for stone in said if stone.fields.get("state") == "revoked"]
    secrets = [_hex(stone.fields.get("secret")) for stone in revoked]
    count = await rows.revoke_keys(connection, [stone.object for stone in revoked], secrets, [stone.at for stone in revoked])
    newest = {stone.object: stone for stone in said if stone.fields.get("state") == "changed"}
    changed = list(newest.values())
    count += await rows.revoke_changed_keys(
        connection,
        [stone.object for stone in changed],
        [_hex(stone.fields.get("secret")) for stone in changed],
        [str(stone.fields.get("role")) for stone in changed],
    )
    done.add("api_keys_revoked", count)


async def _agents(connection: Connection, org_id: OrgId, stones: Sequence[Buried], now: datetime, done: Followed) -> None:
    said = [stone.tombstone for stone in stones]
    done.add("agents_suspended", await rows.suspend_agents(connection, sorted(endings.still_suspended(stones)), now))
    removed = [stone.object for stone in said if stone.fields.get("state") == "removed"]
    done.add("agents_removed", await rows.remove_agents(connection, removed))
    replaced = [stone for stone in said if stone.fields.get("state") == "credentials"]
    digests = [_hex(stone.fields.get("digest")) for stone in replaced]
    done.add("credentials_dropped", await rows.drop_credentials(connection, [stone.object for stone in replaced], digests, now))


async def _numbers(connection: Connection, org_id: OrgId, stones: Sequence[Buried], now: datetime, done: Followed) -> None:
    done.add("numbers_released", await rows.remove_numbers(connection, [stone.tombstone.object for stone in stones]))


async def _rules(connection: Connection, org_id: OrgId, stones: Sequence[Buried], now: datetime, done: Followed) -> None:
    newest = endings.newest_rules(stones)
    assert newest is not None
    version, countries, classes = (newest.fields.get(name) for name in ("version", "allowed_countries", "classes"))
    if isinstance(version, int) and isinstance(countries, list) and isinstance(classes, list):
        done.add("rules_narrowed", await rows.narrow_rules(connection, version, countries, classes, now))


KINDS: Final[Mapping[str, Carry]] = {
    endings.RULES: _rules,
    endings.API_KEY: _api_keys,
    endings.AGENT: _agents,
    endings.NUMBER: _numbers,
    **dict.fromkeys(sorted(endings.ERASED_KINDS), _erasures),
}
"""How each kind of ending is carried out again, in this order. A kind that is not here is a reason not to serve.

Rules come first: they are narrowed only where their version is older than the tombstone's, and a change of an agent raises it too.
"""


def _hex(value: object) -> bytes:
    return bytes.fromhex(value) if isinstance(value, str) else b""


def _sum(total: Followed, found: Followed) -> None:
    total.tombstones += found.tombstones
    total.lost_entries += found.lost_entries
    total.protections += found.protections
    for name, count in found.changes.items():
        total.add(name, count)
