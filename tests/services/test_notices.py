"""Notices: queued with what they tell of, handed to real mail servers, never lost, in virtual time."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog

from hushwire.core.personal import Personal
from hushwire.privacy.clocks import Clock, ClockKind
from hushwire.privacy.notices import ContactRole, NoticeKind
from hushwire.services.clocks import Clocks
from hushwire.services.data_subject_notices import DataSubjectNotices
from hushwire.services.mailer import MailServer
from hushwire.services.notice_sending import LEASE, MOST_RETRY, NoticeSending, back_off
from hushwire.services.notices import Notices, NoticeView
from hushwire.services.organisation import Organisations, Wanted
from hushwire.store.notices import NoticeRow
from hushwire.vault.unseal import Why
from tests.databases import RoleName
from tests.mailhost import MailHost, mail_host
from tests.recorded import Chance, Fate, House, Killed, house

__all__ = ["house"]

SENDER = "privacy@voice.example.org"
FIRST, SECOND, THIRD = "privacy@acme.example", "second@acme.example", "security@acme.example"
WHY = Why("api-key:test", "audit")
VALUES = {"case": UUID(int=1), "kind": "regulator", "opened_at": "now"}


@pytest.fixture
def host() -> Iterator[MailHost]:
    with mail_host() as made:
        yield made


async def service(house: House, role: RoleName = "api", fate: Fate | None = None) -> Notices:
    clocks = Clocks(house.clock, Chance())
    return Notices(await house.main(role, fate), await house.keyring(role, fate), clocks, house.clock, Chance())


async def organisations(house: House, role: RoleName = "api") -> Organisations:
    return Organisations(await house.main(role), await house.keyring(role), house.clock, Chance())


async def sending(house: House, host: MailHost | None, fate: Fate | None = None) -> NoticeSending:
    server = None if host is None else MailServer.of(f"smtp://127.0.0.1:{host.port}", SENDER)
    return NoticeSending(await service(house, "worker", fate), server)


async def designate(house: House, *emails: str) -> None:
    roles = [ContactRole.SECURITY if email == THIRD else ContactRole.PRIVACY for email in emails]
    wanted = tuple((role, Personal(email)) for role, email in zip(roles, emails, strict=True))
    await (await organisations(house)).change(house.org, Wanted(contacts=wanted), "api-key:test")


async def queued(house: House, subject: UUID | None = None, *, clock: Clock | None = None) -> NoticeRow:
    made = await service(house)
    async with made.main.organisation(house.org) as connection:
        return await made.queue(
            connection, house.org, NoticeKind.CASE, "case", subject or uuid4(), VALUES, clock_id=None if clock is None else clock.id
        )


async def clock_of(house: House, subject: UUID) -> Clock:
    clocks = Clocks(house.clock, Chance())
    async with (await house.main("api")).organisation(house.org) as connection:
        return await clocks.start(connection, house.org, ClockKind.DATA_SUBJECT_NOTICE, "case", subject, house.clock.now())


async def seen(house: House, row: NoticeRow | Clock) -> Any:
    """The row as it stands now."""
    made = await service(house)
    async with made.main.organisation(house.org) as connection:
        if isinstance(row, Clock):
            return await made.clocks.get(connection, row.id)
    view = await made.get(house.org, row.id, WHY)
    assert isinstance(view, NoticeView)
    return view.row


async def events(house: House) -> list[tuple[str, dict[str, Any]]]:
    async with (await house.main("api")).organisation(house.org) as connection:
        rows = await connection.fetch("SELECT kind, fields FROM outbox WHERE kind LIKE 'notice.%' ORDER BY xid, seq")
    return [(row["kind"], json.loads(row["fields"])) for row in rows]


async def test_a_notice_goes_to_the_first_contact_and_its_acceptance_ends_the_clock_with_evidence(house: House, host: MailHost) -> None:
    await designate(house, FIRST, SECOND)
    clock = await clock_of(house, subject := uuid4())
    row = await queued(house, subject, clock=clock)
    assert await (await sending(house, host)).send() == 1
    assert host.recipients == [FIRST]
    (message,) = host.messages
    assert message["Subject"] == "A case that concerns you was opened"
    assert message["Message-ID"] == f"<{row.id}@voice.example.org>"
    assert "An organisation" in message.get_content()
    view = await (await service(house)).get(house.org, row.id, WHY)
    assert view is not None
    assert (view.row.state, view.recipient, view.row.attempts) == ("sent", FIRST, 1)
    assert view.words is not None
    assert view.words.body.splitlines() == message.get_content().splitlines()
    ended = await seen(house, clock)
    assert ended.outcome == "notice-accepted"
    assert ended.evidence["notice"] == str(row.id)
    assert ended.evidence["reply_code"] == 250
    assert ended.evidence["message"] == view.row.evidence["message"]
    assert await (await sending(house, host)).send() == 0
    assert len(host.messages) == 1


async def test_it_is_queued_with_the_transaction_that_it_tells_of_and_only_once(house: House, host: MailHost) -> None:
    await designate(house, FIRST)
    made = await service(house)
    with pytest.raises(ZeroDivisionError):
        async with made.main.organisation(house.org) as connection:
            await made.queue(connection, house.org, NoticeKind.CASE, "case", uuid4(), VALUES)
            raise ZeroDivisionError
    subject = uuid4()
    rows = await asyncio.gather(*(queued(house, subject) for _ in range(4)))
    assert len({row.id for row in rows}) == 1
    await (await sending(house, host)).send()
    assert len(host.messages) == 1


async def test_values_that_the_kind_does_not_take_queue_nothing(house: House) -> None:
    made = await service(house)
    with pytest.raises(ValueError, match="takes"):
        async with made.main.organisation(house.org) as connection:
            await made.queue(connection, house.org, NoticeKind.CASE, "case", uuid4(), VALUES | {"name": "Anna"})


async def test_a_server_that_greylists_gets_it_after_a_while(house: House, host: MailHost) -> None:
    host.greylist = 2
    await designate(house, FIRST)
    row, job = await queued(house), await sending(house, host)
    for minutes in (0, 0.5, 1, 1.5, 2):
        house.clock.ahead += timedelta(minutes=minutes)
        await job.send()
    assert host.tried[FIRST] == 3
    assert (await seen(house, row)).state == "sent"
    assert [kind for kind, _ in await events(house)] == ["notice.sent"]


async def test_a_connection_that_breaks_in_the_message_loses_nothing(house: House, host: MailHost) -> None:
    host.drops_in_data = 1
    await designate(house, FIRST)
    row, job = await queued(house), await sending(house, host)
    assert await job.send() == 0
    assert (await seen(house, row)).state == "queued"
    house.clock.ahead += timedelta(minutes=2)
    assert await job.send() == 1
    assert len(host.messages) == 1


async def test_a_server_that_took_it_without_a_word_gets_one_more_copy_with_the_same_id(house: House, host: MailHost) -> None:
    host.silent_after_data = 1
    await designate(house, FIRST)
    await queued(house)
    job = await sending(house, host)
    await job.send()
    house.clock.ahead += timedelta(minutes=2)
    await job.send()
    assert len(host.raw) == 2
    assert host.raw[0] == host.raw[1]


async def test_a_server_that_is_down_for_hours_gets_it_when_it_is_back_and_the_clock_says_how_late(house: House) -> None:
    with mail_host() as gone:
        pass
    await designate(house, FIRST)
    clock = await clock_of(house, subject := uuid4())
    row, job = await queued(house, subject, clock=clock), await sending(house, gone)
    tries = 0
    for _ in range(26 * 4):
        before = (await seen(house, row)).attempts
        await job.send()
        tries += (await seen(house, row)).attempts - before
        house.clock.ahead += timedelta(minutes=15)
    assert 25 <= tries <= 40
    house.clock.ahead += MOST_RETRY
    with mail_host(port=gone.port) as back:
        await job.send()
    assert back.recipients == [FIRST]
    ended = await seen(house, clock)
    assert (ended.outcome, ended.was_late) == ("notice-accepted", True)


async def test_an_address_that_is_refused_for_good_is_alarmed_and_the_next_contact_is_told_at_once(house: House, host: MailHost) -> None:
    host.refused = {FIRST, SECOND}
    await designate(house, THIRD, FIRST, SECOND)
    row = await queued(house)
    with structlog.testing.capture_logs() as logs:
        assert await (await sending(house, host)).send() == 1
    assert dict(host.tried) == {FIRST: 1, SECOND: 1, THIRD: 1}
    assert host.recipients == [THIRD]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["notice.refused", "notice.refused"]
    assert "acme.example" not in json.dumps(logs, default=str)
    assert [kind for kind, _ in await events(house)] == ["notice.refused", "notice.refused", "notice.sent"]
    assert (await seen(house, row)).state == "sent"


async def test_when_nobody_takes_it_an_alarm_says_so_and_a_new_contact_gets_it(house: House, host: MailHost) -> None:
    host.refused = {FIRST}
    await designate(house, FIRST)
    row, job = await queued(house), await sending(house, host)
    with structlog.testing.capture_logs() as logs:
        await job.send()
    assert "notice.failed" in [line["event"] for line in logs]
    assert (await seen(house, row)).state == "failed"
    house.clock.ahead += timedelta(days=2)
    assert await job.send() == 0
    await designate(house, FIRST, SECOND)
    assert await job.send() == 1
    assert host.recipients == [SECOND]


async def test_without_a_contact_it_stays_in_the_outbox_with_an_alarm_and_the_first_contact_gets_it(house: House, host: MailHost) -> None:
    with structlog.testing.capture_logs() as logs:
        row = await queued(house)
    assert ("notice.no_contact", "error") in [(line["event"], line["log_level"]) for line in logs]
    assert row.state == "unaddressed"
    assert (await events(house))[0] == ("notice.failed", {"notice": "case", "reason": "no-contact"})
    job = await sending(house, host)
    assert await job.send() == 0
    await designate(house, FIRST)
    assert await job.send() == 1
    assert (await seen(house, row)).state == "sent"


async def test_without_a_mail_server_it_stays_in_the_outbox(house: House) -> None:
    await designate(house, FIRST)
    row = await queued(house)
    assert await (await sending(house, None)).send() == 0
    assert (await seen(house, row)).state == "queued"


async def test_a_password_that_is_wrong_burns_no_contact(house: House, host: MailHost) -> None:
    host.rejects_sender = True
    await designate(house, FIRST, SECOND)
    row, job = await queued(house), await sending(house, host)
    with structlog.testing.capture_logs() as logs:
        await job.send()
    assert ("notice.not_now", "error") in [(line["event"], line["log_level"]) for line in logs]
    assert (await seen(house, row)).tried == ()
    host.rejects_sender = False
    house.clock.ahead += timedelta(minutes=2)
    await job.send()
    assert host.recipients == [FIRST]


async def test_a_contact_whose_mailbox_stays_full_does_not_keep_the_others_from_being_told(house: House, host: MailHost) -> None:
    host.full = True
    await designate(house, FIRST, SECOND)
    await queued(house)
    job = await sending(house, host)
    for _ in range(6):
        await job.send()
        house.clock.ahead += timedelta(minutes=61)
    assert dict(host.tried) == {FIRST: 4, SECOND: 2}


async def test_killed_between_any_two_steps_it_is_sent_at_least_once_and_at_most_once_more(house: House, host: MailHost) -> None:
    await designate(house, FIRST)
    kill_at, copies = 0, []
    while True:
        kill_at += 1
        row, fate = await queued(house), Fate(kill_at)
        try:
            await (await sending(house, host, fate)).send()
        except Killed:
            for _ in range(3):
                house.clock.ahead += LEASE + timedelta(seconds=1)
                await asyncio.gather(*[(await sending(house, host)).send() for _ in range(2)])
        assert (await seen(house, row)).state == "sent"
        received = [message for message in host.messages if str(row.id) in message["Message-ID"]]
        copies.append(len(received))
        assert 1 <= len(received) <= 2, f"killed at border {kill_at}"
        if fate.passed < kill_at:
            break
    assert kill_at > 8
    assert 1 <= copies.count(2) <= 2  # only where the server's word was not written down yet
    assert [kind for kind, _ in await events(house)].count("notice.sent") == len(copies)


async def test_many_workers_send_each_notice_once(house: House, host: MailHost) -> None:
    await designate(house, FIRST)
    rows = [await queued(house) for _ in range(6)]
    await asyncio.gather(*[(await sending(house, host)).send() for _ in range(3)])
    assert sorted(message["Message-ID"] for message in host.messages) == sorted(f"<{row.id}@voice.example.org>" for row in rows)


async def test_the_customers_word_ends_the_clock_and_spares_the_mail(house: House, host: MailHost) -> None:
    await designate(house, FIRST)
    clock = await clock_of(house, subject := uuid4())
    row, made = await queued(house, subject, clock=clock), await service(house)
    by = f"api-key:{uuid4()}"
    first = await made.acknowledge(house.org, row.id, by)
    house.clock.ahead += timedelta(hours=1)
    assert await made.acknowledge(house.org, row.id, "api-key:other") == first
    assert first is not None
    assert (first.state, first.acknowledged_by) == ("acknowledged", by)
    ended = await seen(house, clock)
    assert (ended.outcome, ended.evidence) == ("notice-acknowledged", {"notice": str(row.id), "by": by})
    await (await sending(house, host)).send()
    assert host.messages == []
    assert await made.acknowledge(house.org, uuid4(), by) is None


async def test_neither_words_nor_addresses_stand_readable_in_any_row(house: House, host: MailHost) -> None:
    await designate(house, FIRST)
    await queued(house)
    await (await sending(house, host)).send()
    async with (await house.main("owner")).organisation(house.org) as connection:
        for table in ("notices", "org_contacts", "outbox", "audit_log", "clocks"):
            for row in await connection.fetch(f"SELECT row_to_json(t)::text FROM {table} AS t"):
                assert "acme.example" not in row[0]
                assert "regulator" not in row[0]


async def test_a_removed_contacts_key_is_destroyed_and_a_crash_before_that_is_made_good_by_the_worker(house: House) -> None:
    await designate(house, FIRST, SECOND)
    async with (await house.main("owner")).organisation(house.org) as connection:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM org_contacts ORDER BY position")]
    await designate(house, SECOND)
    keyring = await house.keyring("api")
    assert await keyring.fingerprint(house.org, "contact", ids[0]) is None
    assert await keyring.fingerprint(house.org, "contact", ids[1]) is not None
    async with (await house.main("api")).organisation(house.org) as connection:
        await connection.execute(
            "UPDATE org_contacts SET email_sealed = NULL, email_index = NULL, removed_at = now() WHERE id = $1", ids[1]
        )
    worker = await organisations(house, "worker")
    assert await worker.forget_all() == 1
    assert await worker.forget_all() == 0
    async with (await house.db("keyring", "api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM tombstones") == 0  # nothing that a replay would take for an erasure
    assert await keyring.fingerprint(house.org, "contact", ids[1]) is None


async def test_a_data_subjects_request_starts_24_hours_queues_the_notice_and_ends_with_its_acceptance(house: House, host: MailHost) -> None:
    await designate(house, FIRST)
    owing, request, received = DataSubjectNotices(await service(house)), uuid4(), house.clock.now()
    async with (await house.main("api")).organisation(house.org) as connection:
        owed = await owing.owe(connection, house.org, request, "erase", received, tags=["US-CA"])
        again = await owing.owe(connection, house.org, request, "erase", received)
    assert again.notice.id == owed.notice.id
    assert again.clock.id == owed.clock.id
    assert owed.clock.due_at - received == timedelta(hours=24)
    await (await sending(house, host)).send()
    (message,) = host.messages
    assert str(request) in message.get_content()
    ended = await seen(house, owed.clock)
    assert (ended.outcome, ended.was_late) == ("notice-accepted", False)


async def test_a_contact_whose_key_is_gone_is_passed_over(house: House, host: MailHost) -> None:
    await designate(house, FIRST, SECOND)
    await queued(house)
    async with (await house.main("owner")).organisation(house.org) as connection:
        first = await connection.fetchval("SELECT id FROM org_contacts WHERE position = 1")
    await (await house.keyring("api")).destroy_data_key(house.org, "contact", first)
    assert await (await sending(house, host)).send() == 1
    assert host.recipients == [SECOND]


def test_waiting_doubles_up_to_an_hour() -> None:
    assert [back_off(attempts) for attempts in (1, 2, 3, 6, 7, 1000)] == [
        timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4), timedelta(minutes=32), MOST_RETRY, MOST_RETRY,
    ]  # fmt: skip
