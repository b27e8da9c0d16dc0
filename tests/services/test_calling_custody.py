"""Calls of an organisation that holds its own keys: recorded to them alone, or not at all, from the moment of the change on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.ids import OrgId, RecordingId
from hushwire.recording.hwr import Closed, Identity, Reader
from hushwire.services.custody import Challenged, Custodian, View
from hushwire.sip import effects as sip
from hushwire.vault.custody import Mode
from hushwire.vault.envelopes import Subject, answer_challenge, open_envelope
from hushwire.vault.keyring import Keyring
from hushwire.vault.pool import KeyPool
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ROOT, Peer, World, need_program, running
from tests.services.test_calling_outages import called
from tests.vault.test_envelopes import ours

pytestmark = need_program
KEY = ours("mlkem768-x25519")


class Owner:
    """The customer's owner, who manages its keys by the API's role."""

    def __init__(self, world: World, custodian: Custodian, keyring: Keyring) -> None:
        self.org: OrgId = world.gateway.directory.organisation_ids()[0]
        self.custodian = custodian
        self.keyring = keyring

    async def hold(self, mode: Mode) -> View:
        """Register a key, prove it, and set the mode."""
        added = await self.custodian.add(self.org, "ours", KEY.public, None, actor="api-key:1")
        assert isinstance(added, Challenged)
        proven = await self.custodian.prove(self.org, added.key.id, answer_challenge(added.challenge, KEY), actor="api-key:1")
        assert isinstance(proven, View)
        return await self.set_mode(mode)

    async def set_mode(self, mode: Mode, **how: Any) -> View:
        changed = await self.custodian.set_mode(self.org, mode, actor="api-key:1", **how)
        assert isinstance(changed, View)
        return changed


@asynccontextmanager
async def held(databases: Databases, folder: Path, **org: Any) -> AsyncIterator[tuple[World, Owner]]:
    async with running(databases, folder, **org) as world:
        keyring = Keyring(await databases.connect("keyring", "api"), ROOT.role_keys(opener=True, buckets=folder / "buckets"))
        yield world, Owner(world, Custodian(await databases.connect("main", "api"), keyring, SystemClock(), SystemRandom()), keyring)


async def recorded(world: World, anna: Peer) -> Any:
    """A call that is recorded and over; the row of its recording."""
    known = {row["id"] for row in await world.rows("recordings")}
    accepted, _ = await called(world, anna)
    await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live), timeout_s=10)
    anna.endpoint.bye(accepted.dialog)
    await world.carrier.expect(sip.DialogEnded)
    await anna.expect(sip.Responded)

    async def closed() -> Any:
        return next((row for row in await world.rows("recordings") if row["id"] not in known and row["digest"] is not None), None)

    return await until(closed, timeout_s=10, what="the recording's row is closed")


async def test_a_recording_in_mode_customer_opens_under_the_customers_key_alone(databases: Databases, tmp_path: Path) -> None:
    async with held(databases, tmp_path) as (world, owner):
        await owner.hold("customer")
        row = await recorded(world, await world.peer("anna"))
        assert row["custody"] == "customer"
        (copy,) = await owner.keyring.envelopes(owner.org, "recording", row["id"])
        key = open_envelope(copy.envelope, KEY, Subject(owner.org, "recording", row["id"]))
        reader = Reader(key, Identity(owner.org, row["id"], row["segment"]), closed=Closed(row["frames"], row["digest"]))
        reader.feed((world.folder / "spool" / row["spool_name"]).read_bytes())
        assert reader.finish() == "final"


@pytest.mark.parametrize("hears", [True, False])
async def test_the_next_recording_after_a_change_is_sealed_as_the_change_wants_it_whatever_the_pool_holds(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hears: bool
) -> None:
    async with held(databases, tmp_path) as (world, owner):
        anna = await world.peer("anna")
        await until(lambda: world.gateway.pool.ready(owner.org, "recording") > 4, timeout_s=10)
        if not hears:
            # The gateway is told nothing: its pool is full of keys that hushwire can open, and the database alone keeps them out.
            monkeypatch.setattr(KeyPool, "follow", lambda *_: None)
        await owner.hold("customer")
        assert (await recorded(world, anna))["custody"] == "customer"
        await owner.set_mode("hushwire")
        row = await recorded(world, anna)
        assert row["custody"] == "hushwire"
        assert await owner.keyring.envelopes(owner.org, "recording", RecordingId(row["id"])) == []


@pytest.mark.parametrize(("policy", "status"), [("refuse", 503), ("unrecorded", None)])
async def test_without_an_active_key_of_the_customer_the_organisation_decides_about_the_call(
    databases: Databases, tmp_path: Path, policy: str, status: int | None
) -> None:
    async with held(databases, tmp_path, without_recording=policy) as (world, owner):
        anna = await world.peer("anna")
        await until(lambda: world.gateway.pool.ready(owner.org, "recording") > 0, timeout_s=10)
        assert not (await owner.set_mode("customer", is_forced=True)).can_record
        await until(lambda: world.gateway.pool.ready(owner.org, "recording") == 0, timeout_s=10)
        if status is not None:
            anna.invite("+493023125999")
            assert (await anna.expect(sip.Rejected, timeout_s=10)).response.status == status
            assert (await world.row("calls", state="failed"))["end_reason"] == "no-recording"
        else:
            accepted, _ = await called(world, anna)
            anna.endpoint.bye(accepted.dialog)
            await world.carrier.expect(sip.DialogEnded)
            await world.row("calls", state="ended", end_reason="bye-agent", recording_id=None)
        assert await world.rows("recordings") == []
        assert list((world.folder / "spool").iterdir()) == []


async def test_a_key_that_expires_while_keys_wait_in_the_pool_records_nothing_more(databases: Databases, tmp_path: Path) -> None:
    async with held(databases, tmp_path, without_recording="unrecorded") as (world, owner):
        anna = await world.peer("anna")
        view = await owner.hold("customer")
        assert (await recorded(world, anna))["custody"] == "customer"
        await until(lambda: world.gateway.pool.ready(owner.org, "recording") > 0, timeout_s=10)
        database = await databases.connect("keyring", "owner")
        async with database.organisation(owner.org) as connection:
            await connection.execute("UPDATE recipients SET expires_at = now() - interval '1 second' WHERE id = $1", view.keys[0].id)
        world.gateway.pool.drop(owner.org)
        accepted, _ = await called(world, anna)
        anna.endpoint.bye(accepted.dialog)
        await world.carrier.expect(sip.DialogEnded)
        await until(lambda: not list(world.gateway.calling.live), timeout_s=10)
        assert len(await world.rows("recordings")) == 1
