"""REGISTERs that repeat what a phone said: the short way says what the whole way would say, and leaves the same behind."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hushwire.services.device_credentials import DeviceCredentials, _Opened
from hushwire.services.snapshot import Credential
from hushwire.sip.digest import Algorithm, ha1
from hushwire.sip.flow import Transport
from tests.services.ways import DOMAIN, HOST, IDS, ORG_ID, Phone, Ways, agent, organisation, registered, status_of


@dataclass
class Pair:
    """One registrar that has a short way and one that has none, told the same."""

    short: Ways = field(default_factory=lambda: Ways(has_short_way=True))
    whole: Ways = field(default_factory=lambda: Ways(has_short_way=False))

    @property
    def both(self) -> tuple[Ways, Ways]:
        return self.short, self.whole

    @property
    def taken(self) -> int:
        return self.short.short_way.taken

    async def hear(self, phone: Phone, data: bytes) -> int | None:
        """The status that both answer with, having become the same."""
        one, other = [await world.hear(data, phone.flow) for world in self.both]
        assert one == other
        phone.learn(one)
        self.compare()
        return status_of(one)

    def compare(self) -> None:
        one, other = self.short.state(), self.whole.state()
        for name, value in one.items():
            assert value == other[name], name

    def each(self, change: Callable[[Ways], Any]) -> None:
        for world in self.both:
            change(world)


async def pair_with(*phones: Phone) -> Pair:
    """A pair at which these are registered, and have refreshed once."""
    pair = Pair()
    for phone in phones or (Phone(),):
        await registered(phone, *pair.both)
        pair.compare()
    return pair


async def refreshed(pair: Pair, phone: Phone, status: int | None = 200, *, is_short: bool, **how: Any) -> None:
    """The phone's next REGISTER, by the way that is expected."""
    before = pair.taken
    assert await pair.hear(phone, phone.register(**how)) == status
    assert pair.taken - before == is_short


# What goes the short way.


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP, Transport.TLS, Transport.WSS])
@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_a_phone_that_refreshes_is_answered_alike_without_being_parsed(transport: Transport, algorithm: Algorithm) -> None:
    phone = Phone(transport=transport, algorithm=algorithm)
    pair = await pair_with(phone)
    for n in range(5):
        phone.from_tag = f"tag{n}"  # some phones take another one each time
        await refreshed(pair, phone, is_short=True)
        pair.each(lambda world: world.wait(20))
    assert len(pair.short.bindings.of(IDS["anna"])) == 1


async def test_who_comes_with_an_old_nonce_gets_a_new_one_the_short_way_and_answers_that() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    for _ in range(3):
        pair.each(lambda world: world.wait(301))
        data = phone.register()
        assert await pair.hear(phone, data) == 401
        assert pair.short.sent[-1].data.count(b", stale=true\r\n") == 2
        # A challenge is said again for as long as messages live on the way, and no longer.
        assert await pair.hear(phone, data) == 401
        assert pair.short.sent[-1].data == pair.short.sent[-2].data
        await refreshed(pair, phone, is_short=True)
    assert pair.taken == 6
    phone.password = "wrong"
    pair.each(lambda world: world.wait(301))
    await refreshed(pair, phone, 401, is_short=False)
    assert b"stale" not in pair.short.sent[-1].data


@pytest.mark.parametrize(
    ("lines", "contact"),
    [
        (["Expires: 600", "Path: <sip:edge.example.org;lr;ob>", "Supported: path, outbound"], None),
        (["Expires: 600", "Supported: outbound"], '<sip:anna@192.0.2.1>;+sip.instance="<urn:uuid:0-1>";reg-id=1'),
        (["Expires: 45"], "<sip:anna@192.0.2.1:40000>;q=0.5"),
        (["Allow: INVITE, ACK", "Allow-Events: talk", "X-Of-Ours: a:b;c"], "<sip:anna@192.0.2.1:40000>;expires=90"),
    ],
)
async def test_paths_instances_and_lifetimes_are_answered_as_by_the_whole_way(lines: list[str], contact: str | None) -> None:
    phone = Phone(lines=lines, contact=contact)
    pair = await pair_with(phone)
    for _ in range(3):
        await refreshed(pair, phone, is_short=True)
        pair.each(lambda world: world.wait(20))


