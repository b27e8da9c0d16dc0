"""/v1/messages: accepted in one commit, sealed, found by number and thread, erased for good; and whoever says stop is left alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from hushwire.core import purposes
from hushwire.core.errors import Unavailable, Unfinished
from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import OwnHosts, Reason
from hushwire.services import message_inbox
from hushwire.services.carriage import Change, Inbound
from hushwire.services.message_bodies import MessageBodies
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.message_opt_outs import MARK_INDEX
from hushwire.services.message_parties import Form
from hushwire.services.voice_security import VoiceSecurity
from hushwire.sms.text.segmentation import Numbering, Style
from hushwire.store import do_not_call
from hushwire.store import messages as messages_table
from hushwire.store.database import Connection
from hushwire.store.messages import NewMessage
from hushwire.vault.unseal import Why
from tests.api.messaging import OURS, THEIRS, Desk, add_number, delivery, desk, parts_of
from tests.api.serving import Office, problem, shown
from tests.polling import until
from tests.recorded import Chance
from tests.sms.test_keywords import OTHERS, STOPS
from tests.store.rows import insert

BEFORE_ALL = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
"""What no row can hold."""
MARKER = "Marker of a secret meeting"
JSON = {"Content-Type": "application/json"}


async def sent(api: httpx.AsyncClient, text: str = "Hello", to: str = THEIRS, **more: Any) -> dict[str, Any]:
    answer = await api.post("/v1/messages", json={"to": to, "text": text} | more)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def inbound(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Received messages, the oldest first."""
    items: list[dict[str, Any]] = shown(await api.get("/v1/messages", params={"direction": "inbound", "limit": 200}))["items"]
    return items[::-1]


async def test_a_message_is_accepted_shown_found_by_number_and_thread_and_leaves_as_it_was_written(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        one = await sent(api, "Grüße: 10 € [neu]")
        assert (one["state"], one["number"], one["own"], one["text"]) == ("queued", THEIRS, OURS, "Grüße: 10 € [neu]")
        assert (one["encoding"], one["parts"], one["country"], one["direction"]) == ("gsm7", 1, "DE", "outbound")
        await office_desk.receive("Danke 👍")
        (answer,) = await inbound(api)
        assert (answer["number"], answer["own"], answer["text"], answer["state"]) == (THEIRS, OURS, "Danke 👍", "received")
        assert answer["thread_id"] == one["thread_id"]
        found = shown(await api.post("/v1/messages/search", json={"number": "0151 12345678"}))["items"]
        assert [item["id"] for item in found] == [answer["id"], one["id"]]
        assert shown(await api.get("/v1/messages", params={"thread": one["thread_id"]}))["items"] == found
        (thread,) = shown(await api.get("/v1/messages/threads"))["items"]
        assert (thread["unread"], thread["newest"]["id"]) == (1, answer["id"])
        assert shown(await api.patch(f"/v1/messages/{answer['id']}", json={"is_read": True}))["is_read"]
        assert shown(await api.get("/v1/messages/threads"))["items"][0]["unread"] == 0
    (going,) = await office_desk.queued()
    assert (going.source.reveal(), going.destination.reveal()) == (OURS, THEIRS)
    assert [(part.data_coding, part.has_udh) for part in going.parts] == [(0, False)]


async def test_a_message_whose_commit_was_not_answered_is_there_and_can_be_read_and_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office_desk = await desk(office)
    sending, main, is_written = office.means.messages.sending, office.means.messages.sending._main, asyncio.Event()
    insert_all = messages_table.insert_all

    async def inserting(connection: Connection, org_id: OrgId, rows: Sequence[NewMessage]) -> set[UUID]:
        is_written.set()
        return await insert_all(connection, org_id, rows)

    class Losing:
        @asynccontextmanager
        async def organisation(self, org_id: OrgId) -> AsyncIterator[Connection]:
            async with main.organisation(org_id) as connection:
                yield connection
            if is_written.is_set():
                raise Unavailable("the answer to COMMIT was lost")

    monkeypatch.setattr(messages_table, "insert_all", inserting)
    monkeypatch.setattr(sending, "_main", Losing())
    body, headers = {"to": THEIRS, "text": "Once"}, {"Idempotency-Key": "lost"}
    async with office.client() as api:
        problem(await api.post("/v1/messages", json=body, headers=headers), 503)
        monkeypatch.undo()
        answer = await api.post("/v1/messages", json=body, headers=headers)
        assert (answer.status_code, answer.json()["text"]) == (202, "Once")
    (going,) = await office_desk.queued()
    assert going.text.reveal() == "Once"


async def test_under_an_idempotency_key_a_message_is_sent_once_also_at_once(office: Office) -> None:
    await desk(office)
    body, headers = {"to": THEIRS, "text": "Once"}, {"Idempotency-Key": "one"}
    async with office.client() as api:
        answers = await asyncio.gather(*(api.post("/v1/messages", json=body, headers=headers) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        problem(await api.post("/v1/messages", json=body | {"text": "Other"}, headers=headers), 422)
    assert await office.rows("SELECT count(*) AS n FROM message_parts") == [{"n": 1}]
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys WHERE kind = 'message'") == 1, "a repetition left its key behind"


async def test_rows_logs_and_events_hold_nothing_readable_and_every_reading_is_noted(
    office: Office, capfd: pytest.CaptureFixture[str]
) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        one = await sent(api, MARKER)
        await office_desk.receive(MARKER)
        await office_desk.queued()
        shown(await api.get(f"/v1/messages/{one['id']}"))
    for table in ("messages", "message_parts", "outbox", "audit_log", "access_log", "idempotency", "message_batches"):
        for row in await office.rows(f"SELECT row_to_json(t)::text AS said FROM {table} AS t"):
            for marker in (MARKER, "secret meeting", THEIRS[1:], OURS[1:]):
                assert marker not in row["said"]
                assert marker.encode().hex() not in row["said"]
    out, err = capfd.readouterr()
    assert MARKER not in out + err
    assert THEIRS[1:] not in out + err
    noted = {row["purpose"] for row in await office.rows("SELECT purpose FROM access_log WHERE object = $1", f"message:{one['id']}")}
    assert noted == {"customer-service", purposes.MESSAGE_DELIVERY}


async def test_what_the_rules_refuse_is_not_sent_and_says_why(office: Office) -> None:
    await desk(office, countries=("DE",))
    async with office.client() as api:
        for to, reason in (("+33612345678", "country"), ("+4915", "incomplete"), ("112", "emergency"), ("0900123456", "class")):
            said = problem(await api.post("/v1/messages", json={"to": to, "text": "x"}), 403)
            assert said["reason"] in (reason, "invalid"), (to, said)
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x", "from": "+493023125999"}), 403)["reason"] == "sender"
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x", "from": "Acme"}), 403)["reason"] == "sender"
        problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x", "agent": "nobody"}), 422)
        problem(await api.post("/v1/messages", json={"to": THEIRS}), 422)
        problem(await api.post("/v1/messages", content=b'{"to": "+4915112345678", "text": "\\ud83d"}', headers=JSON), 422)
        async with office.client("supervisor") as supervisor:
            assert (await supervisor.post("/v1/messages", json={"to": THEIRS, "text": "x"})).status_code == 202
        await office.rows("DELETE FROM message_parts RETURNING part")
        await office.rows("DELETE FROM message_centres RETURNING id")
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 409)["reason"] == "no-carrier"
    assert await office.rows("SELECT count(*) AS n FROM messages") == [{"n": 1}]


async def test_a_preview_counts_honestly_and_sends_nothing(office: Office) -> None:
    await desk(office)
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"prices": {"DE": "0.075", "*": "0.2"}, "currency": "EUR", "folds": True}))
        for text, encoding, parts, price in (
            ("a" * 160, "gsm7", 1, "0.075"), ("a" * 161, "gsm7", 2, "0.150"), ("“quoted” – it’s plain", "gsm7", 1, "0.075"),
            ("😀" * 36, "ucs2", 2, "0.150"), ("ж" * 70, "ucs2", 1, "0.075"),
        ):  # fmt: skip
            said = shown(await api.post("/v1/messages/preview", json={"to": THEIRS, "text": text}))
            assert (said["encoding"], said["parts"], said["price"], said["currency"], said["own"]) == (encoding, parts, price, "EUR", OURS)
        assert problem(await api.post("/v1/messages/preview", json={"to": "+33612345678", "text": "x"}), 403)["reason"] == "country"
    assert await office.rows("SELECT count(*) AS n FROM messages") == [{"n": 0}]


