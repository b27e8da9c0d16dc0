"""`hushwire restore`: refuses with nothing changed, or replaces the database by one that has followed everything since."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hushwire.app.deployment import administration
from hushwire.core.errors import ConfigError, HushwireError, KeyUnavailable
from hushwire.privacy import audit
from hushwire.services.erasure import Erased
from hushwire.services.recordings import Gone
from hushwire.services.replay import Replay
from hushwire.vault.archive import ArchiveError
from tests.backup.deployed import Deployed, deployed
from tests.databases import Databases
from tests.privacy.test_erasure import WHO

__all__ = ["deployed"]


async def test_a_restore_of_a_backup_older_than_an_erasure_brings_nothing_back(deployed: Deployed) -> None:
    house = deployed.house
    kept, erased = await house.record(), await house.record()
    await deployed.backup()
    assert isinstance(await (await house.erasures()).erase(house.org, erased, **WHO), Erased)
    done = await deployed.restore()
    assert (done.followed.lost_entries, done.followed.changes) == (1, {"recordings_erased": 1})
    assert isinstance(await (await house.recordings()).get(house.org, erased), Gone)
    assert (await house.row(kept)).state == "closed"
    assert await house.key_exists(kept)
    await (await house.upkeep()).carry_on()
    assert house.ciphertext(erased) == []
    assert isinstance(await (await house.erasures()).erase(house.org, erased, **WHO), Erased)
    assert (await audit.verify(await house.main("api"), house.org)).is_whole


async def test_a_head_kept_from_before_the_restore_is_told_as_restored_and_one_that_contradicts_what_came_back_as_fraud(
    deployed: Deployed,
) -> None:
    house = deployed.house

    async def kept_head(action: str, **moved: float) -> audit.Kept:
        async with (await house.main("owner")).organisation(house.org) as connection:
            head = await audit.append(connection, house.org, house.clock.now(), "operator", action, f"organisation:{house.org}")
        return audit.Kept(house.org, head.position, audit.Anchor(head.hash, "a file"), house.clock.now() + timedelta(**moved))

    before = await kept_head("rules.changed")
    await deployed.backup()
    lost = [await kept_head("rules.changed"), await kept_head("rules.changed")]
    await deployed.restore()
    result = await audit.verify(await house.main("api"), house.org, kept=[before, *lost])
    assert result.is_whole
    assert len(result.notes) == 2
    assert all("restored from backup" in note for note in result.notes)
    forged = replace(before, anchor=audit.Anchor(bytes(32), "a file"))
    assert not (await audit.verify(await house.main("api"), house.org, kept=[forged])).is_whole
    later = replace(lost[0], at=house.clock.now() + timedelta(hours=1))
    assert not (await audit.verify(await house.main("api"), house.org, kept=[later])).is_whole


Spoil = Callable[[Deployed, Path], Any]


def flipped(at: float) -> Spoil:
    def spoil(_: Deployed, path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(len(data) * at), len(data) - 1)] ^= 0x40
        path.write_bytes(data)

    return spoil


def cut(_: Deployed, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(_: Deployed, path: Path) -> None:
    path.write_bytes(b"")


async def other_root(deployed: Deployed, _: Path) -> None:
    from hushwire.vault.root import RootKey

    (deployed.house.folder / "keys" / "root").write_text(RootKey(os.urandom(32)).to_text())


async def no_root(deployed: Deployed, _: Path) -> None:
    (deployed.house.folder / "keys" / "root").unlink()


async def keyring(deployed: Deployed, statement: str) -> None:
    connection = await asyncpg.connect(deployed.house.databases.dsn("keyring", "administrator"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def older_keyring(deployed: Deployed, _: Path) -> None:
    await keyring(deployed, "DELETE FROM tombstones")


async def empty_keyring(deployed: Deployed, _: Path) -> None:
    await keyring(deployed, "DELETE FROM root_key")


async def keyring_of_another(deployed: Deployed, _: Path) -> None:
    await keyring(deployed, "UPDATE root_key SET fingerprint = '\\x00'")


async def unknown_ending(deployed: Deployed, _: Path) -> None:
    await keyring(
        deployed,
        "INSERT INTO tombstones (id, org_id, kind, object, at) SELECT gen_random_uuid(), org_id, 'telepathy', org_id, now() FROM org_keys"
        " LIMIT 1",
    )


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (flipped(0.0), ArchiveError, "not-a-backup"),
        (flipped(0.5), ArchiveError, "damaged"),
        (flipped(1.0), ArchiveError, "damaged"),
        (cut, ArchiveError, "truncated"),
        (emptied, ArchiveError, "not-a-backup"),
        (other_root, ArchiveError, "other-root"),
        (no_root, KeyUnavailable, "root key is missing"),
        (older_keyring, KeyUnavailable, "older than the backup"),
        (empty_keyring, KeyUnavailable, "keyring is empty"),
        (keyring_of_another, KeyUnavailable, "does not belong to this keyring"),
        (unknown_ending, ConfigError, "telepathy"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value))[:30],
)
async def test_what_can_not_be_restored_changes_nothing(deployed: Deployed, spoil: Spoil, kind: type[HushwireError], words: str) -> None:
    house = deployed.house
    recording = await house.record()
    await (await house.erasures()).erase(house.org, recording, **WHO)
    made = await deployed.backup()
    before = await deployed.rows()
    result = spoil(deployed, deployed.backups / made.name)
    if result is not None:
        await result
    with pytest.raises(kind, match=words):
        await deployed.restore()
    assert await deployed.rows() == before
    assert await deployed.database_names() == {house.databases.names["main"]}


async def test_a_backup_of_a_newer_hushwire_is_refused(deployed: Deployed) -> None:
    async with (await deployed.house.main("owner")).transaction() as connection:
        await connection.execute("INSERT INTO schema_migrations VALUES ('9999_future', 'sum')")
    # A newer hushwire makes it: this one would not even start on such a database.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hushwire.app.databases.migrate", lambda *_: asyncio.sleep(0))
        await deployed.backup()
    async with (await deployed.house.main("owner")).transaction() as connection:
        await connection.execute("DELETE FROM schema_migrations WHERE name = '9999_future'")
    before = await deployed.rows()
    with pytest.raises(ConfigError, match="made by a newer hushwire"):
        await deployed.restore()
    assert await deployed.rows() == before


async def test_it_refuses_a_database_with_content_without_yes_or_with_somebody_connected_or_a_hushwire_running(deployed: Deployed) -> None:
    await deployed.backup()
    before = await deployed.rows()
    with pytest.raises(ConfigError, match="--yes"):
        await deployed.restore(yes=False)
    await deployed.let_go()
    connection = await asyncpg.connect(deployed.house.databases.dsn("main", "api"))
    try:
        from hushwire.app.restore import restore, source_of

        with pytest.raises(ConfigError, match="session"):
            await restore(deployed.config, source_of(deployed.config, "latest", None), yes=True)
    finally:
        await connection.close()
    async with administration(deployed.config):
        with pytest.raises(ConfigError, match="hushwire is running"):
            await restore(deployed.config, source_of(deployed.config, "latest", None), yes=True)
    assert await deployed.rows() == before


async def test_a_backup_of_another_deployment_is_refused_even_under_the_same_root_key(
    deployed: Deployed, databases: Databases, data_folder: Path
) -> None:
    made = await deployed.backup()
    path = deployed.backups / made.name
    await keyring(deployed, "DELETE FROM deployment_keys")
    await (await deployed.house.keyring("owner")).establish()
    with pytest.raises(KeyUnavailable, match="another deployment's"):
        await deployed.restore(str(path))


KILLER = """
import asyncio, os, signal, sys
from hushwire.app import config, dumps, restore
from hushwire.store import roles
from hushwire.services.replay import Replay

