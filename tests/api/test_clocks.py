"""/v1/privacy/clocks over a real socket."""

from datetime import timedelta
from uuid import UUID, uuid4

from hushwire.core.ids import OrgId
from hushwire.privacy.clocks import Clock, ClockKind
from tests.api.serving import Office, office, problem, shown

__all__ = ["office"]


async def started(office: Office, kind: ClockKind, *, org: OrgId | None = None, subject: UUID | None = None) -> Clock:
    org = org or office.house.org
    async with office.means.main.organisation(org) as connection:
        return await office.means.clocks.start(connection, org, kind, "request", subject or uuid4(), office.house.clock.now())


async def test_clocks_are_listed_by_their_end_page_by_page_and_filtered(office: Office) -> None:
    rows = [await started(office, kind) for kind in ClockKind]
    by_end = [str(row.id) for row in sorted(rows, key=lambda row: (row.due_at, row.id))]
    async with office.client() as api:
        found, cursor = [], {}
        while True:
            page = shown(await api.get("/v1/privacy/clocks", params={"limit": 4, **cursor}))
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == by_end
        office.house.clock.ahead += timedelta(hours=25)
        overdue = shown(await api.get("/v1/privacy/clocks", params={"state": "overdue"}))["items"]
        assert {item["kind"] for item in overdue} == {"data-subject-notice", "breach-notice"}
        assert all(item["remaining_s"] < 0 and item["state"] == "overdue" for item in overdue)
        (one,) = shown(await api.get("/v1/privacy/clocks", params={"subject": str(rows[0].subject_id)}))["items"]
        assert (one["subject"], one["clause"]) == ({"kind": "request", "id": str(rows[0].subject_id)}, "3")
        assert len(shown(await api.get("/v1/privacy/clocks", params={"kind": "dispute"}))["items"]) == 1


async def test_one_clock_shows_what_came_of_it(office: Office) -> None:
    row = await started(office, ClockKind.DISPUTE)
    async with office.means.main.organisation(office.house.org) as connection:
        await office.means.clocks.end_row(connection, row, outcome="settled", evidence={"case": str(row.subject_id)})
    async with office.client("auditor") as api:
        item = shown(await api.get(f"/v1/privacy/clocks/{row.id}"))
    assert (item["state"], item["outcome"], item["evidence"], item["late"]) == ("ended", "settled", {"case": str(row.subject_id)}, False)
    assert len(item["warn_at"]) == 2


async def test_another_organisations_clock_is_not_there_and_other_roles_are_refused(office: Office) -> None:
    theirs = await started(office, ClockKind.DISPUTE, org=office.other)
    async with office.client() as api:
        problem(await api.get(f"/v1/privacy/clocks/{theirs.id}"), 404)
        problem(await api.get("/v1/privacy/clocks/nonsense"), 404)
        assert shown(await api.get("/v1/privacy/clocks"))["items"] == []
        for name, value in {"state": "late", "kind": "alarm", "cursor": "x", "subject": "x", "limit": "0"}.items():
            problem(await api.get("/v1/privacy/clocks", params={name: value}), 422)
    for role in ("supervisor", "agent"):
        async with office.client(role) as api:
            problem(await api.get("/v1/privacy/clocks"), 403)


async def test_overdue_clocks_of_all_organisations_are_a_metric(office: Office) -> None:
    await started(office, ClockKind.DATA_SUBJECT_NOTICE)
    await started(office, ClockKind.DATA_SUBJECT_NOTICE, org=office.other)
    await started(office, ClockKind.SUB_PROCESSOR_CHANGE)
    async with office.stranger() as api:
        assert 'hushwire_clocks_overdue{kind="data-subject-notice"} 0.0' in (await api.get("/metrics")).text
        office.house.clock.ahead += timedelta(days=29)
        text = (await api.get("/metrics")).text
    assert 'hushwire_clocks_overdue{kind="data-subject-notice"} 2.0' in text
    assert 'kind="sub-processor-change"' not in text
