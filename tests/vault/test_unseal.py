"""No key leaves the keyring unless the access log says so first."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from hushwire.core.errors import KeyUnavailable, RefusedError, Unavailable
from hushwire.core.ids import OrgId
from hushwire.vault.keyring import Keyring
from hushwire.vault.renewal import renew_bucket
from hushwire.vault.unseal import Why
from tests.vault.conftest import WHY, Vault


class _Away:
    """A log that can't be written."""

    async def note(self, org_id: OrgId, why: Why, objects: Sequence[str]) -> None:
        raise Unavailable("the database does not answer")


async def test_each_key_that_is_handed_out_has_its_row_with_actor_and_purpose(vault: Vault) -> None:
    one, two, gone = await (await vault.keyring("gateway")).new_data_keys(vault.org, "recording", [uuid4() for _ in range(3)])
    api = await vault.keyring("api")
    await api.destroy_data_key(vault.org, "recording", gone.id)
    assert set(await api.open_many(vault.org, "recording", [one.id, two.id, gone.id], WHY)) == {one.id, two.id}
    rows = await vault.noted()
    assert sorted(rows) == sorted(("api-key:7", "customer-service", f"recording:{key.id}") for key in (one, two))
    await api.open_data_key(vault.org, "recording", one.id, Why("api-key:8", "audit"))
    assert (await vault.noted())[2:] == [("api-key:8", "audit", f"recording:{one.id}")]


async def test_what_can_not_be_noted_is_not_opened(vault: Vault) -> None:
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    keys = vault.root.role_keys(opener=True, buckets=vault.folder)
    db = await vault.databases.connect("keyring", "api")
    with pytest.raises(Unavailable):
        await Keyring(db, keys, _Away()).open_data_key(vault.org, "recording", made.id, WHY)
    without_log = Keyring(db, keys)
    with pytest.raises(KeyUnavailable):
        await without_log.open_data_key(vault.org, "recording", made.id, WHY)
    async with db.organisation(vault.org) as connection:
        with pytest.raises(KeyUnavailable):
            await without_log.private_bucket(connection, vault.org, (await without_log.current_bucket(vault.org)).id, WHY)
    assert await vault.noted() == []


async def test_a_renewal_is_noted_once_a_batch_as_the_systems_own(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    await gateway.new_data_keys(vault.org, "recording", [uuid4() for _ in range(5)])
    old = await gateway.current_bucket(vault.org)
    await renew_bucket(await vault.keyring("worker"), vault.org, old.id)
    assert await vault.noted() == [("system:worker", "key-renewal", f"bucket:{old.id}")]


@pytest.mark.parametrize(
    ("actor", "purpose"),
    [("", "audit"), ("api-key:7", ""), ("anna", "audit"), ("api-key:+49 30", "audit"), ("api-key:7", "to see what she said"),
     ("api-key:7", "Audit"), ("api-key:7\n", "audit"), ("api-key:7", "a" * 65)],
)  # fmt: skip
def test_free_text_never_gets_into_the_log(actor: str, purpose: str) -> None:
    with pytest.raises(RefusedError):
        Why(actor, purpose)