passed = 0
def border():
    global passed
    passed += 1
    if passed == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

def mortal(owner, name):
    real = getattr(owner, name)
    if asyncio.iscoroutinefunction(real):
        async def wrapped(*arguments, **named):
            border()
            result = await real(*arguments, **named)
            border()
            return result
    else:
        def wrapped(*arguments, **named):
            border()
            result = real(*arguments, **named)
            border()
            return result
    setattr(owner, name, wrapped)

for owner, name in [(restore, "drop_leftovers"), (roles, "ensure_database"), (dumps, "restore"), (restore._Work, "_count"),
                    (restore, "migrate"), (Replay, "_organisation"), (Replay, "_tell"), (Replay, "run"), (restore, "_swap")]:
    mortal(owner, name)
settings = config.load(__import__("pathlib").Path(sys.argv[1]), {})
asyncio.run(restore.restore(settings, restore.source_of(settings, "latest", None), yes=True))
print(passed)
"""


@pytest.mark.slow
async def test_killed_with_kill_9_at_any_border_what_is_served_is_the_old_database_or_one_that_followed(deployed: Deployed) -> None:
    house = deployed.house
    erased, newer = await house.record(), None
    await deployed.backup()
    assert isinstance(await (await house.erasures()).erase(house.org, erased, **WHO), Erased)
    newer = await house.record()
    outcomes: list[str] = []
    kill_at = 0
    while True:
        kill_at += 1
        await deployed.let_go()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", KILLER, str(deployed.file), str(kill_at), stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, words = await process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), words.decode()
        # What the next start finds, before it does anything: never an erased recording that reads.
        assert isinstance(await (await house.recordings()).get(house.org, erased), Gone), f"alive when killed at border {kill_at}"
        is_new = not isinstance(await (await house.recordings()).get(house.org, newer), type(await house.row(erased)))
        outcomes.append("new" if is_new else "old")
        assert (await audit.verify(await house.main("api"), house.org)).is_whole
        followed = await Replay(await house.main("owner"), await house.db("keyring", "owner"), house.clock).run()
        assert not followed.was_behind, f"served without having followed, when killed at border {kill_at}"
        if process.returncode == 0:
            break
    assert outcomes == sorted(outcomes, reverse=True), "old, until from one border on it is the new one"
    assert outcomes.count("old") > 10
    assert kill_at > 15
    assert await deployed.database_names() == {house.databases.names["main"]}