async def test_the_sender_is_the_agents_own_number_a_name_where_names_are_shown_or_always_the_same_one_of_the_pool(office: Office) -> None:
    anna = await office.add_agent("anna")
    await desk(office)
    await add_number(office, "+493023125901", anna)
    pooled = [await add_number(office, f"+4930231259{n}") for n in (10, 11, 12)]
    async with office.client() as api:
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 403)["reason"] == "no-sender"
        assert (await sent(api, agent="anna"))["own"] == "+493023125901"
        for number in pooled:
            shown(await api.put(f"/v1/messages/numbers/{number}", json={"target": "nobody", "pooled": True}))
        by_recipient = {to: {(await sent(api, to=to))["own"] for _ in range(3)} for to in (THEIRS, "+4915112345679", "+4915112345680")}
        assert all(len(senders) == 1 for senders in by_recipient.values())
        shown(await api.put("/v1/messages/settings", json={"senders": ["alphanumeric", "pool"], "alphanumeric": "Acme"}))
        assert (await sent(api))["own"] == "Acme"
        assert (await sent(api, to="+12025550123"))["own"].startswith("+49"), "where names are not shown a number sends"
        problem(await api.put("/v1/messages/settings", json={"alphanumeric": "12345"}), 422)


async def test_one_text_to_many_is_accepted_together_and_its_progress_told(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        template = await api.post("/v1/messages/templates", json={"name": "hello", "text": "Hi {name}"})
        assert template.status_code == 201, template.text
        assert (await api.post("/v1/messages/templates", json={"name": "hello", "text": "x"})).status_code == 409
        changed = await api.put(f"/v1/messages/templates/{template.json()['id']}", json={"text": "Hi {name}, see you at {time}"})
        assert shown(await api.get("/v1/messages/templates"))["items"] == [shown(changed)]
        many = [{"to": f"+49151123456{n:02}", "values": {"name": f"N{n}"}} for n in range(60)]
        many += [{"to": "+33612345678", "values": {"name": "x"}}, {"to": "+4915112345699"}]
        body = {"template": "hello", "values": {"time": "9"}, "recipients": many}
        answers = [await api.post("/v1/messages/bulk", json=body, headers={"Idempotency-Key": "b"}) for _ in range(2)]
        made, again = [answer.json() for answer in answers]
        assert (made["accepted"], made["refused"], len(made["outcomes"])) == (60, {"country": 1, "template-values": 1}, 62)
        assert (again["id"], again["accepted"], again["outcomes"]) == (made["id"], 60, None)
        assert shown(await api.get(f"/v1/messages/bulk/{made['id']}"))["states"] == {"queued": 60}
        one = UUID(made["outcomes"][0]["id"])
        assert {going.text.reveal() for going in await office_desk.queued()} == {f"Hi N{n}, see you at 9" for n in range(60)}
        main = await office.house.main("worker")
        async with main.organisation(office.house.org) as connection:
            await connection.execute("UPDATE message_parts SET state = 'delivered' WHERE message_id = $1", one)
            await office_desk.bodies.advance(connection, office.house.org, [Change(one, 1, "delivered", None, office.house.clock.now())])
        assert shown(await api.get(f"/v1/messages/bulk/{made['id']}"))["states"] == {"queued": 59, "delivered": 1}
        assert shown(await api.get(f"/v1/messages/{one}"))["state"] == "delivered"
        problem(await api.get(f"/v1/messages/bulk/{uuid4()}"), 404)
    kinds = [row["kind"] for row in await office.rows("SELECT kind FROM outbox WHERE subject = $1", one)]
    assert kinds == ["message.delivered"]


async def test_parts_in_any_order_by_any_process_are_one_message_and_a_part_that_comes_twice_changes_nothing(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        text = "x" * 150 + "€ and 😀 " + "y" * 60
        for reference, order in enumerate(permutations(range(3))):
            style = (Style(), Style(Numbering.UDH16), Style(Numbering.SAR))[reference % 3]
            parts = parts_of(text + str(reference), style=style, reference=reference)
            assert len(parts) == 4
            for place in (*order, order[0], 3):
                other = await desk_again(office_desk)  # nothing is remembered
                await other.bring([parts[place]])
        assert [item["text"] for item in await inbound(api)] == [text + str(reference) for reference in range(6)]
    assert await office.rows("SELECT count(*) AS n FROM message_inbound_parts") == [{"n": 0}]
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys WHERE kind = 'message'") == 6


async def test_all_parts_at_once_are_joined_and_a_message_that_never_becomes_whole_is_given_as_it_is(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        first, second, third = parts_of("a" * 153 + "b" * 153 + "c" * 10)
        await office_desk.bring([third, first])
        assert await inbound(api) == []
        assert await office_desk.inbox.give_up_waiting() == 0
        await office.rows("UPDATE message_inbound_parts SET received_at = received_at - interval '6 minutes' RETURNING position")
        assert await (await desk_again(office_desk)).inbox.give_up_waiting() == 1
        (item,) = await inbound(api)
        assert (item["text"], item["is_incomplete"], item["parts"]) == ("a" * 153 + "c" * 10, True, 3)
        await office_desk.bring([first, second, third])
        assert sorted(item["is_incomplete"] for item in await inbound(api)) == [False, True]
        # The sender's counter went round: another text under the same reference is another message.
        await office_desk.bring([first])
        await office_desk.bring(parts_of("z" * 153 + "y" * 153 + "x" * 10))
        assert {item["text"] for item in await inbound(api)} >= {"z" * 153 + "y" * 153 + "x" * 10}


async def test_what_is_for_nobody_is_dropped_and_what_is_no_text_is_kept_as_digits(office: Office) -> None:
    office_desk = await desk(office)
    (one,) = parts_of("hello")
    async with office.client() as api:
        await office_desk.bring([delivery_to(one, "+493099999999"), one])
        assert [item["text"] for item in await inbound(api)] == ["hello"]
        await office_desk.bring([replaced(one, payload=b"\x01\xff", data_coding=4)])
        item = (await inbound(api))[-1]
        assert (item["text"], item["is_binary"]) == ("01ff", True)


async def test_messages_to_a_number_go_to_its_agent_to_each_of_a_group_or_to_webhooks_alone(office: Office) -> None:
    anna, ben = [await office.add_agent(name) for name in ("anna", "ben")]
    office_desk = await desk(office, agent=anna)
    group = uuid4()
    await office.rows(
        "INSERT INTO ring_groups (id, org_id, name, dialled, strategy, ring_s, follows_forwarding, created_at, updated_at)"
        " VALUES ($1, $2, 'sales', '600', 'serial', 20, false, now(), now()) RETURNING id", group, office.house.org,
    )  # fmt: skip
    for position, agent in enumerate((anna, ben)):
        await office.rows(
            "INSERT INTO ring_group_members (org_id, group_id, agent_id, position) VALUES ($1, $2, $3, $4) RETURNING position",
            office.house.org, group, agent, position,
        )  # fmt: skip
    async with office.client() as api:
        await office_desk.receive("one")
        assert [agent for _, agent in office_desk.to_phones] == [anna]
        assert (await inbound(api))[0]["agent_id"] == str(anna)
        path = f"/v1/messages/numbers/{office_desk.number}"
        assert shown(await api.get(path))["agent_id"] == str(anna)
        shown(await api.put(path, json={"target": "team", "group_id": str(group)}))
        await office_desk.receive("two")
        assert [agent for _, agent in office_desk.to_phones] == [anna, anna, ben]
        shown(await api.put(path, json={"target": "webhook"}))
        await office_desk.receive("three")
        assert len(office_desk.to_phones) == 3
        problem(await api.put(path, json={"target": "agent", "agent_id": str(uuid4())}), 422)
    kinds = [row["kind"] for row in await office.rows("SELECT kind FROM outbox ORDER BY seq")]
    assert kinds.count("message.received") == 3


async def test_stop_is_obeyed_at_once_confirmed_once_and_lifted_by_start_alone(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        waiting = await sent(api, "Before")
        await office_desk.receive("Stop, please!")
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "After"}), 403)["reason"] == "opted-out"
        bulk = (await api.post("/v1/messages/bulk", json={"text": "x", "recipients": [{"to": THEIRS}]})).json()
        assert bulk["refused"] == {"opted-out": 1}
        await office_desk.receive("STOP")
        answers = await office_desk.queued()
        assert len(answers) == 1, "confirmed once, and what waited is not sent"
        called_back = shown(await api.get(f"/v1/messages/{waiting['id']}"))
        assert (called_back["state"], called_back["error"]) == ("failed", "opted-out")
        assert answers[0].text.reveal().startswith("Acme: you will get no more messages")
        assert answers[0].destination.reveal() == THEIRS
        assert {item["keyword"] for item in await inbound(api)} == {"stop"}
        assert shown(await api.post("/v1/privacy/do-not-call/check", json={"number": THEIRS})) == {"listed": True}, "calls obey too"
        # Erasing everything of the person does not make them reachable again.
        shown(await api.post("/v1/messages/erase", json={"number": THEIRS, "reason": "data-subject-request"}))
        assert (await api.get(f"/v1/messages/{waiting['id']}")).status_code == 410
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "After"}), 403)["reason"] == "opted-out"
        await api.post("/v1/privacy/do-not-call/remove", json={"numbers": [THEIRS]})
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "After"}), 403)["reason"] == "opted-out"
        await office_desk.receive("start")
        await sent(api, "Again")
        assert shown(await api.post("/v1/privacy/do-not-call/check", json={"number": THEIRS})) == {"listed": False}
    assert await office.rows("SELECT count(*) AS n FROM do_not_call") == [{"n": 0}]


