"""The keyring against a real server, as the roles that use it."""

from uuid import uuid4

import asyncpg
import pytest

from hushwire.core.errors import KeyUnavailable, MalformedError
from hushwire.core.ids import OrgId
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from hushwire.vault.seal import Columns
from tests.vault.conftest import WHY, Vault


async def test_every_role_reads_the_operational_keys_and_agrees_on_them(vault: Vault) -> None:
    row, place = uuid4(), {"table": "agents", "column": "username_sealed"}
    gateway = await (await vault.keyring("gateway")).org_context(vault.org)
    api = await (await vault.keyring("api")).org_context(vault.org)
    sealed = gateway.operational.seal(b"anna", **place, row=row, org=vault.org)
    assert api.operational.open(sealed, **place, row=row, org=vault.org) == b"anna"
    assert gateway.index("agents.username", "anna") == api.index("agents.username", "anna")
    assert (await (await vault.keyring("gateway")).deployment()).lookup("+4930") == (
        await (await vault.keyring("api")).deployment()
    ).lookup("+4930")


async def test_setting_up_twice_keeps_the_keys(vault: Vault) -> None:
    before = (await (await vault.keyring("api")).org_context(vault.org)).index_key
    bucket = await (await vault.keyring("api")).current_bucket(vault.org)
    signing = await (await vault.keyring("api")).signing_key()
    again = await vault.keyring("owner")
    await again.establish()
    await again.create_organisation(vault.org)
    assert (await (await vault.keyring("api")).org_context(vault.org)).index_key == before
    assert await (await vault.keyring("api")).current_bucket(vault.org) == bucket
    assert (await (await vault.keyring("api")).signing_key())[0] == signing[0]


async def test_the_gateway_seals_and_api_and_worker_open(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    made = await gateway.new_data_key(vault.org, "recording", uuid4())
    for role in ("api", "worker"):
        assert await (await vault.keyring(role)).open_data_key(vault.org, "recording", made.id, WHY) == made  # type: ignore[arg-type]
    with pytest.raises(KeyUnavailable):
        await gateway.open_data_key(vault.org, "recording", made.id, WHY)
    with pytest.raises(KeyUnavailable):
        await gateway.signing_key()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT sealed FROM data_keys",
        "SELECT * FROM data_keys",
        "SELECT private_sealed FROM buckets",
        "SELECT private_sealed FROM signing_keys",
        "DELETE FROM data_keys",
        "UPDATE data_keys SET sealed = 'x'",
        "UPDATE buckets SET public_key = 'x'",
        "INSERT INTO buckets SELECT * FROM buckets",
        "INSERT INTO root_key VALUES (true, 'x')",
        "DELETE FROM org_keys",
    ],
)
async def test_the_gateways_database_role_reads_no_sealed_key_and_changes_none(vault: Vault, statement: str) -> None:
    gateway = await vault.databases.connect("keyring", "gateway")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with gateway.organisation(vault.org) as connection:
            await connection.execute(statement)


