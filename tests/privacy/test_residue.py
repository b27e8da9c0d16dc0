"""Residue: a marked person goes through everything that exists and is erased. Then everything is searched, and everything that any key
still opens is opened and searched. What remains of them is what the inventory declares: pseudonyms, on a basis, with an end.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import asyncpg
import pytest

from hushwire.core.errors import KeyUnavailable, MalformedError
from hushwire.core.ids import RecordingId
from hushwire.core.personal import Personal
from hushwire.privacy.inventory import Erasure, Form, columns, holding
from hushwire.privacy.inventory.vocabulary import KEPT_ON
from hushwire.privacy.selection import Selector
from hushwire.projections.outbox import project
from hushwire.recording import entries
from hushwire.recording.failures import RecordingError
from hushwire.recording.hwr import Identity, Reader
from hushwire.services.erasure_expiry import expire
from hushwire.services.protections import Keeping
from hushwire.vault.keyring import OrgKeys
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why
from tests.api.messaging import Desk, desk, parts_of
from tests.api.serving import Office, office, problem, shown
from tests.called import Called, called

__all__ = ["office"]

NUMBER, NAME, VOICE = "+493023125777", "Zacharias Markermann", b"voice-of-markermann-7Qp"
OTHER_NUMBER, OTHER_NAME, OTHER_VOICE = "+493023125888", "Bettina Bleibt", b"voice-of-bleibt-4Xz"
WHY = Why("api-key:1", "customer-service")
DatabaseName = Literal["main", "keyring"]


@dataclass(frozen=True, slots=True)
class Person:
    """A person and every form in which they could stand somewhere in clear."""

    number: str
    name: str
    voice: bytes

    def needles(self) -> list[bytes]:
        digits = self.number.lstrip("+")
        words = [digits.encode(), digits[2:].encode(), self.name.encode(), self.name.split()[1].encode(), self.voice]
        encoded = [word.hex().encode() for word in words]
        for word in words:
            encoded += [base64.b64encode(b" " * lead + word)[4 if lead else 0 : -4] for lead in range(3)]
        return words + [each for each in encoded if len(each) >= 10]

    def stands_in(self, data: bytes) -> bool:
        return any(needle in data for needle in self.needles())


MARKED, BYSTANDER = Person(NUMBER, NAME, VOICE), Person(OTHER_NUMBER, OTHER_NAME, OTHER_VOICE)


@dataclass(slots=True)
class Search:
    """Where a person was found: in clear, under keys that still exist, by blind index."""

    clear: set[str] = field(default_factory=set)
    unsealed: set[str] = field(default_factory=set)
    indexed: set[str] = field(default_factory=set)


async def live_through(office: Office, person: Person, messages: Desk) -> tuple[Called, str, str]:
    """Everything that a person can leave behind."""
    house = office.house
    mine = await called(house, person.number, content=sound(person))
    await called(house, person.number, content=sound(person))
    await (await house.shipping()).ship_all()
    await office.add_call(person.number, state="refused", verdict="deny", started_at=house.clock.now() - timedelta(minutes=30))
    async with office.client() as api:
        number = {"number": person.number, "label": "mobile"}
        made = await api.post("/v1/contacts", json={"name": person.name, "numbers": [number], "notes": f"knows {person.name}"})
        assert made.status_code == 201, made.text
        contact: str = made.json()["id"]
        sent = await api.post("/v1/messages", json={"to": person.number, "text": f"Dear {person.name}, until Monday"})
        assert sent.status_code == 202, sent.text
        assert await messages.queued()
        await messages.receive(f"Yes. {person.name}", "STOP", source=person.number)
        await messages.bring(parts_of(f"{person.name} " * 20, person.number)[:1])  # what never becomes whole
        consent = {"number": person.number, "how": "spoken", "given_at": "2020-01-01T00:00:00Z", "note": f"{person.name} said yes"}
        assert (await api.post("/v1/privacy/consents", json=consent)).status_code == 201
        shown(await api.post("/v1/privacy/do-not-call", json={"numbers": [person.number]}))
        hold = {"scope": "number", "number": person.number, "reason": "tax", "authority": "office", "note": f"about {person.name}"}
        placed = (await api.post("/v1/privacy/holds", json=hold)).json()
        subject = {"number": person.number, "name": person.name}
        for kind in ("know", "access", "erase") if person is MARKED else ("know", "access"):
            asked = {"kind": kind, "channel": "data-subject", "subject": subject}
            request = (await api.post("/v1/privacy/requests", json=asked)).json()
            path = f"/v1/privacy/requests/{request['id']}"
            shown(await api.post(f"{path}/verify", json={"method": "call-back"}))
            await api.post(f"{path}/execute")
            if kind != "know":
                # A bundle is queued; the wish to erase, which the hold keeps, is noted with the number in it. Both are then withdrawn.
                shown(await api.post(f"{path}/cancel", json={"note": f"{person.name} changed their mind"}))
        shown(await api.post(f"/v1/privacy/holds/{placed['id']}/release"))
        shown(await api.get(f"/v1/recordings/{mine.recording}"))
        assert (await api.get(f"/v1/recordings/{mine.recording}/audio", params={"format": "wav"})).status_code == 200
        shown(await api.post("/v1/calls/search", json={"number": person.number}))
        problem(await api.post(f"/v1/calls/{mine.call}/hangup", headers={"Idempotency-Key": f"of-{mine.call}"}), 409)
    await Keeping(await house.main("worker"), await house.db("keyring", "worker")).keep_all()
    return mine, contact, sent.json()["id"]


def sound(person: Person) -> list[list[entries.Entry]]:
    header = bytes([0x80, 0, 0, 1]) + bytes(8)
    payload = (person.voice * 8)[:160]
    return [
        [entries.anchor(1_700_000_000_000_000), entries.formats([{0: "PCMU/8000"}] * 2)],
        [entries.rtp(0, 10, header + payload), entries.rtp(1, 10, header + payload)],
        [entries.end(400)],
    ]


async def search(office: Office, person: Person, logs: str) -> Search:
    """Looks everywhere."""
    found = Search()
    house = office.house
    keys = await (await house.keyring("owner")).org_context(house.org)
    indexes = blind_indexes(keys, person)
    for database in ("main", "keyring"):
        async for place, row in rows(office, database):  # type: ignore[arg-type]
            for column, value in row.items():
                where = f"{database}.{place}.{column}"
                raw = b"|".join(value) if isinstance(value, list) and value and isinstance(value[0], bytes) else value
                raw = raw if isinstance(raw, bytes) else str(raw).encode()
                if person.stands_in(raw):
                    found.clear.add(where)
                if any(index in raw for index in indexes) or any(index.hex() in str(value) for index in indexes):
                    found.indexed.add(where)
    for path in files(office):
        if person.stands_in(path.read_bytes()):
            found.clear.add(f"file {path.relative_to(house.folder)}")
    if person.stands_in(logs.encode()):
        found.clear.add("log")
    await unseal_all(office, person, keys, found)
    return found


def files(office: Office) -> list[Path]:
    """Spool, store, buckets, whatever lies in the deployment's folder."""
    return [path for path in sorted(office.house.folder.rglob("*")) if path.is_file()]


