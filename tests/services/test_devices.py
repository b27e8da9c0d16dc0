"""Devices with credentials of their own, made and revoked as the API does it, registering at a gateway's location service."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.ids import AgentId
from hushwire.services.devices import MOST_DEVICES, Devices, Minted, TooMany
from hushwire.sip.flow import Flow
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from hushwire.vault.unseal import Why
from tests.databases import Databases
from tests.polling import until
from tests.services.location import DOMAIN, Phone, World, build, gateway

ACTOR = "api-key:test"
WHY = Why(ACTOR, "customer-service")


class Wall(SystemClock):
    """A wall clock that a test may put forward."""

    ahead = timedelta(0)

    def now(self):  # type: ignore[no-untyped-def]
        return super().now() + self.ahead


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> World:
    return await build(databases, tmp_path)


async def services(databases: Databases, clock: SystemClock | None = None) -> Devices:
    """As the api role has them: its rights, and no opener of recordings."""
    main, keyring_db = await databases.connect("main", "api"), await databases.connect("keyring", "api")
    return Devices(main, Keyring(keyring_db, RootKey(bytes(32)).role_keys(opener=False)), clock or SystemClock(), SystemRandom(), DOMAIN)


def agent_of(world: World, name: str = "anna") -> AgentId:
    org = world.directory.default_organisation
    assert org is not None
    return org.by_username[name].id


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[None]:
    """The directory stays fresh, and what changes is obeyed as the gateway does it."""
    task = asyncio.create_task(world.directory.watch(world.registrations.obey_directory))
    try:
        yield
    finally:
        task.cancel()


async def minted(world: World, devices: Devices, name: str = "desk", ttl_s: int | None = None) -> Minted:
    org = world.directory.default_organisation
    assert org is not None
    found = await devices.add(org.id, agent_of(world), name, actor=ACTOR, ttl_s=ttl_s)
    assert isinstance(found, Minted)
    await until(lambda: world.directory.find_credential(found.login, org.slug + "." + DOMAIN), what="the gateway knows it")
    return found


def phone_of(found: Minted, **more: object) -> Phone:
    return Phone(login=found.login, password=found.password, **more)  # type: ignore[arg-type]


async def test_each_device_registers_with_its_own_credential_on_the_agents_address(world: World, databases: Databases) -> None:
    devices = await services(databases)
    async with watching(world):
        one, two = await minted(world, devices), await minted(world, devices, "mobile")
        assert await Phone().register(world) == 200
        assert await phone_of(one, port=40001, call_id="one").register(world) == 200
        assert await phone_of(two, port=40002, call_id="two").register(world) == 200
        assert await Phone(login=f"{one.login}@acme", password=one.password, port=40001, call_id="one", cseq=9).register(world) == 200
        assert await Phone(login=one.login, password=two.password, port=40003, call_id="mixed").register(world) == 401
        assert await Phone(username="ben", login=one.login, password=one.password, port=40004).register(world) == 403
    assert world.registrations.count(agent_of(world)) == 3
    async with world.db.organisation(world.directory.default_organisation.id) as connection:  # type: ignore[union-attr]
        rows = await connection.fetch("SELECT device_id FROM registrations")
    assert {row["device_id"] for row in rows} == {None, one.id, two.id}


async def test_a_revoked_device_is_gone_at_once_and_the_others_stay(world: World, databases: Databases) -> None:
    devices = await services(databases)
    org = world.directory.default_organisation
    assert org is not None
    async with watching(world):
        lost, kept = await minted(world, devices, "lost"), await minted(world, devices, "kept")
        phone = phone_of(lost, port=40001, call_id="lost")
        assert [await phone.register(world), await phone_of(kept, port=40002, call_id="kept").register(world)] == [200, 200]
        assert await devices.revoke(org.id, agent_of(world), lost.id, actor=ACTOR)
        await until(lambda: world.registrations.count(agent_of(world)) == 1, timeout_s=5, what="its binding has ended")
        assert await phone.register(world) == 401
        assert await devices.revoke(org.id, agent_of(world), lost.id, actor=ACTOR), "again changes nothing"
    (left,) = world.registrations.devices(agent_of(world))
    assert isinstance(left.hop, Flow)
    assert left.hop.remote.port == 40002
    async with world.provisioning.main.organisation(org.id) as connection:
        logged = await connection.fetch("SELECT action FROM audit_log WHERE object = $1 ORDER BY position", f"device:{lost.id}")
        assert await connection.fetchval("SELECT count(*) FROM registrations WHERE expires_at > now()") == 1
    assert [row["action"] for row in logged] == ["device.added", "device.revoked"]


async def test_the_agents_own_password_is_its_first_device_and_can_be_revoked_alone(world: World, databases: Databases) -> None:
    devices = await services(databases)
    org, agent = world.directory.default_organisation, agent_of(world)
    assert org is not None
    async with watching(world):
        one = await minted(world, devices)
        assert [await Phone().register(world), await phone_of(one, port=40001, call_id="one").register(world)] == [200, 200]
        assert await devices.revoke(org.id, agent, agent, actor=ACTOR)
        await until(lambda: world.registrations.count(agent) == 1, what="the own password's binding has ended")
        assert await Phone().register(world) == 401
        assert await phone_of(one, port=40001, call_id="one", cseq=9).register(world) == 200
    views = await devices.listed(org.id, agent, WHY)
    assert views is not None
    assert [(view.name, view.state) for view in views] == [("own password", "revoked"), ("desk", "active")]


async def test_a_short_lived_credential_ends_by_itself_and_its_binding_with_it(world: World, databases: Databases) -> None:
    devices = await services(databases)
    async with watching(world):
        web = await minted(world, devices, "web", ttl_s=120)
        phone = phone_of(web)
        assert await phone.register(world, expires=3600) == 200
    (contact,) = [value for name, value in phone.answers[-1][1] if name == "Contact"]
    assert 100 < int(contact.partition(";expires=")[2]) <= 120
    clock = Wall()
    clock.ahead = timedelta(seconds=121)
    world.directory._clock = clock
    assert await phone_of(web, call_id="later").register(world) == 401
    # What expired was not revoked: a call that it began goes on.
    assert not world.directory.is_revoked(agent_of(world), web.id)


async def test_a_gateway_that_starts_knows_every_device(world: World, databases: Databases) -> None:
    devices = await services(databases)
    async with watching(world):
        one = await minted(world, devices)
        assert await phone_of(one).register(world) == 200
    again = await gateway(databases, world.provisioning)
    assert again.registrations.count(agent_of(again)) == 1
    assert await phone_of(one, cseq=9).register(again) == 200


async def test_no_row_holds_a_readable_password_or_name_and_the_number_of_devices_has_an_end(world: World, databases: Databases) -> None:
    devices = await services(databases)
    org = world.directory.default_organisation
    assert org is not None
    made = [await devices.add(org.id, agent_of(world), "Annas Telefon", actor=ACTOR) for _ in range(MOST_DEVICES)]
    assert isinstance(await devices.add(org.id, agent_of(world), "one more", actor=ACTOR), TooMany)
    async with world.provisioning.main.organisation(org.id) as connection:
        rows = [dict(row) for row in await connection.fetch("SELECT * FROM devices")]
    held = repr(rows)
    assert "Annas Telefon" not in held
    for one in made:
        assert isinstance(one, Minted)
        assert one.password is not None
        assert one.password not in held
        assert one.password not in repr(one)


async def test_one_credential_in_two_networks_at_once_is_told_without_addresses(world: World, databases: Databases) -> None:
    devices = await services(databases)
    org = world.directory.default_organisation
    assert org is not None
    async with watching(world):
        one = await minted(world, devices)
        first = '<sip:anna@127.0.0.1:40000>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000001>"'
        second = '<sip:anna@127.0.0.1:40001>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000002>"'
        assert await phone_of(one).register(world, contact=first) == 200
        assert await phone_of(one, port=40001, call_id="two", address="127.0.0.2").register(world, contact=second) == 200
    async with world.provisioning.main.organisation(org.id) as connection:
        rows = await connection.fetch("SELECT subject, fields::text FROM outbox WHERE kind = 'credential.shared'")
    assert [(row["subject"], json.loads(row["fields"])) for row in rows] == [
        (agent_of(world), {"device": str(one.id), "evidence": "places", "devices": 2, "addresses": 2})
    ]
