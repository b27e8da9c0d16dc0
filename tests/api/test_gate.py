"""Who gets in, with what, how often; and what every answer carries."""

import asyncio
import json
import re
import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import fastapi.routing
import pytest
import structlog
from fastapi.openapi.utils import get_openapi

from hushwire.api import application as described
from hushwire.api import gate
from hushwire.api.access import PERMISSIONS
from hushwire.api.limits import Buckets, Rate
from hushwire.app.api import bound
from hushwire.app.config import Listen
from tests.api.serving import ROLES, Office, as_json, problem, shown
from tests.polling import until
from tests.recorded import HouseClock
from tests.store.rows import insert

UNKNOWN = uuid4()
# Every path under /v1/, as it is described, and the permission that it needs: add yours.
PATHS = {
    ("GET", "/v1/agents"): "directory",
    ("GET", "/v1/agents/{agent_id}"): "directory",
    ("PATCH", "/v1/agents/{agent_id}"): "directory-change",
    ("GET", "/v1/agents/{agent_id}/devices"): "directory",
    ("POST", "/v1/agents/{agent_id}/devices"): "directory-change",
    ("DELETE", "/v1/agents/{agent_id}/devices/{device_id}"): "directory-change",
    ("POST", "/v1/agents/{agent_id}/devices/{device_id}/link"): "directory-change",
    ("GET", "/v1/agents/{agent_id}/forwarding"): "directory",
    ("PUT", "/v1/agents/{agent_id}/forwarding"): "directory-change",
    ("GET", "/v1/agents/{agent_id}/greeting"): "recordings",
    ("PUT", "/v1/agents/{agent_id}/greeting"): "directory-change",
    ("DELETE", "/v1/agents/{agent_id}/greeting"): "erasure",
    ("POST", "/v1/agents/{agent_id}/resume"): "directory-change",
    ("POST", "/v1/agents/{agent_id}/suspend"): "directory-change",
    ("GET", "/v1/audit"): "audit",
    ("GET", "/v1/audit/export"): "audit",
    ("GET", "/v1/audit/heads"): "audit",
    ("GET", "/v1/calls"): "calls",
    ("POST", "/v1/calls"): "calls-make",
    ("GET", "/v1/calls/{call_id}"): "calls",
    ("DELETE", "/v1/calls/{call_id}"): "erasure",
    ("POST", "/v1/calls/erase"): "erasure",
    ("POST", "/v1/calls/search"): "calls",
    ("POST", "/v1/calls/{call_id}/hangup"): "call-control",
    ("POST", "/v1/calls/{call_id}/recording"): "call-control",
    ("POST", "/v1/calls/{call_id}/sensitive"): "call-control",
    ("POST", "/v1/calls/{call_id}/supervise"): "supervision",
    ("POST", "/v1/calls/{call_id}/participants"): "calls-make",
    ("GET", "/v1/contacts"): "contacts",
    ("POST", "/v1/contacts"): "contacts-change",
    ("POST", "/v1/contacts/search"): "contacts",
    ("GET", "/v1/contacts/{contact_id}"): "contacts",
    ("PATCH", "/v1/contacts/{contact_id}"): "contacts-change",
    ("DELETE", "/v1/contacts/{contact_id}"): "erasure",
    ("GET", "/v1/events"): "events",
    ("POST", "/v1/messages"): "messages-send",
    ("POST", "/v1/messages/preview"): "messages-send",
    ("POST", "/v1/messages/bulk"): "messages-send",
    ("GET", "/v1/messages/bulk/{batch_id}"): "messages-send",
    ("POST", "/v1/messages/erase"): "erasure",
    ("GET", "/v1/messages"): "messages",
    ("POST", "/v1/messages/search"): "messages",
    ("GET", "/v1/messages/threads"): "messages",
    ("GET", "/v1/messages/{text_id}"): "messages",
    ("PATCH", "/v1/messages/{text_id}"): "messages-send",
    ("DELETE", "/v1/messages/{text_id}"): "erasure",
    ("GET", "/v1/messages/settings"): "messages-send",
    ("PUT", "/v1/messages/settings"): "messages-change",
    ("GET", "/v1/messages/templates"): "messages-send",
    ("POST", "/v1/messages/templates"): "messages-change",
    ("PUT", "/v1/messages/templates/{template_id}"): "messages-change",
    ("DELETE", "/v1/messages/templates/{template_id}"): "messages-change",
    ("GET", "/v1/messages/numbers/{number_id}"): "messages-send",
    ("PUT", "/v1/messages/numbers/{number_id}"): "messages-change",
    ("GET", "/v1/masking/sessions"): "directory",
    ("POST", "/v1/masking/sessions"): "call-control",
    ("GET", "/v1/masking/sessions/{session_id}"): "directory",
    ("DELETE", "/v1/masking/sessions/{session_id}"): "call-control",
    ("GET", "/v1/numbers"): "directory",
    ("GET", "/v1/organisation"): "organisation",
    ("PATCH", "/v1/organisation"): "organisation-change",
    ("GET", "/v1/privacy/access-log"): "audit",
    ("POST", "/v1/privacy/access-log/search"): "audit",
    ("GET", "/v1/privacy/audits"): "audit",
    ("POST", "/v1/privacy/audits"): "cases",
    ("GET", "/v1/privacy/audits/{audit_id}"): "cases",
    ("POST", "/v1/privacy/audits/{audit_id}/access"): "cases",
    ("POST", "/v1/privacy/audits/{audit_id}/bundle"): "audit",
    ("GET", "/v1/privacy/breaches"): "audit",
    ("POST", "/v1/privacy/breaches"): "cases",
    ("GET", "/v1/privacy/breaches/{breach_id}"): "cases",
    ("GET", "/v1/privacy/breaches/{breach_id}/persons"): "cases",
    ("GET", "/v1/privacy/breaches/{breach_id}/records"): "audit",
    ("GET", "/v1/privacy/clocks"): "receipts",
    ("GET", "/v1/privacy/clocks/{clock_id}"): "receipts",
    ("GET", "/v1/privacy/consents"): "requests",
    ("POST", "/v1/privacy/consents"): "requests",
    ("GET", "/v1/privacy/consents/rules"): "receipts",
    ("POST", "/v1/privacy/consents/search"): "requests",
    ("GET", "/v1/privacy/consents/{consent_id}"): "requests",
    ("POST", "/v1/privacy/consents/{consent_id}/withdraw"): "requests",
    ("GET", "/v1/privacy/do-not-call"): "rules",
    ("POST", "/v1/privacy/do-not-call"): "rules-change",
    ("POST", "/v1/privacy/do-not-call/check"): "rules",
    ("POST", "/v1/privacy/do-not-call/remove"): "rules-change",
    ("GET", "/v1/privacy/custody"): "custody",
    ("PUT", "/v1/privacy/custody"): "custody",
    ("POST", "/v1/privacy/custody/keys"): "custody",
    ("PUT", "/v1/privacy/custody/keys/{key_id}"): "custody",
    ("DELETE", "/v1/privacy/custody/keys/{key_id}"): "custody",
    ("POST", "/v1/privacy/custody/keys/{key_id}/challenge"): "custody",
    ("POST", "/v1/privacy/custody/keys/{key_id}/proof"): "custody",
    ("GET", "/v1/privacy/account-deletions"): "requests",
    ("POST", "/v1/privacy/account-deletions"): "requests",
    ("GET", "/v1/privacy/account-deletions/{deletion_id}"): "requests",
    ("POST", "/v1/privacy/account-deletions/{deletion_id}/refuse"): "requests",
    ("POST", "/v1/privacy/account-deletions/{deletion_id}/verify"): "requests",
    ("POST", "/v1/privacy/account-deletions/{deletion_id}/withdraw"): "requests",
    ("GET", "/v1/privacy/annexes"): "receipts",
    ("GET", "/v1/privacy/cases"): "receipts",
    ("POST", "/v1/privacy/cases"): "agreement",
    ("GET", "/v1/privacy/cases/{case_id}"): "receipts",
    ("POST", "/v1/privacy/cases/{case_id}/answer"): "agreement",
    ("POST", "/v1/privacy/cases/{case_id}/authorise"): "agreement",
    ("POST", "/v1/privacy/cases/{case_id}/close"): "agreement",
    ("POST", "/v1/privacy/cases/{case_id}/compel"): "agreement",
    ("GET", "/v1/privacy/instructions"): "receipts",
    ("POST", "/v1/privacy/instructions"): "agreement",
    ("GET", "/v1/privacy/objections"): "receipts",
    ("POST", "/v1/privacy/objections/{objection_id}/withdraw"): "agreement",
    ("GET", "/v1/privacy/policies"): "receipts",
    ("POST", "/v1/privacy/policies/{policy_id}/acknowledge"): "agreement",
    ("GET", "/v1/privacy/retention"): "receipts",
    ("PUT", "/v1/privacy/retention"): "retention",
    ("POST", "/v1/privacy/retention/confirm"): "retention",
    ("POST", "/v1/privacy/retention/preview"): "receipts",
    ("GET", "/v1/privacy/safeguards"): "receipts",
    ("POST", "/v1/privacy/safeguards"): "agreement",
    ("DELETE", "/v1/privacy/safeguards/{safeguard_id}"): "agreement",
    ("GET", "/v1/privacy/subprocessors"): "receipts",
    ("POST", "/v1/privacy/subprocessors/{subprocessor_id}/objections"): "agreement",
    ("GET", "/v1/privacy/termination"): "receipts",
    ("POST", "/v1/privacy/termination"): "agreement",
    ("DELETE", "/v1/privacy/termination"): "agreement",
    ("GET", "/v1/privacy/dpa"): "receipts",
    ("GET", "/v1/privacy/erasures"): "receipts",
    ("GET", "/v1/privacy/erasures/{erasure_id}"): "receipts",
    ("GET", "/v1/privacy/exports"): "requests",
    ("GET", "/v1/privacy/exports/{export_id}"): "requests",
    ("GET", "/v1/privacy/exports/{export_id}/progress"): "requests",
    ("POST", "/v1/privacy/exports/{export_id}/link"): "requests",
    ("GET", "/v1/privacy/holds"): "receipts",
    ("POST", "/v1/privacy/holds"): "holds",
    ("GET", "/v1/privacy/holds/{hold_id}"): "receipts",
    ("POST", "/v1/privacy/holds/{hold_id}/release"): "holds",
    ("GET", "/v1/privacy/inventory"): "receipts",
    ("GET", "/v1/privacy/keys"): "receipts",
    ("POST", "/v1/privacy/organisation/erase"): "erasure",
    ("GET", "/v1/privacy/notices"): "organisation",
    ("GET", "/v1/privacy/notices/{notice_id}"): "organisation",
    ("POST", "/v1/privacy/notices/{notice_id}/acknowledge"): "organisation-change",
    ("POST", "/v1/privacy/notices/test"): "organisation-change",
    ("GET", "/v1/privacy/purposes"): "self",
    ("PUT", "/v1/privacy/purposes"): "cases",
    ("GET", "/v1/privacy/receipts"): "receipts",
    ("GET", "/v1/privacy/receipts/{receipt_id}"): "receipts",
    ("GET", "/v1/privacy/requests"): "requests",
    ("POST", "/v1/privacy/requests"): "requests",
    ("POST", "/v1/privacy/requests/search"): "requests",
    ("GET", "/v1/privacy/requests/{request_id}"): "requests",
    ("POST", "/v1/privacy/requests/{request_id}/cancel"): "requests",
    ("POST", "/v1/privacy/requests/{request_id}/execute"): "requests",
    ("POST", "/v1/privacy/requests/{request_id}/refuse"): "requests",
    ("GET", "/v1/privacy/requests/{request_id}/report"): "requests",
    ("POST", "/v1/privacy/requests/{request_id}/verify"): "requests",
    ("POST", "/v1/privacy/requests/{request_id}/withdraw"): "requests",
    ("GET", "/v1/privacy/restrictions"): "requests",
    ("POST", "/v1/privacy/restrictions"): "requests",
    ("GET", "/v1/privacy/restrictions/{restriction_id}"): "requests",
    ("POST", "/v1/privacy/restrictions/{restriction_id}/lift"): "requests",
    ("GET", "/v1/privacy/undertakings"): "self",
    ("POST", "/v1/privacy/undertakings"): "self",
    ("GET", "/v1/privacy/undertakings/signatures"): "audit",
    ("POST", "/v1/privacy/undertakings/withdraw"): "self",
    ("GET", "/v1/recordings"): "recordings",
    ("POST", "/v1/recordings/erase"): "erasure",
    ("POST", "/v1/recordings/search"): "recordings",
    ("GET", "/v1/recordings/{recording_id}"): "recordings",
    ("DELETE", "/v1/recordings/{recording_id}"): "erasure",
    ("GET", "/v1/recordings/{recording_id}/audio"): "content",
    ("GET", "/v1/recordings/{recording_id}/envelopes"): "content",
    ("GET", "/v1/recordings/{recording_id}/peaks"): "content",
    ("GET", "/v1/recordings/{recording_id}/sealed"): "content",
    ("GET", "/v1/recordings/{recording_id}/timeline"): "content",
    ("GET", "/v1/refusals"): "check",
    ("GET", "/v1/ring-groups"): "directory",
    ("POST", "/v1/ring-groups"): "directory-change",
    ("GET", "/v1/ring-groups/{group_id}"): "directory",
    ("PUT", "/v1/ring-groups/{group_id}"): "directory-change",
    ("DELETE", "/v1/ring-groups/{group_id}"): "directory-change",
    ("GET", "/v1/trunks"): "directory",
    ("GET", "/v1/voice-security/alarms"): "rules",
    ("POST", "/v1/voice-security/alarms"): "directory-change",
    ("GET", "/v1/voice-security/alarms/{alarm_id}"): "rules",
    ("POST", "/v1/voice-security/alarms/{alarm_id}/undo"): "rules-change",
    ("POST", "/v1/voice-security/alarms/{alarm_id}/replace"): "directory-change",
    ("GET", "/v1/voice-security/limits"): "rules",
    ("PUT", "/v1/voice-security/limits"): "rules-change",
    ("GET", "/v1/voice-security/limits/agents/{agent_id}"): "rules",
    ("PUT", "/v1/voice-security/limits/agents/{agent_id}"): "rules-change",
    ("GET", "/v1/voice-security/limits/teams/{team_id}"): "rules",
    ("PUT", "/v1/voice-security/limits/teams/{team_id}"): "rules-change",
    ("GET", "/v1/voice-security/exceptions"): "rules",
    ("POST", "/v1/voice-security/exceptions"): "rules-change",
    ("DELETE", "/v1/voice-security/exceptions/{exception_id}"): "rules-change",
    ("GET", "/v1/teams"): "directory",
    ("POST", "/v1/teams"): "directory-change",
    ("GET", "/v1/teams/{team_id}"): "directory",
    ("PUT", "/v1/teams/{team_id}"): "directory-change",
    ("DELETE", "/v1/teams/{team_id}"): "directory-change",
    ("GET", "/v1/voice-security/teams/{team_id}"): "rules",
    ("PUT", "/v1/voice-security/teams/{team_id}"): "rules-change",
    ("GET", "/v1/voice-security/agents/{agent_id}"): "rules",
    ("PUT", "/v1/voice-security/agents/{agent_id}"): "rules-change",
    ("GET", "/v1/voice-security"): "rules",
    ("PUT", "/v1/voice-security"): "rules-change",
    ("POST", "/v1/voice-security/check"): "check",
    ("GET", "/v1/voice-security/access-requests"): "rules",
    ("POST", "/v1/voice-security/access-requests"): "call-control",
    ("GET", "/v1/voice-security/access-requests/{access_id}"): "rules",
    ("POST", "/v1/voice-security/access-requests/{access_id}/approve"): "rules-change",
    ("POST", "/v1/voice-security/access-requests/{access_id}/reject"): "rules-change",
    ("POST", "/v1/voice-security/access-requests/{access_id}/revoke"): "rules-change",
    ("POST", "/v1/voice-security/simulate"): "rules-change",
    ("POST", "/v1/voice-security/simulate/calls"): "rules-change",
    ("GET", "/v1/voice-security/proposals"): "rules",
    ("GET", "/v1/voice-security/proposals/{proposal_id}"): "rules",
    ("POST", "/v1/voice-security/proposals/{proposal_id}/approve"): "rules-change",
    ("POST", "/v1/voice-security/proposals/{proposal_id}/reject"): "rules-change",
    ("GET", "/v1/voicemail"): "recordings",
    ("GET", "/v1/voicemail/{message_id}"): "recordings",
    ("PATCH", "/v1/voicemail/{message_id}"): "call-control",
    ("DELETE", "/v1/voicemail/{message_id}"): "erasure",
    ("GET", "/v1/voicemail/{message_id}/audio"): "content",
    ("GET", "/v1/webhooks"): "webhooks",
    ("POST", "/v1/webhooks"): "webhooks",
    ("GET", "/v1/webhooks/{webhook_id}"): "webhooks",
    ("PATCH", "/v1/webhooks/{webhook_id}"): "webhooks",
    ("DELETE", "/v1/webhooks/{webhook_id}"): "webhooks",
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): "webhooks",
    ("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/retry"): "webhooks",
    ("POST", "/v1/webhooks/{webhook_id}/secret"): "webhooks",
}


