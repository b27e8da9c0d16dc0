"""Carriers by https: what leaves to a server that is not ours, what it says of it, and what it brings; signed both ways."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from hushwire.app import provision_file
from hushwire.core.errors import ConfigError, Unavailable, Unfinished
from hushwire.services import http_carrier
from hushwire.services.carrier_callbacks import REMEMBERED
from hushwire.services.http_carrier import HttpCarriers
from hushwire.services.message_runs import Run
from hushwire.services.message_troubles import MessageTroubles
from hushwire.services.provisioning_centres import CentreSpec, apply_centres
from hushwire.services.webhook_signing import WINDOW_S
from hushwire.store import message_parts
from hushwire.store.message_parts import Settled
from hushwire.transport.lookups import Lookups
from hushwire.transport.outgoing import Outgoing
from tests.api.messaging import OURS, THEIRS, Desk, add_number, desk
from tests.api.serving import Office, office, problem, shown
from tests.polling import until
from tests.recorded import Chance
from tests.web_peer import WebPeer, web_peer

__all__ = ["office"]
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SIGNER = Webhook(SECRET)
REFUSING = "CREATE FUNCTION refusing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END'"


def replying(said: dict[str, Any]) -> str:
    return "/reply/" + base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[WebPeer]:
    async with web_peer(tmp_path) as peer:
        yield peer


class Carrier:
    """The deployment's only carrier, which is this server."""

    def __init__(self, office: Office, web: WebPeer, at: Desk, run: Run, sending: HttpCarriers) -> None:
        self.office, self.web, self.desk, self.run, self.sending = office, web, at, run, sending

    @classmethod
    async def of(cls, office: Office, web: WebPeer, path: str, timeout_s: float = 5.0, **more: Any) -> "Carrier":
        at, house = await desk(office), office.house
        settings = {"url": web.url(path), "auth": "bearer", "username": "", "header": "X", "window": 10, "numbering": "payload",
                    "unknown_after_s": 60, "when_unknown": "fail", "most_attempts": 2} | more  # fmt: skip
        spec = CentreSpec(f"smsc-{at.centre}", "http", 0, 1, (), settings, "a-token", SECRET)
        keys = await (await house.keyring("owner")).deployment()
        async with (await house.main("owner")).transaction() as connection:
            changes, _ = await apply_centres(connection, [spec], keys, house.clock.now(), Chance(), prune=False)
            again, _ = await apply_centres(connection, [spec], keys, house.clock.now(), Chance(), prune=False)
        assert (len(changes), again) == (1, [])
        main, keyring = await house.main("worker"), await house.keyring("worker")
        guard = Outgoing(Lookups(), ssl.create_default_context(cafile=str(web.authority)), ("127.0.0.0/8",), (web.port,), timeout_s)
        run = Run(uuid4(), house.node, main, house.clock)
        await run.begin()
        sending = HttpCarriers(run, main, keyring, at.bodies, guard, house.clock, Chance())
        return cls(office, web, at, run, sending)

    async def says(
        self, what: str, said: Any, *, request_id: str = "", at: datetime | None = None, body: str | None = None
    ) -> httpx.Response:
        """A callback, signed by a public library."""
        request_id, at = request_id or f"msg_{uuid4()}", at or self.office.house.clock.now()
        text = json.dumps(said) if body is None else body
        headers = {"webhook-id": request_id, "webhook-timestamp": str(int(at.timestamp())), "Content-Type": "application/json",
                   "webhook-signature": SIGNER.sign(request_id, at, json.dumps(said))}  # fmt: skip
        async with self.office.stranger() as carrier:
            return await carrier.post(f"/v1/carriers/{self.desk.centre}/{what}", content=text, headers=headers)

    async def states(self) -> list[tuple[str, str | None]]:
        rows = await self.office.rows("SELECT state, error FROM messages WHERE direction = 'outbound' ORDER BY created_at")
        return [(row["state"], row["error"]) for row in rows]


async def sent(office: Office, text: str = "Hallo 👋 " * 60) -> str:
    async with office.client() as api:
        answer = await api.post("/v1/messages", json={"to": THEIRS, "text": text})
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