async def test_of_several_devices_each_is_told_of_all() -> None:
    one, two = Phone(), Phone(port=40001, call_id="phone@two")
    pair = await pair_with(one, two)
    for phone in (one, two, one):
        pair.each(lambda world: world.wait(7))
        await refreshed(pair, phone, is_short=True)
    assert pair.short.sent[-1].data.count(b"\r\nContact: ") == 2


async def test_two_phones_with_one_call_id_are_not_taken_for_one_another() -> None:
    one, two = Phone(), Phone("ben", port=40001, from_tag="b")
    pair = await pair_with(one, two)
    await refreshed(pair, one, is_short=False)
    await refreshed(pair, one, is_short=True)
    await refreshed(pair, two, is_short=False)


async def test_a_form_ends_with_its_binding() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    assert len(pair.short.short_way._forms) == 1
    phone.lines[-1] = "Expires: 0"
    await refreshed(pair, phone, is_short=False)
    assert len(pair.short.short_way._forms) == 0


async def test_a_phone_that_begins_to_write_in_another_way_is_known_again_by_that() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    phone.lines[0] = "Max-Forwards: 69"
    await refreshed(pair, phone, is_short=False)
    await refreshed(pair, phone, is_short=True)


async def test_of_a_phone_that_never_writes_alike_no_new_form_is_kept_for_ever() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    for n in range(12):
        phone.lines[0] = f"Max-Forwards: {60 - n}"
        await refreshed(pair, phone, is_short=False)
    (place,) = pair.short.bindings.of(IDS["anna"])
    assert place.said is not None
    assert place.said.form is not None
    assert place.said.form.tries == 3


# What does not: each of the checks.


async def test_a_retransmission_gets_the_same_answer_and_uses_up_nothing() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    data = phone.register()
    assert await pair.hear(phone, data) == 200
    assert await pair.hear(phone, data) == 200
    assert pair.taken == 1
    assert pair.short.sent[-1].data == pair.short.sent[-2].data
    # It is forgotten when the whole way would have forgotten it: then it is a replay, and no nonce that is too old.
    pair.each(lambda world: world.wait(33))
    assert await pair.hear(phone, data) == 401


async def test_the_same_request_by_another_path_is_a_loop() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    assert await pair.hear(phone, phone.register()) == 200
    phone.cseq -= 1
    phone.uses -= 1
    await refreshed(pair, phone, 482, is_short=False)


async def test_a_branch_that_was_used_is_a_retransmission_whatever_else_is_new() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    await refreshed(pair, phone, is_short=True, branch="z9hG4bKsame")
    await refreshed(pair, phone, is_short=False, branch="z9hG4bKsame")
    assert pair.short.sent[-1].data == pair.short.sent[-2].data


async def test_a_request_with_an_old_nonce_by_another_path_is_a_loop_too() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.wait(301))
    old, uses = phone.nonce, phone.uses
    await refreshed(pair, phone, 401, is_short=True)
    phone.nonce, phone.uses, phone.cseq = old, uses, phone.cseq - 1
    await refreshed(pair, phone, 482, is_short=False)


async def test_a_nonce_count_that_was_used_is_refused_by_the_whole_way() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    await refreshed(pair, phone, is_short=True)
    phone.uses -= 1
    await refreshed(pair, phone, 401, is_short=False)


async def test_a_count_that_comes_late_is_taken_once() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    phone.uses += 5
    await refreshed(pair, phone, is_short=True)
    phone.uses -= 3
    await refreshed(pair, phone, is_short=True)
    phone.uses -= 1
    await refreshed(pair, phone, 401, is_short=False)


@pytest.mark.parametrize("step", [-1, -3])
async def test_a_cseq_that_does_not_grow_is_refused_by_the_whole_way(step: int) -> None:
    phone = Phone()
    pair = await pair_with(phone)
    await refreshed(pair, phone, is_short=True)
    phone.cseq += step
    phone.from_tag = "another"
    await refreshed(pair, phone, 500, is_short=False)


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 10**10])
async def test_a_cseq_that_is_none_is_refused_by_the_whole_way(number: int) -> None:
    phone = Phone()
    pair = await pair_with(phone)
    phone.cseq = number - 1
    await refreshed(pair, phone, 200 if number < 2**31 else 400, is_short=number < 2**31)


