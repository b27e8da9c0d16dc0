"""/v1/webhooks and what their servers are told: signed, at least once, later where they are away, never inside, never more than granted."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from hushwire.app.config import Config, Data
from hushwire.app.config import Webhooks as WebhooksConfig
from hushwire.app.outgoing import outgoing as outgoing_of
from hushwire.core.errors import KeyUnavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId
from hushwire.projections.outbox import project
from hushwire.services import webhook_delivery
from hushwire.services.webhook_contents import MessageContents
from hushwire.services.webhook_delivery import BACK_OFF, LEASE, WebhookDelivery
from hushwire.services.webhook_signing import is_signed, read_secret
from hushwire.services.webhooks import MOST, Made, Webhooks
from hushwire.store import outbox
from hushwire.store import webhooks as table
from hushwire.store.events import FeedEvent
from hushwire.transport.lookups import Answer, Lookups
from hushwire.transport.outgoing import Outgoing
from hushwire.vault.unseal import Why
from tests.api.messaging import OURS, THEIRS, desk
from tests.api.serving import Office, problem, shown
from tests.polling import until
from tests.recorded import Chance
from tests.web_peer import WebPeer, web_peer

URL = "https://hooks.example.org/in"
LOOPBACK = ("127.0.0.0/8",)


class Names(Lookups):
    """DNS that says one thing."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    async def addresses(self, name: str) -> Answer[str]:
        return Answer((self.address,), 60)


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[WebPeer]:
    async with web_peer(tmp_path) as peer:
        yield peer


def guard(web: WebPeer, networks: tuple[str, ...] = LOOPBACK, timeout_s: float = 5.0, dns: Lookups | None = None) -> Outgoing:
    context = ssl.create_default_context(cafile=str(web.authority))
    return Outgoing(dns or Lookups(), context, networks, (web.port,), timeout_s)


async def delivering(office: Office, outgoing: Outgoing) -> WebhookDelivery:
    house = office.house
    return WebhookDelivery(await house.main("worker"), await house.keyring("worker"), outgoing, house.clock, Chance())


async def hook(office: Office, web: WebPeer, path: str, *kinds: str, signs: Any = "hmac-sha256") -> Made:
    """A webhook of this server, which API and operator would refuse as it is inside."""
    house = office.house
    service = Webhooks(await house.main("api"), await house.keyring("api"), house.clock, Chance(), guard(web).fault)
    made = await service.add(house.org, web.url(path), kinds or ("*",), (), signs, actor="api-key:x")
    assert isinstance(made, Made)
    return made


async def happens(office: Office, *kinds: EventKind, org: OrgId | None = None) -> list[DomainEvent]:
    """Events, projected."""
    org = org or office.house.org
    events = [DomainEvent(uuid4(), org, kind, uuid4(), office.house.clock.now(), {"state": "ended"}) for kind in kinds]
    async with (await office.house.main("gateway")).organisation(org) as connection:
        await outbox.add_all(connection, events)
    await project(await office.house.main("worker"))
    return events


async def delivered(delivery: WebhookDelivery) -> int:
    await delivery.deliver()
    return await delivery.settled()


async def states(office: Office) -> list[tuple[str, int, int | None, str | None]]:
    rows = await office.rows("SELECT state, attempts, status, failure FROM webhook_deliveries ORDER BY position")
    return [(row["state"], row["attempts"], row["status"], row["failure"]) for row in rows]