async def rows(office: Office, database: DatabaseName) -> Any:
    """Every row of every table, with every column, past all row-level security."""
    connection = await asyncpg.connect(office.house.databases.dsn(database, "administrator"))
    try:
        tables = await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for (table,) in tables:
            for row in await connection.fetch(f'SELECT * FROM "{table}"'):
                yield table, dict(row)
    finally:
        await connection.close()


def blind_indexes(keys: OrgKeys, person: Person) -> list[bytes]:
    """The person's values under every blind index that there is a column for."""
    names = {f"{column.table}.{column.name.removesuffix('_index')}" for column in columns() if column.name.endswith("_index")}
    names |= {"calls.remote", "contacts.name", "do_not_call.opted_out"}
    spellings = {person.number, person.number[1:], "0" + person.number[3:], person.name, person.name.casefold(), person.name.lower()}
    return [keys.index(name, spelling) for name in sorted(names) for spelling in sorted(spellings)]


async def unseal_all(office: Office, person: Person, keys: OrgKeys, found: Search) -> None:
    """Tries every key that still exists on every sealed column with its own context, and on every file."""
    house = office.house
    keyring = await house.keyring("owner")
    connection = await asyncpg.connect(house.databases.dsn("keyring", "administrator"))
    held = await connection.fetch("SELECT id, kind FROM data_keys WHERE org_id = $1", house.org)
    await connection.close()
    opening: dict[UUID, bytes] = {}
    for kind in {row["kind"] for row in held}:
        ids = [row["id"] for row in held if row["kind"] == kind]
        opened = await (await house.keyring("worker")).open_many(house.org, kind, ids, Why("system:worker", "storage-integrity"))
        opening |= {key_id: key.key for key_id, key in opened.items()}
    assert len(opening) == len(held)
    openers = [keys.operational, (await keyring.deployment()).operational, *(Columns(key) for key in opening.values())]
    async for table, row in rows(office, "main"):
        for column, value in row.items():
            if isinstance(value, bytes) and holding("main", table, column).form is Form.SEALED:
                for plain in opened_values(openers, value, table, column, row, house.org):
                    if person.stands_in(plain):
                        found.unsealed.add(f"main.{table}.{column}")
    for path in files(office):
        data = path.read_bytes()
        for key_id, key in opening.items():
            try:
                plain = b"".join(frame.plaintext for frame in Reader(key, Identity(house.org, RecordingId(key_id))).frames(data))
            except RecordingError:
                continue
            if person.stands_in(plain):
                found.unsealed.add(f"file {path.parent.parent.name}")