async def test_a_wrong_password_strikes_as_ever_and_ends_in_a_ban_of_both_ways() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    phone.password = "wrong"
    for _ in range(4):
        await refreshed(pair, phone, 401, is_short=False)
    phone.password = None
    phone.uses = 100
    await refreshed(pair, phone, None, is_short=False)
    pair.each(lambda world: world.endpoint.banned.remove(phone.address))
    await refreshed(pair, phone, is_short=True)
    assert not any(world.guard._strikes._levels for world in pair.both)


async def test_one_digit_of_the_digest_that_is_wrong_is_enough() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    await refreshed(pair, phone, 401, is_short=False, response="0" * 64)
    await refreshed(pair, phone, 401, is_short=False, nc="0000ffff")
    await refreshed(pair, phone, 401, is_short=False, nonce="A" * 64)
    await refreshed(pair, phone, is_short=True)


async def test_a_changed_password_is_asked_for_at_the_next_refresh() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.change("anna", password="another"))
    await refreshed(pair, phone, 401, is_short=False)
    phone.password = "another"
    await refreshed(pair, phone, is_short=False)
    await refreshed(pair, phone, is_short=True)


async def test_who_was_suspended_between_two_refreshes_is_refused() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.change("anna", is_suspended=True))
    await refreshed(pair, phone, 403, is_short=False)
    pair.each(lambda world: world.wait(0.0))
    await refreshed(pair, phone, 403, is_short=False)
    assert pair.short.bindings.of(IDS["anna"]) == []


async def test_a_lock_of_a_credential_holds_from_the_next_refresh_on() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.directory.lock(IDS["anna"], IDS["anna"]))
    await refreshed(pair, phone, 403, is_short=False)
    pair.each(lambda world: world.directory._locks.__init__())  # type: ignore[misc]
    await refreshed(pair, phone, is_short=True)


def device(expires_in_s: float | None = None) -> Callable[[Ways], None]:
    """Anna's device `anna-desk` is known, for ever or so long."""

    def hand_out(world: Ways) -> None:
        kept = {f"{name.value}/username": ha1(name, "anna-desk", DOMAIN, "desk-password") for name in Algorithm}
        ends = None if expires_in_s is None else world.clock.now() + (world.clock.now() - world.clock.now())
        credential = Credential(UUID(int=99), IDS["anna"], kept, ends)
        by_id = {credential.id: _Opened("anna-desk", b"", credential)}
        world.directory._devices[ORG_ID] = DeviceCredentials(1, by_id, {"anna-desk": credential})

    return hand_out


async def test_a_devices_credential_opens_until_it_is_revoked_or_ends() -> None:
    phone = Phone(login="anna-desk", password="desk-password")
    pair = Pair()
    pair.each(device())
    await registered(phone, *pair.both)
    await refreshed(pair, phone, is_short=True)
    pair.each(device(0.0))
    await refreshed(pair, phone, 401, is_short=False)
    pair.each(device())
    await refreshed(pair, phone, is_short=True)
    pair.each(lambda world: world.directory._devices.clear())
    await refreshed(pair, phone, 401, is_short=False)


async def test_another_credential_of_the_same_agent_does_not_refresh_the_binding_unseen() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(device())
    phone.login, phone.password = "anna-desk", "desk-password"
    await refreshed(pair, phone, is_short=False)


async def test_new_rules_are_asked_before_the_next_refresh_is_taken() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.provide(organisation(dict(world.org.by_username), version=2)))
    await refreshed(pair, phone, is_short=False)
    await refreshed(pair, phone, is_short=True)


async def test_an_organisation_that_is_gone_knows_nobody() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.directory._forget(ORG_ID))
    await refreshed(pair, phone, 401, is_short=False)


