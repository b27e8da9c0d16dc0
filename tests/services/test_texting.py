"""Texts by MESSAGE, on a whole gateway: to colleagues at once or once they are there, and nowhere by a trick."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import OwnHosts
from hushwire.services import text_delivery
from hushwire.services.carriage import Inbound
from hushwire.services.identity import Known
from hushwire.services.message_inbox import MessageInbox
from hushwire.services.snapshot import Credential
from hushwire.services.text_reading import TextAsking
from hushwire.services.voice_security import VoiceSecurity
from hushwire.sip.text import MOST_BYTES, Text
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.store import fraud, text_deliveries
from tests.databases import Databases
from tests.polling import until
from tests.recorded import Chance
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, HOST, World, need_program
from tests.services.test_two_gateways import another, known, port
from tests.services.texts import TextPhone, reason, said, texting

pytestmark = need_program
ANNA, BEN = f"sip:anna@{HOST}", f"sip:ben@{HOST}"
LONG = "Grüße 👋 und ein langer Text, der in kein Datagramm passt. " * 40


async def states(world: World) -> list[str]:
    return [row["state"] for row in await world.rows("messages", "created_at")]


async def carried(world: World) -> None:
    """There is a carrier of texts."""
    owner = await asyncpg.connect(world.databases.dsn("main", "administrator"))
    await owner.execute(
        "INSERT INTO message_centres (id, name, kind, settings, created_at, updated_at) VALUES ($1, 'c', 'http', '{}', now(), now())",
        uuid4(),
    )
    await owner.close()


async def of_states(world: World, wanted: list[str]) -> bool:
    return await states(world) == wanted


async def is_delivered(world: World, count: int) -> bool:
    return await states(world) == ["delivered"] * count and await world.rows("text_deliveries", "message_id") == []


async def test_a_colleague_gets_a_text_on_every_phone_at_once_and_its_sender_knows(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _):
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben")
        second = await TextPhone.open(world, "ben", instance='"<urn:uuid:00000000-0000-1000-8000-00000000000a>"')
        third = await TextPhone.open(world, "ben", instance='"<urn:uuid:00000000-0000-1000-8000-00000000000b>"')
        second.status = 486
        for number, to in enumerate(("102", "ben"), start=1):
            assert (await anna.text(to, f"Hallo {number}")).status == 200
            for phone in (ben, second, third):
                got = await phone.got()
                assert said(got) == (ANNA, f"Hallo {number}")
                assert (str(got.to.uri), got.headers.get("Content-Type"), got.headers.get("Contact")) == (
                    BEN,
                    "text/plain;charset=UTF-8",
                    None,
                )
        await until(lambda: is_delivered(world, 2))
        rows = await world.rows("messages")
        assert {(row["direction"], row["channel"], row["sent_by"] == f"agent:{row['agent_id']}") for row in rows} == {
            ("internal", "sip", True)
        }
        kinds = [row["kind"] for row in await world.rows("outbox", "seq")]
        assert kinds.count("message.delivered") == 2
        assert b"Hallo" not in b"".join(value for row in rows for value in row.values() if isinstance(value, bytes))


async def test_who_is_away_gets_texts_on_registering_in_their_order_with_the_time_at_which_they_were_said(
    databases: Databases, tmp_path: Path
) -> None:
    async with texting(databases, tmp_path) as (world, house):
        anna = await TextPhone.open(world, "anna")
        for number in range(12):
            assert (await anna.text("ben", f"{number} {LONG if number == 3 else 'kurz'}")).status == 202
        before = datetime.now(UTC)
        ben = await TextPhone.open(world, "ben")
        bodies, whole = [], ""
        while len(bodies) < 12:
            got = await ben.got(20)
            assert len(got.to_bytes()) <= 1300
            assert str(got.from_.uri) == ANNA
            assert timedelta(0) <= before - parsedate_to_datetime(got.headers.get("Date") or "") < timedelta(minutes=5)
            whole += got.body.decode()
            if not whole.startswith("3") or len(whole) == len(f"3 {LONG}"):
                bodies.append(whole)
                whole = ""
        assert bodies == [f"{number} {LONG if number == 3 else 'kurz'}" for number in range(12)]
        await until(lambda: is_delivered(world, 12))
        accesses = await world.rows("access_log", "at")
        agent = str(world.organisation.by_username["ben"].id)
        assert {(row["actor"], row["purpose"]) for row in accesses} == {(f"agent:{agent}", "message-delivery")}
        assert await world.rows("text_readings") == []
        assert house.org == world.organisation.id


async def test_a_text_that_no_phone_takes_waits_and_comes_with_the_next_phone(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _):
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben")
        ben.status = 480
        assert (await anna.text("ben", "Bist du da?")).status == 202
        await ben.got()

        async def is_put_back() -> bool:
            (row,) = await world.rows("text_deliveries", "message_id")
            return row["claimed_until"] is None and row["due_at"] > datetime.now(UTC)

        await until(is_put_back)
        assert await states(world) == ["queued"]
        ben.status = 200
        other = await TextPhone.open(world, "ben", instance='"<urn:uuid:00000000-0000-1000-8000-00000000000a>"')
        assert said(await other.got()) == (ANNA, "Bist du da?")
        await until(lambda: is_delivered(world, 1))


async def test_a_text_that_a_phone_refuses_for_good_holds_up_no_later_one_and_waits_for_another_phone(
    databases: Databases, tmp_path: Path
) -> None:
    async with texting(databases, tmp_path) as (world, _):
        anna = await TextPhone.open(world, "anna")
        for word in ("one", "bad", "two"):
            assert (await anna.text("ben", word)).status == 202
        ben = await TextPhone.open(world, "ben")
        ben.refuses = {b"bad": 415}
        first = [said(await ben.got(20))[1] for _ in range(3)]
        assert first == ["one", "bad", "two"]
        await until(lambda: of_states(world, ["delivered", "queued", "delivered"]))
        assert (await anna.text("ben", "three")).status == 200
        assert said(await ben.got())[1] == "three"
        second = await TextPhone.open(world, "ben", instance='"<urn:uuid:00000000-0000-1000-8000-00000000000a>"')
        assert said(await second.got(20))[1] == "bad"
        await until(lambda: is_delivered(world, 4))
        assert ben.texts.empty(), "it is not asked again"


async def test_a_text_that_does_not_open_holds_up_none_of_the_others_of_its_agent(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _):
        anna = await TextPhone.open(world, "anna")
        for word in ("one", "two", "three"):
            assert (await anna.text("ben", word)).status == 202
        middle = (await world.rows("messages", "created_at"))[1]["id"]
        async with world.owner.organisation(OrgId(world.organisation.id)) as connection:
            altered = "UPDATE messages SET body_sealed = set_byte(body_sealed, 20, 255 - get_byte(body_sealed, 20)) WHERE id = $1"
            await connection.execute(altered, middle)
        ben = await TextPhone.open(world, "ben")
        assert [said(await ben.got(20))[1] for _ in range(2)] == ["one", "three"]
        await until(lambda: of_states(world, ["delivered", "queued", "delivered"]))
        assert [row["message_id"] for row in await world.rows("text_deliveries", "message_id")] == [middle]


async def test_a_text_that_its_phone_repeats_to_the_gateway_that_came_after_is_one_text(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _):
        texts = world.gateway.texting
        anna, ben = world.organisation.by_username["anna"], world.organisation.by_username["ben"]
        known = Known(world.organisation, anna, Credential(anna.id, anna.id, anna.ha1))
        first = await texts._store(known, ben, Text("Einmal"), b"mark" * 8)
        again = await texts._store(known, ben, Text("Einmal"), b"mark" * 8)
        other = await texts._store(known, ben, Text("Einmal"), b"mork" * 8)
        assert first is not None
        assert again is not None
        assert other is not None
        assert (first[1], again[1], other[1]) == (True, False, True)
        assert len(await world.rows("messages")) == len(await world.rows("text_deliveries", "message_id")) == 2


async def test_what_is_no_text_or_leads_nowhere_is_refused_with_its_reason_and_kept_nowhere(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _):
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben")
        refused = [
            ("ben", "<x/>", "application/im-iscomposing+xml", 415), ("ben", "x", "text/plain;charset=utf-16", 415),
            ("ben", b"\xff", "text/plain", 400), ("ben", " ", "text/plain", 400), ("ben", "a" * (MOST_BYTES + 1), "text/plain", 413),
            ("anna", "an mich", "text/plain", 403), ("101", "an mich", "text/plain", 403), ("112", "Hilfe", "text/plain", 403),
            ("0035315242000", "Irland", "text/plain", 403), ("nobody", "x", "text/plain", 484), ("600", "an alle", "text/plain", 484),
            ("sip:ben@192.0.2.7", "x", "text/plain", 403), (f"sip:{FAR_NUMBER}@globex.example.org", "x", "text/plain", 403),
            (f"sip:{FAR_NUMBER},12@{HOST}", "x", "text/plain", 484), ("*97", "x", "text/plain", 403),
        ]  # fmt: skip
        answers = []
        for to, body, content_type, _ in refused:
            answer = await anna.text(to, body, content_type)
            answers.append((to, answer.status))
            assert answer.status < 500, (to, answer.status)
            assert f"cause={answer.status};text=" in reason(answer), to
        assert answers == [(to, status) for to, _, _, status in refused]
        assert ben.texts.empty()
        assert await world.rows("messages") == []
        assert world.carrier.events.empty()


async def test_a_text_to_a_number_that_the_rules_allow_is_sealed_into_the_outbox_under_the_agents_number(
    databases: Databases, tmp_path: Path
) -> None:
    async with texting(databases, tmp_path) as (world, _):
        anna = await TextPhone.open(world, "anna")
        none = await anna.text("03023125999", "Kein Weg")
        assert (none.status, "No carrier takes messages" in reason(none)) == (503, True)
        await carried(world)
        assert (await anna.text("03023125999", LONG[:300])).status == 202
        (row,) = await world.rows("messages")
        assert (row["direction"], row["channel"], row["state"], row["country"]) == ("outbound", "sms", "queued", "DE")
        assert {part["state"] for part in await world.rows("message_parts", "part")} == {"queued"}
        assert row["agent_id"] == world.organisation.by_username["anna"].id
        assert all(b"langer Text" not in value for value in row.values() if isinstance(value, bytes))
        refused = await anna.text("0035315242000", "Irland")
        assert (refused.status, len(await world.rows("messages"))) == (403, 1)


async def test_a_text_of_an_agent_that_does_telemarketing_needs_a_consent_as_any_marketing(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, house):
        anna = await TextPhone.open(world, "anna")
        await carried(world)
        owner = await house.main("owner")
        async with owner.organisation(house.org) as connection:
            await connection.execute("UPDATE agents SET telemarketing = true")
        refused = await anna.text("03023125999", "Buy!")
        assert (refused.status, "agreed to messages of marketing" in reason(refused)) == (403, True)
        async with owner.organisation(house.org) as connection:
            await connection.execute(
                "INSERT INTO message_settings (org_id, needs_consent, updated_at) VALUES ($1, false, now())", house.org
            )
        assert (await anna.text("03023125999", "Buy!")).status == 202
        (row,) = await world.rows("messages")
        assert row["is_marketing"]


async def test_what_a_carrier_brings_for_an_agents_number_reaches_its_phone_and_is_opened_for_it_alone(
    databases: Databases, tmp_path: Path
) -> None:
    async with texting(databases, tmp_path) as (world, house):
        main, keyring = await house.main("worker"), await house.keyring("worker")
        judge = VoiceSecurity(main, keyring, house.clock, lambda _slug: OwnHosts(frozenset(), frozenset(), frozenset()))
        inbox = MessageInbox(main, keyring, judge, house.clock, Chance(), text_deliveries.add_all)
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben")
        words = "Guten Tag, hier ist 山田. " * 20
        said = (Personal("4915112345678"), Personal(ANNA_NUMBER), Personal(words.encode("utf-16-be")))
        await inbox.receive(uuid4(), [Inbound(*said, 8, False, None, datetime.now(UTC))])
        got = [await anna.got()]
        while len("".join(one.body.decode() for one in got)) < len(words):
            got.append(await anna.got())
        assert "".join(one.body.decode() for one in got) == words
        assert {str(one.from_.uri) for one in got} == {f"sip:+4915112345678@{HOST}"}
        await until(lambda: _none_waits(world))
        assert await states(world) == ["received"]
        assert ben.texts.empty()
        (access,) = await world.rows("access_log", "at")
        assert (access["actor"], access["purpose"]) == (f"agent:{world.organisation.by_username['anna'].id}", "message-delivery")


async def test_an_agent_texts_so_often_and_no_more(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path, environ={"HUSHWIRE_LIMITS__TEXTS_PER_MINUTE": "3"}) as (world, _):
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben")
        answers = [(await anna.text("ben", "x")).status for _ in range(4)]
        assert answers == [200, 200, 200, 503]
        assert (await ben.text("anna", "x")).status == 200


async def test_texts_to_numbers_are_counted_by_the_breaker_and_one_too_many_is_refused_and_told(
    databases: Databases, tmp_path: Path
) -> None:
    async with texting(databases, tmp_path) as (world, house):
        anna = await TextPhone.open(world, "anna")
        agent = world.organisation.by_username["anna"].id
        await carried(world)
        async with world.owner.organisation(house.org) as connection:
            said = {"texts-per-minute": {"most": 3}}
            await fraud.put_limits(connection, house.org, "agent", agent, said, datetime.now(UTC))
        assert [(await anna.text(FAR_NUMBER, "Hallo")).status for _ in range(3)] == [202] * 3
        refused = await anna.text(FAR_NUMBER, "Hallo")
        assert (refused.status, "limits" in reason(refused)) == (403, True)
        assert await states(world) == ["queued"] * 3
        (alarm,) = await world.rows("fraud_alarms", "first_at")
        assert (alarm["signal"], alarm["agent_id"]) == ("texts-per-minute", agent)


async def test_a_text_goes_through_the_gateway_that_holds_the_phone_and_none_is_brought_twice(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _), another(world.databases, tmp_path / "b") as b:
        await until(lambda: b.neighbours.hop(world.wired.node_id), timeout_s=20, what="they know each other")
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben", port=port(b))
        await known(world.gateway, "ben")
        assert (await anna.text("ben", "Hinüber")).status == 200
        assert said(await ben.got()) == (ANNA, "Hinüber")
        await ben.register(0)
        await known(world.gateway, "ben", 0)
        assert (await anna.text("ben", "Später")).status == 202
        here = await TextPhone.open(world, "ben")
        there = await TextPhone.open(world, "ben", port=port(b), instance='"<urn:uuid:00000000-0000-1000-8000-00000000000a>"')
        got = [await here.got(20)]
        await until(lambda: is_delivered(world, 2))
        got += [phone.texts.get_nowait() for phone in (here, there) if not phone.texts.empty()]
        assert {said(one) for one in got} == {(ANNA, "Später")}
        assert len(got) <= 2, "each phone at most once"


async def test_an_erased_text_is_never_brought_and_one_that_nobody_came_for_expires(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, house):
        anna = await TextPhone.open(world, "anna")
        for word in ("erst", "dann"):
            assert (await anna.text("ben", word)).status == 202
        first, _ = await world.rows("messages", "created_at")
        async with (await house.main("worker")).organisation(world.organisation.id) as connection:
            await connection.execute("UPDATE messages SET erased_at = now() WHERE id = $1", first["id"])
        ben = await TextPhone.open(world, "ben")
        assert said(await ben.got()) == (ANNA, "dann")
        await until(lambda: _none_waits(world))
        assert ben.texts.empty()
        await ben.register(0)
        assert (await anna.text("ben", "zu spät", headers=(("Expires", "60"),))).status == 202
        house.clock.ahead += timedelta(minutes=2)
        assert await text_delivery.expire(await house.main("worker"), house.clock, Chance()) == 1
        assert (await states(world))[-1] == "expired"


async def _none_waits(world: World) -> bool:
    return await world.rows("text_deliveries", "message_id") == []


async def test_a_question_for_another_agents_text_brings_nothing_and_its_owners_own_brings_it(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, house):
        anna = await TextPhone.open(world, "anna")
        assert (await anna.text("ben", "geheim")).status == 202
        ben = world.organisation.by_username["ben"].id
        (row,) = await world.rows("messages")
        mine = TextAsking(world.wired.main, house.clock, Chance())
        found = await mine.read(world.organisation.id, world.organisation.by_username["anna"].id, [row["id"]])
        assert found == {}, "a question for another agent's text brings nothing"
        found = await mine.read(world.organisation.id, ben, [row["id"]])
        assert found is not None
        assert [one.text for one in found.values()] == ["geheim"]


async def test_fifty_texts_at_once_are_each_brought_once(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path, environ={"HUSHWIRE_LIMITS__TEXTS_PER_MINUTE": "1000"}) as (world, _):
        anna, ben = await TextPhone.open(world, "anna"), await TextPhone.open(world, "ben")
        for number in range(50):
            anna.endpoint.send("MESSAGE", hop=anna.peer.hop, uri=SipUri(HOST, "ben"), from_=NameAddr(SipUri(HOST, "anna")),
                               to=NameAddr(SipUri(HOST, "ben")), body=f"{number}".encode(), content_type="text/plain",
                               credentials=anna.peer.credentials)  # fmt: skip
        answers = [await asyncio.wait_for(anna.responses.get(), 30) for _ in range(50)]
        assert {answer.status for answer in answers} <= {200, 202}
        got = sorted([int((await ben.got()).body) for _ in range(50)])
        assert got == list(range(50))
        await until(lambda: is_delivered(world, 50))
