"""Keys sealed as an organisation wants its custody: to hushwire, to its own keys, to both; and refused when it wants it otherwise."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.core.errors import CustomerHeld, KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.vault import custody, envelopes, recipient_rows
from hushwire.vault.custody import Mode
from hushwire.vault.envelopes import Subject, open_envelope
from hushwire.vault.keyring import CUSTODY_CHANGED
from hushwire.vault.pool import KeyPool
from hushwire.vault.recipients import Algorithm, PrivateKey
from hushwire.vault.renewal import renew_bucket
from tests.recorded import Chance
from tests.vault.conftest import WHY, Vault
from tests.vault.test_envelopes import KEYS, every_algorithm, ours


@dataclass
class Clock:
    ahead: timedelta = field(default_factory=timedelta)

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def wants(vault: Vault, mode: Mode, *keys: PrivateKey, expires_at: datetime | None = None) -> list[UUID]:
    """The organisation's custody from now on; the ids of the new active keys."""
    now, made = datetime.now(UTC), []
    async with (await vault.keyring("api")).db.organisation(vault.org) as connection:
        await recipient_rows.lock(connection, vault.org)
        for key in keys:
            made.append(uuid4())
            await recipient_rows.add_pending(connection, vault.org, made[-1], b"name", key.public, expires_at, now)
            await recipient_rows.activate(connection, vault.org, made[-1], now)
        await recipient_rows.set_mode(connection, vault.org, mode, now)
    return made


async def expire(vault: Vault, recipient: UUID) -> None:
    async with (await vault.databases.connect("keyring", "owner")).organisation(vault.org) as connection:
        await connection.execute("UPDATE recipients SET expires_at = now() - interval '1 second' WHERE id = $1", recipient)


async def copies_of(vault: Vault, key: UUID) -> dict[UUID, bytes]:
    found = await (await vault.keyring("api")).envelopes(vault.org, "recording", key)
    return {copy.recipient_id: copy.envelope for copy in found}


def opened(vault: Vault, key: PrivateKey, envelope: bytes, key_id: UUID) -> bytes:
    return open_envelope(envelope, key, Subject(vault.org, "recording", key_id))


@every_algorithm
async def test_in_mode_customer_only_the_customers_key_opens_what_the_gateway_sealed(vault: Vault, algorithm: Algorithm) -> None:
    (recipient,) = await wants(vault, "customer", ours(algorithm))
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    copies = await copies_of(vault, made.id)
    assert opened(vault, ours(algorithm), copies[recipient], made.id) == made.key
    for role in ("api", "worker"):
        with pytest.raises(CustomerHeld):
            await (await vault.keyring(role)).open_data_key(vault.org, "recording", made.id, WHY)  # type: ignore[arg-type]
    assert (made.custody, made.custody_version, made.good_until) == ("customer", 2, None)
    assert await (await vault.keyring("gateway")).fingerprint(vault.org, "recording", made.id) is not None


async def test_in_mode_both_hushwire_and_every_key_of_the_customer_open_it(vault: Vault) -> None:
    recipients = await wants(vault, "both", ours("x25519"), ours("mlkem768-x25519"))
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    copies = await copies_of(vault, made.id)
    for recipient, algorithm in zip(recipients, ("x25519", "mlkem768-x25519"), strict=True):
        assert opened(vault, ours(algorithm), copies[recipient], made.id) == made.key
    assert (await (await vault.keyring("api")).open_data_key(vault.org, "recording", made.id, WHY)).key == made.key


async def test_what_is_no_recording_stays_hushwires(vault: Vault) -> None:
    await wants(vault, "customer", ours("x25519"))
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "call", uuid4())
    assert (await (await vault.keyring("api")).open_data_key(vault.org, "call", made.id, WHY)).key == made.key
    assert made.custody_version == 0


