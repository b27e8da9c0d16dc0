"""Every described path is sent what no client would send: the answer is a problem that repeats nothing, never a fault of ours.

The requests come from the description itself, so a path that is new is swept too: give its body in `BODIES`, as it would be accepted.
"""

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
import structlog

from hushwire.core.ids import AgentId, RecordingId
from hushwire.store import fraud, voicemail
from hushwire.store.fraud import AlarmRow
from tests.api.messaging import desk
from tests.api.serving import Office, as_json, shown
from tests.api.test_restrictions import recorded
from tests.store.rows import insert

MARKER: Final = "QzMarkerQz"
NUMBER: Final = "+493023125999"
FUTURE: Final = "2030-01-01T00:00:00Z"
SHARES: Final = 4
# Paths whose example can't be accepted: their right body is something that is made elsewhere, or would be waited for by a gateway.
UNFIT: Final = ("/v1/calls", "/v1/privacy/custody/keys", "/v1/privacy/termination")

# What a body of each path looks like when it is right; `{name}` stands for the id of a thing that is there.
BODIES: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("PATCH", "/v1/agents/{agent_id}"): {"extension": "123", "caller_id": None},
    ("PUT", "/v1/agents/{agent_id}/forwarding"): {"busy": NUMBER, "no_answer_after_s": 20, "do_not_disturb": True},
    ("POST", "/v1/ring-groups"): {
        "name": "sales", "extension": "600", "strategy": "serial", "ring_s": 20, "follows_forwarding": True, "members": ["anna"]
    },
    ("PUT", "/v1/ring-groups/{group_id}"): {
        "name": "n", "extension": "601", "strategy": "parallel", "ring_s": None, "follows_forwarding": False, "members": ["{agent_id}"]
    },
    ("POST", "/v1/agents/{agent_id}/devices"): {"name": "n", "ttl_s": 600, "waits": True},
    ("POST", "/v1/agents/{agent_id}/devices/{device_id}/link"): {"ttl_s": 600},
    ("POST", "/v1/calls/erase"): {"number": "+493023125111", "agent": None, "from": None, "to": None, "ids": None, "note": "n"},
    ("POST", "/v1/calls"): {"agent": "nobody", "to": "+493023125111", "auto_answer": True, "telemarketing": False},
    ("POST", "/v1/calls/search"): {
        "number": NUMBER, "from": None, "to": FUTURE, "state": "ended", "direction": None, "limit": 5, "cursor": None
    },
    ("POST", "/v1/messages"): {
        "to": NUMBER, "text": "t", "template": None, "values": {}, "from": None, "agent": "anna", "marketing": False, "send_at": None
    },
    ("POST", "/v1/messages/preview"): {"to": NUMBER, "text": None, "template": "t", "values": {"name": "n"}},
    ("POST", "/v1/messages/bulk"): {
        "recipients": [{"to": NUMBER, "values": {"a": "b"}}], "text": "t", "from": None, "agent": None, "marketing": True, "send_at": None
    },
    ("POST", "/v1/messages/erase"): {"number": "+493023125111", "agent": None, "from": None, "to": None, "ids": None, "note": "n"},
    ("POST", "/v1/messages/search"): {"number": NUMBER, "limit": 5, "cursor": None},
    ("PATCH", "/v1/messages/{text_id}"): {"is_read": True},
    ("PUT", "/v1/messages/settings"): {
        "senders": ["own", "pool"], "alphanumeric": "Acme", "languages": ["en"], "folds": True, "needs_consent": False,
        "prices": {"DE": "0.07"}, "currency": "EUR", "most_per_day": 1000000,
    },
    ("POST", "/v1/messages/templates"): {"name": "u", "text": "t"},
    ("PUT", "/v1/messages/templates/{template_id}"): {"text": "t"},
    ("PUT", "/v1/messages/numbers/{number_id}"): {"target": "agent", "agent_id": "{agent_id}", "group_id": None, "pooled": True},
    ("POST", "/v1/masking/sessions"): {"agent": "anna", "parties": [NUMBER, "+493023125111"], "expires_in_s": 600},
    ("POST", "/v1/calls/{call_id}/recording"): {"action": "pause"},
    ("POST", "/v1/calls/{call_id}/supervise"): {"action": "listen", "agent": "anna"},
    ("POST", "/v1/calls/{call_id}/sensitive"): {"on": True},
    ("POST", "/v1/calls/{call_id}/participants"): {"agent": "anna", "to": "+493023125111"},
    ("POST", "/v1/contacts"): {
        "name": "n", "numbers": [{"number": NUMBER, "label": "work"}], "notes": "n", "picture": "p", "owner": "{agent_id}",
        "is_minor": False, "jurisdiction": "EU",
    },
    ("POST", "/v1/contacts/search"): {"number": NUMBER, "name": None, "limit": 5, "cursor": None},
    ("PATCH", "/v1/contacts/{contact_id}"): {
        "name": "n", "numbers": [{"number": NUMBER, "label": "work"}], "notes": "n", "picture": "p", "owner": "{agent_id}",
        "is_minor": False, "jurisdiction": None,
    },
    ("PATCH", "/v1/organisation"): {
        "jurisdictions": ["EU"], "contacts": [{"role": "privacy", "email": "a@b.example"}], "billing": {"a": "x", "b": 1},
        "plan": {"a": True}, "contract": {"a": None}, "settings": {"a": "x"},
    },
    ("POST", "/v1/privacy/access-log/search"): {"actor": "a", "object": "o", "from": FUTURE, "to": FUTURE, "limit": 5, "cursor": None},
    ("POST", "/v1/privacy/account-deletions"): {"agent": "anna", "application": "a", "received_at": None},
    ("POST", "/v1/privacy/account-deletions/{deletion_id}/refuse"): {"reason": "not-verified"},
    ("POST", "/v1/privacy/account-deletions/{deletion_id}/verify"): {"method": "email"},
    ("POST", "/v1/privacy/audits"): {"basis": "law", "auditor": "a", "firm": "f", "independent": True, "reason": "r"},
    ("POST", "/v1/privacy/audits/{audit_id}/access"): {"days": 3},
    ("POST", "/v1/privacy/breaches"): {
        "credential": "agent:anna", "from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z", "note": "n"
    },
    ("POST", "/v1/privacy/cases"): {"kind": "complaint", "text": "t"},
    ("POST", "/v1/privacy/cases/{case_id}/answer"): {"text": "t"},
    ("POST", "/v1/privacy/cases/{case_id}/close"): {"outcome": "settled"},
    ("POST", "/v1/privacy/cases/{case_id}/compel"): {"text": "t"},
    ("POST", "/v1/privacy/consents"): {
        "recording": None, "call": None, "number": NUMBER, "how": "spoken", "given_at": "2020-01-01T00:00:00Z", "text_version": "1",
        "announcement_digest": "0" * 64, "jurisdiction": "EU", "note": "n",
    },
    ("POST", "/v1/privacy/consents/search"): {"number": NUMBER},
    ("PUT", "/v1/privacy/custody"): {"mode": "hushwire"},
    ("POST", "/v1/privacy/custody/keys"): {"name": "k", "algorithm": "x25519", "public_key": "AAAA", "expires_at": FUTURE},
    ("PUT", "/v1/privacy/custody/keys/{key_id}"): {"name": "k", "expires_at": FUTURE},
    ("POST", "/v1/privacy/custody/keys/{key_id}/proof"): {"answer": "0" * 64},
    ("POST", "/v1/privacy/do-not-call"): {"numbers": [NUMBER]},
    ("POST", "/v1/privacy/do-not-call/check"): {"number": NUMBER},
    ("POST", "/v1/privacy/do-not-call/remove"): {"numbers": [NUMBER]},
    ("POST", "/v1/privacy/holds"): {
        "scope": "contact", "id": "{contact_id}", "number": None, "from": None, "to": None, "reason": "tax", "authority": "a", "note": "n"
    },
    ("POST", "/v1/privacy/instructions"): {"text": "t"},
    ("POST", "/v1/privacy/organisation/erase"): {"confirmation": None, "reason": "termination"},
    ("PUT", "/v1/privacy/purposes"): {"allowed": None, "version": None},
    ("POST", "/v1/privacy/requests"): {
        "kind": "rectify", "channel": "customer", "subject": {"number": NUMBER, "contact": None, "name": "n", "reach": "r"},
        "received_at": None, "jurisdiction": "EU", "note": "n",
        "corrections": [{"target": "contact", "id": "{contact_id}", "what": "name", "value": "v", "instead_of": None}],
    },
    ("POST", "/v1/privacy/requests/search"): {"number": NUMBER, "limit": 5, "cursor": None},
    ("POST", "/v1/privacy/requests/{request_id}/cancel"): {"note": "n"},
    ("POST", "/v1/privacy/requests/{request_id}/refuse"): {"reason": "excessive", "note": "n"},
    ("POST", "/v1/privacy/requests/{request_id}/verify"): {"method": "in-person", "outcome": "asked", "note": "n"},
    ("POST", "/v1/privacy/restrictions"): {"number": None, "scope": "contact", "id": "{contact_id}"},
    ("PUT", "/v1/privacy/retention"): {
        "rules": [{"class": "contact", "keep_days": 900, "agent_id": "{agent_id}"}], "most_percent": 20
    },
    ("POST", "/v1/privacy/retention/confirm"): {"id": "{contact_id}"},
    ("POST", "/v1/privacy/retention/preview"): {"at": FUTURE},
    ("POST", "/v1/privacy/safeguards"): {
        "country": "US", "kind": "scc-module-2", "document_sha256": "0" * 64, "expires_at": FUTURE
    },
    ("POST", "/v1/privacy/subprocessors/{subprocessor_id}/objections"): {"grounds": "g"},
    ("POST", "/v1/privacy/termination"): {"effective_at": FUTURE, "confirm": "another"},
    ("POST", "/v1/privacy/undertakings"): {"version": "0"},
    ("POST", "/v1/privacy/undertakings/withdraw"): {"signer": "api-key:{contact_id}"},
    ("POST", "/v1/recordings/erase"): {
        "number": None, "agent": "anna", "from": None, "to": "1990-01-01T00:00:00Z", "ids": None,
        "note": "n",
    },
    ("POST", "/v1/recordings/search"): {
        "number": NUMBER, "agent": "anna", "call_id": "{call_id}", "from": None, "to": FUTURE, "limit": 5, "cursor": None
    },
    ("PATCH", "/v1/voicemail/{message_id}"): {"is_read": True},
    ("POST", "/v1/webhooks"): {"url": "https://hooks.example.org/in", "kinds": ["call.*"], "grants": ["numbers"], "signs": "ed25519"},
    ("PATCH", "/v1/webhooks/{webhook_id}"): {
        "url": "https://hooks.example.org/in", "kinds": ["call.ended", "*"], "grants": [], "active": False
    },
    ("POST", "/v1/voice-security/alarms"): {"agent_id": "{agent_id}", "credential_id": "{device_id}"},
    ("POST", "/v1/voice-security/alarms/{alarm_id}/replace"): {"waits": True},
    ("POST", "/v1/voice-security/exceptions"): {
        "kind": "unassigned", "number": "+4932", "is_prefix": True, "country": "DE", "reason": "our lines",
        "until": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
    },
    ("POST", "/v1/teams"): {"name": "support", "members": ["anna"]},
    ("PUT", "/v1/teams/{team_id}"): {"name": "sales", "members": []},
    ("PUT", "/v1/voice-security/teams/{team_id}"): {
        "allowed_countries": ["DE"], "country_groups": ["EU"], "classes": ["premium"], "short_codes": ["116117"],
        "terms": {"DE": {"ways": "calls", "until": "2030-01-01T00:00:00Z"}}, "hours": [{"days": [1], "from": "08:00", "to": "18:00"}],
    },
    ("PUT", "/v1/voice-security/agents/{agent_id}"): {"allowed_countries": ["DE"], "time_zone": "Europe/Berlin"},
    ("PUT", "/v1/voice-security/limits"): {
        "organisation": {"concurrent-calls": {"most": 9, "action": "warn"}}, "each_team": {"spend-per-day": "off"},
        "each_agent": {"prefix-cycling": None},
    },
    ("PUT", "/v1/voice-security/limits/agents/{agent_id}"): {"limits": {"short-calls": {"most": None, "action": "lock"}}},
    ("PUT", "/v1/voice-security/limits/teams/{team_id}"): {"limits": {"minutes-per-day": {"most": 5.5}}},
    ("PUT", "/v1/voice-security"): {
        "allowed_countries": ["DE"], "classes": None, "version": None, "home_country": None, "outside_prefix": None, "updated_at": None,
        "country_groups": ["DACH"], "terms": {"AT": {"ways": "calls", "until": FUTURE, "windows": []}}, "short_codes": ["116117"],
        "hours": [{"days": [1], "from": "08:00", "to": "18:00"}], "time_zone": "Europe/Berlin",
        "telemarketing_hours": ["* mon-sat 08:00-20:00"], "four_eyes": ["*"], "live_rules_version": None, "waits": None,
        "limits": {"organisation": {"minutes-per-day": {"most": 10}}, "each_team": None, "each_agent": None},
    },
    ("POST", "/v1/voice-security/access-requests"): {"call": "{call_id}", "countries": ["XK"]},
    ("POST", "/v1/voice-security/access-requests/{access_id}/approve"): {"until": FUTURE},
    ("POST", "/v1/voice-security/simulate"): {
        "destinations": [NUMBER], "rules": {"allowed_countries": ["DE"]}, "channel": "invite", "agent": None
    },
    ("POST", "/v1/voice-security/simulate/calls"): {"rules": {"classes": ["premium"]}, "days": 30, "agent": "anna"},
    ("POST", "/v1/voice-security/check"): {
        "destination": NUMBER, "channel": "invite", "agent": None, "telemarketing": False,
        "rules": {"home_country": "DE", "allowed_countries": ["DE"]}
    },
    # Last, so that the others keep their shares: in one of them a verified deletion takes anna away, whom bodies of others name.
    ("POST", "/v1/privacy/requests/{request_id}/withdraw"): {"method": "in-person", "note": "n"},
}  # fmt: skip

