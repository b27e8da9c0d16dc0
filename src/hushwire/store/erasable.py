"""Finding and emptying rows of whatever can be erased: one `Erasable` says where the rows of a kind are, the statements follow from it.

Everything runs in a transaction of the organisation. Names of tables and columns come from `privacy/erasable.py`, never from a request.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from hushwire.store import levels, masking
from hushwire.store.database import Connection
from hushwire.vault.buckets import KeyKind

Kind = KeyKind | Literal["consent"]
"""What the ledger calls it. The data key of a consent is of the kind case."""


@dataclass(frozen=True, slots=True)
class Erasable:
    """A kind of thing that can be erased. Columns are those of `table`.

    `began`: when it came into being. `key`: the id of its data key, None in the row where nothing was sealed. `number`: SQL that is true
    of `{row}` where it concerns a number with one of the blind indexes `{indexes}`; `agents`: agents that it concerns; `contact`: the
    contact that it belongs to. `part_of`: the kinds that it is a part of, and the columns with their ids. `emptied`: set to null.
    `becomes`: what else is set, as SQL. `live`: SQL that is true while a process still writes it (its node and call are then columns
    `node_id` and `call_id`). `only`: SQL that is true of rows that a search may find; an id finds the others too. `in_use`: SQL that is
    true of rows that time alone does not end. `object_key` and
    `region`: where a sealed object of it lies.
    """

    kind: Kind
    table: str
    began: str
    emptied: tuple[str, ...]
    key: str = "id"
    number: str | None = None
    agents: tuple[str, ...] = ()
    contact: str | None = None
    part_of: tuple[tuple[str, str], ...] = ()
    becomes: tuple[str, ...] = ()
    fingerprint: str | None = None
    digest: str | None = None
    live: str = "false"
    only: str | None = None
    in_use: str | None = None
    object_key: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Which rows of a kind; all that is given must hold. `ids` may also name what the row is a part of (`parts_of`)."""

    ids: Collection[UUID] | None = None
    parts_of: tuple[str, Collection[UUID]] | None = None
    number_indexes: Sequence[bytes] | None = None
    agent: UUID | None = None
    contact: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    spares_in_use: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A row that can be erased. `hold_id`: what keeps it."""

    kind: str
    id: UUID
    key_id: UUID | None
    began_at: datetime
    is_live: bool
    hold_id: UUID | None = None
    node_id: UUID | None = None
    call_id: UUID | None = None
    digest: bytes | None = None
    fingerprint: bytes | None = None
    agents: tuple[UUID, ...] = ()


Place = tuple[datetime, UUID]


async def find(
    connection: Connection,
    what: Erasable,
    search: Search,
    *,
    kinds: Mapping[str, Erasable],
    after: Place | None = None,
    limit: int | None = None,
    is_held: bool | None = None,
    lock: bool = False,
) -> list[Found]:
    """Rows that are in no ledger yet, oldest first. `is_held`: only held or only free ones. `lock` keeps them until the end."""
    arguments: list[Any] = [what.kind]
    # One probe of the index for each row, whatever the planner believes: as a join it once read the whole ledger for each.
    conditions = ["(SELECT e.id FROM erasure_ledger AS e WHERE e.kind = $1 AND e.object_id = r.id LIMIT 1) IS NULL"]
    conditions += _conditions(what, search, arguments)
    if after is not None:
        arguments += after
        conditions.append(f"(r.{what.began}, r.id) > (${len(arguments) - 1}, ${len(arguments)})")
    hold = _hold(what, kinds)
    if is_held is not None:
        conditions.append(f"{hold} IS {'NOT ' if is_held else ''}NULL")
    live = f"({what.live}) AS is_live" + (
        ", r.node_id, r.call_id" if what.live != "false" else ", NULL::uuid AS node_id, NULL::uuid AS call_id"
    )
    rows = await connection.fetch(
        f"SELECT r.id, r.{what.key} AS key_id, r.{what.began} AS began_at, {live}, {hold} AS hold_id,"  # noqa: S608
        f" {_column(what.digest)} AS digest, {_column(what.fingerprint)} AS fingerprint, {_agents(what)} AS agents"
        f" FROM {what.table} AS r WHERE {' AND '.join(conditions)} ORDER BY r.{what.began}, r.id"
        + (f" LIMIT {limit}" if limit is not None else "")
        + (" FOR UPDATE OF r" if lock else ""),
        *arguments,
    )
    return [Found(kind=what.kind, **{**dict(row), "agents": tuple(row["agents"])}) for row in rows]


async def key_ids(connection: Connection, what: Erasable, ids: Sequence[UUID]) -> list[UUID]:
    """The ids of the data keys of these rows, as far as they have one, and of those that sealed what they said before a change."""
    if what.key == "id":
        return list(ids)
    query = (
        f"SELECT {what.key} FROM {what.table} WHERE id = ANY($1::uuid[]) AND {what.key} IS NOT NULL"  # noqa: S608
        " UNION ALL SELECT key_id FROM retired_keys WHERE object_id = ANY($1::uuid[])"
    )
    return [row[0] for row in await connection.fetch(query, ids)]


async def any_hold(connection: Connection) -> bool:
    """Whether the organisation has a hold in force at all."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM legal_holds WHERE released_at IS NULL)"))


