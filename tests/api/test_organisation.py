"""/v1/organisation and /v1/privacy/notices over a real socket, with a real mail server behind the worker's job."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from hushwire.privacy.clocks import ClockKind
from hushwire.services.mailer import MailServer
from hushwire.services.notice_sending import NoticeSending
from hushwire.services.notices import Notices
from tests.api.serving import Office, as_json, office, problem, shown
from tests.mailhost import MailHost, mail_host
from tests.recorded import Chance

__all__ = ["office"]

CONTACTS = [{"role": "privacy", "email": "privacy@acme.example"}, {"role": "security", "email": "Soc@ACME.example"}]
BILLING = {"company": "Acme GmbH", "street": "Weg 1", "vat_id": "DE123", "net_days": 30, "by_post": False, "note": None}


async def patched(office: Office, **change: Any) -> dict[str, Any]:
    async with office.client() as api:
        return shown(await api.patch("/v1/organisation", json=change))


async def sent(office: Office, host: MailHost) -> int:
    """One round of the worker's job."""
    house = office.house
    notices = Notices(await house.main("worker"), await house.keyring("worker"), office.means.clocks, house.clock, Chance())
    return await NoticeSending(notices, MailServer.of(f"smtp://127.0.0.1:{host.port}", "privacy@voice.example.org")).send()


async def test_an_organisation_shows_its_home_countrys_law_until_it_names_others(office: Office) -> None:
    async with office.client("auditor") as api:
        before = shown(await api.get("/v1/organisation"))
    assert (before["slug"], before["jurisdictions"], before["applied_jurisdictions"]) == ("acme", [], ["DE"])
    assert (before["contacts"], before["billing"]) == ([], None)
    after = await patched(office, jurisdictions=["EU/DE", "gb", "US-CA", "DE"])
    assert after["jurisdictions"] == after["applied_jurisdictions"] == ["DE", "UK", "US-CA"]
    assert after["law"] == {
        "recording_consent": "all-party", "must_announce_recording": True, "regulator_hours": 72, "is_european": True,
        "regulators": after["law"]["regulators"],
    }  # fmt: skip
    assert len(after["law"]["regulators"]) == 3
    assert (await patched(office, jurisdictions=[]))["applied_jurisdictions"] == ["DE"]


async def test_contacts_and_records_are_sealed_replaced_as_a_whole_and_kept_where_left_out(office: Office) -> None:
    first = await patched(office, contacts=CONTACTS, billing=BILLING, plan={"name": "Team"})
    assert [(c["role"], c["email"]) for c in first["contacts"]] == [("privacy", "privacy@acme.example"), ("security", "Soc@acme.example")]
    assert (first["billing"]["fields"], first["billing"]["version"]) == (BILLING, 1)
    second = await patched(
        office, contacts=[{"role": "billing", "email": "bills@acme.example"}, CONTACTS[0]], billing={"company": "Acme AG"}
    )
    assert [(c["role"], c["email"]) for c in second["contacts"]] == [("privacy", "privacy@acme.example"), ("billing", "bills@acme.example")]
    assert second["contacts"][0]["id"] == first["contacts"][0]["id"]
    assert (second["billing"]["fields"], second["billing"]["version"]) == ({"company": "Acme AG"}, 2)
    assert second["plan"] == first["plan"]
    for table in ("org_contacts", "org_records", "audit_log", "outbox"):
        for row in await office.rows(f"SELECT row_to_json(t)::text AS text FROM {table} AS t"):
            assert "acme" not in row["text"].lower()
    keys = await office.rows(
        "SELECT id FROM org_records WHERE replaced_at IS NOT NULL AND forgotten_at IS NOT NULL AND body_sealed IS NULL"
    )
    assert len(keys) == 1
    assert await office.means.keyring.fingerprint(office.house.org, "document", keys[0]["id"]) is None


BAD: list[dict[str, Any]] = [
    {"jurisdictions": ["XX"]},
    {"jurisdictions": "DE"},
    {"jurisdictions": ["DE"] * 17},
    {"contacts": [{"role": "privacy", "email": "privacy@acme.example\r\nBcc: eve@evil.example"}]},
    {"contacts": [{"role": "privacy", "email": "privacy@acme.example\0"}]},
    {"contacts": [{"role": "privacy", "email": "ｐ@acme.example"}]},
    {"contacts": [{"role": "boss", "email": "privacy@acme.example"}]},
    {"contacts": [{"role": "privacy", "email": "a@acme.example"}, {"role": "privacy", "email": "a@ACME.example"}]},
    {"contacts": [{"role": "privacy"}]},
    {"contacts": [{"role": "privacy", "email": f"a{n}@acme.example"} for n in range(33)]},
    {"billing": {"Company": "x"}},
    {"billing": {"company": "x" * 1001}},
    {"billing": {"company": ["x"]}},
    {"billing": {"net": 1e9}},
    {"billing": {f"field_{n}": n for n in range(65)}},
    {"name": "Other"},
    {"residency": "us"},
]


@pytest.mark.parametrize("change", BAD)
async def test_what_is_not_right_is_refused_without_being_repeated_and_changes_nothing(office: Office, change: dict[str, Any]) -> None:
    async with office.client() as api:
        before = shown(await api.get("/v1/organisation"))
        answer = await api.patch("/v1/organisation", **as_json({"plan": {"name": "Team"}} | change))
        problem(answer, 422)
        assert "eve" not in answer.text
        assert "acme.example" not in answer.text
        assert shown(await api.get("/v1/organisation")) == before