async def test_a_webhook_is_made_with_a_secret_shown_once_changed_renewed_and_removed(office: Office) -> None:
    async with office.client("admin") as api:
        made = await api.post("/v1/webhooks", json={"url": URL, "kinds": ["call.*", "message.erased"]})
        assert made.status_code == 201, made.text
        body = made.json()
        first = read_secret(body.pop("secret"))
        assert first is not None
        assert shown(await api.get(f"/v1/webhooks/{body['id']}")) == body
        assert shown(await api.get("/v1/webhooks")) == [body]
        assert (body["kinds"], body["grants"], body["state"], body["public_key"]) == (["call.*", "message.erased"], [], "active", None)
        changed = shown(await api.patch(f"/v1/webhooks/{body['id']}", json={"active": False, "kinds": ["*"]}))
        assert (changed["state"], changed["kinds"], changed["url"]) == ("paused", ["*"], URL)
        renewed = shown(await api.post(f"/v1/webhooks/{body['id']}/secret"))
        assert read_secret(renewed["secret"]) not in (None, first)
        assert renewed["former_secret_until"] is not None
        assert (await api.delete(f"/v1/webhooks/{body['id']}")).status_code == 204
        problem(await api.get(f"/v1/webhooks/{body['id']}"), 404)
    logged = await office.rows("SELECT action, fields FROM audit_log WHERE object = $1 ORDER BY position", f"webhook:{body['id']}")
    assert [row["action"] for row in logged] == ["webhook.made", "webhook.changed", "webhook.secret-renewed", "webhook.removed"]
    assert "example" not in str(logged)


INSIDE = (
    "http://hooks.example.org/", "https://hooks.example.org:22/", "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/",
    "https://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/", "https://a@hooks.example.org/", "https:///in", "ftp://x/",
    "https://hooks.example.org/\u00e4", "https://hooks..example.org/",
)  # fmt: skip


async def test_an_address_inside_or_of_another_kind_makes_no_webhook(office: Office) -> None:
    async with office.client() as api:
        for url in INSIDE:
            problem(await api.post("/v1/webhooks", json={"url": url, "kinds": ["*"]}), 422)
        assert shown(await api.get("/v1/webhooks")) == []


async def test_numbers_and_words_are_granted_by_owners_alone_and_so_is_where_they_go(office: Office) -> None:
    granted = {"url": URL, "kinds": ["message.*"], "grants": ["bodies", "numbers"]}
    async with office.client("admin") as admin, office.client() as owner:
        problem(await admin.post("/v1/webhooks", json=granted), 403)
        made = (await owner.post("/v1/webhooks", json=granted)).json()
        path = f"/v1/webhooks/{made['id']}"
        for change in ({"url": URL + "/mine"}, {"kinds": ["*"]}, {"grants": ["numbers"]}):
            problem(await admin.patch(path, json=change), 403)
        assert shown(await admin.patch(path, json={"active": False}))["grants"] == ["bodies", "numbers"]
        assert shown(await admin.patch(path, json={"grants": []}))["grants"] == []
        problem(await admin.patch(path, json={"grants": ["numbers"]}), 403)
        assert shown(await owner.patch(path, json={"grants": ["numbers"]}))["grants"] == ["numbers"]
    logged = await office.rows(
        "SELECT fields->>'grants' AS grants FROM audit_log WHERE object = $1 ORDER BY position", f"webhook:{made['id']}"
    )
    assert [row["grants"] for row in logged] == ["bodies numbers", "bodies numbers", "", "numbers"]


async def test_an_organisation_has_a_bounded_number_of_webhooks_and_unknown_kinds_make_none(office: Office) -> None:
    async with office.client() as api:
        for kinds in (["call"], ["call.*", "calls.*"], [".*"], ["call.ended "], [""], []):
            problem(await api.post("/v1/webhooks", json={"url": URL, "kinds": kinds}), 422)
        answers = [await api.post("/v1/webhooks", json={"url": URL, "kinds": ["*"]}) for _ in range(MOST + 1)]
    assert [answer.status_code for answer in answers] == [201] * MOST + [409]


async def test_each_event_is_told_once_and_a_public_library_believes_its_signature(office: Office, web: WebPeer) -> None:
    made = await hook(office, web, "/in?key=1", "call.*")
    events = await happens(office, EventKind.CALL_STARTED, EventKind.RECORDING_STORED, EventKind.CALL_ENDED)
    delivery = await delivering(office, guard(web))
    assert [await delivered(delivery), await delivered(delivery)] == [2, 0]
    assert made.secret is not None
    told = {}
    for _ in range(2):
        request = await web.request()
        assert (request["method"], request["path"], request["headers"]["content-type"]) == ("POST", "/in?key=1", "application/json")
        said: Any = Verifier(made.secret).verify(request["body"], request["headers"])
        with pytest.raises(WebhookVerificationError):
            Verifier(made.secret).verify(request["body"].replace("ended", "begun"), request["headers"])
        assert request["headers"]["webhook-id"] == said["id"]
        told[said["id"]] = said
    expected = [
        {"id": str(one.id), "position": place, "type": one.kind.value, "timestamp": one.at.isoformat(),
         "data": {"subject": str(one.subject), "state": "ended"}}
        for place, one in ((1, events[0]), (3, events[2]))
    ]  # fmt: skip
    assert list(told.values()) == expected or list(told.values()) == expected[::-1]
    assert await states(office) == [("delivered", 1, 200, None)] * 2


