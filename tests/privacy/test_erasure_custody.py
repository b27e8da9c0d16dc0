"""Erasing what the customer holds the key of: copies go with the key, the ledger closes, and the receipt says what is true."""

import asyncio
from pathlib import Path

import pytest

from hushwire.core.errors import CustomerHeld
from hushwire.privacy.receipts import verify_file
from hushwire.vault.custody import Mode
from hushwire.vault.envelopes import Subject, open_envelope
from tests.held import hold
from tests.privacy.test_erasure import WHY, entry_of, erased, published_keys
from tests.recorded import Fate, House, Killed, house
from tests.vault.test_envelopes import ours

__all__ = ["house"]
KEY = ours("x25519")


@pytest.mark.parametrize("mode", ["customer", "both"])
async def test_an_erasure_takes_the_customers_copies_along_and_closes_with_the_buckets_renewal(
    house: House, tmp_path: Path, mode: Mode
) -> None:
    await hold(await house.keyring("api"), house.org, mode, KEY)
    gone, kept = [await house.record() for _ in range(2)]
    for recording in (gone, kept):
        house.rest(recording)
    assert await (await house.shipping()).ship_all() == 2
    keyring = await house.keyring("api")
    before = await keyring.envelopes(house.org, "recording", kept)
    receipt = await erased(house, gone)
    assert await keyring.envelopes(house.org, "recording", gone) == []
    (tmp_path / "receipt.json").write_bytes(receipt)
    (tmp_path / "keys.json").write_bytes(await published_keys(house))
    assert verify_file(tmp_path / "receipt.json", tmp_path / "keys.json").is_valid
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert house.ciphertext(gone) == []
    await upkeep.renew_buckets(at_once=True)
    entry = await entry_of(house, gone)
    assert entry is not None
    assert entry.closed_at is not None
    # What was not erased is as the customer knows it: the same envelope, and it opens.
    assert await keyring.envelopes(house.org, "recording", kept) == before
    key = open_envelope(before[0].envelope, KEY, Subject(house.org, "recording", kept))
    fresh = await house.keyring("api")
    if mode == "both":
        assert (await fresh.open_data_key(house.org, "recording", kept, WHY)).key == key
    else:
        with pytest.raises(CustomerHeld):
            await fresh.open_data_key(house.org, "recording", kept, WHY)


async def test_a_kill_at_any_border_of_an_erasure_leaves_no_copy_without_its_key(house: House) -> None:
    await hold(await house.keyring("api"), house.org, "customer", KEY)
    survived = 0
    for border in range(1, 30):
        recording = await house.record()
        fate = Fate(kill_at=border)
        try:
            await (await house.erasures("api", fate)).erase(house.org, recording, actor="api-key:1", reason="customer-request")
            break
        except Killed:
            survived += 1
        # In one look: what runs beside the step that was killed may still end.
        async with (await house.keyring("api")).db.organisation(house.org) as connection:
            state = await connection.fetchrow(
                "SELECT (SELECT count(*) FROM data_keys WHERE id = $1) AS keys,"
                " (SELECT count(*) FROM data_key_copies WHERE data_key_id = $1) AS copies",
                recording,
            )
        assert state is not None
        assert state["keys"] == state["copies"], border
        await (await house.upkeep()).carry_on()
        if await entry_of(house, recording) is not None:
            assert not await house.key_exists(recording)
            assert await (await house.keyring("api")).envelopes(house.org, "recording", recording) == []
    assert survived >= 4


async def test_a_change_of_the_mode_and_the_making_of_keys_run_into_each_other_and_every_key_is_of_one_mode(house: House) -> None:
    api = await house.keyring("api")
    await hold(api, house.org, "both", KEY)

    async def make() -> None:
        for _ in range(15):
            await house.record()

    async def change() -> None:
        for mode in ("customer", "hushwire", "both", "customer"):
            await hold(api, house.org, mode)  # type: ignore[arg-type]
            await asyncio.sleep(0)

    await asyncio.gather(make(), make(), change())
    async with (await house.keyring("owner")).db.organisation(house.org) as connection:
        rows = await connection.fetch(
            "SELECT k.sealed IS NULL AS held, (SELECT count(*) FROM data_key_copies AS c WHERE c.data_key_id = k.id) AS copies,"
            " k.id, k.custody_version FROM data_keys AS k WHERE kind = 'recording'"
        )
        states = {row["id"]: (row["held"], row["copies"]) for row in rows}
    async with (await house.main("owner")).organisation(house.org) as connection:
        said = {row["id"]: row["custody"] for row in await connection.fetch("SELECT id, custody FROM recordings")}
    assert len(said) == 30
    expected = {"hushwire": (False, 0), "both": (False, 1), "customer": (True, 1)}
    assert all(states[recording] == expected[custody] for recording, custody in said.items())