async def test_a_name_that_became_somebody_elses_is_not_answered_for_the_one_before() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: world.provide(organisation({"anna": replace(agent("anna"), id=IDS["ben"])})))
    await refreshed(pair, phone, is_short=False)


async def test_a_credential_that_asks_too_often_is_told_to_wait_by_the_whole_way() -> None:
    phone = Phone()
    pair = Pair(Ways(has_short_way=True, per_credential_s=2.0), Ways(has_short_way=False, per_credential_s=2.0))
    await registered(phone, *pair.both)
    for _ in range(5):
        await refreshed(pair, phone, is_short=True)
    await refreshed(pair, phone, 503, is_short=False)
    pair.each(lambda world: world.wait(0.5))
    await refreshed(pair, phone, is_short=True)


async def test_a_source_that_sends_too_much_is_not_heard_by_either() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    found = [await pair.hear(phone, b"REGISTER sip:x SIP/2.0\r\n\r\n") for _ in range(100)]
    assert found[-1] is None
    await refreshed(pair, phone, None, is_short=False)


async def test_no_room_for_another_transaction_is_said_by_the_whole_way() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    for world in pair.both:
        core = world.endpoint.ua._core
        core.config = replace(core.config, max_transactions=len(world.endpoint.ua._server.answered))
    await refreshed(pair, phone, 503, is_short=False)


async def test_a_gateway_that_is_being_emptied_sends_phones_elsewhere() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    pair.each(lambda world: setattr(world, "is_draining", True))
    await refreshed(pair, phone, 503, is_short=False)


async def test_a_scanner_that_was_spared_once_gets_no_answer_when_it_is_not() -> None:
    phone = Phone(lines=["User-Agent: friendly-scanner", "Expires: 600"])
    pair = Pair()
    pair.each(lambda world: world.endpoint.trust((), [phone.address]))
    await registered(phone, *pair.both)
    await refreshed(pair, phone, is_short=False)
    pair.each(lambda world: world.endpoint.trust(()))
    await refreshed(pair, phone, None, is_short=False)


@pytest.mark.parametrize(
    ("moved", "status"), [({"port": 40009}, 200), ({"address": "192.0.2.9"}, 401), ({"transport": Transport.TCP}, 200)]
)
async def test_another_source_goes_the_whole_way_whatever_it_writes(moved: dict[str, Any], status: int) -> None:
    phone = Phone(contact="<sip:anna@192.0.2.1:40000>")
    pair = await pair_with(phone)
    data = phone.register()
    for name, value in moved.items():
        setattr(phone, name, value)
    assert await pair.hear(phone, data) == status
    assert pair.taken == 0


async def test_a_connection_that_ended_is_no_way_to_a_binding() -> None:
    phone = Phone(transport=Transport.TLS)
    pair = await pair_with(phone)
    pair.each(lambda world: world.registrations.flow_closed(phone.flow))
    await refreshed(pair, phone, is_short=False)
    await refreshed(pair, phone, is_short=True)


async def test_a_device_that_was_on_a_call_before_a_restart_takes_it_along_by_the_whole_way() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    old = Phone(port=39999).flow
    pair.each(lambda world: world.registrations.left(IDS["anna"], old))
    await refreshed(pair, phone, is_short=False)
    assert pair.short.told == [(old, phone.flow)]
    await refreshed(pair, phone, is_short=True)


async def test_a_binding_that_lapsed_is_made_anew() -> None:
    phone = Phone()
    pair = await pair_with(phone)
    for world in pair.both:
        world.clock.at += 601.0
    await refreshed(pair, phone, 401, is_short=False)
    await refreshed(pair, phone, is_short=False)
    await refreshed(pair, phone, is_short=True)


async def test_the_alarm_on_a_credential_that_two_networks_use_is_raised_on_the_short_way_too() -> None:
    one, two = Phone(), Phone(address="198.51.100.7", call_id="phone@two")
    pair = await pair_with(one, two)
    before = pair.short.registrations.shared
    await refreshed(pair, one, is_short=True)
    assert (before, pair.short.registrations.shared) == (0, 1)
    (waiting,) = pair.short.bindings._waiting.values()
    assert [event.kind.value for event in waiting.events] == ["credential.shared"]