async def test_what_comes_back_into_the_outbox_after_a_stop_does_not_leave_again(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        waiting = await sent(api, "Before")
        # While the stop comes it is in a carrier's hands, which then does not want it now.
        await office.rows("UPDATE message_parts SET state = 'sending' RETURNING 1")
        await office_desk.receive("STOP")
        await office.rows("UPDATE message_parts SET state = 'queued' WHERE state = 'sending' RETURNING 1")
        (answer,) = await office_desk.queued()
        assert answer.text.reveal().startswith("Acme: you will get no more messages")
        kept = shown(await api.get(f"/v1/messages/{waiting['id']}"))
        assert (kept["state"], kept["error"]) == ("failed", "opted-out")


async def test_of_two_parts_that_end_at_the_same_time_both_count(office: Office) -> None:
    await desk(office)
    async with office.client() as api:
        message = UUID((await sent(api, "a" * 200))["id"])
    main, now = await office.house.main("worker"), datetime.now(UTC)
    bodies = MessageBodies(main, await office.house.keyring("worker"), office.house.clock, Chance())
    waits = asyncio.Event()

    async def end(part: int) -> None:
        async with main.organisation(office.house.org) as connection:
            await connection.execute("UPDATE message_parts SET state = 'delivered' WHERE message_id = $1 AND part = $2", message, part)
            if part == 2:
                waits.set()
            await bodies.advance(connection, office.house.org, [Change(message, part, "delivered", None, now)])

    async with main.organisation(office.house.org) as connection:
        await connection.execute("UPDATE message_parts SET state = 'delivered' WHERE message_id = $1 AND part = 1", message)
        await bodies.advance(connection, office.house.org, [Change(message, 1, "delivered", None, now)])
        other = asyncio.create_task(end(2))
        await waits.wait()
        await until(lambda: _is_waiting(office), what="the other waits for the message")
    await other
    assert await office.rows("SELECT state FROM messages") == [{"state": "delivered"}]


async def _is_waiting(office: Office) -> bool:
    return bool(await office.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_what_was_accepted_for_later_is_judged_once_more_when_it_leaves(office: Office) -> None:
    agent = await office.add_agent("anna")
    office_desk = await desk(office, agent=agent)
    later = (office.house.clock.now() + timedelta(hours=2)).isoformat()
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"needs_consent": False, "senders": ["own", "pool"]}))
        closed = await sent(api, "Tomorrow", send_at=later)
        stays = await sent(api, "Tomorrow", to="+12025550123", send_at=later, agent=str(agent), marketing=True)
        version = shown(await api.get("/v1/voice-security"))["version"]
        shown(await api.put("/v1/voice-security", json={"allowed_countries": ["US"], "version": version}))
        office.house.clock.ahead += timedelta(hours=2)
        assert [going.destination.reveal() for going in await office_desk.queued()] == ["+12025550123"]
        kept = shown(await api.get(f"/v1/messages/{closed['id']}"))
        assert (kept["state"], kept["error"]) == ("failed", Reason.COUNTRY.value)
        await office.rows("UPDATE messages SET number_id = NULL RETURNING 1")
        assert await office_desk.queued() == []
        kept = shown(await api.get(f"/v1/messages/{stays['id']}"))
        assert (kept["state"], kept["error"]) == ("failed", "sender")


