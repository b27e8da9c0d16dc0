"""The location service against real databases: who may register, what stands in the rows, what a restart remembers."""

import asyncio
import dataclasses
import json
import re
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from hushwire.services import bindings as bindings_module
from hushwire.sip.flow import Flow, Target, Transport
from tests.databases import Databases
from tests.polling import until
from tests.services.location import ANNA, ORG, WHOLE, Phone, World, build, gateway


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> World:
    return await build(databases, tmp_path)


def anna_id(world: World) -> object:
    org = world.directory.default_organisation
    assert org is not None
    return org.by_username["anna"].id


async def test_sha_256_is_offered_before_md5_and_the_right_password_registers(world: World) -> None:
    phone = Phone()
    assert await phone.register(world) == 200
    offered = [value for status, headers in phone.answers if status == 401 for _, value in headers]
    assert ["SHA-256" in value for value in offered] == [True, False]
    (device,) = world.registrations.devices(anna_id(world))  # type: ignore[arg-type]
    assert isinstance(device.hop, Flow)
    assert device.contact.port == 40000


@pytest.mark.parametrize(
    ("username", "password"),
    [("anna", "wrong"), ("nobody", "annas-password"), ("ben", "annas-password")],
    ids=["password", "user", "mixed"],
)
async def test_wrong_credentials_get_another_challenge_and_bind_nothing(world: World, username: str, password: str) -> None:
    phone = Phone(username=username, password=password)
    assert await phone.register(world) == 401
    assert all("stale" not in value for value in phone.challenges())
    assert world.registrations.devices(anna_id(world)) == []  # type: ignore[arg-type]


async def test_both_forms_of_the_user_name_open_and_a_foreign_slug_does_not(world: World) -> None:
    assert await Phone(login="anna@acme").register(world) == 200
    assert await Phone(login="anna@other", port=40001, call_id="two").register(world) == 401


async def test_a_nonce_count_that_was_used_is_refused_as_stale(world: World) -> None:
    phone = Phone()
    phone.say(world, phone.request())
    value = phone.answer(phone.challenges())
    phone.say(world, phone.request(authorization_value=value))
    await world.registrations.settled()
    assert phone.answers[-1][0] == 200
    phone.say(world, phone.request(authorization_value=value))
    await world.registrations.settled()
    assert phone.answers[-1][0] == 401
    assert all("stale=true" in challenge for challenge in phone.challenges())


async def test_an_aged_nonce_is_stale_and_the_phone_recovers_without_its_user(world: World) -> None:
    phone = Phone()
    phone.say(world, phone.request())
    value = phone.answer(phone.challenges())
    world.clock.ahead_s = 3600
    phone.say(world, phone.request(authorization_value=value))
    assert all("stale=true" in challenge for challenge in phone.challenges())
    phone.say(world, phone.request(authorization_value=phone.answer(phone.challenges())))
    await world.registrations.settled()
    assert phone.answers[-1][0] == 200


async def test_nobody_registers_on_another_agents_address(world: World) -> None:
    phone = Phone(username="ben", login="anna")
    assert await phone.register(world) == 403


async def test_several_devices_stand_side_by_side_and_each_leaves_alone(world: World) -> None:
    one, two = Phone(), Phone(port=40001, call_id="two")
    assert [await one.register(world), await two.register(world)] == [200, 200]
    assert len(world.registrations.devices(anna_id(world))) == 2  # type: ignore[arg-type]
    assert await one.register(world, expires=0) == 200
    (left,) = world.registrations.devices(anna_id(world))  # type: ignore[arg-type]
    assert left.contact.port == 40001
    async with world.db.organisation(world.directory.default_organisation.id) as connection:  # type: ignore[union-attr]
        assert await connection.fetchval("SELECT count(*) FROM registrations WHERE expires_at > now()") == 1
        # What is over says nothing more of the device, also while its row waits to be removed.
        assert await connection.fetch("SELECT contact_sealed FROM registrations WHERE expires_at <= now()") == [(b"",)]


