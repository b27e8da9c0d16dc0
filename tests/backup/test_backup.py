"""`hushwire backup`: sealed, checked before it counts, nothing half-written taken for one."""

import json
import subprocess
from datetime import timedelta

import asyncpg
import pytest

from hushwire.app.restore import source_of
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.services.backups import open_place
from hushwire.store.roles import backup_login
from hushwire.vault.archive import Reader
from tests.backup.deployed import Deployed, deployed
from tests.databases import binaries

__all__ = ["deployed"]


async def test_a_backup_restored_over_the_same_database_gives_every_row_back(deployed: Deployed) -> None:
    await deployed.house.record()
    before = await deployed.rows()
    made = await deployed.backup()
    assert [path.name for path in deployed.backups.iterdir() if path.suffix == ".hwb"] == [made.name]
    assert made.checked.manifest["tables"] == {name: len(rows) for name, rows in before.items()}
    lost = await deployed.house.record()
    done = await deployed.restore()
    after = await deployed.rows()
    assert done.followed.tombstones == 0
    assert str(lost) not in str(after)
    assert {name for name in before if before[name] != after[name]} == {"replay", "audit_log"}
    assert await deployed.database_names() == {deployed.house.databases.names["main"]}


async def test_nothing_of_the_keyring_of_buckets_or_of_the_root_key_is_ever_in_a_backup(deployed: Deployed) -> None:
    house = deployed.house
    recording = await house.record()
    erased = await house.record()
    await (await house.erasures()).erase(house.org, erased, actor="api-key:1", reason="request")
    made = await deployed.backup()
    sealed = (deployed.backups / made.name).read_bytes()
    reader = Reader(house.root.sealing_key())
    archive = b"".join(reader.feed(sealed))
    script = script_of(archive)
    assert str(recording) in script, "the script is not that of the main database"
    connection = await asyncpg.connect(house.databases.dsn("keyring", "administrator"))
    try:
        secrets = [bytes(row[0]) for table, column in KEYRING_BYTES for row in await connection.fetch(f"SELECT {column} FROM {table}")]
    finally:
        await connection.close()
    secrets += [path.read_bytes() for path in (house.folder / "buckets").rglob("*") if path.is_file()]
    secrets += [house.root.role_wrap(), house.root.opener_wrap(), house.root.to_text().encode()]
    assert len(secrets) > 10
    for secret in secrets:
        assert secret not in sealed
        assert secret not in archive
        assert secret.hex() not in script
    for name in ("data_keys", "private_sealed", "org_keys", "tombstones", "bucket_secrets"):
        assert f"COPY public.{name}" not in script
    assert b"acme" not in sealed, "something of it is readable"


KEYRING_BYTES = [
    ("data_keys", "sealed"), ("buckets", "private_sealed"), ("org_keys", "sealed"), ("deployment_keys", "sealed"),
    ("signing_keys", "private_sealed"),
]  # fmt: skip


def script_of(archive: bytes) -> str:
    done = subprocess.run([binaries() / "pg_restore", "--file=-"], input=archive, capture_output=True, check=True)
    return done.stdout.decode()


async def test_a_disk_that_is_full_makes_no_backup_and_says_so(deployed: Deployed) -> None:
    kept = await deployed.backup()
    small = deployed.file.parent / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        with pytest.raises(Unavailable, match="disk is full"):
            await deployed.backup(to=str(small))
        assert [path.name for path in small.iterdir()] == [".lock"], "something half-written was left"
    finally:
        subprocess.run(["umount", small], check=True)
    assert [each.name for each in open_place(str(deployed.backups)).found()] == [kept.name]


async def test_a_second_zone_that_is_not_there_is_said_and_not_made(deployed: Deployed) -> None:
    missing = deployed.file.parent / "gone"
    with pytest.raises(ConfigError, match="is the second zone mounted"):
        await deployed.backup(to=str(missing))
    assert not missing.exists()
    status, out, _ = await deployed.command("backup", environment={"HUSHWIRE_ZONE2__DIR": ""})
    assert status == 1
    assert out == ""


async def test_what_a_killed_backup_left_is_no_backup_and_goes_with_the_next_one(deployed: Deployed) -> None:
    torn = deployed.backups / ".2026-01-01T000000Z-000000000000.hwb.partial"
    torn.write_bytes(b"HWB1")
    place = open_place(str(deployed.backups))
    assert place.found() == []
    with pytest.raises(ConfigError, match="holds no backup"):
        source_of(deployed.config, "latest", None)
    await deployed.backup()
    assert not torn.exists()


async def test_the_oldest_backups_beyond_those_to_keep_go(deployed: Deployed) -> None:
    names = []
    for _ in range(3):
        deployed.house.clock.ahead += timedelta(minutes=1)
        names.append((await deployed.backup(keep=2)).name)
    assert [each.name for each in open_place(str(deployed.backups)).found()] == names[1:]


async def test_outside_a_backup_nobody_can_log_in_as_the_role_that_reads_everything_and_within_one_it_writes_nothing(
    deployed: Deployed,
) -> None:
    databases = deployed.house.databases
    administrator = databases.cluster.dsn("postgres")
    place = databases.dsn("main", "administrator").rpartition("@")[2]
    async with backup_login(administrator, databases.names["main"]) as password:
        connection = await asyncpg.connect(f"postgresql://hushwire_backup:{password}@{place}")
        try:
            assert await connection.fetchval("SELECT count(*) FROM orgs") == 1
            await connection.execute("SET default_transaction_read_only = off")  # a habit, not what keeps it from writing
            for statement in ("UPDATE orgs SET slug = 'x'", "DELETE FROM audit_log", "CREATE TABLE t (i int)"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()
        keyring = place.replace(databases.names["main"], databases.names["keyring"])
        with pytest.raises(asyncpg.PostgresError):
            await asyncpg.connect(f"postgresql://hushwire_backup:{password}@{keyring}")
        with pytest.raises(ConfigError, match="another backup"):
            async with backup_login(administrator, databases.names["main"]):
                pass
    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(f"postgresql://hushwire_backup:{password}@{place}")


async def test_the_commands_say_what_they_did_for_people_and_for_machines(deployed: Deployed) -> None:
    await deployed.house.record()
    status, out, err = await deployed.command("backup", "--json")
    assert status == 0, err
    made = json.loads(out)
    assert made["tables"]["recordings"] == 1
    status, out, _ = await deployed.command("backup", "list", "--json")
    assert [each["name"] for each in json.loads(out)["backups"]] == [made["name"]]
    status, out, err = await deployed.command("backup", "verify", made["name"])
    assert status == 0, err
    assert "whole" in out
    await deployed.let_go()
    status, out, err = await deployed.command("restore", "latest")
    assert (status, out) == (1, "")
    assert "--yes" in err
    status, out, err = await deployed.command("restore", "latest", "--yes", "--json")
    assert status == 0, err
    assert json.loads(out)["backup_id"] == made["backup_id"]
    path = deployed.backups / made["name"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    status, out, err = await deployed.command("backup", "verify")
    assert (status, out) == (1, "")
    assert "damaged" in err