async def test_start_takes_nobody_off_the_list_whom_the_organisation_put_there(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        shown(await api.post("/v1/privacy/do-not-call", json={"numbers": [THEIRS]}))
        await office_desk.receive("STOP", "START")
        assert shown(await api.post("/v1/privacy/do-not-call/check", json={"number": THEIRS})) == {"listed": True}
        await sent(api, "An answer, no marketing")
        said = await api.post("/v1/messages", json={"to": THEIRS, "text": "Buy!", "marketing": True})
        assert problem(said, 403)["reason"] == "do-not-call"


@pytest.mark.parametrize(
    ("source", "to", "more"),
    [
        ("015112345678", "493023125950", {"destination_form": Form.INTERNATIONAL}),
        ("15112345678", "3023125950", {"source_form": Form.NATIONAL, "destination_form": Form.NATIONAL}),
        ("015112345678", "03023125950", {"country": "DE"}),
    ],
)
async def test_stop_from_a_number_in_national_form_lists_that_number_and_no_other(
    office: Office, source: str, to: str, more: dict[str, Any]
) -> None:
    office_desk = await desk(office)
    assert await office_desk.bring([replace(one, **more) for one in parts_of("STOP", source, to)]) == {0}
    async with office.client() as api:
        (message,) = await inbound(api)
        assert (message["number"], message["own"]) == (THEIRS, OURS)
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "After"}), 403)["reason"] == "opted-out"
        assert shown(await api.post("/v1/privacy/do-not-call/check", json={"number": THEIRS})) == {"listed": True}
        assert await office.rows("SELECT count(*) AS n FROM do_not_call") == [{"n": 2}]
    (answer,) = await office_desk.queued()
    assert answer.destination.reveal() == THEIRS


async def test_stop_from_a_short_code_holds_between_it_and_the_number_that_it_wrote_to(office: Office) -> None:
    office_desk = await desk(office)
    second = "+493023125951"
    await add_number(office, second)
    async with office.client() as api:
        version = shown(await api.get("/v1/voice-security"))["version"]
        said = {"allowed_countries": ["DE"], "short_codes": ["72727"], "version": version}
        shown(await api.put("/v1/voice-security", json=said))
        waiting = [await sent(api, to="72727", **{"from": own}) for own in (OURS, second)]
        await office_desk.receive("STOP", source="72727")
        states = [shown(await api.get(f"/v1/messages/{one['id']}"))["error"] for one in waiting]
        assert states == ["opted-out", None]
        refused = await api.post("/v1/messages", json={"to": "72727", "text": "x", "from": OURS})
        assert problem(refused, 403)["reason"] == "opted-out"
        await sent(api, to="72727", **{"from": second})
        assert shown(await api.post("/v1/privacy/do-not-call/check", json={"number": "+4972727"})) == {"listed": False}
        (message,) = await inbound(api)
        assert message["number"] == "72727"
        await office_desk.receive("START", source="72727")
        await sent(api, to="72727", **{"from": OURS})
    assert await office.rows("SELECT count(*) AS n FROM do_not_call") == [{"n": 0}]


async def test_a_stop_of_a_short_code_that_was_kept_for_all_numbers_is_obeyed_still_until_it_is_lifted(office: Office) -> None:
    office_desk = await desk(office)
    keys = await (await office.house.keyring("owner")).org_context(office.house.org)
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        mark = keys.index(MARK_INDEX, "72727")
        await do_not_call.add(connection, office.house.org, [mark], office.house.clock.now(), do_not_call.MARK)
    async with office.client() as api:
        version = shown(await api.get("/v1/voice-security"))["version"]
        said = {"allowed_countries": ["DE"], "short_codes": ["72727"], "version": version}
        shown(await api.put("/v1/voice-security", json=said))
        refused = await api.post("/v1/messages", json={"to": "72727", "text": "x", "from": OURS})
        assert problem(refused, 403)["reason"] == "opted-out"
        await office_desk.receive("START", source="72727")
        await sent(api, to="72727", **{"from": OURS})


async def test_whoever_stops_and_starts_all_day_is_obeyed_each_time_and_answered_five_times(office: Office) -> None:
    office_desk = await desk(office)
    for _ in range(5):
        await office_desk.receive("STOP")
        await office_desk.receive("HELP")
        await office_desk.receive("START")
    await office_desk.receive("STOP", "STOP")
    answers = "SELECT count(*) AS n FROM messages WHERE sent_by = 'system:opt-out'"
    assert await office.rows(answers) == [{"n": 5}]
    async with office.client() as api:
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "After"}), 403)["reason"] == "opted-out"
        await office_desk.receive("START", source="+4915112345679")
        office.house.clock.ahead += timedelta(days=1, seconds=1)
        await office_desk.receive("START")
        await sent(api)
    assert await office.rows(answers) == [{"n": 6}], "a day later it is told again; who never stopped is told nothing"