async def test_even_with_the_opener_key_the_gateways_database_role_opens_nothing(vault: Vault) -> None:
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    greedy = Keyring(
        await vault.databases.connect("keyring", "gateway"), vault.root.role_keys(opener=True, buckets=vault.folder), await vault.log("api")
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await greedy.open_data_key(vault.org, "recording", made.id, WHY)


async def test_a_key_of_another_kind_or_organisation_is_not_there(vault: Vault) -> None:
    owner = await vault.keyring("owner")
    other = OrgId(uuid4())
    await owner.create_organisation(other)
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    api = await vault.keyring("api")
    with pytest.raises(KeyUnavailable):
        await api.open_data_key(vault.org, "call", made.id, WHY)
    with pytest.raises(KeyUnavailable):
        await api.open_data_key(other, "recording", made.id, WHY)
    assert await api.open_many(other, "recording", [made.id], WHY) == {}


async def test_a_sealed_key_moved_to_another_row_does_not_open(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    one, two = [await gateway.new_data_key(vault.org, "recording", uuid4()) for _ in range(2)]
    worker = await vault.databases.connect("keyring", "worker")
    async with worker.organisation(vault.org) as connection:
        stolen = await connection.fetchval("SELECT sealed FROM data_keys WHERE id = $1", one.id)
        await connection.execute("UPDATE data_keys SET sealed = $1 WHERE id = $2", stolen, two.id)
    api = await vault.keyring("api")
    with pytest.raises(KeyUnavailable):
        await api.open_data_key(vault.org, "recording", two.id, WHY)
    assert (await api.open_data_key(vault.org, "recording", one.id, WHY)).key == one.key


async def test_a_destroyed_key_is_gone_counted_and_the_second_time_says_so(vault: Vault) -> None:
    gateway, api = await vault.keyring("gateway"), await vault.keyring("api")
    made, kept = await gateway.new_data_keys(vault.org, "recording", [uuid4(), uuid4()])
    await api.open_data_key(vault.org, "recording", made.id, WHY)
    said = await gateway.fingerprint(vault.org, "recording", made.id)
    destroyed = await api.destroy_data_key(vault.org, "recording", made.id)
    assert destroyed is not None
    assert destroyed == said
    assert destroyed.fingerprint == made.fingerprint
    for role in ("api", "worker"):
        with pytest.raises(KeyUnavailable):
            await (await vault.keyring(role)).open_data_key(vault.org, "recording", made.id, WHY)  # type: ignore[arg-type]
    with pytest.raises(KeyUnavailable):
        await api.open_data_key(vault.org, "recording", made.id, WHY)
    assert await api.destroy_data_key(vault.org, "recording", made.id) is None
    assert await gateway.fingerprint(vault.org, "recording", made.id) is None
    assert await api.open_many(vault.org, "recording", [made.id, kept.id], WHY) == {kept.id: kept}
    async with api.db.organisation(vault.org) as connection:
        assert await connection.fetchval("SELECT erasures FROM buckets WHERE id = $1", destroyed.bucket_id) == 1


async def test_another_root_key_opens_nothing_of_this_keyring(vault: Vault) -> None:
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    stranger = Keyring(
        await vault.databases.connect("keyring", "api"),
        RootKey(bytes(32)).role_keys(opener=True, buckets=vault.folder),
        await vault.log("api"),
    )
    for attempt in (
        stranger.org_context(vault.org),
        stranger.deployment(),
        stranger.signing_key(),
        stranger.open_data_key(vault.org, "recording", made.id, WHY),
    ):
        with pytest.raises(KeyUnavailable):
            await attempt


async def test_an_organisation_without_keys_is_said_so(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    with pytest.raises(KeyUnavailable):
        await gateway.org_context(OrgId(uuid4()))
    with pytest.raises(KeyUnavailable):
        await gateway.new_data_key(OrgId(uuid4()), "call", uuid4())


async def test_signatures_verify_under_the_published_key(vault: Vault) -> None:
    key_id, private = await (await vault.keyring("api")).signing_key()
    published = {key.id: key for key in await (await vault.keyring("gateway")).public_signing_keys()}
    assert published[key_id].public_key == private.public_key().public_bytes_raw()


async def test_an_org_key_put_in_anothers_row_does_not_open(vault: Vault) -> None:
    owner = await vault.keyring("owner")
    other = OrgId(uuid4())
    await owner.create_organisation(other)
    async with owner.db.organisation(vault.org) as connection:
        sealed = await connection.fetchval("SELECT sealed FROM org_keys WHERE purpose = 'index'")
    async with owner.db.organisation(other) as connection:
        await connection.execute("UPDATE org_keys SET sealed = $1 WHERE purpose = 'index'", sealed)
    with pytest.raises(KeyUnavailable):
        await (await vault.keyring("api")).org_context(other)


async def test_a_call_key_seals_columns_that_only_an_opener_reads(vault: Vault) -> None:
    call = await (await vault.keyring("gateway")).new_data_key(vault.org, "call", uuid4())
    place = {"table": "calls", "column": "remote_sealed", "row": call.id, "org": vault.org}
    sealed = Columns(call.key).seal(b"+493012345", **place)  # type: ignore[arg-type]
    opened = await (await vault.keyring("api")).open_many(vault.org, "call", [call.id], WHY)
    assert Columns(opened[call.id].key).open(sealed, **place) == b"+493012345"  # type: ignore[arg-type]
    with pytest.raises(MalformedError):
        Columns(opened[call.id].key).open(sealed, **(place | {"column": "local_sealed"}))  # type: ignore[arg-type]