async def holds_in_force(connection: Connection) -> list[UUID]:
    """Every hold of the organisation."""
    return [row["id"] for row in await connection.fetch("SELECT id FROM legal_holds WHERE released_at IS NULL ORDER BY id")]


async def empty(connection: Connection, what: Erasable, ids: Sequence[UUID], at: datetime) -> int:
    """What remains of these rows is pseudonymous. Returns how many were not so before."""
    sets = [f"{column} = NULL" for column in what.emptied] + list(what.becomes)
    status: str = await connection.execute(
        f"UPDATE {what.table} SET erased_at = $2, {', '.join(sets)} WHERE id = ANY($1::uuid[]) AND erased_at IS NULL",  # noqa: S608
        ids,
        at,
    )
    return int(status.rpartition(" ")[2])


async def forget_indexes(connection: Connection, indexes: Sequence[bytes]) -> None:
    """Empties blind indexes of a person in the log of disclosures, whose rows stay as pseudonyms.

    Masked sessions of theirs end, and what was excepted for their number is not any more; nor is what the fraud breaker knows of it.
    """
    if indexes:
        await masking.end_of_numbers(connection, indexes)
        await levels.forget_numbers(connection, indexes)
        await connection.execute("DELETE FROM fraud_facts WHERE destination_index = ANY($1::bytea[])", list(indexes))
        await connection.execute("UPDATE disclosures SET remote_index = NULL WHERE remote_index = ANY($1::bytea[])", list(indexes))


async def documents_with(connection: Connection, things: Sequence[Found]) -> dict[UUID, UUID]:
    """The documents that contain any of these things, and which of them."""
    rows = await connection.fetch(
        "SELECT c.document_id, c.object_id FROM document_contents AS c JOIN unnest($1::text[], $2::uuid[]) AS t (kind, id)"
        " ON c.kind = t.kind AND c.object_id = t.id WHERE c.left_out IS NULL",
        [each.kind for each in things],
        [each.id for each in things],
    )
    return {row["document_id"]: row["object_id"] for row in rows}


