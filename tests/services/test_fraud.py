"""The fraud breaker on a whole gateway: real databases, the real media program, and callers who are not who they say."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hushwire.app.gateway import Gateway
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.calls.model import EndReason
from hushwire.policy.breaker import Signal
from hushwire.policy.model import Allow, Deny, Malformed, NumberClass, Reason
from hushwire.policy.rating import Rate, read_csv
from hushwire.services.devices import Devices, Minted
from hushwire.services.fraud_alarms import AlreadyLocked, AlreadyMinted, FraudAlarms, LockedByHand
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.store import fraud as table
from hushwire.store import rates
from hushwire.store.erasable import forget_indexes
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.services.running import DOMAIN, FAR_NUMBER, ROOT, Peer, World, need_program, running, specs
from tests.services.test_two_gateways import another, port

pytestmark = need_program
SPELLINGS = [f"{access}5351234567" for access in ("+", "00", "011", "900", "0011", "9011", "99011")]
"""Of one number, in a country that is not allowed."""


ALLOWED = Allow(FAR_NUMBER, "DE", NumberClass.FIXED, "")


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def thief(world: World, user: str = "anna", gateway: Gateway | None = None) -> Peer:
    """Somebody with an agent's password, who never registers."""
    made = await Peer.open(world.port if gateway is None else port(gateway))
    world.peers.append(made)
    made.user, made.credentials = user, Credentials(user, f"{user}s-password")
    return made


async def connected(world: World, caller: Peer, to: str = FAR_NUMBER) -> None:
    caller.invite(to)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.accept(incoming)
    await caller.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)


async def refused(caller: Peer, to: str) -> tuple[int, str]:
    caller.invite(to)
    while not isinstance(rejected := await caller.expect(sip.Event), sip.Rejected):  # type: ignore[arg-type]
        # A call without sound is asked to use other ports.
        if isinstance(rejected, sip.InDialogRequest) and rejected.request.method == "INVITE":
            caller.endpoint.respond(rejected.tx, 491)
    return rejected.status, rejected.response.headers.get("Reason") or ""


async def pumped(caller: Peer) -> list[tuple[int, str]]:
    """Try one number in spelling after spelling: how each was refused."""
    return [await refused(caller, spelling) for spelling in SPELLINGS]


async def ended(peer: Peer) -> str:
    """The Reason of the BYE that ends a peer's call."""
    async with asyncio.timeout(5):
        while not isinstance(event := await peer.events.get(), sip.DialogEnded):
            if isinstance(event, sip.InDialogRequest) and event.request.method == "INVITE":
                peer.endpoint.respond(event.tx, 491)
    assert event.request is not None
    return event.request.headers.get("Reason") or ""


async def test_a_stolen_credential_that_tries_prefixes_is_locked_and_its_calls_end_with_the_reason(world: World) -> None:
    anna, robber = await world.peer("anna"), await thief(world)
    await connected(world, anna)
    answers = await pumped(robber)
    assert "The credential is locked" in await ended(anna)
    assert "The credential is locked" in await ended(world.carrier)
    assert [status for status, _ in answers[:2]] == [403, 403]
    assert "not on the list" in answers[0][1]
    assert answers[-1] == (403, 'SIP;cause=403;text="The credential is locked, since it was used as a stolen one would be"')
    agent = world.organisation.by_username["anna"].id
    locks = await until(lambda: world.rows("fraud_locks", "agent_id"), what="the lock's row")
    assert [(row["agent_id"], row["credential_id"]) for row in locks] == [(agent, agent)]
    alarms = await until(lambda: world.rows("fraud_alarms", "signal"), what="alarms")
    assert [(row["signal"], row["action"], row["agent_id"]) for row in alarms] == [("prefix-cycling", "lock", agent)]

    async def cut() -> bool:
        return [row["end_reason"] for row in await world.rows("calls") if row["answered_at"] and row["ended_at"]] == ["credential-locked"]

    await until(cut, what="the row of the call that was cut")
    events = [row for row in await world.rows("outbox") if row["kind"] == "fraud.alarm"]
    assert [(row["subject"], json.loads(row["fields"])["locked"]) for row in events] == [(alarms[0]["id"], True)]