async def test_strangers_are_obeyed_and_answered_so_often_a_day_by_a_number_and_an_organisation_and_no_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_inbox, "NUMBER_ANSWERS_A_DAY", 3)
    office_desk = await desk(office)
    second, known = "+493023125951", "+4915112340099"
    await add_number(office, second)

    async def answers() -> int:
        rows = await office.rows("SELECT count(*) AS n FROM messages WHERE sent_by = 'system:opt-out'")
        return int(rows[0]["n"])

    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"answers_per_day": 5}))
        await sent(api, to=known, **{"from": OURS})
        await office.rows("UPDATE messages SET submitted_at = created_at RETURNING 1")
        made_up = [f"+49151123400{number:02}" for number in range(10)]
        await office_desk.bring([part for number in made_up for part in parts_of("STOP", number)])
        assert await answers() == 3, "by this number"
        await office_desk.bring([part for number in made_up for part in parts_of("HELP", number, second)])
        assert await answers() == 5, "by the organisation"
        await office_desk.receive("STOP", source=known)
        assert await answers() == 6, "whom we wrote to gets an answer"
        bulk = {"text": "x", "from": OURS, "recipients": [{"to": number} for number in (*made_up, known)]}
        assert (await api.post("/v1/messages/bulk", json=bulk)).json()["refused"] == {"opted-out": 11}, "and all are obeyed"
        office.house.clock.ahead += timedelta(days=1)
        await office_desk.receive("STOP", source="+4915112340100")
        assert await answers() == 7
        shown(await api.put("/v1/messages/settings", json={"answers_per_day": 0}))
        await office_desk.receive("STOP", source="+4915112340101")
        assert await answers() == 7


async def test_of_what_a_carrier_brings_at_once_each_is_taken_that_can_be(office: Office) -> None:
    office_desk = await desk(office)
    good, bad, joined = parts_of("One"), parts_of("Two"), parts_of("long " * 60)
    brought = [*good, replace(bad[0], at=BEFORE_ALL), *joined, *parts_of("For nobody", to="+493023129999")]
    assert await office_desk.bring(brought) == {0, 2, 3, 4}
    async with office.client() as api:
        assert [message["text"] for message in await inbound(api)] == ["One", "long " * 60]


async def test_threads_are_paged_to_the_last_and_an_agents_hold_all_that_it_wrote_in(office: Office) -> None:
    anna = await office.add_agent("anna")
    office_desk = await desk(office, agent=anna)
    numbers = [f"+49151123456{n:02}" for n in range(7)]
    async with office.client() as api:
        for number in numbers:
            await sent(api, to=number, agent="anna")
        for number in numbers[::2]:
            await office_desk.receive("one", "two", source=number)
        await sent(api, "from nobody in particular", to=numbers[1], **{"from": OURS})
        for query in ({}, {"agent": "anna"}):
            found, cursor = [], None
            while True:
                page = shown(await api.get("/v1/messages/threads", params={"limit": 2} | query | ({"cursor": cursor} if cursor else {})))
                found += [(thread["newest"]["number"], thread["unread"]) for thread in page["items"]]
                if (cursor := page["next"]) is None:
                    break
            assert sorted(found) == [(number, 0 if n % 2 else 2) for n, number in enumerate(numbers)]
            assert found[0] == (numbers[1], 0)
        (oldest,) = shown(await api.get("/v1/messages/threads", params={"limit": 50}))["items"][-1:]
        messages = shown(await api.get("/v1/messages", params={"thread": oldest["thread_id"], "limit": 1}))
        assert (messages["next"], len(messages["items"])) == (None, 1)


async def test_no_text_goes_to_a_carrier_that_something_of_the_customers_stands_against(office: Office) -> None:
    office_desk = await desk(office)
    entry, org = uuid4(), office.house.org
    async with (await office.house.main("owner")).transaction() as connection:
        query = 'UPDATE message_centres SET settings = \'{"subprocessor": "texts"}\''
        await connection.execute(query)
        await insert(
            connection, "subprocessors", id=entry, name="texts", purpose="texts", country="DE", categories=["content"],
            announced_at=datetime.now(UTC),
        )  # fmt: skip
    async with office.client() as api:
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 409)["reason"] == "no-carrier"
        async with (await office.house.main("owner")).organisation(org) as connection:
            past = datetime.now(UTC) - timedelta(days=1)
            await insert(connection, "subprocessor_standings", org_id=org, subprocessor_id=entry, notified_at=past, active_from=past)
        waiting = await sent(api)
        async with (await office.house.main("owner")).organisation(org) as connection:
            await insert(
                connection, "objections", id=uuid4(), org_id=org, subprocessor_id=entry, actor="api-key:1", grounds_sealed=b"s",
                objected_at=datetime.now(UTC), state="open",
            )  # fmt: skip
        assert await office_desk.queued() == []
        kept = shown(await api.get(f"/v1/messages/{waiting['id']}"))
        assert (kept["state"], kept["error"]) == ("failed", "no-carrier")
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 409)["reason"] == "no-carrier"
        await office_desk.receive("STOP")
        assert await office_desk.queued() == [], "obeyed, and not answered by it either"
        assert shown(await api.post("/v1/privacy/do-not-call/check", json={"number": THEIRS})) == {"listed": True}


async def test_an_organisation_whose_keys_are_away_takes_nothing_from_the_others_that_a_carrier_brings_for(office: Office) -> None:
    office_desk = await desk(office)
    house, theirs = office.house, "+493023125970"
    await add_number(office, theirs, org=office.other)
    long = parts_of("long " * 60)[:1]
    assert await office_desk.bring([*long, *(replace(one, destination=Personal(theirs)) for one in long)]) == {0, 1}
    async with (await house.db("keyring", "owner")).organisation(house.org) as connection:
        await connection.execute("DELETE FROM org_keys WHERE org_id = $1", house.org)
    # As a process that came after, which remembers no key.
    main, keyring = await house.main("worker"), await house.keyring("worker")
    verdicts = VoiceSecurity(main, keyring, house.clock, lambda _: OwnHosts())
    inbox = MessageInbox(main, keyring, verdicts, house.clock, Chance())
    house.clock.ahead += timedelta(minutes=6)
    with pytest.raises(Unfinished):
        await inbox.give_up_waiting()
    assert await inbox.receive(office_desk.centre, [*parts_of("One"), *parts_of("Two", to=theirs)]) == {1}
    states = [row["state"] for row in await office.rows("SELECT state FROM messages ORDER BY created_at", org=office.other)]
    assert states == ["received", "received"]
    assert await office.rows("SELECT state FROM messages") == [{"state": "receiving"}]