async def objects_of(connection: Connection, what: Erasable, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
    """Region and key of the sealed objects of these rows, as far as they have one."""
    if what.object_key is None or what.region is None:
        return {}
    rows = await connection.fetch(
        f"SELECT id, {what.region} AS region, {what.object_key} AS object_key FROM {what.table}"  # noqa: S608
        f" WHERE id = ANY($1::uuid[]) AND {what.object_key} IS NOT NULL",
        ids,
    )
    return {row["id"]: (row["region"], row["object_key"]) for row in rows}


def _hold(what: Erasable, kinds: Mapping[str, Erasable]) -> str:
    in_force = f"SELECT h.id FROM legal_holds AS h WHERE h.released_at IS NULL AND ({_held(what, 'r', kinds)})"  # noqa: S608
    return f"({in_force} ORDER BY h.placed_at, h.id LIMIT 1)"


def _held(what: Erasable, row: str, kinds: Mapping[str, Erasable]) -> str:
    """SQL that is true where the hold `h` keeps a row: by its id, number, agents, contact or time, as a part, or because a part is held."""
    ways = [
        "h.scope = 'organisation'",
        f"(h.scope = '{what.kind}' AND h.object_id = {row}.id)",
        f"(h.scope = 'range' AND {row}.{what.began} >= coalesce(h.since, '-infinity')"
        f" AND {row}.{what.began} < coalesce(h.until, 'infinity'))",
    ]
    if what.number is not None:
        ways.append(f"(h.scope = 'number' AND {what.number.format(row=row, indexes='h.number_indexes')})")
    if what.agents:
        ways.append(f"(h.scope = 'agent' AND h.object_id IN ({', '.join(f'{row}.{column}' for column in what.agents)}))")
    if what.contact is not None:
        ways.append(f"(h.scope = 'contact' AND h.object_id = {row}.{what.contact})")
    if what.kind != "document":
        # A document that contains it would keep a copy: it is held, so what it contains is.
        contains = f"c.kind = '{what.kind}' AND c.object_id = {row}.id AND c.document_id = h.object_id AND c.left_out IS NULL"
        ways.append(f"(h.scope = 'document' AND EXISTS (SELECT 1 FROM document_contents AS c WHERE {contains}))")  # noqa: S608
    ways += [f"(h.scope = '{whole}' AND h.object_id = {row}.{column})" for whole, column in what.part_of]
    for part in kinds.values():
        # The whole of a held part says whom the part concerns: it is kept with it.
        if (column := dict(part.part_of).get(what.kind)) is not None:
            inner = f"{row}p"
            is_part = f"{inner}.{column} = {row}.id AND {inner}.erased_at IS NULL"
            ways.append(f"EXISTS (SELECT 1 FROM {part.table} AS {inner} WHERE {is_part} AND ({_held(part, inner, {})}))")  # noqa: S608
    return " OR ".join(ways)


def _conditions(what: Erasable, search: Search, arguments: list[Any]) -> list[str]:
    conditions = list[str]()

    def given(value: Any) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    if what.only is not None and search.ids is None:
        conditions.append(what.only)
    if what.in_use is not None and search.spares_in_use:
        conditions.append(f"NOT ({what.in_use})")
    if search.ids is not None:
        conditions.append(f"r.id = ANY({given(list(search.ids))}::uuid[])")
    if search.parts_of is not None:
        whole, ids = search.parts_of
        conditions.append(f"r.{dict(what.part_of)[whole]} = ANY({given(list(ids))}::uuid[])")
    if search.number_indexes is not None:
        indexes = f"{given(list(search.number_indexes))}::bytea[]"
        conditions.append(f"false AND {indexes} IS NULL" if what.number is None else what.number.format(row="r", indexes=indexes))
    if search.agent is not None:
        agent = given(search.agent)
        conditions.append("(" + " OR ".join([f"{agent}::uuid IS NULL", *(f"r.{column} = {agent}" for column in what.agents)]) + ")")
    if search.contact is not None:
        column = "id" if what.kind == "contact" else what.contact
        contact = given(search.contact)
        conditions.append(f"false AND {contact}::uuid IS NULL" if column is None else f"r.{column} = {contact}")
    if search.since is not None:
        conditions.append(f"r.{what.began} >= {given(search.since)}")
    if search.until is not None:
        conditions.append(f"r.{what.began} < {given(search.until)}")
    return conditions


def _column(name: str | None) -> str:
    return "NULL::bytea" if name is None else f"r.{name}"


def _agents(what: Erasable) -> str:
    return f"array_remove(ARRAY[{', '.join(f'r.{column}' for column in what.agents)}]::uuid[], NULL)"
