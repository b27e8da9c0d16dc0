"""Millions of rows as years of calls would leave them: numbers sealed and indexed for real, recordings with their keys in the keyring.

They are copied straight into the tables by the server's administrator, without triggers and secondary indexes (which are made again
afterwards): what is measured later is reading, not this.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from hushwire.core.ids import BucketId, OrgId, uuid7
from hushwire.vault.buckets import DataKey, PublicBucket, fingerprint_of
from hushwire.vault.seal import Columns

SPAN = timedelta(days=730)
PORTION = 50_000
CALL_COLUMNS = (
    "id", "org_id", "agent_id", "node_id", "recording_id", "direction", "state", "started_at", "answered_at", "ended_at", "duration_ms",
    "sip_status", "end_reason", "verdict", "country", "rules_version", "sealed_with", "remote_sealed", "remote_index",
)  # fmt: skip
RECORDING_COLUMNS = (
    "id", "org_id", "call_id", "agent_id", "node_id", "segment", "state", "remote_index", "spool_name", "object_key", "region",
    "lawful_basis", "started_at", "ended_at", "duration_ms", "frames", "size_bytes", "digest", "key_fingerprint",
)  # fmt: skip
KEY_COLUMNS = ("id", "org_id", "bucket_id", "kind", "sealed", "fingerprint", "created_at")


@dataclass(frozen=True)
class World:
    """What every generating process knows. `numbers`: number and its blind index; `keys`: ids and keys that calls share."""

    main: str
    keyring: str
    org: UUID
    node: UUID
    bucket: UUID
    bucket_key: bytes
    agents: list[UUID]
    numbers: list[tuple[str, bytes]]
    keys: list[tuple[UUID, bytes]]
    now: datetime


async def fill(world: World, calls: int, recordings: int) -> None:
    """Copy that many calls, the first of which have a recording with a key of its own."""
    administrator = await asyncpg.connect(world.main)
    try:
        indexes = await _drop_indexes(administrator)
        portions = [(start, min(PORTION, calls - start)) for start in range(0, calls, PORTION)]
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
            work = [loop.run_in_executor(pool, _fill_portion, world, start, count, calls, recordings) for start, count in portions]
            await asyncio.gather(*work)
        await administrator.execute("SET maintenance_work_mem = '1GB'")
        for definition in indexes:
            await administrator.execute(definition)
    finally:
        await administrator.close()
    for dsn, tables in ((world.main, "calls, recordings"), (world.keyring, "data_keys")):
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"VACUUM (ANALYZE) {tables}")
        await connection.close()


async def _drop_indexes(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('calls', 'recordings') AND indexname NOT IN"
        " (SELECT conname FROM pg_constraint)"
    )
    for row in rows:
        await connection.execute(f"DROP INDEX {row['indexname']}")
    return [row["indexdef"] for row in rows]


def _fill_portion(world: World, start: int, count: int, calls: int, recordings: int) -> None:
    asyncio.run(_copy(world, start, count, calls, recordings))


async def _copy(world: World, start: int, count: int, total: int, recordings: int) -> None:
    chance = random.Random(start)
    calls, recorded, keys = [], [], []
    for row in _rows(world, chance, start, count, total):
        recording = None
        if row[0] is not None and start + len(calls) < recordings:
            recording = uuid7(int(world.now.timestamp() * 1000), secrets.token_bytes(10))
            data_key = DataKey(recording, "recording", key := secrets.token_bytes(32), fingerprint_of(key, recording))
            bucket = PublicBucket(BucketId(world.bucket), OrgId(world.org), world.bucket_key)
            keys.append((recording, world.org, world.bucket, "recording", bucket.seal(data_key), data_key.fingerprint, world.now))
            recorded.append(
                (recording, world.org, row[0], row[2], world.node, 0, "stored", row[18], f"{recording}.hwr",
                 f"recordings/{world.org}/{recording}-0.hwr", "eu", "contract", row[8], row[9], row[10], 100, 100_000,
                 recording.bytes * 2, data_key.fingerprint)
            )  # fmt: skip
        calls.append((*row[:4], recording, *row[5:]))
    main = await asyncpg.connect(world.main)
    keyring = await asyncpg.connect(world.keyring)
    try:
        for connection in (main, keyring):
            await connection.execute("SET session_replication_role = replica")
        await main.copy_records_to_table("calls", records=calls, columns=CALL_COLUMNS)
        if recorded:
            await main.copy_records_to_table("recordings", records=recorded, columns=RECORDING_COLUMNS)
            await keyring.copy_records_to_table("data_keys", records=keys, columns=KEY_COLUMNS)
    finally:
        await main.close()
        await keyring.close()


def _rows(world: World, chance: random.Random, start: int, count: int, total: int) -> Iterator[tuple[object, ...]]:
    """Calls as they came, one after another: their ids grow with time, and so do the indexes."""
    columns = {key_id: Columns(key) for key_id, key in world.keys}
    for place in range(start, start + count):
        begun = world.now - SPAN * (1 - place / total)
        call = uuid7(int(begun.timestamp() * 1000), chance.randbytes(10))
        length = timedelta(seconds=1 + chance.expovariate(1 / 180))
        number, index = world.numbers[int(len(world.numbers) * chance.random() ** 3)]  # some are called far more often than others
        key_id, _ = world.keys[chance.randrange(len(world.keys))]
        sealed = columns[key_id].seal(number.encode(), table="calls", column="remote_sealed", row=call, org=world.org)
        yield (
            call, world.org, chance.choice(world.agents), world.node, None, "outbound", "ended", begun, begun, begun + length,
            int(length.total_seconds() * 1000), 200, "bye-agent", "allow", "DE", 1, key_id, sealed, index,
        )  # fmt: skip


def made_numbers(count: int) -> list[str]:
    """Distinct Berlin numbers."""
    return [f"+4930{2_000_000 + n}" for n in range(count)]


def utc_now() -> datetime:
    return datetime.now(UTC)