async def test_a_signature_by_ed25519_is_verified_by_the_public_key_that_is_shown(office: Office, web: WebPeer) -> None:
    made = await hook(office, web, "/in", signs="ed25519")
    assert (made.secret, made.view.public_key is None) == (None, False)
    await happens(office, EventKind.CALL_ENDED)
    assert await delivered(await delivering(office, guard(web))) == 1
    request = await web.request()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode((made.view.public_key or "").removeprefix("whpk_")))
    headers = request["headers"]
    version, signature = headers["webhook-signature"].split(",")
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{request['body']}".encode()
    key.verify(base64.b64decode(signature), said)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), said + b" ")
    assert version == "v1a"


async def test_for_a_day_both_secrets_sign_and_then_the_new_one_alone(office: Office, web: WebPeer) -> None:
    made = await hook(office, web, "/in")
    async with office.client() as api:
        renewed = shown(await api.post(f"/v1/webhooks/{made.view.id}/secret"))
    delivery = await delivering(office, guard(web))
    for ahead, signers in ((timedelta(hours=23), 2), (timedelta(hours=2), 1)):
        office.house.clock.ahead += ahead
        await happens(office, EventKind.CALL_ENDED)
        assert await delivered(delivery) == 1
        request = await web.request()
        headers, now_s = request["headers"], office.house.clock.now().timestamp()
        assert len(headers["webhook-signature"].split(" ")) == signers
        believed = [
            is_signed(
                headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], request["body"].encode(), secret, now_s
            )
            for secret in (read_secret(made.secret or ""), read_secret(renewed["secret"]))
            if secret is not None
        ]
        assert believed == [signers == 2, True]


async def test_a_server_that_is_away_is_told_later_under_the_same_id(office: Office, web: WebPeer) -> None:
    await hook(office, web, "/first/503/a")
    (event,) = await happens(office, EventKind.CALL_ENDED)
    delivery = await delivering(office, guard(web))
    assert await delivered(delivery) == 0
    assert await states(office) == [("waiting", 1, 503, None)]
    assert await delivered(delivery) == 0, "before its time nothing is tried"
    office.house.clock.ahead += BACK_OFF[0] * 1.2
    assert await delivered(delivery) == 1
    assert [(await web.request())["headers"]["webhook-id"] for _ in range(2)] == [str(event.id)] * 2
    assert await states(office) == [("delivered", 2, 200, None)]


async def test_what_is_refused_for_days_is_dead_can_be_listed_and_is_tried_anew_on_wish(office: Office, web: WebPeer) -> None:
    made = await hook(office, web, "/status/500")
    await happens(office, EventKind.CALL_ENDED)
    delivery = await delivering(office, guard(web))
    for pause in (timedelta(0), *BACK_OFF):
        office.house.clock.ahead += pause * 1.2
        assert await delivered(delivery) == 0
    assert await states(office) == [("dead", 1 + len(BACK_OFF), 500, None)]
    office.house.clock.ahead += timedelta(hours=9)
    assert await delivered(delivery) == 0
    path = f"/v1/webhooks/{made.view.id}"
    async with office.client() as api:
        assert shown(await api.get(path))["dead"] == 1
        (dead,) = shown(await api.get(f"{path}/deliveries?state=dead"))["items"]
        assert (dead["status"], dead["type"], dead["due_at"]) == (500, "call.ended", None)
        assert shown(await api.get(f"{path}/deliveries?state=delivered"))["items"] == []
        assert (await api.post(f"{path}/deliveries/{dead['id']}/retry")).status_code == 202
        problem(await api.post(f"{path}/deliveries/{dead['id']}/retry"), 409)
        problem(await api.post(f"{path}/deliveries/{uuid4()}/retry"), 404)
    office.house.clock.ahead += timedelta(hours=9)
    await delivered(delivery)
    assert await states(office) == [("waiting", 1, 500, None)]