async def kept_keys(office: Office) -> int:
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM data_keys WHERE kind = 'message'")
        return count


@pytest.mark.parametrize("deliveries", [parts_of("One") + parts_of("Stop"), parts_of("long " * 60)[:1]])
async def test_what_cant_be_taken_leaves_no_key_however_often_it_is_brought(
    office: Office, monkeypatch: pytest.MonkeyPatch, deliveries: Sequence[Inbound]
) -> None:
    office_desk = await desk(office)

    async def broken(*_: object) -> None:
        raise asyncpg.DataError("not to be had")

    monkeypatch.setattr(message_inbox.table, "add_part", broken)
    monkeypatch.setattr(message_inbox.outbox, "add_all", broken)
    for _ in range(3):
        assert await office_desk.bring(deliveries) == frozenset()
    assert await kept_keys(office) == 0
    assert await office.rows("SELECT 1 FROM messages") == []
    monkeypatch.undo()
    assert await office_desk.bring(deliveries) == {*range(len(deliveries))}
    assert await kept_keys(office) == len(await office.rows("SELECT 1 FROM messages"))


@pytest.mark.parametrize("deliveries", [parts_of("Once"), parts_of("long " * 60)[:1]])
async def test_a_received_message_whose_commit_was_not_answered_keeps_its_key(
    office: Office, monkeypatch: pytest.MonkeyPatch, deliveries: Sequence[Inbound]
) -> None:
    office_desk = await desk(office)
    main, is_written, insert_all = office_desk.inbox._main, asyncio.Event(), messages_table.insert_all

    async def inserting(connection: Connection, org_id: OrgId, rows: Sequence[NewMessage]) -> set[UUID]:
        is_written.set()
        return await insert_all(connection, org_id, rows)

    class Losing:
        transaction = main.transaction

        @asynccontextmanager
        async def organisation(self, org_id: OrgId) -> AsyncIterator[Connection]:
            async with main.organisation(org_id) as connection:
                yield connection
            if is_written.is_set():
                raise Unavailable("the answer to COMMIT was lost")

    monkeypatch.setattr(messages_table, "insert_all", inserting)
    monkeypatch.setattr(office_desk.inbox, "_main", Losing())
    assert await office_desk.bring(deliveries) == frozenset()
    (row,) = await office.rows("SELECT id FROM messages")
    assert await (await office.house.keyring("worker")).fingerprint(office.house.org, "message", row["id"]) is not None


async def test_a_key_that_cant_be_destroyed_takes_back_no_message_that_was_taken(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office_desk = await desk(office)
    again = [replace(one, dedupe=b"one") for one in parts_of("Once")]
    assert await office_desk.bring(again) == {0}

    async def away(*_: object) -> None:
        raise Unavailable("the second zone is away")

    monkeypatch.setattr(office_desk.inbox._keyring, "destroy_data_keys", away)
    assert await office_desk.bring([*again, *parts_of("Twice")]) == {0, 1}
    assert await office.rows("SELECT count(*) AS n FROM messages") == [{"n": 2}]


async def test_a_message_that_begins_while_the_database_is_slow_keeps_its_key(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office_desk = await desk(office)
    monkeypatch.setattr(message_inbox, "_KNOWN_FOR_S", 0.0)
    async with office.client() as api:
        for part in parts_of("long " * 60):
            assert await office_desk.bring([part]) == {0}
        assert [item["text"] for item in await inbound(api)] == ["long " * 60]


async def test_every_phrasing_of_stop_is_obeyed_and_nothing_else_is(office: Office) -> None:
    office_desk = await desk(office)
    phrasings, others = STOPS[::2], [text for text in OTHERS if text][::2]
    numbers = {f"+49151123{n:05}": text for n, text in enumerate((*phrasings, *others))}
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"languages": ["en", "de", "fr", "es", "it", "pt", "nl", "tr", "pl"]}))
        await office_desk.bring([part for number, text in numbers.items() for part in parts_of(text, number)])
        bulk = await api.post("/v1/messages/bulk", json={"text": "x", "recipients": [{"to": number} for number in numbers]})
        refused = {list(numbers.values())[one["position"]] for one in bulk.json()["outcomes"] if one["reason"] == "opted-out"}
    assert len(phrasings) >= 30
    assert len(others) >= 15
    assert refused == set(phrasings)


async def test_marketing_needs_a_consent_that_was_not_taken_back(office: Office) -> None:
    await desk(office)
    body = {"to": THEIRS, "text": "Buy!", "marketing": True}
    async with office.client() as api:
        assert problem(await api.post("/v1/messages", json=body), 403)["reason"] == "no-consent"
        given = {"number": THEIRS, "about": "marketing-messages", "how": "written", "given_at": "2026-01-01T00:00:00Z"}
        consent = (await api.post("/v1/privacy/consents", json=given)).json()
        assert consent["about"] == "marketing-messages"
        assert (await sent(api, "Buy!", marketing=True))["is_marketing"]
        withdrawn = shown(await api.post(f"/v1/privacy/consents/{consent['id']}/withdraw"))
        assert withdrawn["stops_recording"] is False
        assert problem(await api.post("/v1/messages", json=body), 403)["reason"] == "no-consent"
        shown(await api.put("/v1/messages/settings", json={"needs_consent": False}))
        await sent(api, "Buy!", marketing=True)