# Beyond the permission: who may end everything.
OWNERS = {("DELETE", "/v1/privacy/termination")}


def _asked(template: str) -> str:
    return re.sub(r"\{[a-z_]+\}", str(UNKNOWN), template)


async def test_each_role_may_do_what_its_permissions_say_and_nothing_else(office: Office) -> None:
    for role in ROLES:
        async with office.client(role) as api:
            for (method, template), permission in PATHS.items():
                body = as_json({"signer": "nobody"}) if method in ("POST", "PUT", "PATCH") else {}
                answer = await api.request(method, _asked(template), **body)
                may = permission in PERMISSIONS[role] and ((method, template) not in OWNERS or role == "owner")
                assert (answer.status_code == 403) == (not may), (role, method, template, answer.status_code)


async def test_every_described_path_is_among_the_tested_ones_and_behind_a_key(office: Office) -> None:
    async with office.stranger() as api:
        described = shown(await api.get("/openapi.json"))["paths"]
        listed = {(method.upper(), path) for path, methods in described.items() for method in methods if path.startswith("/v1/")}
        assert listed == PATHS.keys()
        for method, template in PATHS:
            office.house.clock.ahead += timedelta(seconds=1)  # strangers may not ask so often
            answer = await api.request(method, _asked(template))
            problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_description_is_made_once_however_many_ask_for_it_at_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(described, "get_openapi", lambda **told: made.append(1) or get_openapi(**told))
    async with office.stranger() as api:
        answers = await asyncio.gather(*(api.get("/openapi.json") for _ in range(5)))
    assert len({shown(answer)["openapi"] for answer in answers if answer.status_code == 200}) == 1
    assert len(made) == 1


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Bearer hw_", "Basic aHc6", "Bearer hw_" + "A" * 43, "Bearer hw_" + "A" * 500, "hw_x"]
)
async def test_what_is_no_valid_key_is_refused(office: Office, header: str) -> None:
    async with office.stranger() as api:
        problem(await api.get("/v1/calls", headers={"Authorization": header}), 401)


