"""A thief with old database files, logs, a backup and today's root key: nothing of what was erased opens after the bucket's renewal."""

import ast
import asyncio
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hushwire.app import config as configuration
from hushwire.app.backup import make, place_of
from hushwire.app.databases import Databases as Embedded
from hushwire.app.folders import Folders, account, prepare
from hushwire.core.ids import RecordingId
from hushwire.services.erasure import Erased
from hushwire.store.database import Database
from tests.databases import binaries
from tests.privacy.test_erasure import WHO
from tests.recorded import Chance, House, made_house

THIEF = Path(__file__).parent / "thief.py"


@dataclass(slots=True)
class Servers:
    """Two real servers with folders of their own, as `hushwire up` has them; what a house needs of databases."""

    embedded: Embedded
    opened: list[Database]

    async def connect(self, name: str, role: str = "owner", *, max_size: int = 4) -> Database:
        dsn = self.embedded.main_dsn if name == "main" else self.embedded.keyring_dsn
        self.opened.append(await Database.connect(dsn(f"hushwire_{role}"), max_size=max_size))
        return self.opened[-1]


@dataclass(slots=True)
class Loot:
    """Copies taken at one moment, while everything ran."""

    folder: Path
    clusters: list[Path]

    @property
    def secrets(self) -> Path:
        return self.folder / "buckets"


async def copied(data: Path, folder: Path) -> Loot:
    """Both servers' folders, files and logs, and the secrets, as they are now."""

    def copy() -> Loot:
        folder.mkdir()
        clusters = []
        for name in ("main", "keyring"):
            shutil.copytree(data / "pg" / name, folder / name)
            clusters.append(folder / name)
        shutil.copytree(data / "buckets", folder / "buckets")
        return Loot(folder, clusters)

    return await asyncio.to_thread(copy)


async def steals(
    recording: Path, root: Path, clusters: list[Path], secrets: list[Path], backups: list[Path] | None = None
) -> tuple[bool, dict[str, Any]]:
    arguments: list[str | Path] = ["--root", root, "--sealed", recording, "--programs", binaries()]
    for name, paths in (("--cluster", clusters), ("--secrets", secrets), ("--backup", backups or [])):
        for path in paths:
            arguments += [name, path]
    process = await asyncio.create_subprocess_exec(
        sys.executable, THIEF, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode in (0, 1), err.decode()
    assert out, err.decode()
    said = json.loads(out)
    assert said["opened"] is (process.returncode == 0)
    return said["opened"], said


def test_the_thief_is_no_part_of_hushwire() -> None:
    imported = set()
    for node in ast.walk(ast.parse(THIEF.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.slow
async def test_what_was_erased_opens_to_nobody_who_has_old_files_logs_a_backup_and_todays_keys(data_folder: Path) -> None:
    data, loot = data_folder / "data", data_folder / "loot"
    for folder in (data, loot, data_folder / "backups"):
        folder.mkdir(mode=0o711)
    file = data_folder / "hushwire.toml"
    file.write_text(f'[data]\ndir = "{data}"\n')
    config = configuration.load(file, {})
    owner = account(config.run.user)
    folders = Folders(data)
    prepare(folders, owner)
    for name in ("spool", "store", "buckets"):
        (data / name).rmdir()
    servers = Servers(Embedded(config, folders, owner), [])
    await servers.embedded.start()
    try:
        house = await made_house(servers, data)  # type: ignore[arg-type]
        await told(servers, house, config, data, loot, data_folder / "backups")
    finally:
        for database in servers.opened:
            await database.close()
        await servers.embedded.stop()


async def told(servers: Servers, house: House, config: Any, data: Path, loot: Path, backups: Path) -> None:
    root = loot / "root"
    root.write_text(house.root.to_text())
    erased, kept = await house.record(), await house.record()
    await (await house.shipping()).ship_all()
    sealed = {each: loot / f"{each}.hwr" for each in (erased, kept)}
    for each, path in sealed.items():
        (stored,) = house.ciphertext(each)
        shutil.copy(stored, path)
    keyring = await house.keyring("owner")
    place = place_of(config, str(backups))
    made = await make(config, servers.embedded, keyring, house.root.sealing_key(), place, house.clock, Chance(), 14)
    backup = backups / made.name
    old = await copied(data, loot / "old")
    buckets = {path.name for path in old.secrets.iterdir()}
    assert len(buckets) == 1, "both recordings are to be in one bucket"

    assert isinstance(await (await house.erasures()).erase(house.org, erased, **WHO), Erased)
    before = await copied(data, loot / "before-renewal")
    # The positive control: before the renewal the same thief, with the same copies and the secrets of that day, opens it.
    opened, said = await steals(sealed[erased], root, old.clusters, [before.secrets])
    assert opened, f"the thief opens nothing even while the secret is there: it proves nothing: {said}"
    # The deleted row itself is found in pages and logs, where the old copy is not at hand.
    opened, said = await steals(sealed[erased], root, before.clusters, [before.secrets])
    assert opened, f"nothing is left in files and logs of a row deleted just now: the search finds nothing: {said}"

    await (await house.upkeep()).carry_on()
    assert await (await house.upkeep()).renew_buckets(at_once=True) == 1
    today = await copied(data, loot / "today")
    everything = [*old.clusters, *before.clusters, *today.clusters]
    assert not buckets & {path.name for path in today.secrets.iterdir()}

    opened, said = await steals(sealed[erased], root, everything, [today.secrets], [backup])
    assert not opened, f"the erased recording opens: {said['how']}"
    tried = said["tried"]
    assert tried["backups"] == 1
    assert tried["privates_opened"] >= 1, "it opened no bucket of today's: it did not try"
    assert tried["hpke"] > 100
    assert tried["sealed_keys"] > 1
    assert tried["bytes_searched"] > 50_000_000
    # The one beside it in the same bucket still opens with today's keyring.
    opened, said = await steals(sealed[kept], root, today.clusters, [today.secrets])
    assert opened, f"a recording that was not erased was lost: {said}"
    assert await survives(house, kept)


async def survives(house: House, recording: RecordingId) -> bool:
    return await house.key_exists(recording)