@pytest.mark.parametrize("how", ["locked", "cut", "limit"])
async def test_a_call_that_waits_for_its_keys_as_its_credential_is_locked_never_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """In a burst keys are made one after the other: the last calls begin after the breaker has found the first ones to be too many."""
    calling, agent = world.gateway.calling, world.organisation.by_username["anna"].id
    anna = await thief(world)
    waits, goes_on = asyncio.Event(), asyncio.Event()
    wait = calling.keys.wait

    async def waiting(live: LiveCall) -> None:
        waits.set()
        await goes_on.wait()
        await wait(live)

    monkeypatch.setattr(calling.keys, "fill", lambda _live: False)
    monkeypatch.setattr(calling.keys, "wait", waiting)
    anna.invite(FAR_NUMBER)
    await waits.wait()
    if how == "limit":
        (live,) = calling.table.coming_and_there()
        calling.hang_up(live, EndReason.LIMIT_REACHED)
    else:
        world.gateway.directory.lock(agent, agent)
    if how == "cut":
        world.gateway.breaker.cut_locked()
    goes_on.set()
    rejected = await anna.expect(sip.Rejected)
    assert rejected.status == 403
    assert world.carrier.events.empty()
    assert not calling.table.coming_and_there()
    await world.row("calls", end_reason="limit-reached" if how == "limit" else "credential-locked")


async def test_a_lock_mints_another_credential_in_its_own_transaction_where_the_limit_says_so_and_it_is_told_once(world: World) -> None:
    await world.limit(prefix_cycling={"most": 5, "action": "replace"})
    anna, robber = await world.peer("anna"), await thief(world)
    await connected(world, anna)
    await pumped(robber)
    assert "The credential is locked" in await ended(anna)
    [lock] = await until(lambda: world.rows("fraud_locks", "agent_id"), what="the lock's row")
    [alarm], [minted], [waiting] = [await world.rows(*of) for of in (("fraud_alarms",), ("devices",), ("fraud_minted", "created_at"))]
    assert lock["alarm_id"] == waiting["alarm_id"] == alarm["id"]
    assert (alarm["action"], alarm["replacement_id"], alarm["replaced_at"]) == ("replace", minted["id"], None)
    assert (waiting["device_id"], minted["agent_id"]) == (minted["id"], alarm["agent_id"])
    [event] = [json.loads(row["fields"]) for row in await world.rows("outbox") if row["kind"] == "fraud.alarm"]
    assert (event["locked"], event["minted"]) == (True, str(minted["id"]))
    first = min(row["at"] for row in await until(lambda: world.rows("fraud_facts"), what="what was refused is written"))
    assert lock["created_at"] == minted["created_at"]
    assert (minted["created_at"] - first).total_seconds() < 2
    alarms, org = await answering(world), world.organisation
    shown = await alarms.get(org.id, alarm["id"])
    assert shown is not None
    assert (shown.is_locked, shown.waits) == (True, True)
    told = await alarms.replace(org.id, alarm["id"], actor="api-key:test")
    assert isinstance(told, Minted)
    assert told.id == minted["id"]
    assert told.password is not None
    assert told.password.encode() not in waiting["secret_sealed"]
    assert await world.rows("fraud_minted", "created_at") == []
    phone = await Peer.open(world.port)
    world.peers.append(phone)
    asked = Credentials(told.login, told.password)

    async def registers() -> bool:
        return await phone.register("anna", credentials=asked) == 200

    await until(registers, what="the new credential opens")
    # 403 where it is known as locked, 401 from when it is known as revoked.
    assert await robber.register("anna") in (401, 403), "the stolen one opens nothing any more"
    again = await alarms.replace(org.id, alarm["id"], actor="api-key:test")
    assert isinstance(again, AlreadyMinted)
    assert (again.minted.id, again.minted.password) == (told.id, None), "what was told once is told to nobody again"