async def test_a_revoked_key_is_refused_a_second_later_at_most(office: Office) -> None:
    async with office.client("auditor") as api:
        assert (await api.get("/v1/calls")).status_code == 200
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            await connection.execute("UPDATE api_keys SET revoked_at = now() WHERE role = 'auditor'")

        async def is_refused() -> bool:
            return (await api.get("/v1/calls")).status_code == 401

        await until(is_refused)


async def test_every_answer_has_its_security_headers_and_no_cookie(office: Office) -> None:
    async with office.client() as api:
        for path in ("/v1/calls", "/nowhere", "/v1/nowhere", "/healthz", "/metrics", "/openapi.json"):
            headers = (await api.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-frame-options"] == "DENY"
            assert "set-cookie" not in headers
            assert "server" not in headers


async def test_what_can_not_be_read_is_a_problem_of_its_own(office: Office) -> None:
    async with office.client() as api:
        search, check = "/v1/calls/search", "/v1/voice-security/check"
        for path in (search, check):
            problem(await api.post(path, content=b"{", headers={"Content-Type": "application/json"}), 400)
            problem(await api.post(path, content=b"[" * 200_000, headers={"Content-Type": "application/json"}), 400)
            problem(await api.post(path, content=b"\xff", headers={"Content-Type": "application/json"}), 400)
            problem(await api.post(path, content=b"number=1", headers={"Content-Type": "application/x-www-form-urlencoded"}), 415)
            problem(await api.post(path, content=b"{}", headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}), 415)
            problem(await api.post(path, content=b" " * (1 << 20) + b"{}", headers={"Content-Type": "application/json"}), 413)
        problem(await api.get("/nowhere"), 404)
        problem(await api.get("/v1/calls/not-an-id"), 404)
        answer = await api.delete("/v1/calls")
        problem(answer, 405)
        assert "GET" in answer.headers["allow"]


