"""Recordings as a running deployment has them: rows, sealed files in a spool, keys in a keyring, an object store.

Use the `house` fixture: it owns fresh databases, and hands out services as the process that would hold them.
"""

import hashlib
import os
import secrets
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from hushwire.core.ids import CallId, NodeId, OrgId, RecordingId
from hushwire.recording import entries
from hushwire.recording.hwr import Identity, Writer
from hushwire.services.erasure import Erasures
from hushwire.services.erasure_upkeep import Upkeep
from hushwire.services.recordings import Recordings
from hushwire.services.recordings_sealed import SealedRecordings
from hushwire.services.recordings_shipping import Shipping, Spool
from hushwire.store import nodes
from hushwire.store import recordings as table
from hushwire.store.database import Connection, Database
from hushwire.store.recordings import Recording
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from hushwire.vault.unseal import AccessLog
from tests.databases import Databases, RoleName
from tests.store.rows import add_call, add_org, insert


class Killed(BaseException):
    """kill -9, as far as Python can tell: nothing catches it."""


@dataclass(slots=True)
class Fate:
    """Counts the borders between steps and kills at one of them."""

    kill_at: int = 0
    passed: int = 0

    def border(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            raise Killed


class MortalDatabase(Database):
    """A database whose user may die before each transaction and after each commit."""

    @classmethod
    def of(cls, db: Database, fate: Fate) -> "MortalDatabase":
        made = cls.__new__(cls)
        for name in ("_dsn", "_pool", "_acquire_timeout_s", "_listener"):
            setattr(made, name, getattr(db, name))
        made.fate = fate
        return made

    fate: Fate

    def organisation(self, org_id: OrgId) -> AbstractAsyncContextManager[Connection]:
        return self._mortal(super().organisation(org_id))

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        return self._mortal(super().transaction())

    @asynccontextmanager
    async def _mortal(self, inner: AbstractAsyncContextManager[Connection]) -> Any:
        self.fate.border()
        async with inner as connection:
            yield connection
        self.fate.border()


class MortalBlobs(Blobs):
    """An object store whose user may die around each write."""

    fate: Fate

    async def put_file(self, residency: str, key: str, path: Path) -> int:
        self.fate.border()
        size = await super().put_file(residency, key, path)
        self.fate.border()
        return size

    async def delete(self, residency: str, key: str) -> None:
        self.fate.border()
        await super().delete(residency, key)
        self.fate.border()


class HouseClock:
    """The machine's clocks, moved ahead by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Chance:
    def token_bytes(self, count: int, /) -> bytes:
        return secrets.token_bytes(count)


@dataclass(slots=True)
class House:
    """One deployment: an organisation, a node, a spool and a store."""

    databases: Databases
    root: RootKey
    folder: Path
    org: OrgId
    node: NodeId
    clock: HouseClock = field(default_factory=HouseClock)
    _connected: dict[tuple[str, str], Database] = field(default_factory=dict)

    @property
    def spool(self) -> Spool:
        return Spool(self.folder / "spool")

    @property
    def store(self) -> Path:
        return self.folder / "store"

    async def db(self, name: Any, role: RoleName) -> Database:
        if (name, role) not in self._connected:
            self._connected[name, role] = await self.databases.connect(name, role, max_size=4)
        return self._connected[name, role]

    async def keyring(self, role: RoleName, fate: Fate | None = None) -> Keyring:
        db = await self.db("keyring", role)
        keys = self.root.role_keys(opener=role != "gateway", buckets=self.folder / "buckets")
        log = None if role == "gateway" else AccessLog(await self.main(role, fate), self.clock, Chance())
        return Keyring(MortalDatabase.of(db, fate) if fate else db, keys, log)

    async def main(self, role: RoleName, fate: Fate | None = None) -> Database:
        db = await self.db("main", role)
        return MortalDatabase.of(db, fate) if fate else db

    def blobs(self, fate: Fate | None = None) -> Blobs:
        blobs = MortalBlobs.open({"*": self.store.as_uri()})
        blobs.fate = fate or Fate()  # type: ignore[attr-defined]
        return blobs

    async def erasures(self, role: RoleName = "api", fate: Fate | None = None) -> Erasures:
        main, keyring = await self.main(role, fate), await self.keyring(role, fate)
        made = Erasures(main, keyring, self.clock, Chance(), ends_organisations=role == "worker")
        await (await self.main(role)).listen("hushwire_done", made._stopping._ring)
        return made

    async def upkeep(self, fate: Fate | None = None) -> Upkeep:
        main, keyring = await self.main("worker", fate), await self.keyring("worker", fate)
        erasures = Erasures(main, keyring, self.clock, Chance(), ends_organisations=True)
        return Upkeep(main, keyring, self.blobs(fate), self.spool, self.node, self.clock, erasures)

    async def shipping(self, fate: Fate | None = None) -> Shipping:
        main, keyring = await self.main("worker", fate), await self.keyring("worker", fate)
        return Shipping(main, keyring, self.blobs(fate), self.spool, self.node, self.clock, Chance())

    async def recordings(self) -> Recordings:
        return Recordings(await self.main("api"), await self.keyring("api"), self.blobs(), self.spool, self.clock)

    async def sealed(self) -> SealedRecordings:
        return SealedRecordings(await self.main("api"), await self.keyring("api"), self.blobs(), self.spool, self.clock, Chance())

    async def record(
        self,
        content: list[list[entries.Entry]] | None = None,
        *,
        state: str = "closed",
        digest: bool = True,
        started_at: datetime | None = None,
        call: UUID | None = None,
        **more: object,
    ) -> RecordingId:
        """A recording as the gateway and the media process leave it: key committed first, file sealed, row in `state`.

        `content`: entries per frame. With `live` or `crashed` the final frame is left out.
        """
        frames = content or [[entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2)], [entries.end(10_000)]]
        recording = RecordingId(uuid4())
        key = await (await self.keyring("gateway")).new_data_key(self.org, "recording", recording)
        writer = Writer(key.key, Identity(self.org, recording), Chance())
        is_whole = state not in ("live", "crashed")
        parts = [writer.frame(frame, is_final=frame is frames[-1]) for frame in frames if is_whole or frame is not frames[-1]]
        blob = writer.header + b"".join(parts)
        name = f"{recording}.hwr"
        (self.folder / "spool" / name).write_bytes(blob)
        length_ms = frames[-1][-1].time // 10
        begun = started_at or self.clock.now() - timedelta(milliseconds=length_ms)
        async with (await self.main("gateway")).organisation(self.org) as connection:
            call = call or CallId(await add_call(connection, self.org, self.node))
            row: dict[str, object] = {
                "id": recording, "org_id": self.org, "call_id": call, "node_id": self.node, "state": state, "spool_name": name,
                "region": "eu", "lawful_basis": "contract", "started_at": begun, "key_fingerprint": key.fingerprint,
                "remote_index": b"a blind index", "custody": key.custody,
            }  # fmt: skip
            if is_whole and digest:
                row |= {"ended_at": begun + timedelta(milliseconds=length_ms), "duration_ms": length_ms, "frames": len(frames),
                        "size_bytes": len(blob), "digest": hashlib.sha256(blob).digest()}  # fmt: skip
            await insert(connection, "recordings", **(row | more))
        return recording

    async def another(self, slug: str) -> OrgId:
        """A second organisation."""
        org = await add_org(await self.main("owner"), slug)
        await (await self.keyring("owner")).create_organisation(org)
        return org

    async def row(self, recording: RecordingId) -> Recording:
        async with (await self.main("api")).organisation(self.org) as connection:
            found = await table.get(connection, recording)
        assert found is not None
        return found

    async def beat(self) -> None:
        """The gateway's sign of life."""
        async with (await self.main("gateway")).transaction() as connection:
            await nodes.beat(connection, self.node, self.clock.now(), None)

    async def later(self, **passed: float) -> None:
        """Time passes, by this machine's clock and by the database's."""
        self.clock.ahead += timedelta(**passed)
        async with (await self.main("gateway")).transaction() as connection:
            await connection.execute("UPDATE nodes SET seen_at = seen_at - $1::interval", timedelta(**passed))

    async def key_exists(self, recording: UUID) -> bool:
        return await (await self.keyring("api")).fingerprint(self.org, "recording", recording) is not None

    def rest(self, recording: UUID) -> None:
        """Let an hour pass since anybody wrote to the recording's file."""
        for path in self.ciphertext(recording):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))

    def ciphertext(self, recording: UUID) -> list[Path]:
        """Every file of spool and store that names the recording."""
        return [path for folder in ("spool", "store") for path in (self.folder / folder).rglob(f"*{recording}*") if path.is_file()]


async def made_house(databases: Databases, folder: Path) -> House:
    """A house with one organisation."""
    for name in ("spool", "store", "buckets"):
        (folder / name).mkdir(mode=0o700)
    org = await add_org(await databases.connect("main", "owner"), "acme")
    house = House(databases, RootKey(secrets.token_bytes(32)), folder, org, NodeId(uuid4()))
    keyring = await house.keyring("owner")
    await keyring.establish()
    await keyring.create_organisation(org)
    await house.beat()
    return house


@pytest.fixture
async def house(databases: Databases, tmp_path: Path) -> House:
    return await made_house(databases, tmp_path)