async def test_a_row_holds_no_readable_contact(world: World) -> None:
    await Phone().register(world)
    async with world.db.organisation(world.directory.default_organisation.id) as connection:  # type: ignore[union-attr]
        (row,) = await connection.fetch("SELECT * FROM registrations")
    assert all(b"127.0.0.1" not in value and b"anna" not in value for value in row.values() if isinstance(value, bytes))


async def test_a_restarted_gateway_still_reaches_udp_devices_where_they_registered_from(world: World, databases: Databases) -> None:
    await Phone().register(world)
    await Phone(port=40001, call_id="two", transport=Transport.TLS).register(world, contact="<sips:anna@127.0.0.1:40001>")
    again = await gateway(databases, world.provisioning)
    (device,) = again.registrations.devices(anna_id(again))  # type: ignore[arg-type]
    assert device.hop == Target(Transport.UDP, "127.0.0.1", 40000)
    # The phone's next refresh finds its old binding: one device, not two.
    assert await Phone(cseq=10).register(again) == 200
    (device,) = again.registrations.devices(anna_id(again))  # type: ignore[arg-type]
    assert isinstance(device.hop, Flow)


async def test_a_suspended_agent_is_refused_and_its_devices_are_forgotten_within_a_second(world: World) -> None:
    await Phone().register(world)
    changed = asyncio.Event()
    watching = asyncio.create_task(world.directory.watch(changed.set))
    suspended = dataclasses.replace(ANNA, suspended=True)
    agent = anna_id(world)
    await world.provisioning.apply(dataclasses.replace(WHOLE, orgs=(dataclasses.replace(ORG, agents=(suspended, *ORG.agents[1:])),)))
    async with asyncio.timeout(1.0):
        await changed.wait()
    watching.cancel()
    assert world.directory.default_organisation.by_username["anna"].is_suspended  # type: ignore[union-attr]
    assert await Phone().register(world) == 403
    assert world.registrations.devices(agent) == []  # type: ignore[arg-type]


async def test_a_changed_allowlist_is_known_within_a_second(world: World) -> None:
    changed = asyncio.Event()
    watching = asyncio.create_task(world.directory.watch(changed.set))
    narrowed = dataclasses.replace(ORG, row=dataclasses.replace(ORG.row, allowed_countries=("AT",)))
    await world.provisioning.apply(dataclasses.replace(WHOLE, orgs=(narrowed,)))
    async with asyncio.timeout(1.0):
        await changed.wait()
    watching.cancel()
    assert world.directory.default_organisation.rules.countries == {"AT"}  # type: ignore[union-attr]


async def test_numbers_and_trunks_are_found_by_what_a_carrier_sends(world: World) -> None:
    number = world.directory.find_number("+493023125000")
    assert number is not None
    assert number.agent_id == anna_id(world)
    assert world.directory.find_number("+493023125001") is None
    trunk = world.directory.trunk_of("127.0.0.1")
    assert trunk is not None
    assert trunk.credentials is not None
    assert trunk.credentials.password == "trunk-password"
    assert world.directory.trunk_of("127.0.0.2") is None


async def alarms(world: World) -> list[dict[str, object]]:
    owner = world.provisioning.main
    org = world.directory.default_organisation
    assert org is not None
    async with owner.organisation(org.id) as connection:
        rows = await connection.fetch("SELECT subject, fields::text FROM outbox WHERE kind = 'credential.shared' ORDER BY at")
    return [{"subject": row["subject"], **json.loads(row["fields"])} for row in rows]


