"""From the outbox to the audit log: each event once, none passed over."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from hushwire.core.errors import Unfinished
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId
from hushwire.privacy import audit
from hushwire.projections.audit import audit_entry
from hushwire.projections.outbox import project
from hushwire.store import outbox
from hushwire.store.database import Database
from tests.databases import Databases
from tests.store.rows import add_org

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(org: OrgId, kind: EventKind = EventKind.CALL_REFUSED, **fields: str) -> DomainEvent:
    return DomainEvent(uuid4(), org, kind, uuid4(), NOON, dict(fields))


async def add(db: Database, *events: DomainEvent) -> None:
    for one in events:
        async with db.organisation(one.org_id) as connection:
            await outbox.add(connection, one)


async def actions(db: Database, org: OrgId) -> list[tuple[str, str]]:
    async with db.organisation(org) as connection:
        return [tuple(row) for row in await connection.fetch("SELECT action, fields->>'event' FROM audit_log ORDER BY position")]


async def two_organisations(databases: Databases) -> tuple[OrgId, OrgId]:
    owner = await databases.connect("main", "owner")
    return await add_org(owner, "acme"), await add_org(owner, "other")


async def test_events_of_all_organisations_become_audit_rows_in_order_and_leave_the_outbox(databases: Databases) -> None:
    acme, other = await two_organisations(databases)
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    events = [event(acme, reason="country_not_allowed"), event(other), event(acme, EventKind.RULES_CHANGED, actor="api-key:1")]
    await add(gateway, *events)
    assert await project(worker) == 3
    assert await actions(worker, acme) == [("call.refused", str(events[0].id)), ("rules.changed", str(events[2].id))]
    assert await actions(worker, other) == [("call.refused", str(events[1].id))]
    assert await project(worker) == 0
    assert (await audit.verify(worker, acme)).is_whole


async def test_an_event_that_is_written_twice_is_one(databases: Databases) -> None:
    acme, _ = await two_organisations(databases)
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    one = event(acme)
    await add(gateway, one, one)
    assert await project(worker) == 1


async def test_an_event_that_commits_late_is_not_passed_over(databases: Databases) -> None:
    acme, _ = await two_organisations(databases)
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    late, early = event(acme), event(acme)
    async with gateway.organisation(acme) as connection:
        await outbox.add(connection, late)
        await add(gateway, early)
        assert await project(worker) == 0
    assert await project(worker) == 2
    assert [found for _, found in await actions(worker, acme)] == [str(late.id), str(early.id)]


async def test_several_projectors_at_once_project_each_event_once(databases: Databases) -> None:
    acme, _ = await two_organisations(databases)
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    await add(gateway, *(event(acme) for _ in range(50)))
    await asyncio.gather(*(project(worker) for _ in range(4)))
    found = await actions(worker, acme)
    assert len(found) == len(set(found)) == 50
    assert (await audit.verify(worker, acme)).is_whole


async def test_a_projector_that_dies_leaves_its_events_for_the_next(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    acme, _ = await two_organisations(databases)
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    await add(gateway, event(acme), event(acme))
    with monkeypatch.context() as patched:

        async def die(*_: object) -> None:
            raise ConnectionError

        patched.setattr(audit, "append", die)
        with pytest.raises(Unfinished):
            await project(worker)
    assert await project(worker) == 2
    assert len(await actions(worker, acme)) == 2


@pytest.mark.parametrize("kind", list(EventKind))
def test_each_kind_of_event_has_its_place_or_none_by_decision(kind: EventKind) -> None:
    one = DomainEvent(UUID(int=1), OrgId(UUID(int=2)), kind, UUID(int=3), NOON, {"actor": "api-key:1", "reason": "x"})
    entry = audit_entry(one)
    unwritten = {
        # Rows of their own tell of them, or their proofs do.
        EventKind.CALL_STARTED, EventKind.CALL_ANSWERED, EventKind.CALL_ENDED, EventKind.CALL_DIVERTED,
        EventKind.CALL_ONE_WAY_AUDIO, EventKind.CLOCK_WARNED, EventKind.RECORDING_ERASED,
        EventKind.CALL_ERASED, EventKind.MESSAGE_ERASED, EventKind.CONTACT_ERASED, EventKind.DOCUMENT_ERASED, EventKind.CASE_ERASED,
        EventKind.CONSENT_ERASED, EventKind.MESSAGE_SUBMITTED, EventKind.MESSAGE_UNKNOWN, EventKind.MESSAGE_DELIVERED,
        EventKind.MESSAGE_FAILED, EventKind.MESSAGE_EXPIRED, EventKind.MESSAGE_RECEIVED,
    }  # fmt: skip
    assert (entry is None) is (kind in unwritten)
    if entry is not None:
        assert (entry.actor, entry.fields) == ("api-key:1", {"reason": "x", "event": str(one.id)})


async def test_an_organisation_whose_events_can_not_be_projected_holds_up_no_other_and_is_told_of(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    acme, other = event((found := await two_organisations(databases))[0]), event(found[1])
    await add(gateway, acme, other)
    broken, sound = (acme, other) if (await waiting(worker))[0] == acme.org_id else (other, acme)

    def entry(one: DomainEvent) -> object:
        if one.id == broken.id:
            raise KeyError("+491510000000")
        return audit_entry(one)

    monkeypatch.setattr("hushwire.projections.outbox.audit_entry", entry)
    with pytest.raises(Unfinished, match=r"^1 KeyError$"):
        await project(worker)
    assert await actions(worker, sound.org_id) == [("call.refused", str(sound.id))]
    monkeypatch.undo()
    assert await project(worker) == 1
    assert await actions(worker, broken.org_id) == [("call.refused", str(broken.id))]


async def waiting(db: Database) -> list[OrgId]:
    async with db.transaction() as connection:
        return list(await outbox.organisations(connection))