async def test_what_was_minted_with_a_false_alarm_goes_with_it(world: World) -> None:
    await world.limit(prefix_cycling={"most": 5, "action": "replace"})
    robber = await thief(world)
    await pumped(robber)
    [alarm] = await until(lambda: world.rows("fraud_alarms"), what="the alarm")
    await until(lambda: world.rows("fraud_minted", "created_at"), what="what was minted")
    alarms, org = await answering(world), world.organisation
    undone = await alarms.undo(org.id, alarm["id"], actor="api-key:test")
    assert undone is not None
    assert await world.rows("fraud_minted", "created_at") == []
    [minted] = await world.rows("devices")
    assert (minted["revoked_at"] is None, minted["ha1_sealed"]) == (False, None)

    async def opens() -> bool:
        return await robber.register("anna") == 200

    await until(opens, what="the credential of before opens again")


async def test_an_administrator_locks_and_mints_in_one_step_and_the_locked_ones_call_ends_within_two_seconds(world: World) -> None:
    anna = await world.peer("anna")
    await connected(world, anna)
    alarms, org = await answering(world), world.organisation
    agent = org.by_username["anna"].id
    locked = await alarms.lock(org.id, agent, agent, actor="api-key:test")
    assert isinstance(locked, LockedByHand)
    assert "The credential is locked" in await ended(anna)
    [lock] = await world.rows("fraud_locks", "agent_id")

    async def cut() -> datetime | None:
        rows = [row for row in await world.rows("calls") if row["end_reason"] == "credential-locked"]
        return rows[0]["ended_at"] if rows else None

    at = await until(cut, what="the row of the call that was cut")
    assert at is not None
    assert timedelta(0) <= at - lock["created_at"] < timedelta(seconds=2)
    assert await alarms.lock(org.id, agent, agent, actor="api-key:test") == AlreadyLocked()
    assert len(await world.rows("devices")) == 1, "nothing is minted for a credential that is locked already"
    assert locked.minted is not None
    assert locked.minted.password is not None
    phone = await Peer.open(world.port)
    world.peers.append(phone)
    assert await phone.register("anna", credentials=Credentials(locked.minted.login, locked.minted.password)) == 200
    logged = [(row["action"], row["actor"]) for row in await world.rows("audit_log", "position")]
    assert ("fraud.locked", "api-key:test") in logged


async def answering(world: World) -> FraudAlarms:
    """As the API answers alarms."""
    main = await world.databases.connect("main", "api", max_size=1)
    keyring = Keyring(await world.databases.connect("keyring", "api", max_size=1), ROOT.role_keys(opener=False))
    return FraudAlarms(main, Devices(main, keyring, SystemClock(), SystemRandom(), DOMAIN), SystemClock())


async def test_emergency_calls_of_a_locked_credential_go_out_and_nothing_else_does(world: World) -> None:
    robber = await thief(world)
    await pumped(robber)
    assert (await refused(robber, "102"))[0] == 403
    assert await robber.register("anna") == 403
    robber.invite("112")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith("sip:112@")
    assert world.gateway.breaker.counts.of(world.organisation.id).usage.calls_out == 0, "it is not counted either"


async def test_one_undoing_opens_a_locked_credential_on_the_gateway_and_nothing_is_held_against_it(world: World) -> None:
    robber, org = await thief(world), world.organisation
    await pumped(robber)
    [alarm] = await until(lambda: world.rows("fraud_alarms"), what="the alarm")
    assert await robber.register("anna") == 403
    assert await (await answering(world)).undo(org.id, alarm["id"], actor="api-key:test")
    anna = org.by_username["anna"].id
    await until(lambda: not world.gateway.directory.has_locks, what="the lock is gone")
    counts = world.gateway.breaker.counts
    await until(lambda: not counts.of(org.id).agent(anna).usage.arrivals, what="the counters are empty")
    assert await robber.register("anna") == 200
    assert "not on the list" in (await refused(robber, SPELLINGS[0]))[1]
    robber.invite(FAR_NUMBER)
    await world.carrier.expect(sip.RequestReceived)


async def test_another_gateway_refuses_a_locked_credential_and_ends_its_calls(world: World, tmp_path: Path) -> None:
    async with another(world.databases, tmp_path / "b") as b:
        there = await thief(world, gateway=b)
        world.carrier.gateway_port = port(b)
        await connected(world, there)
        await pumped(await thief(world))
        assert "The credential is locked" in await ended(there)
        assert "The credential is locked" in (await refused(there, FAR_NUMBER))[1]