@pytest.mark.parametrize(
    "change",
    [
        lambda phone: setattr(phone, "contact", "<sip:anna@192.0.2.1:40000;transport=udp;ob>"),
        lambda phone: setattr(phone, "contact", "<sip:anna@203.0.113.5:40000;transport=udp>"),
        lambda phone: phone.lines.__setitem__(-1, "Expires: 601"),
        lambda phone: phone.lines.append("Require: nothing-known"),
        lambda phone: phone.lines.append("Route: <sip:192.0.2.8;lr>"),
        lambda phone: phone.lines.append("Path: <sip:192.0.2.8;lr>"),
        lambda phone: phone.lines.append("Supported: gruu"),
        lambda phone: phone.lines.append("Contact: <sip:anna@192.0.2.77>"),
        lambda phone: phone.lines.append(" folded: to the line above"),
        lambda phone: setattr(phone, "via_params", ""),
        lambda phone: setattr(phone, "via_params", ";rport;received=192.0.2.8"),
        lambda phone: setattr(phone, "call_id", "phone@other"),
        lambda phone: setattr(phone, "login", "anna@acme"),
        lambda phone: setattr(phone, "algorithm", Algorithm.MD5),
    ],
)
async def test_whatever_else_differs_goes_the_whole_way(change: Callable[[Phone], None]) -> None:
    phone = Phone()
    pair = await pair_with(phone)
    change(phone)
    assert await pair.hear(phone, phone.register()) is not None
    assert pair.taken == 0


@pytest.mark.parametrize("name", ["a, nc=00000003", 'a\\" nc=00000003', "a nonce="])
async def test_a_name_that_looks_like_a_parameter_is_no_place_for_what_is_new(name: str) -> None:
    phone = Phone(lines=["Expires: 600", f'User-Agent: nonce="{"A" * 64}", nc=00000003', f'Subject: "{name}"'])
    pair = await pair_with(phone)
    for _ in range(3):
        await refreshed(pair, phone, is_short=True)
    again = phone.register()
    phone.uses -= 1
    replayed = phone.register().replace(b"Subject", b"Subject", 1)
    assert await pair.hear(phone, again) == 200
    assert await pair.hear(phone, replayed) == 401


# Anything at all.

_TEXT = "aZ0;,=\"\\ <>@:\r\n\t%'\x00é"
_BRANCHES = ["z9hG4bK", "z9hG4bKsame", "old", "", "z9hG4bKa;b=c", "Z9HG4BKx", "z9hG4bK a"]
_STEPS = st.one_of(
    st.tuples(st.just("refresh"), st.integers(0, 3)),
    st.tuples(st.just("refresh"), st.integers(0, 3)),
    st.tuples(st.just("refresh"), st.integers(0, 3)),
    st.tuples(st.just("bytes"), st.integers(0, 3), st.integers(0, 2**32)),
    st.tuples(st.just("value"), st.integers(0, 3), st.sampled_from(["response", "nonce", "nc", "cnonce", "uri", "realm", "username"]),
              st.text(_TEXT, max_size=4)),
    st.tuples(st.just("cnonce"), st.integers(0, 3), st.text("ab, \"\\=;é", max_size=5)),
    st.tuples(st.just("branch"), st.integers(0, 3), st.sampled_from(_BRANCHES)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.just("cseq"), st.integers(0, 3), st.integers(-3, 3)),
    st.tuples(st.just("uses"), st.integers(0, 3), st.integers(-70, 70)),
    st.tuples(st.just("tag"), st.integers(0, 3), st.sampled_from(["b", "b;tag=c", 'b"', "b;x=y", ""])),
    st.tuples(st.just("line"), st.integers(0, 3), st.sampled_from(["Expires: 300", "Expires: 0", "Max-Forwards: 0", "X: y"])),
    st.tuples(st.just("swap"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.4, 5.0, 33.0, 200.0, 301.0, 700.0])),
    st.tuples(st.just("change"), st.sampled_from(["password", "suspend", "rules", "lock", "unlock", "ban", "drain", "left", "restore"])),
)  # fmt: skip