async def test_a_body_that_grows_beyond_the_limit_while_it_is_sent_is_refused(office: Office) -> None:
    async def endless() -> object:
        for _ in range(40):
            yield b" " * 65536

    async with office.client() as api:
        for path in ("/v1/calls/search", "/v1/voice-security/check"):
            problem(await api.post(path, content=endless(), headers={"Content-Type": "application/json"}), 413)


async def test_a_key_that_asks_too_often_is_told_to_wait(office: Office) -> None:
    async with office.client("auditor") as api:
        answers = await asyncio.gather(*(api.get("/v1/trunks", headers={"X": str(n)}) for n in range(40)))
        assert {answer.status_code for answer in answers} == {200}
    clock = HouseClock()
    buckets = Buckets(Rate(10, 5), clock)
    assert [buckets.take("key") for _ in range(5)] == [0.0] * 5
    assert 0 < buckets.take("key") <= 0.1
    assert buckets.take("another") == 0.0


async def test_agents_numbers_and_trunks_are_listed_with_live_registrations(office: Office) -> None:
    anna, ben = await office.add_agent("anna", extension="101"), await office.add_agent("ben")
    keys = await (await office.house.keyring("owner")).org_context(office.house.org)
    now = datetime.now(UTC)
    contact = json.dumps({"contact": "sip:anna@198.51.100.7", "transport": "tls", "user_agent": "Phone"}).encode()
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        for agent, expires in ((anna, now.replace(year=2099)), (ben, now.replace(year=2020))):
            row = uuid4()
            sealed = keys.operational.seal(contact, table="registrations", column="contact_sealed", row=row, org=office.house.org)
            await insert(
                connection, "registrations", id=row, org_id=office.house.org, agent_id=agent, node_id=office.house.node,
                contact_sealed=sealed, contact_index=row.bytes, call_id_hash=b"x", cseq=1, expires_at=expires, created_at=now,
            )  # fmt: skip
        number = uuid4()
        sealed = keys.operational.seal(b"+493023125000", table="numbers", column="number_sealed", row=number, org=office.house.org)
        await insert(
            connection, "numbers", id=number, org_id=office.house.org, number_sealed=sealed, number_index=b"i", lookup=b"l", agent_id=anna,
            created_at=now,
        )  # fmt: skip
        await insert(
            connection,
            "trunks",
            id=uuid4(),
            name="carrier",
            uri="sip:192.0.2.9",
            srtp="never",
            username="u",
            created_at=now,
            updated_at=now,
        )
    async with office.client() as api:
        agents = {item["username"]: item for item in shown(await api.get("/v1/agents"))["items"]}
        assert agents["anna"]["is_registered"]
        assert agents["anna"]["extension"] == "101"
        assert agents["anna"]["devices"][0]["transport"] == "tls"
        assert not agents["ben"]["is_registered"]
        assert shown(await api.get(f"/v1/agents/{anna}")) == agents["anna"]
        first = shown(await api.get("/v1/agents?limit=1"))
        second = shown(await api.get("/v1/agents", params={"limit": 1, "cursor": first["next"]}))
        assert {first["items"][0]["username"], second["items"][0]["username"]} == {"anna", "ben"}
        assert second["next"] is None
        (listed,) = shown(await api.get("/v1/numbers"))["items"]
        assert (listed["number"], listed["agent"]) == ("+493023125000", "anna")
        (trunk,) = shown(await api.get("/v1/trunks"))["items"]
        assert (trunk["name"], trunk["srtp"]) == ("carrier", "never")
        assert "username" not in trunk
        inventory = shown(await api.get("/v1/privacy/inventory"))
        assert any(column["column"] == "remote_sealed" and column["form"] == "sealed" for column in inventory["columns"])