async def test_more_devices_than_allowed_at_once_raise_one_alarm_until_they_are_fewer_again(world: World) -> None:
    phones = [Phone(port=40000 + n, call_id=f"phone@{n}") for n in range(5)]
    for phone in phones[:3]:
        assert await phone.register(world) == 200
    assert await alarms(world) == []
    with structlog.testing.capture_logs() as logged:
        for phone in phones[3:]:
            assert await phone.register(world) == 200
    told = {"subject": anna_id(world), "device": str(anna_id(world)), "evidence": "devices", "devices": 4, "addresses": 1}
    assert await alarms(world) == [told]
    (said,) = [entry for entry in logged if entry["event"] == "credential.shared"]
    assert said.keys() == {"event", "log_level", "agent", "org_id", "device", "evidence", "devices", "addresses"}
    # The episode ends with the devices: the next one is another alarm.
    for phone in phones[2:]:
        assert await phone.register(world, expires=0) == 200
    for phone in phones[2:4]:
        assert await phone.register(world) == 200
    assert await alarms(world) == [told, told]


async def test_a_phone_that_registers_again_is_one_device_and_no_alarm(world: World) -> None:
    phone = Phone()
    for _ in range(6):
        assert await phone.register(world) == 200
    assert await alarms(world) == []


async def test_a_restart_does_not_repeat_the_alarm(world: World, databases: Databases) -> None:
    for n in range(4):
        assert await Phone(port=40000 + n, call_id=f"phone@{n}").register(world) == 200
    again = await gateway(databases, world.provisioning)
    assert await Phone(port=40004, call_id="phone@4").register(again) == 200
    assert len(await alarms(again)) == 1


async def test_a_device_whose_connection_ended_is_not_called_there_and_takes_its_calls_along_when_it_is_back(world: World) -> None:
    moves: list[tuple[Flow, Flow]] = []
    world.registrations._on_moved = lambda old, new: moves.append((old, new))
    browser = Phone(port=40001, call_id="page", transport=Transport.WSS)
    contact = '<sip:x@a8f3.invalid;transport=ws>;+sip.instance="<urn:uuid:0-1>";reg-id=1'
    assert await browser.register(world, contact=contact) == 200
    assert await Phone(call_id="other").register(world) == 200
    first = browser.flow
    world.registrations.flow_closed(first)
    (left,) = world.registrations.devices(anna_id(world))  # type: ignore[arg-type]
    assert left.transport is Transport.UDP
    world.registrations.flow_closed(first)
    browser.port = 40002
    assert await browser.register(world, contact=contact) == 200
    assert moves == [(first, browser.flow)]
    assert len(world.registrations.devices(anna_id(world))) == 2  # type: ignore[arg-type]
    assert await browser.register(world, contact=contact) == 200
    assert len(moves) == 1


async def test_who_leaves_a_proxy_for_elsewhere_takes_nobody_elses_calls_along(world: World) -> None:
    moves: list[tuple[Flow, Flow]] = []
    world.registrations._on_moved = lambda old, new: moves.append((old, new))
    people = {"anna": "annas-password", "ben": "bens-password"}

    async def bind(name: str, port: int, address: str) -> Flow:
        phone = Phone(name, people[name], port, Transport.TCP, call_id=f"{name}@{port}", address=address)
        assert await phone.register(world, contact=f'<sip:{name}@192.0.2.1>;+sip.instance="<urn:uuid:{name}>";reg-id=1') == 200
        return phone.flow

    # Behind one proxy both; then one comes by itself, from elsewhere, and what is meant for the proxy stays with it.
    proxy = await bind("anna", 40001, "127.0.0.2")
    assert await bind("ben", 40001, "127.0.0.2") == proxy
    await bind("anna", 40002, "127.0.0.3")
    assert moves == []
    # The other one's calls are neither hers when it leaves too.
    away = await bind("ben", 40003, "127.0.0.4")
    assert moves == []
    # One phone with two names of its own, somewhere else: its calls are where both are.
    assert await bind("anna", 40003, "127.0.0.4") == away
    moves.clear()
    roamed = await bind("anna", 40004, "127.0.0.5")
    assert moves == []
    assert await bind("ben", 40004, "127.0.0.5") == roamed
    assert moves == [(away, roamed)]
    # The proxy itself, or the phone, connected again: everything goes that way at once.
    again = await bind("ben", 40005, "127.0.0.5")
    assert moves[1:] == [(roamed, again)]
    await bind("anna", 40006, "127.0.0.6")
    assert len(moves) == 2


