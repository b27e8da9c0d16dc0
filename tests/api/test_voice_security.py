"""/v1/voice-security: rules read and changed, destinations checked."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest

from hushwire.policy.model import Channel
from hushwire.policy.territories import TERRITORIES
from hushwire.privacy import audit
from hushwire.store import rules
from tests.api.serving import Office, as_json, problem, shown
from tests.polling import until

CHECK = "/v1/voice-security/check"


async def test_a_check_says_the_verdict_in_one_sentence(office: Office) -> None:
    async with office.client() as api:
        said = shown(await api.post(CHECK, **as_json({"destination": "030123456", "channel": "invite"})))
    assert said == {
        "verdict": "allow",
        "number": "+4930123456",
        "country": "DE",
        "class": "fixed",
        "reason": None,
        "rule": "organisation countries DE",
        "explanation": "Germany (DE) is on the list of allowed countries.",
    }


@pytest.mark.parametrize(
    ("destination", "channel", "expected"),
    [
        ("+442079460000", "invite", ("deny", "+442079460000", "GB", "fixed", "country")),
        ("09001234567", "sms", ("deny", "+499001234567", "DE", "premium", "class")),
        ("112", "invite", ("emergency", "112", "DE", "emergency", None)),
        ("", "invite", ("malformed", None, None, None, "empty")),
        ("\x00", "message", ("malformed", None, None, None, "characters")),
        ("\ud800", "api", ("malformed", None, None, None, "characters")),
        ("<sip:+4930123456@acme.pbx.test>", "refer", ("allow", "+4930123456", "DE", "fixed", None)),
        ("<sip:+4930123456@globex.pbx.test>", "refer", ("deny", None, None, None, "host")),
        ("<sip:+4930123456@pbx.test?Replaces=a>", "refer-from-trunk", ("deny", None, None, None, "replaces")),
        ("<sip:+4930123456@pbx.test>", "invite", ("malformed", None, None, None, "grammar")),
        ("<sip:anna@127.0.0.1>", "register-contact", ("deny", None, None, None, "contact")),
        ("<sip:anna@198.51.100.7>", "register-contact", ("allow", None, None, None, None)),
    ],
)
async def test_verdicts_of_many_kinds(office: Office, destination: str, channel: str, expected: tuple[object, ...]) -> None:
    async with office.client("agent") as api:
        said = shown(await api.post(CHECK, **as_json({"destination": destination, "channel": channel})))
    assert tuple(said[name] for name in ("verdict", "number", "country", "class", "reason")) == expected
    assert said["explanation"].endswith(".")


async def test_any_string_up_to_64_kib_gets_a_verdict_on_every_channel(office: Office) -> None:
    async with office.client() as api:
        for channel in Channel:
            for text in ("1" * 65536, "a" * 65536, "\x00" * 65536, "\U0001f600" * 16384, "<" * 65536, ";" * 65536, "\udfff\ud800"):
                answer = await api.post(CHECK, **as_json({"destination": text, "channel": channel.value}))
                assert shown(answer)["verdict"] in ("deny", "malformed")
        problem(await api.post(CHECK, **as_json({"destination": "1" * 65537, "channel": "invite"})), 422)


async def test_what_if_rules_are_tried_without_being_saved(office: Office) -> None:
    async with office.client() as api:
        question = {
            "destination": "902079460000",
            "channel": "api",
            "rules": {"home_country": "GB", "allowed_countries": ["GB"], "outside_prefix": "9"},
        }
        assert shown(await api.post(CHECK, **as_json(question)))["number"] == "+442079460000"
        question = {"destination": "+881612345678", "channel": "api", "rules": {"allowed_countries": [], "classes": ["satellite"]}}
        assert shown(await api.post(CHECK, **as_json(question)))["verdict"] == "allow"
        assert shown(await api.get("/v1/voice-security"))["allowed_countries"] == ["AT", "DE"]
        assert shown(await api.get("/v1/audit"))["items"] == []


async def test_a_check_for_an_agent_takes_its_name_or_id_and_knows_no_others(office: Office) -> None:
    agent = await office.add_agent("anna")
    foreign = await office.add_agent("boris", org=office.other)
    async with office.client() as api:
        for name in ("anna", "acme/anna", str(agent)):
            said = shown(await api.post(CHECK, **as_json({"destination": "030123456", "channel": "invite", "agent": name})))
            assert said["verdict"] == "allow"
        for name in ("boris", "globex/anna", str(foreign), ""):
            problem(await api.post(CHECK, **as_json({"destination": "030123456", "channel": "invite", "agent": name})), 404)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"destination": "1"}, {"channel": "invite"}, {"destination": 1, "channel": "invite"},
        {"destination": None, "channel": "invite"},
        {"destination": "1", "channel": "pigeon"}, {"destination": "1", "channel": "invite", "nonsense": 1}, [], "1", 7, None,
        {"destination": "1", "channel": "invite", "rules": {"allowed_countries": ["ZZ"]}},
        {"destination": "1", "channel": "invite", "rules": {"home_country": "AQ"}},
        {"destination": "1", "channel": "invite", "rules": {"outside_prefix": "12345678"}},
        {"destination": "1", "channel": "invite", "rules": {"classes": ["cheap"]}},
    ],
)  # fmt: skip
async def test_a_question_that_is_not_one_is_a_problem(office: Office, body: object) -> None:
    async with office.client() as api:
        problem(await api.post(CHECK, **as_json(body)), 422)


async def test_a_check_serves_200_a_second_per_key(office: Office) -> None:
    host, port = office.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"destination": "030123456", "channel": "invite"})
    request = (
        f"POST {CHECK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {office.keys['acme', 'owner']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()

    async def asked() -> bytes:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return head.split(b" ", 2)[1]

    assert await asked() == b"200"
    # The processor's time, not the wall's: the machine may be doing other things at the same time.
    started = time.process_time()
    assert {await asked() for _ in range(400)} == {b"200"}
    assert 400 / (time.process_time() - started) >= 200
    writer.close()
    await writer.wait_closed()


async def test_a_change_is_saved_with_a_new_version_an_audit_entry_and_a_wake_up(office: Office) -> None:
    heard: list[str] = []
    gateway = await office.house.main("gateway")
    await gateway.listen("hushwire_rules", heard.append)
    async with office.client("admin") as api:
        before = shown(await api.get("/v1/voice-security"))
        after = shown(await api.put("/v1/voice-security", json={"allowed_countries": ["GB", "DE", "DE"], "classes": ["premium"]}))
        assert after["version"] == before["version"] + 1
        assert after["allowed_countries"] == ["DE", "GB"]
        assert after["classes"] == ["premium"]
        (entry,) = shown(await api.get("/v1/audit"))["items"]
        assert entry["action"] == "rules.changed"
        assert entry["fields"]["countries_added"] == "GB"
        assert entry["fields"]["countries_removed"] == "AT"
        await until(lambda: str(office.house.org) in heard)
        said = shown(await api.post(CHECK, **as_json({"destination": "+4312345678", "channel": "invite"})))
        assert said["verdict"] == "deny"
        same = shown(await api.put("/v1/voice-security", json=after))
        assert same["version"] == after["version"]
        assert len(shown(await api.get("/v1/audit"))["items"]) == 1


async def test_a_change_by_somebody_else_is_obeyed_within_a_second(office: Office) -> None:
    question = {"destination": "+442079460000", "channel": "invite"}
    async with office.client() as api:
        assert shown(await api.post(CHECK, **as_json(question)))["verdict"] == "deny"
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            await connection.execute("UPDATE orgs SET allowed_countries = '{GB}'")

        async def is_allowed() -> bool:
            return bool(shown(await api.post(CHECK, **as_json(question)))["verdict"] == "allow")

        await until(is_allowed)


async def test_a_change_of_an_outdated_version_is_refused(office: Office) -> None:
    async with office.client() as api:
        version = shown(await api.get("/v1/voice-security"))["version"]
        shown(await api.put("/v1/voice-security", json={"allowed_countries": ["DE"], "version": version}))
        conflict = problem(await api.put("/v1/voice-security", json={"allowed_countries": ["AT"], "version": version}), 409)
        assert conflict["version"] == version + 1
        assert shown(await api.get("/v1/voice-security"))["allowed_countries"] == ["DE"]


async def test_an_empty_list_and_a_list_of_everything_can_be_saved(office: Office) -> None:
    async with office.client() as api:
        assert shown(await api.put("/v1/voice-security", json={"allowed_countries": []}))["allowed_countries"] == []
        everything = sorted(TERRITORIES)
        assert shown(await api.put("/v1/voice-security", json={"allowed_countries": everything}))["allowed_countries"] == everything


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"allowed_countries": ["DE", "ZZ"]}, "allowed_countries[1]: is not an ISO 3166-1 alpha-2 code"),
        ({"allowed_countries": ["de"]}, "capitals"),
        ({"allowed_countries": ["UK"]}, "GB"),
        ({"allowed_countries": ["+49"]}, "ISO 3166-1"),
        ({"allowed_countries": "DE"}, "allowed_countries"),
        ({"allowed_countries": [49]}, "allowed_countries[0]"),
        ({"allowed_countries": None}, "give allowed_countries"),
        ({"classes": ["cheap"]}, "premium"),
        ({"home_country": "AT", "allowed_countries": []}, "hushwire apply"),
        ({"allowed_countries": [], "limits": {"nonsense": {}}}, "limits"),
        ({}, "give allowed_countries"),
        ([], "body"),
    ],
)
async def test_a_change_that_is_not_valid_says_what_to_mend_and_changes_nothing(office: Office, body: object, words: str) -> None:
    async with office.client() as api:
        assert words in problem(await api.put("/v1/voice-security", json=body), 422)["detail"]
        assert shown(await api.get("/v1/voice-security"))["allowed_countries"] == ["AT", "DE"]


async def test_errors_never_repeat_what_was_sent(office: Office) -> None:
    marker = "+441632960961"
    async with office.client() as api:
        for answer in (
            await api.put("/v1/voice-security", json={"allowed_countries": [marker, {"x": marker}], marker: marker}),
            await api.put("/v1/voice-security", json={"classes": [marker], "version": marker}),
            await api.post(CHECK, **as_json({"destination": [marker], "channel": marker, marker: 1})),
            await api.post("/v1/calls/search", json={"number": marker + "x", "nonsense": marker}),
            await api.post("/v1/recordings/search", json={"number": {"a": marker}, "from": marker}),
            await api.get(f"/v1/calls/{marker}"),
            await api.get(f"/v1/recordings?from={marker}&agent={marker * 20}&cursor={marker}&limit={marker}"),
            await api.get(f"/v1/{marker}"),
            await api.request("BREW", f"/v1/calls/{marker}"),
        ):
            assert 400 <= answer.status_code < 500
            assert marker.strip("+") not in answer.text
            assert marker.strip("+") not in str(answer.headers)


async def test_groups_terms_hours_and_short_codes_are_saved_as_what_they_stand_for(office: Office) -> None:
    async with office.client() as api:
        change = {
            "country_groups": ["DACH"], "terms": {"CH": {"windows": [{"from": "08:00", "to": "18:00", "days": [2, 1]}]}, "AT": {}},
            "hours": [{"from": "22:00", "to": "06:00"}], "short_codes": ["116117"], "time_zone": "Europe/Berlin",
        }  # fmt: skip
        said = shown(await api.put("/v1/voice-security", json=change))
        assert said["allowed_countries"] == ["AT", "CH", "DE"]
        assert said["terms"] == {"CH": {"windows": [{"days": [1, 2], "from": "08:00", "to": "18:00"}]}}
        assert said["hours"] == [{"days": [1, 2, 3, 4, 5, 6, 7], "from": "22:00", "to": "06:00"}]
        assert (said["short_codes"], said["time_zone"]) == (["116117"], "Europe/Berlin")
        assert shown(await api.put("/v1/voice-security", json=said))["version"] == said["version"]
        assert shown(await api.put("/v1/voice-security", json={"allowed_countries": ["GB"], "country_groups": ["benelux"]}))[
            "allowed_countries"
        ] == ["BE", "GB", "LU", "NL"]
        for wrong in (
            {"country_groups": ["Atlantis"]}, {"terms": {"ZZ": {}}}, {"terms": {"AT": {"ways": []}}}, {"terms": {"AT": 1}},
            {"terms": {"AT": {"until": "9999-12-31T23:59:59-23:59"}}}, {"hours": [{}]}, {"hours": [{"from": 1, "to": "x"}]},
            {"short_codes": ["+1"]}, {"time_zone": "Mars/Olympus"}, {"time_zone": "../etc"},
        ):  # fmt: skip
            problem(await api.put("/v1/voice-security", json=wrong), 422)


async def test_the_audit_log_is_written_while_a_change_of_the_rules_is_under_way_and_neither_waits_for_the_other(office: Office) -> None:
    org, now = office.house.org, datetime.now(UTC)
    api, worker = await office.house.main("api"), await office.house.main("worker")
    async with asyncio.timeout(10), api.organisation(org) as changing:
        assert await rules.get(changing, for_update=True) is not None
        async with worker.organisation(org) as telling:
            await audit.append(telling, org, now, "system", "call.refused", "call:1")
        await audit.append(changing, org, now, "api-key:1", audit.Action.RULES_CHANGED, "organisation")