# In the place of a value of a body.
VALUES: Final[tuple[Any, ...]] = (
    f"{MARKER}\x00", f"\ud800{MARKER}", f"{MARKER}\r\nBcc: {MARKER}@evil.example", f"a@{MARKER}\r\n.example", MARKER * 5000, " ",
    "１２３４５", -1, 1 << 63, 1e300, None, [MARKER], {MARKER: "\x00"}, [[[[[MARKER]]]]], f"agent:{MARKER}\x00",
    "9999-12-31T23:59:59.999999-23:59",
    "0001-01-01T00:00:00+23:59", "8999-12-31T23:59:59+00:00", "1970-01-01T00:00:00Z", 1e9, "1795635809." + "é" * 64,
)  # fmt: skip
# In the place of a whole body.
WHOLE: Final[tuple[Any, ...]] = ({}, [MARKER], MARKER, 1e9, {MARKER: MARKER, f"\x00{MARKER}": [MARKER] * 10_000})
# In the place of a value of a query.
WORDS: Final = (
    MARKER, "", "%00", f"{MARKER}%00", "%ff%fe", "%ed%a0%80", "-1", "0", "1e9", "%D9%A3", "99999999999999999999999",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00%2b23:59", "W10", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
    "WzldOQ", "W251bGxd", "WzFd", "W1tdLFtdXQ", "WyJcdTAwMDAiXQ", "WyJ6eiJd",
    "WyJcdWQ4MDAiLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
    "WyJjYWxsXHUwMDAwIiwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0", "W05hTixOYU5d", "WzFlOTk5XQ", "[" * 150, "a" * 199,
)  # fmt: skip
# In the place of an id of a path.
IDS: Final = (
    MARKER, "%00", f"{MARKER}%00", "%2e%2e%2f", "%ff", "%ed%a0%80", "0", "a" * 5000, "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000", "0000000000000000000000000000000٠", "%0d%0aX-Injected:%20" + MARKER,
)  # fmt: skip
# Instead of a body.
BYTES: Final = (
    b"", b"null", b"[]", b'"x"', b"0", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"a":NaN}', b"1" * 100_000,
    b'{"\\ud800":1}', b'{"\\u0000' + MARKER.encode() + b'":1}', b'{"number":"+1","number":"+2"}',
)  # fmt: skip