async def test_who_writes_anothers_address_on_a_register_takes_nothing_along_from_there(world: World) -> None:
    moves: list[tuple[Flow, Flow]] = []
    world.registrations._on_moved = lambda old, new: moves.append((old, new))
    contact = f"<sip:anna@192.0.2.1>;{INSTANCE};reg-id=1"
    own = Phone(port=40001, address="127.0.0.2")
    own.say(world, own.request())
    carrier = Phone(port=5060, address="127.0.0.9", cseq=5)
    carrier.say(world, carrier.request(contact=contact, authorization_value=own.answer(own.challenges())))
    await world.registrations.settled()
    assert carrier.answers[-1][0] == 200
    own.cseq = 10
    assert await own.register(world, contact=contact) == 200
    assert len(world.registrations.devices(anna_id(world))) == 1  # type: ignore[arg-type]
    assert moves == []
    # Who answered a challenge there is there.
    further = Phone(port=40002, address="127.0.0.3", cseq=20)
    assert await further.register(world, contact=contact) == 200
    assert moves == [(own.flow, further.flow)]


async def test_who_writes_anothers_address_on_a_register_undoes_no_move_of_what_was_there(world: World) -> None:
    """What is meant for an address goes there again once somebody seems to have come to it."""
    moves: list[tuple[Flow, Flow]] = []
    world.registrations._on_moved = lambda old, new: moves.append((old, new))
    contact = f"<sip:anna@192.0.2.1>;{INSTANCE};reg-id=1"
    own = Phone(port=40001, address="127.0.0.2")
    assert await own.register(world, contact=contact) == 200
    known = own.challenges_before()
    there = Phone(port=40009, address="127.0.0.9", cseq=10)
    for nc, status in enumerate((401, 200), start=2):
        # Who did not hear that it was asked once more, or seems to be somewhere else each time, is let in, and takes nothing along.
        there.say(world, there.request(contact=contact, authorization_value=there.answer(known, nc)))
        await world.registrations.settled()
        assert there.answers[-1][0] == status
        assert moves == []
    # Who roams, with the nonce of before at hand, proves that it is there and takes its calls along.
    own.cseq = 20
    assert await own.register(world, contact=contact) == 200
    roamed = Phone(port=40002, address="127.0.0.3", cseq=30)
    roamed.say(world, roamed.request(contact=contact, authorization_value=roamed.answer(own.challenges_before(), 2)))
    assert all("stale=true" in challenge for challenge in roamed.challenges())
    roamed.say(world, roamed.request(contact=contact, authorization_value=roamed.answer(roamed.challenges())))
    await world.registrations.settled()
    assert roamed.answers[-1][0] == 200
    assert moves == [(own.flow, roamed.flow)]


async def test_after_a_restart_who_comes_back_from_elsewhere_takes_nobody_elses_calls_along(world: World) -> None:
    moves: list[tuple[Flow, Flow]] = []
    world.registrations._on_moved = lambda old, new: moves.append((old, new))
    org = world.directory.default_organisation
    assert org is not None
    proxy = Phone(port=39000, transport=Transport.TCP, address="127.0.0.2").flow
    for name in ("anna", "ben"):
        world.registrations.left(org.by_username[name].id, proxy)
    assert await Phone(port=40001, transport=Transport.TCP, address="127.0.0.3").register(world) == 200
    assert moves == []
    ben = Phone("ben", "bens-password", 40002, Transport.TCP, call_id="ben", address="127.0.0.2")
    assert await ben.register(world) == 200
    assert moves == [(proxy, ben.flow)]