async def test_calls_and_attempts_are_counted_by_all_gateways_together_and_after_a_restart(world: World, tmp_path: Path) -> None:
    await world.limit(concurrent_calls={"most": 2})
    org, agent = world.organisation, world.organisation.by_username["anna"].id
    async with another(world.databases, tmp_path / "b") as b:
        here, there = await thief(world), await thief(world, gateway=b)
        await connected(world, here)
        await until(lambda: b.fraud.elsewhere() == {agent: 1}, timeout_s=10, what="the other gateway knows of the call")
        await connected(world, there)
        await until(lambda: world.gateway.fraud.elsewhere() == {agent: 1}, timeout_s=10, what="and this one of that")
        for caller in (here, there):
            status, reason = await refused(caller, FAR_NUMBER)
            assert (status, reason) == (403, 'SIP;cause=403;text="As many calls are out at once as may be"')
        for gateway in (world.gateway, b):
            usage = gateway.breaker.counts.of(org.id).agent(agent).usage
            await until(lambda usage=usage: len(usage.arrivals) == 4, timeout_s=10, what="every attempt is known")
        await world.limit(concurrent_calls={"most": 2}, attempts_per_minute={"most": 1})
        version = world.organisation.rules.version
        await until(lambda: b.directory.organisation(org.id).rules.version == version, timeout_s=10, what="the other one knows the limits")
        for caller in (there, here):
            assert (await refused(caller, FAR_NUMBER))[1] == 'SIP;cause=403;text="Calls are tried faster than they may be"'
    before = len(world.gateway.breaker.counts.of(world.organisation.id).agent(agent).usage.arrivals)

    async def are_written() -> bool:
        return sum(row["kind"] != "short" for row in await world.rows("fraud_facts")) >= before

    await until(are_written, what="all attempts are written")
    await world.kill()
    await world.restart()
    counts = world.gateway.breaker.counts
    await until(lambda: len(counts.of(org.id).agent(agent).usage.arrivals) >= before, timeout_s=10, what="nothing is forgotten")


async def test_a_day_that_costs_too_much_ends_its_calls_and_begins_no_more(world: World) -> None:
    await world.limit(spend_per_day={"most": 0.5, "action": "cut"})
    trunk = world.gateway.directory.trunks[0].id
    async with world.owner.transaction() as connection:
        assert await rates.put(connection, trunk, read_csv("prefix,currency,per_minute,connection\n4930,EUR,0.1,0.3\n"))
    await until(lambda: world.gateway.breaker.rates, what="the rates are known")
    anna = await world.peer("anna")
    await connected(world, anna)
    await connected(world, anna)
    assert [await ended(anna) for _ in range(2)] == ['SIP;cause=403;text="What may be used of calls in a day is used up"'] * 2
    status, reason = await refused(anna, FAR_NUMBER)
    assert (status, reason) == (403, 'SIP;cause=403;text="What calls may cost in a day is used up"')
    [day] = await until(lambda: world.rows("fraud_days", "day"), what="the day's row")
    assert day["currency"] == "EUR"
    assert day["spent_micros"] >= 600_000


async def test_what_is_forwarded_counts_for_who_forwards_and_an_alarm_holds_all_that_leaves_on_its_wish(world: World) -> None:
    org = world.organisation
    ben = org.by_username["ben"]
    await world.limit("agent", ben.id, concurrent_calls={"most": 0, "action": "lock"})
    verdict = world.gateway.breaker.admit(world.organisation, ben, ALLOWED, FAR_NUMBER)
    assert isinstance(verdict, Deny)
    assert world.gateway.directory.is_locked(ben.id, table.EVERYTHING)
    await world.limit("agent", ben.id, concurrent_calls="off")
    phone = await world.peer("ben")
    assert (await refused(phone, FAR_NUMBER))[1].startswith('SIP;cause=403;text="This looks like fraud')
    anna = await world.peer("anna")
    phone.invite("101")
    assert isinstance(await anna.expect(sip.RequestReceived), sip.RequestReceived), "colleagues are called"