async def test_health_readiness_metrics_and_keys_need_no_key(office: Office) -> None:
    async with office.stranger() as api:
        assert shown(await api.get("/healthz")) == {"status": "ok"}
        assert shown(await api.get("/readyz")) == {"status": "ok", "overdue_clocks": 0, "unsent_notices": 0}
        keys = shown(await api.get("/.well-known/hushwire-keys.json"))["keys"]
        assert keys[0]["crv"] == "Ed25519"
        text = (await api.get("/metrics")).text
        assert 'hushwire_http_requests_total{method="GET",route="/readyz",status="200"}' in text
        assert "hushwire_gateways 1.0" in text
        assert 'hushwire_database_up{database="main"} 1.0' in text


async def test_readiness_says_which_database_is_away(office: Office) -> None:
    await (await office.house.db("keyring", "api")).close()
    async with office.stranger() as api:
        answer = await api.get("/readyz")
        assert "the keyring database" in problem(answer, 503)["detail"]
        assert "retry-after" in answer.headers
        assert (await api.get("/healthz")).status_code == 200
    async with office.client() as api:
        assert (await api.get("/v1/trunks")).status_code == 200


async def test_who_leaves_before_the_body_is_whole_is_no_fault_of_ours(office: Office) -> None:
    with structlog.testing.capture_logs() as logged:
        _, writer = await asyncio.open_connection(*office.url.removeprefix("http://").split(":"))
        key = office.keys["acme", "owner"]
        head = f"POST /v1/voice-security/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        writer.close()
        await until(lambda: any(entry["event"] == "http.request" for entry in logged))
    assert [(entry["event"], entry.get("status")) for entry in logged] == [("http.request", 499)]