async def test_contacts_that_are_removed_are_removed_each_time(world: World) -> None:
    phone, other = Phone(), Phone(port=40001, call_id="two")
    both = "<sip:anna@127.0.0.1:40000>, <sip:anna@127.0.0.1:40001;transport=udp>;expires=0"
    assert await phone.register(world, contact=both) == 200
    assert await other.register(world) == 200
    assert await phone.register(world, contact=both) == 200
    (left,) = world.registrations.devices(anna_id(world))  # type: ignore[arg-type]
    assert left.contact.port == 40000


INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'


def gruus(phone: Phone) -> tuple[str, str]:
    """The public and the temporary one of the last answer's only contact."""
    (contact,) = [value for name, value in phone.answers[-1][1] if name == "Contact"]
    public, temporary = (re.search(rf';{name}="([^"]+)"', contact) for name in ("pub-gruu", "temp-gruu"))
    assert public is not None
    assert temporary is not None
    return public.group(1), temporary.group(1)


async def test_a_device_that_asks_gets_a_public_and_each_time_another_temporary_address(world: World) -> None:
    phone = Phone(more=("Supported: gruu",))
    contact = f"<sip:anna@127.0.0.1:40000>;{INSTANCE}"
    assert await phone.register(world, contact=contact) == 200
    public, first = gruus(phone)
    assert await phone.register(world, contact=contact) == 200
    assert gruus(phone)[0] == public == "sip:anna@acme.voice.example.org;gr=urn:uuid:00000000-0000-1000-8000-000A95A0E128"
    second = gruus(phone)[1]
    assert first != second
    org, (device,) = world.directory.default_organisation, world.registrations.devices(anna_id(world))  # type: ignore[arg-type]
    assert org is not None
    for temporary in (first, second):
        assert "anna" not in temporary
        user = temporary.removeprefix("sip:").partition("@")[0]
        assert world.registrations.of_temporary_gruu(org, user) == (anna_id(world), device.row_id)
        assert world.registrations.of_temporary_gruu(org, user[:-3] + "aaa") is None
    # With another Call-ID the device has new ones, and those before are void.
    again = Phone(more=("Supported: gruu",), call_id="phone@rebooted")
    assert await again.register(world, contact=contact) == 200
    assert world.registrations.of_temporary_gruu(org, second.removeprefix("sip:").partition("@")[0]) is None
    assert world.registrations.of_temporary_gruu(org, gruus(again)[1].removeprefix("sip:").partition("@")[0]) is not None


async def test_a_refresh_changes_nothing_of_a_row_but_its_count_and_its_end(world: World) -> None:
    phone = Phone()
    assert await phone.register(world) == 200
    (before,) = await registered_rows(world)
    assert await phone.register(world, expires=600) == 200
    assert await phone.register(world, expires=600) == 200
    await world.bindings.write(world.directory.default_organisation.id)  # type: ignore[union-attr]
    (after,) = await registered_rows(world)
    assert after["cseq"] > before["cseq"]
    assert after["expires_at"] > before["expires_at"]
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"cseq", "expires_at", "xid"}


async def test_what_says_the_same_again_is_answered_the_same_and_not_judged_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, other = Phone(), Phone(port=40001, call_id="two")
    assert await phone.register(world) == 200
    asked: list[object] = []
    judge = world.registrations._judge
    monkeypatch.setattr(world.registrations, "_judge", lambda attempt, rules: asked.append(attempt) or judge(attempt, rules))
    (_, first), cseq = phone.answers[-1], phone.cseq
    # Somebody else's device that has not come back since a restart makes no difference.
    world.registrations.left(UUID(int=9), Phone(transport=Transport.TCP).flow)
    assert await phone.register(world) == 200
    assert not asked
    assert phone.answers[-1] == (200, first)
    assert first == (("Contact", "<sip:anna@127.0.0.1:40000;transport=udp>;expires=300"),)
    # Beside another device its answer names both; one that comes late, or over another connection, is not taken for a refresh.
    assert await other.register(world) == 200
    assert await phone.register(world) == 200
    assert len(phone.answers[-1][1]) == 2
    assert len(asked) == 1
    phone.cseq = cseq - 2
    assert await phone.register(world) == 500
    assert len(asked) == 2
    moved = Phone(cseq=phone.cseq + 10, address="127.0.0.2")
    assert await moved.register(world, contact="<sip:anna@127.0.0.1:40000;transport=udp>") == 200
    assert len(asked) == 3
    # One whose time has passed is bound anew.
    world.clock.ahead_s = 400
    assert await moved.register(world, contact="<sip:anna@127.0.0.1:40000;transport=udp>") == 200
    assert len(asked) == 4
    assert len(moved.answers[-1][1]) == 1
    assert await moved.register(world, contact="<sip:anna@127.0.0.1:40000;transport=udp>", expires=0) == 200
    assert world.registrations.devices(anna_id(world)) == []  # type: ignore[arg-type]