async def test_a_credential_at_work_in_two_places_by_turns_raises_an_alarm_and_a_moved_phone_does_not(world: World) -> None:
    anna, breaker = world.organisation.by_username["anna"], world.gateway.breaker

    async def signals() -> set[str]:
        return {row["signal"] for row in await world.rows("fraud_alarms")}

    for host in ("192.0.2.1", "192.0.2.1", "198.51.100.7", "198.51.100.7"):
        breaker.admit(world.organisation, anna, ALLOWED, FAR_NUMBER, anna.id, host)
    assert breaker.told()["fraud_alarms"] == 0
    breaker.admit(world.organisation, anna, ALLOWED, FAR_NUMBER, anna.id, "192.0.2.1")
    await until(signals, what="the alarm")
    assert await signals() == {"two-networks"}


async def test_habits_are_learned_from_answered_calls_and_a_new_country_at_a_new_hour_is_told(world: World) -> None:
    anna, org = world.organisation.by_username["anna"], world.organisation
    now = SystemClock().now()
    hour = (now.hour + 12) % 24
    async with world.owner.organisation(org.id) as connection:
        for day in range(6):
            seen = [(anna.id, "hour", str(hour)), (anna.id, "all", ""), (anna.id, "country", "GB")]
            await table.add_habits(connection, org.id, seen * 5, now.date() - timedelta(days=day))
    await world.kill()
    await world.restart()
    counts = world.gateway.breaker.counts
    await until(lambda: counts.of(org.id).agent(anna.id).habits.are_known, what="the habits are read")
    world.gateway.breaker.admit(world.organisation, anna, ALLOWED, FAR_NUMBER, anna.id, "127.0.0.1")

    async def signals() -> bool:
        return {row["signal"] for row in await world.rows("fraud_alarms")} == {"unusual-country", "unusual-hours"}

    await until(signals, what="both alarms")
    assert not world.gateway.directory.has_locks


async def test_an_erasure_by_number_takes_the_marks_of_the_person_out_of_the_breakers_rows(world: World) -> None:
    anna, org = world.organisation.by_username["anna"], world.organisation
    world.gateway.breaker.admit(org, anna, ALLOWED, FAR_NUMBER, anna.id, "127.0.0.1")
    await until(lambda: world.rows("fraud_facts"), what="the fact's row")
    async with world.owner.organisation(org.id) as connection:
        await forget_indexes(connection, [org.keys.index("calls.remote", "+493023125111")])
        assert await connection.fetchval("SELECT count(*) FROM fraud_facts") == 1
        await forget_indexes(connection, [org.keys.index("calls.remote", FAR_NUMBER)])
        assert await connection.fetchval("SELECT count(*) FROM fraud_facts") == 0


async def test_provisioned_limits_and_rates_are_obeyed_and_a_second_run_changes_nothing(world: World) -> None:
    desired = specs(world.carrier.local_port)
    limits = {"each-agent": {"concurrent-calls": {"most": 3}}}
    wanted = replace(desired, orgs=(replace(desired.orgs[0], limits=limits),), rates={"carrier": {"49": Rate("EUR", 12_000)}})
    first, second = await world.provisioning.apply(wanted), await world.provisioning.apply(wanted)
    assert [change for change in first.changes if "limits" in change or "rates" in change] == [
        "rates of trunk carrier: 1",
        "limits of acme: each-agent",
    ]
    assert second.changes == []
    await until(lambda: world.organisation.limits.each_agent[Signal.CONCURRENT].most == 3, timeout_s=5, what="the limit is known")
    await until(lambda: world.gateway.breaker.rates, timeout_s=5, what="the rates are known")
    kept = await world.provisioning.apply(desired)
    assert kept.changes == [], "what is not declared stays"


async def test_what_is_no_text_at_all_is_counted_and_hurts_nobody(world: World) -> None:
    anna, org = world.organisation.by_username["anna"], world.organisation
    malformed = Malformed(Reason.CHARACTERS, "")
    for dialled in ("\udcff" * 300, "\0@\0", "", "@" * 70_000, "1" * 70_000, "sip:\ud800@\udfff"):
        assert world.gateway.breaker.admit(org, anna, malformed, dialled, anna.id, "127.0.0.1") is malformed
    await until(lambda: world.rows("fraud_facts"), what="their rows")
