"""/v1/agents/{id}/devices/{id}/link and /provisioning/{token}: an account for whoever opens the link first, and for nobody after."""

import asyncio
import re
import xml.etree.ElementTree as ElementTree
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import structlog

from tests.api.serving import Office, problem


async def linked(office: Office, **body: object) -> tuple[UUID, str, str]:
    """Agent, device and the path of a fresh link."""
    agent = await office.add_agent("anna")
    async with office.client() as api:
        made = (await api.post(f"/v1/agents/{agent}/devices", json={"name": "mobile", "waits": True})).json()
        assert made["password"] is None
        answer = await api.post(f"/v1/agents/{agent}/devices/{made['id']}/link", json=body)
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert said["url"].startswith(office.url)
    assert ElementTree.fromstring(said["qr_svg"]).tag.endswith("svg")
    return agent, made["id"], urlsplit(said["url"]).path


async def test_a_link_is_opened_once_and_gives_the_waiting_device_its_password(office: Office) -> None:
    agent, device, path = await linked(office)
    assert await office.rows("SELECT ha1_sealed FROM devices") == [{"ha1_sealed": None}]
    async with office.stranger() as phone, office.client() as api:
        answer = await phone.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/xml")
        assert answer.headers["cache-control"] == "no-store"
        password = re.search(r'name="passwd"[^>]*>([a-z2-7]{24})<', answer.text)
        assert password is not None
        assert "sip:sip.pbx.test:5061;transport=tls" in answer.text
        problem(await phone.get(path), 404)
        assert (await api.get(f"/v1/agents/{agent}/devices")).json()[1]["state"] == "active"
    (row,) = await office.rows("SELECT ha1_sealed FROM devices")
    assert row["ha1_sealed"] is not None
    logged = await office.rows("SELECT action FROM audit_log WHERE object = $1 ORDER BY position", f"device:{device}")
    assert [entry["action"] for entry in logged] == ["device.added", "device.linked", "device.handed-out"]


async def test_the_same_link_may_be_opened_as_a_sheet_instead(office: Office) -> None:
    _, _, path = await linked(office)
    async with office.stranger() as person:
        answer = await person.get(path, params={"form": "sheet"})
        assert answer.headers["content-type"].startswith("text/plain")
        assert re.search(r"Password: +[a-z2-7]{24}\n", answer.text)
        problem(await person.get(path, params={"form": "sheet"}), 404)


async def test_a_link_for_a_device_in_use_gives_it_another_password_when_it_is_opened_and_not_before(office: Office) -> None:
    agent, device, path = await linked(office)
    async with office.stranger() as phone, office.client() as api:
        await phone.get(path)
        (first,) = await office.rows("SELECT ha1_sealed FROM devices")
        second = urlsplit((await api.post(f"/v1/agents/{agent}/devices/{device}/link", json={})).json()["url"]).path
        assert await office.rows("SELECT ha1_sealed FROM devices") == [first]
        assert (await phone.get(second)).status_code == 200
    assert await office.rows("SELECT ha1_sealed FROM devices") != [first]


async def test_a_newer_link_an_expired_one_and_a_revoked_device_open_nothing(office: Office) -> None:
    agent, device, old = await linked(office, ttl_s=60)
    async with office.stranger() as phone, office.client() as api:
        new = urlsplit((await api.post(f"/v1/agents/{agent}/devices/{device}/link", json={"ttl_s": 60})).json()["url"]).path
        problem(await phone.get(old), 404)
        await office.rows("UPDATE provisioning_links SET expires_at = created_at - interval '1 s' RETURNING id")
        problem(await phone.get(new), 404)
        last = urlsplit((await api.post(f"/v1/agents/{agent}/devices/{device}/link", json={})).json()["url"]).path
        await api.delete(f"/v1/agents/{agent}/devices/{device}")
        problem(await phone.get(last), 404)
        problem(await api.post(f"/v1/agents/{agent}/devices/{device}/link", json={}), 404)
        for nothing in ("/provisioning/x", f"/provisioning/{'a' * 43}", "/provisioning/%00", f"/provisioning/{'a' * 200}"):
            assert (await phone.get(nothing)).status_code in (404, 422)
    assert await office.rows("SELECT ha1_sealed FROM devices") == [{"ha1_sealed": None}]


async def test_a_head_request_and_two_at_once_use_it_up_no_more_than_once(office: Office) -> None:
    _, _, path = await linked(office)
    async with office.stranger() as phone:
        assert (await phone.head(path)).status_code == 405
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*(phone.get(path) for _ in range(6))))
    assert statuses == [200, 404, 404, 404, 404, 404]


@pytest.mark.parametrize("role", ["supervisor", "auditor", "agent"])
async def test_only_owners_and_admins_make_links(office: Office, role: str) -> None:
    agent, device, _ = await linked(office)
    async with office.client(role) as api:
        problem(await api.post(f"/v1/agents/{agent}/devices/{device}/link", json={}), 403)
    async with office.client() as api:
        problem(await api.post(f"/v1/agents/{agent}/devices/{uuid4()}/link", json={}), 404)
        problem(await api.post(f"/v1/agents/{agent}/devices/{device}/link", json={"ttl_s": 5}), 422)
    async with office.client("owner", "globex") as foreign:
        problem(await foreign.post(f"/v1/agents/{agent}/devices/{device}/link", json={}), 404)


async def test_neither_token_nor_password_stands_in_a_log_or_a_row(office: Office) -> None:
    with structlog.testing.capture_logs() as logged:
        _, _, path = await linked(office)
        async with office.stranger() as phone:
            answer = await phone.get(path)
            await phone.get(path)
    token = path.rpartition("/")[2]
    password = re.search(r'name="passwd"[^>]*>([^<]+)<', answer.text)
    assert password is not None
    held = repr(logged) + repr([await office.rows(f"SELECT * FROM {table}") for table in ("devices", "provisioning_links", "audit_log")])
    assert token not in held
    assert password.group(1) not in held
    assert any(entry.get("route") == "/provisioning/{token}" for entry in logged)