async def test_what_a_campaign_s_template_number_or_agent_sends_is_marketing_whatever_the_request_says(office: Office) -> None:
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    await office.rows("UPDATE agents SET telemarketing = true WHERE id = $1 RETURNING 1", anna)
    office_desk = await desk(office, agent=anna)
    second, bens = "+493023125951", "+493023125952"
    campaign = await add_number(office, second)
    await add_number(office, bens, ben)
    body = {"to": THEIRS, "text": "Buy!"}
    ways: list[dict[str, Any]] = [
        {"agent": "anna"}, {"agent": "ben", "from": second}, {"agent": "ben", "text": None, "template": "spring"},
    ]  # fmt: skip
    async with office.client() as api:
        assert (await api.post("/v1/messages/templates", json={"name": "spring", "text": "Buy!", "marketing": True})).json()["marketing"]
        target = shown(await api.put(f"/v1/messages/numbers/{campaign}", json={"target": "nobody", "marketing": True}))
        assert (target["marketing"], shown(await api.get(f"/v1/messages/numbers/{campaign}"))) == (True, target)
        assert not (await sent(api, agent="ben"))["is_marketing"]
        for way in ways:
            assert problem(await api.post("/v1/messages", json=body | way), 403)["reason"] == "no-consent", way
            assert problem(await api.post("/v1/messages/preview", json=body | way), 403)["reason"] == "no-consent", way
        given = {"number": THEIRS, "about": "marketing-messages", "how": "written", "given_at": "2026-01-01T00:00:00Z"}
        consent = (await api.post("/v1/privacy/consents", json=given)).json()
        for way in ways:
            answer = await api.post("/v1/messages", json=body | way)
            assert answer.json()["is_marketing"], way
        # What was accepted and has not left when the consent is taken back does not leave.
        shown(await api.post(f"/v1/privacy/consents/{consent['id']}/withdraw"))
        assert [going.text.reveal() for going in await office_desk.queued()] == ["Hello"]
        failed = shown(await api.get("/v1/messages", params={"state": "failed"}))["items"]
        assert [message["error"] for message in failed] == ["no-consent"] * 3
        shown(await api.put("/v1/messages/settings", json={"needs_consent": False}))
        shown(await api.post("/v1/privacy/do-not-call", json={"numbers": [THEIRS]}))
        for way in ways:
            assert problem(await api.post("/v1/messages", json=body | way), 403)["reason"] == "do-not-call", way
        await sent(api, agent="ben")


async def test_what_is_of_no_campaign_comes_from_the_pools_other_numbers(office: Office) -> None:
    await desk(office)
    numbers = [await add_number(office, f"+4930231259{last}") for last in (61, 62, 63, 64)]
    theirs = [f"+4915112345{last}" for last in range(600, 612)]
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"senders": ["pool"]}))
        for number in numbers:
            shown(
                await api.put(
                    f"/v1/messages/numbers/{number}", json={"target": "nobody", "pooled": True, "marketing": number != numbers[0]}
                )
            )
        for to in theirs:
            sent_one = await api.post("/v1/messages", json={"to": to, "text": "Your appointment is at nine."})
            assert sent_one.status_code == 202, sent_one.text
            assert (sent_one.json()["own"], sent_one.json()["is_marketing"]) == ("+493023125961", False)
        shown(await api.put(f"/v1/messages/numbers/{numbers[0]}", json={"target": "nobody", "pooled": True, "marketing": True}))
        assert problem(await api.post("/v1/messages", json={"to": theirs[0], "text": "Hello"}), 403)["reason"] == "no-consent"


async def test_a_campaigns_mark_stays_on_a_template_and_a_number_until_it_is_taken_off_by_name(office: Office) -> None:
    await desk(office)
    number = await add_number(office, "+493023125951")
    async with office.client() as api:
        made = (await api.post("/v1/messages/templates", json={"name": "spring", "text": "Buy!", "marketing": True})).json()
        template, target = f"/v1/messages/templates/{made['id']}", f"/v1/messages/numbers/{number}"
        assert shown(await api.put(target, json={"target": "nobody"}))["marketing"] is False
        assert shown(await api.put(target, json={"target": "nobody", "marketing": True}))["marketing"]
        # Whoever knows nothing of marks changes the words, or where answers go.
        assert shown(await api.put(template, json={"text": "Buy now!"}))["marketing"]
        assert shown(await api.put(target, json={"target": "nobody", "pooled": True}))["marketing"]
        assert shown(await api.get(target))["marketing"]
        assert not shown(await api.put(template, json={"text": "Hello", "marketing": False}))["marketing"]
        assert not shown(await api.put(target, json={"target": "nobody", "marketing": False}))["marketing"]


async def test_marketing_keeps_to_the_hours_of_the_recipient_and_other_messages_do_not(office: Office) -> None:
    await desk(office)
    later = (datetime.now(UTC) + timedelta(days=3)).strftime("%a").lower()
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"needs_consent": False}))
        shown(await api.put("/v1/voice-security", json={"telemarketing_hours": [f"DE {later} 10:00-11:00"]}))
        said = await api.post("/v1/messages", json={"to": THEIRS, "text": "Buy!", "marketing": True})
        assert problem(said, 403)["reason"] == Reason.QUIET_HOURS.value
        await sent(api, "Your parcel is here")


async def test_marketing_for_later_keeps_to_the_hours_that_it_leaves_in(office: Office) -> None:
    await desk(office)
    now = datetime.now(UTC)
    open_day, closed = now.replace(hour=11) + timedelta(days=3), now.replace(hour=11) + timedelta(days=5)
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"needs_consent": False}))
        hours = [f"DE {day.strftime('%a').lower()} 08:00-20:00" for day in (now, open_day)]
        shown(await api.put("/v1/voice-security", json={"telemarketing_hours": hours}))
        await sent(api, "Buy!", marketing=True, send_at=open_day.isoformat())
        said = await api.post("/v1/messages", json={"to": THEIRS, "text": "Buy!", "marketing": True, "send_at": closed.isoformat()})
        assert problem(said, 403)["reason"] == Reason.QUIET_HOURS.value


async def test_a_days_limit_counts_parts_and_what_does_not_fit_is_refused_as_a_whole(office: Office) -> None:
    await desk(office)
    several = {"text": "x", "recipients": [{"to": f"+491511234567{n}"} for n in range(3)]}
    async with office.client() as api:
        shown(await api.put("/v1/messages/settings", json={"most_per_day": 4}))
        await sent(api, "a" * 200)
        assert problem(await api.post("/v1/messages/bulk", json=several), 429)["reason"] == "limit"
        assert await office.rows("SELECT count(*) AS n FROM messages") == [{"n": 1}]
        await sent(api)
        await sent(api)
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 429)["reason"] == "limit"
        shown(await api.put("/v1/messages/settings", json={"most_per_day": None}))
        assert (await api.post("/v1/messages/bulk", json=several)).json()["accepted"] == 3