async def _play(steps: list[tuple[Any, ...]]) -> int:
    pair = Pair()
    phones = [
        Phone(),
        Phone(port=40001, call_id="phone@two", algorithm=Algorithm.MD5, login="anna@acme"),
        Phone("ben", address="198.51.100.7", port=40000, transport=Transport.TCP, call_id="ben@desk"),
        Phone("sue", address="2001:db8::7", call_id="sue", contact='<sip:sue@[2001:db8::7]>;+sip.instance="<urn:uuid:0-1>";reg-id=1'),
    ]
    phones[3].lines = ["Expires: 300", "Supported: outbound, path", "Max-Forwards: 70"]
    for phone in phones:
        await registered(phone, *pair.both)
    sent: dict[int, bytes] = {}
    for kind, *what in steps:
        if kind == "wait":
            pair.each(lambda world, seconds=what[0]: world.wait(seconds))  # type: ignore[misc]
        elif kind == "change":
            _change(pair, what[0])
        else:
            number, phone = what[0], phones[what[0]]
            data = sent.get(number, b"") if kind == "again" else _written(kind, phone, phones, what[1:])
            if data:
                sent[number] = data
                await pair.hear(phone, data)
        pair.compare()
    return pair.taken


def _written(kind: str, phone: Phone, phones: list[Phone], how: list[Any]) -> bytes:
    if kind == "cseq":
        phone.cseq = max(0, phone.cseq + how[0])
    elif kind == "uses":
        phone.uses = max(0, phone.uses + how[0])
    elif kind == "tag":
        before, phone.from_tag = phone.from_tag, how[0]
        data = phone.register()
        phone.from_tag = before
        return data
    elif kind == "line":
        before_lines, phone.lines = phone.lines, [*phone.lines[:-1], how[0]]
        data = phone.register()
        phone.lines = before_lines
        return data
    elif kind == "swap":
        phone.nonce, phones[how[0]].nonce = phones[how[0]].nonce, phone.nonce
    elif kind == "value":
        return phone.register(**{how[0]: how[1]})
    elif kind == "cnonce":
        return phone.register(cnonce=how[0])
    elif kind == "branch":
        return phone.register(branch=how[0])
    data = phone.register()
    if kind == "bytes":
        chance = random.Random(how[0])
        mutated = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            place, byte = (
                chance.randrange(len(mutated)),
                chance.choice(b'\r\n ;,="\\<>:aA0\x00\xff' + bytes(chance.randrange(256) for _ in range(3))),
            )
            chance.choice((
                lambda: mutated.__setitem__(place, byte), lambda: mutated.insert(place, byte), lambda: mutated.__delitem__(place),  # noqa: B023
                lambda: mutated.__setitem__(slice(place, place), mutated[place : place + chance.randrange(60)]),  # noqa: B023
            ))()  # fmt: skip
        return bytes(mutated)
    return data


def _change(pair: Pair, what: str) -> None:
    for world in pair.both:
        if what == "password":
            world.change("anna", password="another")
        elif what == "suspend":
            world.change("ben", is_suspended=True)
        elif what == "rules":
            world.provide(organisation(dict(world.org.by_username), version=world.org.rules.version + 1))
        elif what == "lock":
            world.directory.lock(IDS["anna"], IDS["anna"])
        elif what == "unlock":
            world.directory._locks._here.clear()
        elif what == "ban":
            world.endpoint.banned.add("192.0.2.1", world.clock.at + 100.0)
        elif what == "drain":
            world.is_draining = not world.is_draining
        elif what == "left":
            world.registrations.left(IDS["sue"], Phone(port=39999).flow)
        else:
            world.is_draining = False
            world.directory._locks._here.clear()
            world.endpoint.banned.remove("192.0.2.1")
            world.provide(organisation({name: agent(name) for name in IDS}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(_STEPS, min_size=5, max_size=40))
def test_whatever_is_sent_is_answered_by_both_ways_alike_and_leaves_the_same_behind(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(_play(steps))


def test_most_of_what_phones_send_goes_the_short_way() -> None:
    assert HOST.endswith(DOMAIN)
    assert asyncio.run(_play([("refresh", n % 4) for n in range(40)])) == 40
