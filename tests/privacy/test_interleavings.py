"""What other services do while an erasure is entered: each interleaving is made by hand, with the locks that decide it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from hushwire.api.routers.contacts import NewContact
from hushwire.api.routers.requests import GivenRequest
from hushwire.app.config import Config
from hushwire.app.folders import Folders
from hushwire.app.wiring import Wired
from hushwire.app.worker import made_jobs
from hushwire.privacy.erasable import KINDS
from hushwire.services.contacts import Contacts, ContactView
from hushwire.services.erasure_entering import Asked
from hushwire.services.erasure_operations import containing
from hushwire.store import erasable, ledger
from hushwire.store.erasable import Search
from hushwire.vault.unseal import Why
from tests.api.serving import Office, office, shown
from tests.api.test_contacts import MARY, created
from tests.api.test_exports import begun, downloaded, manifest_of, worker
from tests.api.test_restrictions import NUMBER, recorded
from tests.polling import until
from tests.recorded import Chance, Fate, House, Killed, house

__all__ = ["house", "office"]

WHY = Why("api-key:test", "customer-service")


@asynccontextmanager
async def entering(house: House, kind: str, thing: UUID) -> AsyncIterator[None]:
    """Inside, an erasure holds the ledger and the thing's row, knows what contains it, and stands in the ledger; it commits at the end."""
    erasures = await house.erasures()
    async with (await house.main("api")).organisation(house.org) as connection:
        await ledger.lock_ledger(connection, house.org)
        found = await erasable.find(connection, KINDS[kind], Search(ids=[thing]), kinds=KINDS, lock=True)
        documents, causes = await containing(connection, found)
        asked = Asked(house.clock.now(), "api-key:test", "data-subject-request")
        await erasures._entering.enter(connection, house.org, asked, [*found, *documents], causes)
        yield


async def waits(house: House) -> bool:
    """Whether somebody waits for a lock in the main database."""
    connection = await house.databases.connect("main", "owner", max_size=1)
    async with connection.transaction() as asking:
        return bool(
            await asking.fetchval(
                "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND (database = (SELECT oid FROM pg_database"
                " WHERE datname = current_database()) OR locktype = 'transactionid'))"
            )
        )


async def meanwhile(house: House, kind: str, thing: UUID, work: Callable[[], Awaitable[object]]) -> object:
    """What `work` answers that began while the erasure of `thing` was entered and not yet committed."""
    async with entering(house, kind, thing):
        task = asyncio.ensure_future(work())

        async def is_decided() -> bool:
            return task.done() or await waits(house)

        await until(is_decided, timeout_s=20, what="it waits for the erasure, or is through")
    return await task


async def keys_of(office: Office, kind: str) -> set[UUID]:
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        return {row["id"] for row in await connection.fetch("SELECT id FROM data_keys WHERE kind = $1", kind)}


async def test_a_correction_that_waited_for_an_erasure_to_enter_leaves_no_key_behind(office: Office) -> None:
    async with office.client() as api:
        mary = UUID((await created(api))["id"])
    house = office.house
    contacts = Contacts(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    answer = await meanwhile(
        house, "contact", mary, lambda: contacts.change(house.org, mary, lambda said: replace(said, notes="other"), WHY)
    )
    assert not isinstance(answer, ContactView), "corrected though its erasure was entered"
    await (await house.upkeep()).carry_on()
    assert await keys_of(office, "contact") == set()


async def test_a_receipt_for_a_contact_means_that_what_it_said_before_a_correction_is_unreadable_too(office: Office) -> None:
    house = office.house
    for border in range(1, 40):
        async with office.client() as api:
            mary = UUID((await created(api))["id"])
        fate = Fate(border)
        dying = Contacts(await house.main("api", fate), await house.keyring("api", fate), house.clock, Chance())
        try:
            await dying.change(house.org, mary, lambda said: replace(said, notes="other"), WHY)
        except Killed:
            pass
        else:
            break
        noted = {row["key_id"] for row in await office.rows("SELECT key_id FROM retired_keys WHERE object_id = $1", mary)}
        (row,) = await office.rows("SELECT sealed_with FROM contacts WHERE id = $1", mary)
        async with office.client() as api:
            shown(await api.delete(f"/v1/contacts/{mary}"))
        assert not (noted | {row["sealed_with"]}) & await keys_of(office, "contact"), f"killed at {border}"
    else:
        raise AssertionError("the change never came to its end")


async def test_a_bundle_planned_while_an_erasure_was_entered_holds_nothing_of_it(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    async with office.client() as api:
        _, export = await begun(api)
        building = await worker(office.house)
        await meanwhile(office.house, "recording", UUID(str(recording)), lambda: building.build_all())
        await (await office.house.upkeep()).carry_on()
        archive = await downloaded(api, export)
    assert [name for name in archive.namelist() if str(recording) in name] == []
    assert {"kind": "recording", "id": str(recording), "reason": "erased"} in manifest_of(archive)["left_out"]


async def test_the_workers_sweep_removes_the_second_zones_copies(house: House) -> None:
    zone2 = house.folder / "zone2"
    config = Config.model_validate({"data": {"dir": str(house.folder)}, "zone2": {"dir": str(zone2)}})
    main, keyring = await house.main("worker"), await house.keyring("worker")
    keys = house.root.role_keys(opener=True, buckets=house.folder / "buckets")
    wired = Wired(
        "worker", config, Folders(house.folder), house.node, house.clock, Chance(), keys, main, await house.db("keyring", "worker"), keyring
    )  # type: ignore[arg-type]
    recording = await house.record()
    await (await house.shipping()).ship_all()
    (stored,) = [path for path in house.store.rglob(f"*{recording}*") if path.is_file()]
    copy = zone2 / "objects" / stored.relative_to(house.store)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(stored.read_bytes())
    await (await house.erasures()).erase(house.org, recording, actor="test", reason="data-subject-request")
    jobs = {job.name: job for job in await made_jobs(wired)}
    await jobs["erasures"].work()
    assert not copy.exists()


async def test_no_row_of_the_main_database_lets_a_number_be_tried_without_a_key(office: Office) -> None:
    async with office.client() as api:
        body = {"kind": "know", "channel": "data-subject", "subject": {"number": NUMBER, "name": "Mary Marker"}}
        for path, sent in (("/v1/contacts", MARY), ("/v1/privacy/requests", body)):
            headers = {"Idempotency-Key": path}
            first, again = [await api.post(path, json=sent, headers=headers) for _ in range(2)]
            assert first.status_code == again.status_code == 201
            assert first.json()["id"] == again.json()["id"]
    (key,) = await office.rows("SELECT id FROM api_keys WHERE role = 'owner'")
    tried = {
        hashlib.sha256("\x00".join((str(key["id"]), what, model.model_validate(sent).model_dump_json())).encode()).digest()
        for what, model, sent in (("contact", NewContact, MARY), ("request", GivenRequest, body))
    }
    kept = {row["request_hash"] for row in await office.rows("SELECT request_hash FROM idempotency")}
    assert len(kept) == 2
    assert not kept & tried