async def test_only_who_manages_an_organisation_changes_it_and_only_its_own(office: Office) -> None:
    await patched(office, contacts=CONTACTS)
    for role in ("auditor", "supervisor", "agent"):
        async with office.client(role) as api:
            problem(await api.patch("/v1/organisation", json={"jurisdictions": ["DE"]}), 403)
            problem(await api.post("/v1/privacy/notices/test"), 403)
    for role in ("supervisor", "agent"):
        async with office.client(role) as api:
            problem(await api.get("/v1/organisation"), 403)
            problem(await api.get("/v1/privacy/notices"), 403)
    async with office.client(slug="globex") as api:
        assert shown(await api.get("/v1/organisation"))["contacts"] == []


async def test_a_reading_of_contacts_stands_in_the_access_log(office: Office) -> None:
    made = await patched(office, contacts=CONTACTS[:1])
    async with office.client("auditor") as api:
        shown(await api.get("/v1/organisation"))
    rows = await office.rows("SELECT purpose FROM access_log WHERE object = $1", f"contact:{made['contacts'][0]['id']}")
    assert "audit" in {row["purpose"] for row in rows}


async def test_a_test_notice_is_queued_sent_shown_and_acknowledged(office: Office) -> None:
    await patched(office, contacts=CONTACTS)
    async with office.client() as api:
        answer = await api.post("/v1/privacy/notices/test")
        assert answer.status_code == 202, answer.text
        notice = answer.json()
        assert (notice["state"], notice["kind"]) == ("queued", "test")
        with mail_host() as host:
            assert await sent(office, host) == 1
        whole = shown(await api.get(f"/v1/privacy/notices/{notice['id']}"))
        assert (whole["state"], whole["recipient"], whole["evidence"]["reply_code"]) == ("sent", "privacy@acme.example", 250)
        assert notice["id"] in whole["body"]
        done = shown(await api.post(f"/v1/privacy/notices/{notice['id']}/acknowledge"))
        assert done["state"] == "acknowledged"
        assert shown(await api.post(f"/v1/privacy/notices/{notice['id']}/acknowledge")) == done
    async with office.client(slug="globex") as api:
        for path in ("", "/acknowledge"):
            method = api.post if path else api.get
            problem(await method(f"/v1/privacy/notices/{notice['id']}{path}"), 404)


async def test_notices_are_listed_newest_first_page_by_page_and_by_state(office: Office) -> None:
    made = []
    async with office.client() as api:
        for _ in range(5):
            made.append((await api.post("/v1/privacy/notices/test")).json()["id"])
            office.house.clock.ahead += timedelta(minutes=1)
        found, cursor = [], {}
        while True:
            page = shown(await api.get("/v1/privacy/notices", params={"limit": 2, "state": "unaddressed", **cursor}))
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == made[::-1]
        assert shown(await api.get("/v1/privacy/notices", params={"state": "sent"}))["items"] == []
        for params in ({"state": "lost"}, {"cursor": "x"}):
            problem(await api.get("/v1/privacy/notices", params=params), 422)
        for path in (str(uuid4()), "nonsense", "%00"):
            problem(await api.get(f"/v1/privacy/notices/{path}"), 404)


async def test_a_request_directly_from_a_data_subject_is_told_to_the_customer_at_once_and_its_clock_ends_with_the_proof(
    office: Office,
) -> None:
    await patched(office, contacts=CONTACTS)
    async with office.client() as api:
        asked = {"kind": "access", "channel": "data-subject", "subject": {"number": "+493023125000", "name": "Berta Beispiel"}}
        answer = await api.post("/v1/privacy/requests", json=asked)
        assert answer.status_code == 201, answer.text
        request = answer.json()["id"]
        with mail_host() as host:
            assert await sent(office, host) == 1
        (message,) = host.messages
        assert request in message.get_content()
        assert "Berta" not in message.as_string()
        assert "23125000" not in message.as_string()
        (clock,) = shown(await api.get("/v1/privacy/clocks", params={"subject": request}))["items"]
        assert (clock["outcome"], clock["evidence"]["reply_code"], clock["late"]) == ("notice-accepted", 250, False)


async def test_what_is_owed_and_not_done_is_counted_where_operators_look(office: Office) -> None:
    async with office.client() as api, office.stranger() as stranger:
        await api.post("/v1/privacy/notices/test")
        async with office.means.main.organisation(office.house.org) as connection:
            await office.means.clocks.start(
                connection, office.house.org, ClockKind.BREACH_NOTICE, "breach", uuid4(), office.house.clock.now()
            )
        assert shown(await stranger.get("/readyz")) == {"status": "ok", "overdue_clocks": 0, "unsent_notices": 0}
        office.house.clock.ahead += timedelta(days=2)
        assert shown(await stranger.get("/readyz")) == {"status": "ok", "overdue_clocks": 1, "unsent_notices": 1}
        text = (await stranger.get("/metrics")).text
    assert 'hushwire_notices_unsent{state="unaddressed"} 1.0' in text
    assert 'hushwire_notices_unsent{state="queued"} 0.0' in text