@dataclass(slots=True)
class Sweep:
    """Asks, and remembers what was answered wrongly."""

    office: Office
    api: httpx.AsyncClient
    wrong: list[str] = field(default_factory=list)
    asked: int = 0

    async def ask(self, method: str, path: str, what: str, **more: Any) -> httpx.Response:
        self.asked += 1
        self.office.house.clock.ahead += timedelta(milliseconds=12)  # a key may not ask more often
        answer = await self.api.request(method, path, **more)
        told = answer.content + repr(answer.headers).encode()
        if answer.status_code >= 500 and answer.status_code != 503:
            self.wrong.append(f"{answer.status_code} {method} {what}")
        if answer.status_code == 503 or (answer.status_code >= 400 and "problem+json" not in answer.headers.get("content-type", "")):
            self.wrong.append(f"{answer.status_code} {answer.headers.get('content-type')} {method} {what}")
        if answer.status_code >= 400 and (MARKER.encode() in told or b"x-injected" in told.lower()):
            self.wrong.append(f"repeats {method} {what}: {answer.text[:200]}")
        return answer


def filled(value: Any, things: dict[str, str]) -> Any:
    """A body or path with the ids of what is there."""
    if isinstance(value, str):
        return re.sub(r"\{([a-z_]+)\}", lambda found: things.get(found[1], str(uuid4())), value)
    if isinstance(value, dict):
        return {key: filled(each, things) for key, each in value.items()}
    return [filled(each, things) for each in value] if isinstance(value, list) else value