async def test_a_message_leaves_whole_and_signed_and_its_receipt_makes_it_delivered(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, replying({"id": "Carrier-7"}))
    message = await sent(office)
    assert await carrier.sending.work() == 1
    request = await web.request()
    headers = request["headers"]
    said: Any = SIGNER.verify(request["body"].encode("latin-1").decode(), headers)
    assert said == {"id": message, "from": OURS, "to": THEIRS, "text": "Hallo 👋 " * 60, "valid_until": said["valid_until"]}
    assert (headers["authorization"], headers["idempotency-key"], request["method"]) == ("Bearer a-token", message, "POST")
    assert await carrier.states() == [("submitted", None)]
    receipt = {"id": "Carrier-7", "to": THEIRS, "status": "delivered"}
    assert (await carrier.says("receipts", receipt)).status_code == 202
    assert await carrier.sending.receipts() == 1
    assert await carrier.states() == [("delivered", None)]
    assert (await carrier.sending.work(), web.asked.empty()) == (0, True)


@pytest.mark.parametrize(
    ("path", "state", "error"), [("/status/400", "failed", "http-400"), ("/redirect", "failed", "redirect"), ("/slow", "unknown", None)]
)
async def test_what_is_refused_fails_and_what_may_have_left_is_in_doubt(
    office: Office, web: WebPeer, path: str, state: str, error: str | None
) -> None:
    carrier = await Carrier.of(office, web, path, 1.0)
    await sent(office)
    assert await carrier.sending.work() == 1
    assert await carrier.states() == [(state, error)]
    office.house.clock.ahead += timedelta(minutes=2)
    await carrier.run.beat()
    assert await carrier.sending.upkeep() == (state == "unknown")
    assert (await carrier.states())[0][0] == "failed"
    assert (await carrier.sending.work(), web.asked.qsize()) == (0, 1)


async def test_a_busy_carrier_is_asked_again_later_under_the_same_name_and_so_often_and_no_more(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, "/status/503")
    message = await sent(office)
    assert [await carrier.sending.work(), await carrier.sending.work()] == [1, 0]
    assert await carrier.states() == [("queued", None)]
    office.house.clock.ahead += timedelta(minutes=1)
    await carrier.run.beat()
    assert await carrier.sending.work() == 1
    assert await carrier.states() == [("failed", "http-503")]
    assert [(await web.request())["headers"]["idempotency-key"] for _ in range(2)] == [message] * 2