async def test_no_redirect_is_followed_and_a_server_that_says_gone_is_told_nothing_more(office: Office, web: WebPeer) -> None:
    away, gone = await hook(office, web, "/redirect"), await hook(office, web, "/status/410")
    await happens(office, EventKind.CALL_ENDED)
    delivery = await delivering(office, guard(web))
    await delivered(delivery)
    assert sorted([(await web.request())["path"] for _ in range(2)]) == ["/redirect", "/status/410"]
    assert web.asked.empty()
    found = {row["webhook_id"]: (row["state"], row["failure"]) for row in await office.rows("SELECT * FROM webhook_deliveries")}
    assert found == {away.view.id: ("waiting", "redirect"), gone.view.id: ("dead", None)}
    await happens(office, EventKind.CALL_ENDED)
    assert len(await office.rows("SELECT 1 FROM webhook_deliveries WHERE webhook_id = $1", gone.view.id)) == 1
    async with office.client() as api:
        assert shown(await api.get(f"/v1/webhooks/{gone.view.id}"))["state"] == "gone"


async def test_a_name_that_leads_inside_when_it_is_asked_for_is_never_connected_to(office: Office, web: WebPeer) -> None:
    house = office.house
    fault = Outgoing(Lookups(), ssl.create_default_context(), (), (web.port,)).fault
    service = Webhooks(await house.main("api"), await house.keyring("api"), house.clock, Chance(), fault)
    made = await service.add(house.org, f"https://hooks.example.org:{web.port}/in", ("*",), (), "hmac-sha256", actor="api-key:x")
    assert isinstance(made, Made)
    await happens(office, EventKind.CALL_ENDED)
    for tries, address in enumerate(("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "64:ff9b::7f00:1"), start=1):
        assert await delivered(await delivering(office, guard(web, (), dns=Names(address)))) == 0
        assert await states(office) == [("waiting", tries, None, "inner-address")]
        office.house.clock.ahead += timedelta(hours=1)
    assert web.asked.empty()


async def test_a_server_that_never_answers_holds_up_no_other_webhook(office: Office, web: WebPeer) -> None:
    slow, quick = await hook(office, web, "/slow"), await hook(office, web, "/in")
    await happens(office, *[EventKind.CALL_ENDED] * 20)
    delivery = await delivering(office, guard(web, timeout_s=60))
    try:
        assert await delivery.deliver() == 2
        told = 0
        while told < 20:
            told += (await web.request())["path"] == "/in"
        found = await office.rows("SELECT DISTINCT state FROM webhook_deliveries WHERE webhook_id = $1", slow.view.id)
        assert [row["state"] for row in found] == ["waiting"]
        assert slow.view.id != quick.view.id
    finally:
        await delivery.close()


async def test_an_event_whose_content_can_not_be_read_now_holds_up_none_beside_it_and_doubles_none(office: Office, web: WebPeer) -> None:
    house = office.house
    service = Webhooks(await house.main("api"), await house.keyring("api"), house.clock, Chance(), guard(web).fault)
    await service.add(house.org, web.url("/in"), ("*",), ("numbers",), "hmac-sha256", actor="api-key:x")
    broken = (await happens(office, *[EventKind.CALL_ENDED] * 3))[1]

    class Contents:
        async def of(self, org_id: OrgId, event: FeedEvent, grants: Sequence[str], why: Why) -> None:
            if event.id == broken.id:
                raise KeyUnavailable

    delivery = WebhookDelivery(await house.main("worker"), await house.keyring("worker"), guard(web), house.clock, Chance(), [Contents()])
    assert await delivered(delivery) == 2
    assert await states(office) == [("delivered", 1, 200, None), ("waiting", 1, None, "unread"), ("delivered", 1, 200, None)]


async def test_what_a_worker_had_begun_when_it_died_is_told_by_another_under_the_same_id(office: Office, web: WebPeer) -> None:
    made = await hook(office, web, "/in")
    (event,) = await happens(office, EventKind.CALL_ENDED)
    now = office.house.clock.now()
    async with (await office.house.main("worker")).organisation(office.house.org) as connection:
        assert len(await table.claim(connection, made.view.id, now, now + LEASE, 8)) == 1
    delivery = await delivering(office, guard(web))
    assert await delivered(delivery) == 0
    office.house.clock.ahead += LEASE
    assert await delivered(delivery) == 1
    assert (await web.request())["headers"]["webhook-id"] == str(event.id)


async def test_two_workers_at_once_tell_each_event_once_and_a_neighbours_events_nobody(office: Office, web: WebPeer) -> None:
    await hook(office, web, "/in")
    events = await happens(office, *[EventKind.CALL_ENDED] * 30)
    await happens(office, EventKind.CALL_ENDED, org=office.other)
    two = [await delivering(office, guard(web)) for _ in range(2)]
    assert sum(await asyncio.gather(*map(delivered, two))) == 30
    told = [json.loads((await web.request())["body"])["id"] for _ in range(30)]
    assert sorted(told) == sorted(str(one.id) for one in events)
    assert web.asked.empty()


async def test_a_paused_webhook_is_told_later_and_a_removed_one_never(office: Office, web: WebPeer) -> None:
    paused, removed = await hook(office, web, "/paused"), await hook(office, web, "/removed")
    delivery = await delivering(office, guard(web))
    async with office.client() as api:
        shown(await api.patch(f"/v1/webhooks/{paused.view.id}", json={"active": False}))
        await happens(office, EventKind.CALL_ENDED)
        assert (await api.delete(f"/v1/webhooks/{removed.view.id}")).status_code == 204
        assert await delivered(delivery) == 0
        assert shown(await api.get(f"/v1/webhooks/{paused.view.id}"))["waiting"] == 1
        shown(await api.patch(f"/v1/webhooks/{paused.view.id}", json={"active": True}))
    assert await delivered(delivery) == 1
    assert (await web.request())["path"] == "/paused"
    office.house.clock.ahead += timedelta(days=2)
    assert await delivery.tidy() == 1
    assert await states(office) == []


async def test_numbers_and_words_of_a_message_are_told_as_far_as_an_owner_granted_and_each_telling_is_noted(
    office: Office, web: WebPeer
) -> None:
    at, house = await desk(office), office.house
    service = Webhooks(await house.main("api"), await house.keyring("api"), house.clock, Chance(), guard(web).fault)
    told: dict[str, Any] = {}
    for name, grants in (("nothing", ()), ("numbers", ("numbers",)), ("all", ("bodies", "numbers"))):
        made = await service.add(house.org, web.url(f"/{name}"), ("message.*",), grants, "hmac-sha256", actor="api-key:x")  # type: ignore[arg-type]
        assert isinstance(made, Made)
    await at.receive("Der Code ist 4711")
    await project(await house.main("worker"))
    contents = (MessageContents(at.bodies),)
    delivery = WebhookDelivery(await house.main("worker"), await house.keyring("worker"), guard(web), house.clock, Chance(), contents)
    assert await delivered(delivery) == 3
    for _ in range(3):
        request = await web.request()
        told[request["path"]] = json.loads(request["body"])
        if request["path"] != "/all":
            assert "4711" not in request["body"]
    assert "content" not in told["/nothing"]
    assert THEIRS[1:] not in json.dumps(told["/nothing"])
    assert told["/numbers"]["content"] == {"from": THEIRS, "to": OURS}
    assert told["/all"]["content"] == {"from": THEIRS, "to": OURS, "text": "Der Code ist 4711"}
    noted = await office.rows("SELECT actor, purpose FROM access_log WHERE actor LIKE 'webhook:%'")
    assert [row["purpose"] for row in noted] == ["webhook"] * 2
    async with (await house.main("worker")).organisation(house.org) as connection:
        await connection.execute("UPDATE messages SET erased_at = now()")
        await connection.execute("UPDATE webhook_deliveries SET state = 'waiting', due_at = now() - interval '1 minute'")
    assert await delivered(delivery) == 3
    for _ in range(3):
        assert "content" not in json.loads((await web.request())["body"]), "what was erased meanwhile is not told"


def test_only_networks_that_are_named_for_an_organisation_are_reached_by_its_webhooks(tmp_path: Path) -> None:
    set_up = WebhooksConfig.model_validate({"networks": ["10.4.0.0/16"], "orgs": {"acme": {"networks": ["10.5.0.0/16"]}}})
    config = Config(data=Data(dir=tmp_path), webhooks=set_up)
    guarded = outgoing_of(config)
    for host, slug, is_reached in (
        ("10.4.0.1", "acme", False),
        ("10.5.0.1", "acme", True),
        ("10.5.0.1", "globex", False),
        ("10.4.0.1", "globex", False),
        ("[::ffff:10.5.0.1]", "acme", True),
        ("[::ffff:10.5.0.1]", "globex", False),
        ("9.9.9.9", "globex", True),
    ):
        fault = guarded.fault(f"https://{host}/", config.webhooks.inside(slug))
        assert (fault is None) is is_reached, (host, slug, fault)
    assert guarded.fault("https://10.4.0.1/") is None, "the operator's own carriers"


async def test_of_lanes_that_are_few_organisations_take_turns(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_delivery, "MOST_LANES", 4)
    monkeypatch.setattr(webhook_delivery, "MOST_OF_ONE", 3)
    loud, quiet = OrgId(UUID(int=1)), OrgId(UUID(int=2))
    house = office.house
    due = [(loud, UUID(int=number)) for number in range(10, 20)] + [(quiet, UUID(int=30))]
    delivery = WebhookDelivery(await house.main("worker"), await house.keyring("worker"), None, house.clock, Chance())  # type: ignore[arg-type]
    going, rounds = asyncio.Event(), []

    async def every(_connection: object, _now: object) -> list[tuple[OrgId, UUID]]:
        return due

    async def slow(org_id: OrgId, webhook_id: UUID) -> int | None:
        rounds.append((org_id, webhook_id))
        await going.wait()
        return 1

    monkeypatch.setattr("hushwire.services.webhook_delivery.table.due", every)
    monkeypatch.setattr(delivery, "_round", slow)
    assert await delivery.deliver() == 4
    await until(lambda: len(rounds) == 4)
    assert [org for org, _ in rounds].count(loud) == 3
    assert (quiet, UUID(int=30)) in rounds
    # A receiver that is slow but takes what it gets gives its lane up after each round while others wait.
    first = {webhook for _, webhook in rounds}
    going.set()
    await delivery.settled()
    going.clear()
    assert await delivery.deliver() == 4
    await until(lambda: len(rounds) == 8)
    await delivery.close()
    assert first


async def test_who_has_more_webhooks_than_lanes_takes_none_of_another_organisations_turns(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_delivery, "MOST_OF_ONE", 2)
    loud, quiet = OrgId(UUID(int=1)), OrgId(UUID(int=2))
    house = office.house
    due = [(loud, UUID(int=number)) for number in range(10, 14)] + [(quiet, UUID(int=30))]
    delivery = WebhookDelivery(await house.main("worker"), await house.keyring("worker"), None, house.clock, Chance())  # type: ignore[arg-type]
    rounds: list[OrgId] = []

    async def every(_connection: object, _now: object) -> list[tuple[OrgId, UUID]]:
        return due

    async def three(org_id: OrgId, webhook_id: UUID) -> int | None:
        rounds.append(org_id)
        return 1 if rounds.count(org_id) < 3 else None

    monkeypatch.setattr("hushwire.services.webhook_delivery.table.due", every)
    monkeypatch.setattr(delivery, "_round", three)
    assert await delivery.deliver() == 3
    await delivery.settled()
    assert (rounds.count(quiet), rounds.count(loud)) == (3, 2)