def spots(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a body that holds something."""
    if at:
        yield at
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from spots(each, (*at, key))


def with_other(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    """The body with another value in one place."""
    changed = copy.deepcopy(body)
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return changed


async def a_message(office: Office, recording: UUID, owner: UUID) -> str:
    """The recording, in somebody's mailbox."""
    async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
        await voicemail.begin(connection, office.house.org, RecordingId(recording), AgentId(owner), datetime.now(UTC))
    return str(recording)


async def an_alarm(office: Office, agent: UUID) -> str:
    """As a gateway raises it."""
    alarm_id, now, org = uuid4(), datetime.now(UTC), office.house.org
    row = AlarmRow(alarm_id, "agent", agent, agent, agent, "prefix-cycling", "lock", 6.0, 5.0, 1, int(now.timestamp() // 3600), now, now)
    async with (await office.house.main("gateway")).organisation(org) as connection:
        assert await fraud.put_alarm(connection, org, row) == alarm_id
        assert await fraud.lock(connection, org, agent, agent, alarm_id, now)
    return str(alarm_id)


async def a_team(office: Office) -> str:
    """As provisioning makes it."""
    team, now = uuid4(), datetime.now(UTC)
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await insert(connection, "teams", id=team, org_id=office.house.org, name="t", created_at=now, updated_at=now)
    return str(team)


async def things_of(office: Office, api: httpx.AsyncClient) -> dict[str, str]:
    """One of everything, so that what is wrong with a request is what is wrong in it."""
    anna = await office.add_agent("anna", extension="101")
    call, recording = await recorded(office, NUMBER)

    async def made(path: str, body: Any) -> str:
        answer = await api.post(path, json=body)
        assert answer.status_code in (200, 201, 202), (path, answer.text)
        return str(answer.json()["id"])

    number = (await desk(office, countries=("DE",))).number
    return {
        "number_id": str(number),
        "text_id": await made("/v1/messages", {"to": "+4915112345678", "text": "t"}),
        "batch_id": await made("/v1/messages/bulk", {"text": "t", "recipients": [{"to": "+4915112345678"}]}),
        "template_id": await made("/v1/messages/templates", {"name": "t", "text": "t"}),
        "alarm_id": await an_alarm(office, anna),
        "team_id": await a_team(office),
        "device_id": await made(f"/v1/agents/{anna}/devices", {"name": "n", "waits": True}),
        "group_id": await made("/v1/ring-groups", {"name": "g", "extension": "699", "members": ["anna"]}),
        "agent_id": str(anna), "call_id": str(call), "recording_id": str(recording),
        "message_id": await a_message(office, recording, anna),
        "contact_id": await made("/v1/contacts", {"name": "n", "numbers": [{"number": NUMBER}]}),
        "request_id": await made(
            "/v1/privacy/requests", {"kind": "access", "channel": "customer", "subject": {"number": NUMBER}}
        ),
        "hold_id": await made("/v1/privacy/holds", {"scope": "call", "id": str(call), "reason": "litigation", "authority": "a"}),
        "restriction_id": await made("/v1/privacy/restrictions", {"number": "+493023125444"}),
        "webhook_id": await made("/v1/webhooks", {"url": "https://hooks.example.org/in", "kinds": ["*"]}),
        "case_id": await made("/v1/privacy/cases", {"kind": "complaint", "text": "t"}),
        "audit_id": await made(
            "/v1/privacy/audits", {"basis": "law", "auditor": "a", "firm": "f", "independent": True, "reason": "r"}
        ),
        "deletion_id": await made("/v1/privacy/account-deletions", {"agent": "anna", "application": "a"}),
        "breach_id": await made(
            "/v1/privacy/breaches",
            {"credential": f"api-key:{uuid4()}", "from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"},
        ),
        "consent_id": await made(
            "/v1/privacy/consents", {"number": "+493023125444", "how": "key-pressed", "given_at": "2020-01-01T00:00:00Z"}
        ),
    }  # fmt: skip


async def described(office: Office) -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation of the description."""
    async with office.stranger() as api:
        paths = shown(await api.get("/openapi.json"))["paths"]
    return {(method.upper(), path): operation for path, methods in paths.items() for method, operation in methods.items()}


def takes_json(operation: dict[str, Any]) -> bool:
    """Whether a path takes a body that is no file."""
    return "application/json" in operation.get("requestBody", {}).get("content", {})


@pytest.mark.parametrize("share", range(SHARES))
async def test_garbage_in_any_place_of_any_body_is_refused_or_kept_and_never_fails_or_is_repeated(office: Office, share: int) -> None:
    operations = await described(office)
    assert {key for key, operation in operations.items() if takes_json(operation)} == BODIES.keys()
    async with office.client() as api:
        things, sweep = await things_of(office, api), Sweep(office, api)
        with structlog.testing.capture_logs() as logged:
            for (method, template), example in list(BODIES.items())[share::SHARES]:
                path, body = filled(template, things), filled(example, things)
                right = await sweep.ask(method, path, template, **as_json(body))
                assert right.status_code not in (400, 415, 422) or template in UNFIT, (template, right.text)
                for at, value in itertools.product(spots(body), VALUES):
                    await sweep.ask(method, path, f"{template} {at}={value!r:.60}", **as_json(with_other(body, at, value)))
                for value in (*WHOLE, body | {MARKER: MARKER}):
                    await sweep.ask(method, path, f"{template} {value!r:.60}", **as_json(value))
                for data in BYTES:
                    await sweep.ask(method, path, f"{template} {data[:40]!r}", content=data, headers={"Content-Type": "application/json"})
        assert sweep.wrong == []
        assert_silent(repr(logged), "the log")
        assert_silent((await api.get("/metrics")).text, "metrics")
    for table in await office.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"):
        rows = await office.rows(f"SELECT t::text AS said FROM {table['table_name']} AS t")
        assert_silent("\n".join(row["said"] for row in rows), table["table_name"])


def assert_silent(text: str, where: str) -> None:
    """Neither what marks garbage nor a number of the people in the bodies stands here, in plain or as hexadecimal bytes."""
    for secret in {MARKER, NUMBER[1:], NUMBER[3:], "23125111", "23125444"}:
        assert secret not in text, f"{where} tells a marker"
        assert secret.encode().hex() not in text, f"{where} tells a marker"


async def test_garbage_in_any_id_query_or_header_is_refused_and_never_fails_or_is_repeated(office: Office) -> None:
    operations = await described(office)
    async with office.client() as api:
        things, sweep = await things_of(office, api), Sweep(office, api)
        with structlog.testing.capture_logs() as logged:
            for (method, template), operation in operations.items():
                body = as_json(filled(BODIES[method, template], things)) if (method, template) in BODIES else {}
                for garbage in IDS if "{" in template else ():
                    answer = await sweep.ask(method, re.sub(r"\{[a-z_]+\}", garbage, template), f"{template} {garbage:.60}", **body)
                    assert answer.status_code in (404, 422), (template, garbage)
                path = filled(template, things if method == "GET" else {})
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "query":
                        for garbage in WORDS:
                            query = f"{path}?{parameter['name']}={garbage}"
                            await sweep.ask(method, query, f"{template} {parameter['name']}={garbage}", **body)
                    elif parameter["in"] == "header":
                        for value in (MARKER.encode(), b"\xff\xfe" + MARKER.encode(), f"{MARKER} {MARKER}".encode(), b"a" * 5000):
                            headers = {**body.get("headers", {}), parameter["name"]: value}
                            await sweep.ask(method, path, f"{template} {parameter['name']}: {value[:40]!r}", **body | {"headers": headers})
        assert sweep.wrong == []
        assert MARKER not in repr(logged)
        assert MARKER not in (await api.get("/metrics")).text