async def test_what_a_carrier_answered_is_written_once_the_database_is_there_again(
    office: Office, web: WebPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = await Carrier.of(office, web, replying({"id": "Carrier-8"}))
    await sent(office)
    settle, tries = message_parts.settle, []

    async def away_at_first(*arguments: Any) -> list[Settled]:
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("away")
        return await settle(*arguments)

    monkeypatch.setattr(message_parts, "settle", away_at_first)
    assert await carrier.sending.work() == 1
    assert await carrier.states() == [("submitted", None)]


async def test_a_carriers_message_is_received_once_however_often_it_is_brought_and_never_after_its_erasure(
    office: Office, web: WebPeer
) -> None:
    carrier = await Carrier.of(office, web, "/in")
    brought = {"id": "in-1", "from": THEIRS, "to": OURS, "text": "Grüße 👋 " + "lang " * 100}
    answers = [await carrier.says("messages", brought, request_id="same") for _ in range(3)]
    answers.append(await carrier.says("messages", brought))
    assert [answer.status_code for answer in answers] == [202] * 4
    async with office.client() as api:
        (message,) = shown(await api.get("/v1/messages", params={"direction": "inbound"}))["items"]
        assert (message["number"], message["own"], message["text"]) == (THEIRS, OURS, brought["text"])
        shown(await api.post("/v1/messages/erase", json={"number": THEIRS, "reason": "data-subject-request"}))
        assert (await carrier.says("messages", brought, request_id="same")).status_code == 202
        assert shown(await api.get("/v1/messages"))["items"] == []
    assert await office.rows("SELECT count(*) AS n FROM carrier_callbacks") == [{"n": 2}]
    office.house.clock.ahead += REMEMBERED
    await carrier.sending.receipts()
    assert await office.rows("SELECT count(*) AS n FROM carrier_callbacks") == [{"n": 0}]


async def test_a_message_that_claims_to_be_older_than_any_calendar_is_kept_as_old_as_may_be(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, "/in")
    for number, at in enumerate(("0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z")):
        said = {"id": f"old-{number}", "from": THEIRS, "to": OURS, "text": "STOP", "at": at}
        assert (await carrier.says("messages", said)).status_code == 202
    oldest = office.house.clock.now() - timedelta(days=8)
    kept = await office.rows("SELECT created_at FROM messages WHERE direction = 'inbound'")
    assert [row["created_at"] > oldest for row in kept] == [True, True]
    assert await office.rows("SELECT count(*) AS n FROM do_not_call") == [{"n": 2}]


async def test_a_message_that_can_not_be_taken_is_kept_nowhere_and_is_taken_when_it_is_brought_again(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, "/in", country="DE")
    said = {"id": "in-1", "from": "015112345678", "to": "03023125950", "text": "STOP"}
    async with (await office.house.main("owner")).transaction() as connection:
        await connection.execute(REFUSING)
        await connection.execute("CREATE TRIGGER refusing BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refusing()")
    problem(await carrier.says("messages", said, request_id="same"), 503)
    assert await office.rows("SELECT count(*) AS n FROM carrier_callbacks") == [{"n": 0}]
    async with (await office.house.main("owner")).transaction() as connection:
        await connection.execute("DROP TRIGGER refusing ON messages")
    assert (await carrier.says("messages", said, request_id="same")).status_code == 202
    async with office.client() as api:
        (message,) = shown(await api.get("/v1/messages", params={"direction": "inbound"}))["items"]
        assert (message["number"], message["own"], message["keyword"]) == (THEIRS, OURS, "stop")
        # What a carrier brings is the organisation's from then on: it is found, exported and erased as all else of the person.
        shown(await api.post("/v1/messages/erase", json={"number": "0151 12345678", "reason": "data-subject-request"}))
        assert shown(await api.get("/v1/messages"))["items"] == []
    assert await office.rows("SELECT count(*) AS n FROM messages WHERE remote_sealed IS NOT NULL") == [{"n": 0}]


async def test_a_receipt_is_kept_without_the_number_and_what_came_last_of_one_that_ended_counts(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, replying({"id": "Carrier-9"}))
    for status in ("pending", "failed", "pending"):
        said = {"id": "Carrier-9", "to": THEIRS, "status": status, "error": "gone" if status == "failed" else None}
        assert (await carrier.says("receipts", said)).status_code == 202
    (kept,) = await office.rows("SELECT * FROM message_receipts")
    assert (kept["state"], kept["error"], THEIRS[1:].encode() in kept["destination_index"]) == ("failed", "gone", False)
    assert await carrier.sending.receipts() == 0
    await sent(office)
    assert await carrier.sending.work() == 1
    assert await carrier.states() == [("failed", "gone")]


async def test_rows_of_one_organisation_that_can_not_be_written_hold_up_no_other(
    office: Office, web: WebPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_carrier, "SETTLE_PAUSE_S", 0.05)
    carrier = await Carrier.of(office, web, replying({}), window=4)
    house = office.house
    await add_number(office, "+493023125970", org=office.other)
    await office.rows("UPDATE orgs SET allowed_countries = '{DE}', updated_at = now() RETURNING id", org=office.other)
    mine = [await sent(office, f"Hello {number}") for number in range(6)]
    async with office.client(slug="globex") as api:
        theirs = [(await api.post("/v1/messages", json={"to": THEIRS, "text": "Hello"})).json()["id"] for _ in range(6)]
    async with (await house.main("owner")).transaction() as connection:
        await connection.execute(REFUSING)
        await connection.execute(
            "CREATE TRIGGER refusing BEFORE UPDATE ON message_parts FOR EACH ROW"
            f" WHEN (NEW.org_id = '{house.org}' AND NEW.state <> 'sending') EXECUTE FUNCTION refusing()"
        )
    # Parts of the one are claimed and sent, and what was answered can't be written; those of the other go on beside it.
    await asyncio.wait_for(carrier.sending.work(), 20)
    said = {(await web.request())["headers"]["idempotency-key"] for _ in range(web.asked.qsize())}
    assert said >= {*theirs}
    rows = await office.rows("SELECT DISTINCT state FROM message_parts", org=office.other)
    assert [row["state"] for row in rows] == ["submitted"]
    async with (await house.main("owner")).transaction() as connection:
        await connection.execute("DROP TRIGGER refusing ON message_parts")

    async def are_written() -> bool:
        await carrier.sending.work()
        return await carrier.states() == [("submitted", None)] * len(mine)

    await until(are_written, timeout_s=20)
    house.clock.ahead += timedelta(seconds=1)
    assert {*mine, *theirs} == said | {(await web.request())["headers"]["idempotency-key"] for _ in range(web.asked.qsize())}


async def test_a_carrier_that_is_not_reached_costs_no_attempt_and_its_messages_go_by_another_one_once_that_is_there(
    office: Office, web: WebPeer
) -> None:
    carrier, house = await Carrier.of(office, web, "/in", url="https://127.0.0.1:1/send", most_attempts=2), office.house

    async def second(path: str) -> None:
        settings = {"url": web.url(path), "auth": "none", "username": "", "header": "X", "window": 10, "numbering": "payload",
                    "most_attempts": 2}  # fmt: skip
        keys = await (await house.keyring("owner")).deployment()
        async with (await house.main("owner")).transaction() as connection:
            spec = CentreSpec("second", "http", 1, 1, (), settings, None)
            await apply_centres(connection, [spec], keys, house.clock.now(), Chance(), prune=False)

    await second("/status/503")
    message = await sent(office)
    for _ in range(4):
        assert await carrier.sending.work() == 1
        house.clock.ahead += timedelta(seconds=31)
        await carrier.run.beat()
    assert await office.rows("SELECT state, attempts FROM message_parts") == [{"state": "queued", "attempts": 0}]
    with pytest.raises(Unfinished, match="1 of 2 carriers of messages by https stay away"):
        await carrier.sending.look_away()
    assert await carrier.sending.upkeep() == 0, "the other one is busy"
    assert (await web.request())["method"] == "HEAD"
    for status in (301, 403, 404, 410, 429, 500, 501):
        await second(f"/status/{status}")
        assert await carrier.sending.upkeep() == 0, f"{status} does not say that messages are taken there"
        assert (await web.request())["method"] == "HEAD"
    await second("/in")
    assert await carrier.sending.upkeep() == 1
    assert await carrier.sending.work() == 1
    asked = [await web.request() for _ in range(2)]
    assert [(one["method"], one["headers"].get("idempotency-key")) for one in asked] == [("HEAD", None), ("POST", message)]
    assert await carrier.states() == [("submitted", None)]


async def test_what_nobody_wants_to_be_sent_any_more_is_asked_for_once_and_not_over_and_over(
    office: Office, web: WebPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = await Carrier.of(office, web, replying({}))
    await sent(office)
    office.house.clock.ahead += timedelta(hours=49)
    await carrier.run.beat()
    due, asked = message_parts.due, []

    async def counted(*arguments: Any) -> list[message_parts.PartRef]:
        asked.append(1)
        return await due(*arguments)

    monkeypatch.setattr(message_parts, "due", counted)
    assert await asyncio.wait_for(carrier.sending.work(), 20) == 0
    assert (len(asked), web.asked.empty()) == (1, True)


async def test_an_organisation_whose_keys_are_away_holds_up_no_other_and_its_texts_leave_once_they_are_back(
    office: Office, web: WebPeer
) -> None:
    carrier = await Carrier.of(office, web, replying({"id": "Carrier-7"}))
    house = office.house
    await add_number(office, "+493023125970", org=office.other)
    await office.rows("UPDATE orgs SET allowed_countries = '{DE}', updated_at = now() RETURNING id", org=office.other)
    mine = await sent(office)
    async with office.client(slug="globex") as api:
        theirs = (await api.post("/v1/messages", json={"to": THEIRS, "text": "Hello"})).json()["id"]
    async with (await house.db("keyring", "owner")).organisation(house.org) as connection:
        buckets = [row["id"] for row in await connection.fetch("SELECT id FROM buckets")]
    secrets = [path for path in (house.folder / "buckets").iterdir() if UUID(path.name) in buckets]
    assert secrets
    away = house.folder / "away"
    away.mkdir()
    for path in secrets:
        path.rename(away / path.name)
    assert await carrier.sending.work() == 1
    assert (await web.request())["headers"]["idempotency-key"] == theirs
    assert await office.rows("SELECT state, error FROM message_parts") == [{"state": "queued", "error": "key-unavailable"}]
    with pytest.raises(Unfinished, match="1 parts of 1 organisations wait for keys"):
        await MessageTroubles(await house.main("worker")).look()
    for path in secrets:
        (away / path.name).rename(path)
    assert await carrier.sending.work() == 0
    house.clock.ahead += timedelta(seconds=30)
    await carrier.run.beat()
    assert await carrier.sending.work() == 1
    assert (await web.request())["headers"]["idempotency-key"] == mine
    assert await carrier.states() == [("submitted", None)]
    assert await MessageTroubles(await house.main("worker")).look() == 0


async def test_a_text_that_does_not_open_holds_up_none_beside_it(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, replying({"id": "Carrier-7"}))
    ids = [await sent(office, f"Hello {number}") for number in range(5)]
    altered = "UPDATE messages SET body_sealed = set_byte(body_sealed, 20, 255 - get_byte(body_sealed, 20)) WHERE id = $1 RETURNING 1"
    await office.rows(altered, UUID(ids[2]))
    assert await carrier.sending.work() == 4
    said = {(await web.request())["headers"]["idempotency-key"] for _ in range(4)}
    assert said == {*ids} - {ids[2]}
    (waiting,) = await office.rows("SELECT message_id, error FROM message_parts WHERE state = 'queued'")
    assert (str(waiting["message_id"]), waiting["error"]) == (ids[2], "key-unavailable")


async def test_nothing_is_believed_that_the_carrier_did_not_sign_just_now(office: Office, web: WebPeer) -> None:
    carrier = await Carrier.of(office, web, "/in")
    said = {"id": "in-1", "from": THEIRS, "to": OURS, "text": "x"}
    now = office.house.clock.now()
    problem(await carrier.says("messages", said, at=now - timedelta(seconds=WINDOW_S + 5)), 401)
    problem(await carrier.says("messages", said, at=now + timedelta(seconds=WINDOW_S + 5)), 401)
    problem(await carrier.says("messages", said, body=json.dumps(said | {"text": "y"})), 401)
    nobody = Desk(office, UUID(int=1), UUID(int=2), carrier.desk.inbox, carrier.desk.bodies)
    other = Carrier(office, web, nobody, carrier.run, carrier.sending)
    problem(await other.says("messages", said), 401)
    async with office.client() as owner:
        problem(await owner.post(f"/v1/carriers/{carrier.desk.centre}/messages", json=said), 401)
    for wrong in ({}, {"id": "a"}, said | {"more": 1}, said | {"from": "a" * 40}, said | {"text": 5}, [said], "x"):
        problem(await carrier.says("messages", wrong), 422)
    problem(await carrier.says("receipts", {"id": "a", "to": THEIRS, "status": "lost"}), 422)
    problem(await carrier.says("messages", said | {"text": "a" * 70_000}), 413)
    assert await office.rows("SELECT count(*) AS n FROM carrier_callbacks") == [{"n": 0}]
    assert await office.rows("SELECT count(*) AS n FROM messages") == [{"n": 0}]


def test_a_provisioning_file_declares_such_carriers_beside_those_by_smpp_and_names_each_mistake(tmp_path: Path) -> None:
    file = tmp_path / "centres.toml"
    https = f'[[message_centres]]\nname = "web"\nkind = "http"\nurl = "https://sms.example.org/send"\nsecret = "{SECRET}"\n'
    file.write_text(f'{https}[[message_centres]]\nname = "smsc"\nsystem_id = "x"\nlinks = [{{ host = "192.0.2.1", port = 2775 }}]\n')
    web_centre, smsc = provision_file.read(file, {"*"}).message_centres
    assert (web_centre.kind, web_centre.secret, web_centre.settings["numbering"], smsc.kind) == ("http", SECRET, "payload", "smpp")
    assert "secret" not in web_centre.settings
    for line, mistake in (
        ('auth = "bearer"', "give auth and password together"), ('url = "http://x"', "https://"), ('secret = "whsec_x"', "whsec_"),
        ('kind = "fax"', "must be one of"), ("window = 0", "window: must be"),
    ):  # fmt: skip
        kept = [one for one in https.splitlines() if not one.startswith(line.partition(" ")[0])]
        file.write_text("\n".join([*kept, line]) + "\n")
        with pytest.raises(ConfigError, match=re.escape(mistake)):
            provision_file.read(file, {"*"})