async def test_texts_by_api_keep_to_the_parts_a_minute_and_the_spend_a_day_that_the_breaker_lets_through(office: Office) -> None:
    await desk(office)
    several = {"text": "x", "recipients": [{"to": f"+491511234567{n}"} for n in range(3)]}
    keys = "SELECT count(*) AS n FROM messages"
    async with office.client() as api:
        shown(await api.put("/v1/voice-security/limits", json={"organisation": {"texts-per-minute": {"most": 4}}}))
        await sent(api, "a" * 200)
        said = problem(await api.post("/v1/messages/bulk", json=several), 429)
        assert (said["reason"], "/v1/voice-security/limits" in said["detail"]) == ("limit", True)
        await sent(api, "a" * 200)
        problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 429)
        assert await office.rows(keys) == [{"n": 2}]
        shown(await api.put("/v1/messages/settings", json={"prices": {"DE": "0.5"}, "currency": "EUR"}))
        limits = {"texts-per-minute": None, "text-spend-per-day": {"most": 2}}
        shown(await api.put("/v1/voice-security/limits", json={"organisation": limits}))
        problem(await api.post("/v1/messages/bulk", json=several | {"text": "a" * 200}), 429)
        await sent(api, "a" * 200)
        problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "a" * 400}), 429)
        alarms = shown(await api.get("/v1/voice-security/alarms"))["items"]
    assert {alarm["signal"] for alarm in alarms} == {"texts-per-minute", "text-spend-per-day"}
    assert await office.rows(keys) == [{"n": 3}]
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys WHERE kind = 'message'") == 3, "a refusal leaves no key behind"


async def test_an_erased_message_is_gone_everywhere_and_what_was_not_sent_never_is(office: Office) -> None:
    office_desk = await desk(office)
    async with office.client() as api:
        one, other = await sent(api, MARKER), await sent(api, "stays")
        await office_desk.bring(parts_of("p" * 200)[:1])
        receipt = await api.delete(f"/v1/messages/{one['id']}")
        assert receipt.status_code == 200, receipt.text
        assert (await api.delete(f"/v1/messages/{one['id']}")).json() == receipt.json()
        problem(await api.get(f"/v1/messages/{one['id']}"), 410)
        assert [item["id"] for item in shown(await api.get("/v1/messages"))["items"]] == [other["id"]]
        assert [going.text.reveal() for going in await office_desk.queued()] == ["stays"]
        assert shown(await api.post("/v1/messages/search", json={"number": THEIRS}))["items"] == [
            shown(await api.get(f"/v1/messages/{other['id']}"))
        ]
        erased = shown(await api.post("/v1/messages/erase", json={"number": THEIRS, "reason": "data-subject-request"}))
        assert erased["counts"]["message"]["unreadable"] == 2
        for row in await office.rows("SELECT * FROM messages"):
            for column in ("remote_sealed", "remote_index", "local_sealed", "body_sealed", "thread_id", "sealed_with", "assembly_index"):
                assert row[column] is None, column
        await office_desk.bring(parts_of("p" * 200)[1:])
    assert await office.rows("SELECT count(*) AS n FROM message_parts") == [{"n": 0}]
    left = await office.rows("SELECT message_id FROM message_inbound_parts")
    assert len(left) == 1, "a late part is the beginning of another message"
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys WHERE kind = 'message'") == 1


async def test_a_held_message_is_kept_and_a_restricted_one_is_hidden_and_not_shown_on_phones(office: Office) -> None:
    office_desk = await desk(office)
    why = Why("agent:x", purposes.MESSAGE_DELIVERY)
    async with office.client() as api:
        one = await sent(api, MARKER)
        hold = (
            await api.post("/v1/privacy/holds", json={"scope": "number", "number": THEIRS, "reason": "litigation", "authority": "court"})
        ).json()
        assert (await api.delete(f"/v1/messages/{one['id']}")).status_code == 409, hold
        assert len(await office_desk.bodies.texts(office.house.org, [UUID(one["id"])], why)) == 1
        assert (await api.post("/v1/privacy/restrictions", json={"number": THEIRS})).status_code == 201
        assert problem(await api.get(f"/v1/messages/{one['id']}"), 403)["reason"] == "restricted"
        page = await api.get("/v1/messages")
        assert MARKER not in page.text
        assert THEIRS[1:] not in page.text
        assert shown(page)["items"][0]["is_restricted"]
        assert await office_desk.bodies.texts(office.house.org, [UUID(one["id"])], why) == {}


async def test_stop_is_obeyed_whatever_stands_in_the_way_of_reading_it(office: Office) -> None:
    office_desk = await desk(office)
    second = "+4915112345679"
    async with office.client() as api:
        await office_desk.receive("Hello")
        assert (await api.post("/v1/privacy/restrictions", json={"number": THEIRS})).status_code == 201
        await office_desk.receive("STOP")
        assert problem(await api.post("/v1/messages", json={"to": THEIRS, "text": "x"}), 403)["reason"] == "opted-out"
        assert all(item["is_restricted"] and item["text"] is None for item in await inbound(api)), "nobody reads it"
        await office_desk.receive("Hello", "STOP", source=second)
        shown(await api.post("/v1/messages/erase", json={"number": second, "reason": "data-subject-request"}))
        await office_desk.receive("start", source=second)
        await sent(api, to=second)
        await office_desk.receive("  s.t.o.p!", "Stop", source=second)
        assert problem(await api.post("/v1/messages", json={"to": second, "text": "x"}), 403)["reason"] == "opted-out"


async def test_retention_of_messages_is_reported_like_that_of_calls(office: Office) -> None:
    await desk(office)
    async with office.client() as api:
        await sent(api)
        await office.rows("UPDATE messages SET created_at = created_at - interval '40 days' RETURNING id")
        rules = {"rules": [{"class": "message", "keep_days": 30}]}
        assert (await api.put("/v1/privacy/retention", json=rules)).status_code == 200
        preview = shown(await api.post("/v1/privacy/retention/preview", json={}))
        assert preview["classes"]["message"]["due"] == 1


async def desk_again(made: Desk) -> Desk:
    """The same desk after its process began anew."""
    house = made.office.house
    main, keyring = await house.main("worker"), await house.keyring("worker")
    again = type(made.inbox)(main, keyring, made.office.means.voice_security, house.clock, Chance(), wait=timedelta(minutes=5))
    return Desk(made.office, made.centre, made.number, again, MessageBodies(main, keyring, house.clock, Chance()))


def replaced(one: Any, *, payload: bytes, data_coding: int) -> Any:
    segment = type("S", (), {"payload": payload, "data_coding": data_coding, "has_udh": False, "sar": None})()
    return delivery(segment, one.source.reveal(), one.destination.reveal())


def delivery_to(one: Any, to: str) -> Any:
    segment = type("S", (), {"payload": one.payload.reveal(), "data_coding": one.data_coding, "has_udh": one.has_udh, "sar": one.sar})()
    return delivery(segment, one.source.reveal(), to)