def opened_values(openers: list[Columns], sealed: bytes, table: str, column: str, row: Mapping[str, Any], org: UUID) -> Iterator[bytes]:
    ids = [value for value in row.values() if isinstance(value, UUID)]
    for columns_ in openers:
        for row_id in ids:
            try:
                yield columns_.open(sealed, table=table, column=column, row=row_id, org=org)
            except (MalformedError, KeyUnavailable):
                continue


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged and printed so far."""
    said: list[str] = []

    def read() -> str:
        captured = capsys.readouterr()
        said.extend((captured.out, captured.err, caplog.text))
        return "".join(said)

    return read


async def time_passes(office: Office) -> None:
    """Everything that works in the background has done its work, and a day is over."""
    house = office.house
    worker, upkeep = await house.main("worker"), await house.upkeep()
    for _ in range(2):
        await upkeep.carry_on()
        await project(worker)
    await Keeping(worker, await house.db("keyring", "worker")).keep_all()
    await house.later(hours=25)
    await upkeep.renew_buckets(at_once=True)
    await expire(worker, house.clock)
    await project(worker)
    await upkeep.carry_on()


async def test_of_an_erased_person_nothing_remains_but_what_the_inventory_declares(office: Office, log: Callable[[], str]) -> None:
    messages = await desk(office)
    mine, contact, text = await live_through(office, MARKED, messages)
    other, _, _ = await live_through(office, BYSTANDER, messages)
    before = await search(office, MARKED, log())
    # The search itself is proven first: it finds the person under the keys, by index and in the files, and nowhere in clear.
    assert before.clear == set()
    assert before.unsealed >= {
        "main.calls.remote_sealed", "main.contacts.name_sealed", "main.contacts.notes_sealed", "main.contact_numbers.number_sealed",
        "main.legal_holds.number_sealed", "main.legal_holds.note_sealed", "main.privacy_requests.subject_sealed",
        "main.privacy_request_steps.note_sealed", "main.consents.note_sealed", "main.erasure_operations.selector_sealed", "file recordings",
        "main.messages.remote_sealed", "main.messages.body_sealed", "main.message_inbound_parts.payload_sealed",
    }  # fmt: skip
    assert before.indexed >= {
        "main.calls.remote_index", "main.recordings.remote_index", "main.contact_numbers.remote_index", "main.contacts.name_index",
        "main.legal_holds.number_indexes", "main.privacy_requests.remote_index", "main.consents.remote_index",
        "main.do_not_call.number_index", "main.messages.remote_index",
    }  # fmt: skip
    office.house.clock.ahead += timedelta(minutes=1)
    async with office.client() as api:
        answer = await office.means.erasures.erase_matching(
            office.house.org,
            Selector(number=Personal(NUMBER)),
            actor="api-key:1",
            reason="data-subject-request",
            note=f"for {NAME}",
            within_s=120,
        )
        assert answer.is_unreadable
        assert answer.counts.keys() >= {"call", "recording", "contact", "case", "consent", "message"}
        await time_passes(office)
        after = await search(office, MARKED, log())
        assert after.clear == set()
        assert after.unsealed == set()
        # Whoever asked not to be called is not called after their erasure either.
        assert after.indexed == {"main.do_not_call.number_index", "keyring.kept_protections.id", "keyring.kept_protections.fields"}
        for where in after.indexed:
            database, table, column = where.split(".")
            assert holding(database, table, column).erasure is Erasure.KEEP_OBJECTION  # type: ignore[arg-type]
        view = shown(await api.get(f"/v1/privacy/erasures/{answer.id}"))
        assert view["state"] == "done"
        problem(await api.get(f"/v1/recordings/{mine.recording}"), 410)
        # Whoever was not meant is all there.
        assert (await api.get(f"/v1/recordings/{other.recording}/audio", params={"format": "wav"})).status_code == 200
    bystander = await search(office, BYSTANDER, log())
    assert bystander.clear == set()
    assert bystander.unsealed == before.unsealed - {"main.erasure_operations.selector_sealed"}
    assert bystander.indexed == before.indexed
    await check_pseudonyms(office, [mine.call, mine.recording, UUID(contact), UUID(text)])


async def check_pseudonyms(office: Office, ids: list[UUID]) -> None:
    """Rows that still name the erased things by id are such as the inventory keeps, on a basis and with an end."""
    kept = set()
    for database in ("main", "keyring"):
        async for table, row in rows(office, database):  # type: ignore[arg-type]
            for column, value in row.items():
                if any(value == each or str(each) in str(value) for each in ids):
                    kept.add((database, table, column))
    assert ("main", "erasure_ledger", "object_id") in kept
    assert ("main", "calls", "id") in kept
    for database, table, column in kept:
        entry = holding(database, table, column)
        assert entry.form not in (Form.SEALED, Form.INDEX), (table, column)
        assert entry.kept_on is not None, f"{table}.{column} keeps an erased person's pseudonym, and the inventory says not why"
        assert entry.retention.value, (table, column)


def test_everything_that_outlives_an_erasure_has_a_basis_and_an_end() -> None:
    for column in columns():
        entry = column.holding
        if entry.is_personal and entry.erasure in KEPT_ON:
            assert entry.kept_on
            assert entry.retention.value
            assert entry.form is not Form.SEALED, (column.table, column.name)