async def test_refreshes_of_many_phones_are_written_together(world: World) -> None:
    phones = [Phone(port=40000 + n, call_id=f"phone@{n}") for n in range(8)]
    for expires in (300, 400):
        for phone in phones:
            assert await phone.register(world, expires=expires) == 200
    await world.bindings.write(world.directory.default_organisation.id)  # type: ignore[union-attr]
    assert len({row["xid"] for row in await registered_rows(world)}) == 1


async def test_refreshes_alone_wait_for_company_and_go_along_with_what_is_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings_module, "REFRESHES_S", 60.0)
    refreshing, moving = Phone(), Phone(port=40001, call_id="two")
    assert await refreshing.register(world) == 200
    assert await moving.register(world, contact=f"<sip:anna@127.0.0.1:40001>;{INSTANCE};reg-id=1") == 200

    async def both_are_written() -> bool:
        return [row["cseq"] for row in await registered_rows(world)] == [4, 4]

    writing = asyncio.create_task(world.bindings.run())
    try:
        await until(lambda: not world.bindings._soon.is_set(), what="nothing is left to be written soon")
        assert await refreshing.register(world) == 200
        await asyncio.sleep(3 * bindings_module.BATCH_S)
        assert sorted([row["cseq"] for row in await registered_rows(world)]) == [2, 2]  # type: ignore[type-var]
        # Where another gateway would look for the device in the wrong place, a row must say so soon.
        moving.port = 40009
        assert await moving.register(world, contact=f"<sip:anna@127.0.0.1:40009>;{INSTANCE};reg-id=1") == 200
        await until(both_are_written)
    finally:
        writing.cancel()


async def test_a_device_whose_contact_moves_to_another_port_keeps_its_row(world: World) -> None:
    assert await Phone().register(world, contact=f"<sip:anna@127.0.0.1:40000>;{INSTANCE};reg-id=1") == 200
    (before,) = await registered_rows(world)
    moved = Phone(port=40009, cseq=10)
    assert await moved.register(world, contact=f"<sip:anna@127.0.0.1:40009>;{INSTANCE};reg-id=1") == 200
    await world.bindings.write(world.directory.default_organisation.id)  # type: ignore[union-attr]
    (after,) = await registered_rows(world)
    assert after["id"] == before["id"]
    assert after["contact_index"] != before["contact_index"]


async def test_a_device_behind_an_edge_proxy_is_called_through_it(world: World) -> None:
    phone = Phone(more=("Path: <sip:edge.example.org;lr>", "Supported: path"))
    assert await phone.register(world) == 200
    (device,) = world.registrations.devices(anna_id(world))  # type: ignore[arg-type]
    assert device.routes == ("<sip:edge.example.org;lr>",)


async def registered_rows(world: World) -> list[dict[str, object]]:
    async with world.provisioning.main.organisation(world.directory.default_organisation.id) as connection:  # type: ignore[union-attr]
        return [dict(row) for row in await connection.fetch("SELECT * FROM registrations WHERE expires_at > now() ORDER BY id")]