async def test_a_body_that_drips_in_is_ended_in_time(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_WITHIN_S", 0.3)
    reader, writer = await asyncio.open_connection(*office.url.removeprefix("http://").split(":"))
    key = office.keys["acme", "owner"]
    head = f"POST /v1/voice-security/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"problem+json" in answer
    writer.close()


async def test_no_answer_waits_for_the_acknowledgement_of_its_head() -> None:
    listener, taken = bound(Listen(scheme="http", host="127.0.0.1", port=0)), asyncio.Event()
    found: list[int] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        taken.set()

    async with await asyncio.start_server(serve, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        async with asyncio.timeout(5):
            await taken.wait()
        writer.close()
    assert found[0] != 0, "Nagle's algorithm is on"


async def test_what_is_published_is_told_to_an_address_so_often_and_probes_always(office: Office) -> None:
    async with office.stranger() as api:
        for path in ("/openapi.json", "/.well-known/hushwire-keys.json", "/.well-known/hushwire-subprocessors.json", "/nowhere"):
            office.house.clock.ahead += timedelta(minutes=1)
            first = await api.get(path)
            assert first.status_code in (200, 404)
            for _ in range(1000):  # more than a slow machine's refilling
                if (await api.get(path)).status_code == 429:
                    break
            refused = await asyncio.gather(*(api.get(path) for _ in range(5)))
            assert any("retry-after" in answer.headers for answer in refused), path
            assert {(await api.get(probe)).status_code for probe in ("/healthz", "/readyz", "/metrics")} == {200}
    async with office.client() as api:
        shown(await api.get("/v1/trunks"))


async def test_the_first_request_of_a_process_finds_all_routes_made(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """To make several hundred of them takes a good part of a second, in which nobody else is answered."""
    made: list[str] = []
    make = fastapi.routing.get_dependant

    def noted(**arguments: Any) -> Any:
        made.append(arguments["path"])
        return make(**arguments)

    monkeypatch.setattr(fastapi.routing, "get_dependant", noted)
    async with office.client() as api:
        problem(await api.get("/v1/nowhere"), 404)
        shown(await api.get("/v1/organisation"))
    assert made == []
