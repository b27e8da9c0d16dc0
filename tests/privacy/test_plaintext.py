"""No readable audio anywhere on a disk: a marker tone and a marker phrase go through a whole recorded call, then everything is searched."""

import asyncio
from pathlib import Path

import asyncpg
import numpy as np
import pytest

from hushwire.app.demo.plaintext import Finding, Needles, linear_to_mulaw
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from hushwire.app.folders import Folders
from tests.deployments import FAR_NUMBER, Deployment, start_deployment
from tests.polling import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


def marker(phrase: np.ndarray, hertz: int) -> np.ndarray:
    """A second of tone, then the phrase: steady and lively sound."""
    tone = (7000 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype(np.int16)
    return np.concatenate([tone, phrase])


ANNA_SAYS = marker(bundled(AGENT), 1013)
CARRIER_SAYS = marker(bundled(CARRIER), 617)


@pytest.fixture(scope="module")
def needles() -> Needles:
    return Needles.of(ANNA_SAYS, ANNA_SAYS[:RATE], CARRIER_SAYS, CARRIER_SAYS[:RATE])


def places(running: Deployment) -> list[Path]:
    """All that the run may have written to: its folder (data, spool, store, databases and their logs, temporary files), shared memory."""
    return [running.stack.folder, Folders(running.stack.data).run, *Path("/dev/shm").glob("PostgreSQL.*")]


def search(running: Deployment, needles: Needles) -> list[Finding]:
    folders = [place for place in places(running) if place.is_dir()]
    found, size = needles.scan_folders(folders)
    assert size > 10_000_000, "the databases' files were not searched"
    for place in places(running):
        if place.is_file():
            found += needles.scan_file(place)
    return found + needles.scan_unlinked(running.stack.children().values())


async def search_rows(connection: asyncpg.Connection, needles: Needles) -> list[Finding]:
    """Every value of every table as text, since compression would hide it from a look at files."""
    found = []
    for row in await connection.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    ):
        table = row["table_name"]
        for (text,) in await connection.fetch(f'SELECT t::text FROM "{table}" AS t'):
            found += needles.scan(text.encode(), f"table {table}")
    return found


async def test_nothing_of_a_recorded_call_is_readable_on_any_disk_and_a_planted_copy_is_found(needles: Needles) -> None:
    async with start_deployment() as running:
        async with running.carrier() as carrier, running.phone("anna", speech=ANNA_SAYS) as anna:
            call = await anna.call(running.uri(FAR_NUMBER))
            await anna.expect_state(call, "confirmed")
            await asyncio.sleep(4)
            assert search(running, needles) == [], "while the call is recorded"
            await anna.hangup(call)
            heard = (await carrier.heard(1)).samples
            assert needles.scan(linear_to_mulaw(heard).tobytes(), "what the carrier heard"), "the markers did not go through the call"
        (row,) = await until(lambda: stored(running), timeout_s=30, what="the recording shipped to the store")
        assert (await running.api().ask("GET", f"/v1/recordings/{row['id']}/audio?format=ogg")).status == 200
        assert search(running, needles) == [], "after shipping and playback"
        for name in ("main", "keyring"):
            async with running.database(name) as database:
                await database.execute("CHECKPOINT")
                assert await search_rows(database, needles) == []
        assert search(running, needles) == [], "after a checkpoint"
        await planted(running, needles)


async def stored(running: Deployment) -> list[dict]:
    return [row for row in (await running.api().get("/v1/recordings"))["items"] if row["state"] == "stored"]


async def planted(running: Deployment, needles: Needles) -> None:
    """The same search does find a copy: in a table, its log and files; in the spool; in a temporary file."""
    copy = linear_to_mulaw(ANNA_SAYS[2 * RATE : 3 * RATE]).tobytes()
    async with running.database("main") as database:
        await database.execute("CREATE TABLE planted (audio bytea)")
        await database.execute("ALTER TABLE planted ALTER audio SET STORAGE EXTERNAL")
        await database.execute("INSERT INTO planted VALUES ($1)", copy)
        await database.execute("CHECKPOINT")
        assert await search_rows(database, needles)
        found = search(running, needles)
        assert any("/pg_wal/" in f.where for f in found), "not found in the write-ahead log"
        assert any("/base/" in f.where for f in found), "not found in the table's file"
        await database.execute("DROP TABLE planted")
    for place in (running.stack.data / "spool" / "planted", running.stack.folder / "tmp" / "planted"):
        place.write_bytes(b"head" + copy)
        assert any(f.where == str(place) for f in search(running, needles))
        place.unlink()