@pytest.mark.parametrize("mode", ["customer", "both"])
async def test_without_an_active_unexpired_key_there_is_no_data_key(vault: Vault, mode: Mode) -> None:
    gateway, pool = await vault.keyring("gateway"), None
    await wants(vault, mode)
    with pytest.raises(KeyUnavailable, match="holds its own keys"):
        await gateway.new_data_key(vault.org, "recording", uuid4())
    (recipient,) = await wants(vault, mode, ours("x25519"))
    await gateway.new_data_key(vault.org, "recording", uuid4())
    # The gateway knows the key by heart, and still can't seal to it once it has expired.
    await expire(vault, recipient)
    pool = KeyPool(gateway, Clock(), Chance())
    with pytest.raises(KeyUnavailable, match="holds its own keys"):
        await pool.take_or_make(vault.org, "recording")
    await pool.close()


async def test_a_retired_key_gets_no_copies_any_more_and_the_others_do(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    first, second = await wants(vault, "customer", KEYS["x25519/ours"], KEYS["x25519/other"])
    before = await gateway.new_data_key(vault.org, "recording", uuid4())
    async with (await vault.keyring("api")).db.organisation(vault.org) as connection:
        await recipient_rows.lock(connection, vault.org)
        await recipient_rows.retire(connection, vault.org, first, datetime.now(UTC))
    after = await gateway.new_data_key(vault.org, "recording", uuid4())
    assert set(await copies_of(vault, before.id)) == {first, second}
    assert set(await copies_of(vault, after.id)) == {second}


async def test_the_database_itself_refuses_a_key_of_an_older_custody_or_without_the_copies_it_wants(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    bucket = await gateway.current_bucket(vault.org)
    (recipient,) = await wants(vault, "customer", ours("x25519"))
    insertion = (
        "INSERT INTO data_keys (id, org_id, bucket_id, kind, sealed, fingerprint, custody_version, created_at)"
        " VALUES ($1, $2, $3, 'recording', $4, 'f', $5, now())"
    )
    for sealed, version in ((b"ours", 0), (b"ours", 2), (None, 1), (None, 3), (None, 2)):
        with pytest.raises(asyncpg.PostgresError) as caught:
            async with gateway.db.organisation(vault.org) as connection:
                await connection.execute(insertion, uuid4(), vault.org, bucket.id, sealed, version)
        assert caught.value.sqlstate == CUSTODY_CHANGED, (sealed, version)
    with pytest.raises(asyncpg.CheckViolationError):
        async with gateway.db.organisation(vault.org) as connection:
            await connection.execute(insertion.replace("'recording'", "'call'"), uuid4(), vault.org, bucket.id, None, 0)
    async with gateway.db.organisation(vault.org) as connection:
        key = uuid4()
        await connection.execute(insertion, key, vault.org, bucket.id, None, 2)
        await custody.add_copies(connection, vault.org, [custody.Copy(key, recipient, Algorithm.X25519, b"", b"an envelope")])


async def test_a_pool_hands_out_no_key_of_the_custody_before_a_change_it_heard_of(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    pool = KeyPool(gateway, Clock(), Chance(), size=4)
    await pool.prepare(vault.org, "recording")
    await pool.prepare(vault.org, "call")
    await wants(vault, "customer", ours("x25519"))
    pool.follow(vault.org, 2)
    assert pool.ready(vault.org, "recording") == 0
    assert pool.ready(vault.org, "call") == 4
    assert pool.take(vault.org, "recording") is None
    await pool.prepare(vault.org, "recording")
    taken = pool.take(vault.org, "recording")
    assert taken is not None
    assert taken.custody == "customer"
    pool.follow(vault.org, 1)  # older news change nothing
    assert pool.take(vault.org, "recording") is not None
    await pool.close()


async def test_a_pool_that_makes_a_key_of_a_newer_custody_hands_out_no_older_one(vault: Vault) -> None:
    pool = KeyPool(await vault.keyring("gateway"), Clock(), Chance(), size=4)
    await pool.prepare(vault.org, "recording")
    await wants(vault, "both", ours("x25519"))
    # Nobody told the pool; below half it makes more, and learns by them.
    for _ in range(2):
        assert (await pool.take_or_make(vault.org, "recording")).custody == "hushwire"
    async with asyncio.timeout(10):
        await asyncio.gather(*pool._tasks)
    assert pool.ready(vault.org, "recording") == 2
    assert {(await pool.take_or_make(vault.org, "recording")).custody for _ in range(4)} == {"both"}
    await pool.close()


async def test_a_pooled_key_is_not_used_after_its_recipient_has_expired(vault: Vault) -> None:
    clock = Clock()
    pool = KeyPool(await vault.keyring("gateway"), clock, Chance(), size=4)
    await wants(vault, "customer", ours("x25519"), expires_at=clock.now() + timedelta(days=1))
    await pool.prepare(vault.org, "recording")
    assert pool.take(vault.org, "recording") is not None
    clock.ahead = timedelta(days=1)
    assert pool.take(vault.org, "recording") is None
    await pool.close()


async def test_a_destroyed_key_takes_its_copies_along_and_leaves_the_others(vault: Vault) -> None:
    await wants(vault, "customer", *(key for name, key in KEYS.items() if name.endswith("ours")))
    gone, kept = await (await vault.keyring("gateway")).new_data_keys(vault.org, "recording", [uuid4(), uuid4()])
    assert len(await copies_of(vault, gone.id)) == 3
    destroyed = await (await vault.keyring("api")).destroy_data_key(vault.org, "recording", gone.id)
    assert destroyed is not None
    assert destroyed.fingerprint == gone.fingerprint
    assert await copies_of(vault, gone.id) == {}
    owner = await vault.databases.connect("keyring", "owner")
    async with owner.organisation(vault.org) as connection:
        left = {row[0] for row in await connection.fetch("SELECT DISTINCT data_key_id FROM data_key_copies")}
    assert left == {kept.id}


async def test_a_bucket_is_renewed_around_keys_that_only_the_customer_holds(vault: Vault) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    before = await gateway.new_data_key(vault.org, "recording", uuid4())
    (recipient,) = await wants(vault, "customer", ours("x25519"))
    made = await gateway.new_data_key(vault.org, "recording", uuid4())
    copy = (await copies_of(vault, made.id))[recipient]
    old = await gateway.current_bucket(vault.org)
    await (await vault.keyring("api")).destroy_data_key(vault.org, "recording", before.id)
    await renew_bucket(worker, vault.org, old.id)
    assert (await copies_of(vault, made.id))[recipient] == copy
    assert opened(vault, ours("x25519"), copy, made.id) == made.key
    held = await gateway.fingerprint(vault.org, "recording", made.id)
    assert held is not None
    assert held.bucket_id == (await gateway.current_bucket(vault.org)).id != old.id
    with pytest.raises(CustomerHeld):
        await (await vault.keyring("api")).open_data_key(vault.org, "recording", made.id, WHY)


async def test_keys_opened_together_are_those_that_open_here(vault: Vault) -> None:
    gateway, api = await vault.keyring("gateway"), await vault.keyring("api")
    ours_too = await gateway.new_data_key(vault.org, "recording", uuid4())
    await wants(vault, "customer", ours("x25519"))
    theirs = await gateway.new_data_key(vault.org, "recording", uuid4())
    opened_here = await api.open_many(vault.org, "recording", [ours_too.id, theirs.id, uuid4()], WHY)
    assert set(opened_here) == {ours_too.id}


async def test_another_organisation_sees_and_gets_nothing_of_it(vault: Vault) -> None:
    await wants(vault, "customer", ours("x25519"))
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    other = OrgId(uuid4())
    await (await vault.keyring("owner")).create_organisation(other)
    assert await (await vault.keyring("api")).envelopes(other, "recording", made.id) == []
    assert await (await vault.keyring("api")).envelopes(vault.org, "call", made.id) == []
    theirs = await (await vault.keyring("gateway")).new_data_key(other, "recording", uuid4())
    assert theirs.custody == "hushwire"


def test_a_copy_prints_nothing_of_its_envelope() -> None:
    envelope = envelopes.seal(bytes(32), ours("x25519").public, Subject(uuid4(), "recording", uuid4()))
    assert envelope.hex()[:8] not in repr(custody.Copy(uuid4(), uuid4(), Algorithm.X25519, b"", envelope))
