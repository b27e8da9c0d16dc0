"""How an organisation sends and receives messages: settings, numbers, templates, batches. In a transaction of the organisation."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Settings:
    """`senders`: who is tried as sender, in order: own, alphanumeric, pool. `languages`: whose words for stop are understood."""

    senders: tuple[str, ...] = ("own", "pool")
    alphanumeric: str | None = None
    languages: tuple[str, ...] = ("en", "de", "fr", "es", "it")
    folds: bool = False
    needs_consent: bool = True
    prices: Mapping[str, str] = field(default_factory=dict)
    """Of one part, by country; `*` elsewhere."""
    currency: str | None = None
    most_per_day: int | None = None
    """Parts that are accepted in a UTC day."""
    answers_per_day: int = 500
    """Answers to strangers in a UTC day who ask for help, or for no more messages."""


@dataclass(frozen=True, slots=True)
class OwnNumber:
    """A number of the organisation, closed, and where its messages go. `target` None: to the agent whom it rings."""

    id: UUID
    number_sealed: bytes = field(repr=False)
    lookup: bytes = field(repr=False)
    rings: UUID | None
    target: str | None
    agent_id: UUID | None
    group_id: UUID | None
    is_pooled: bool
    masks: bool
    is_marketing: bool
    """Whether campaigns come from it."""


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A text that is sent again and again, closed."""

    id: UUID
    name: str
    body_sealed: bytes = field(repr=False)
    created_at: datetime
    updated_at: datetime
    is_marketing: bool = False


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Messages that were handed in together; `states` counts those that were accepted."""

    id: UUID
    created_at: datetime
    created_by: str
    accepted: int
    refused: Mapping[str, int]
    states: Mapping[str, int]


async def settings(connection: Connection) -> Settings:
    """As they stand."""
    row = await connection.fetchrow(
        "SELECT senders, alphanumeric, languages, folds, needs_consent, prices, currency, most_per_day, answers_per_day"
        " FROM message_settings"
    )
    if row is None:
        return Settings()
    said = {**dict(row), "senders": tuple(row["senders"]), "languages": tuple(row["languages"]), "prices": json.loads(row["prices"])}
    return Settings(**said)


async def put_settings(connection: Connection, org_id: OrgId, new: Settings, at: datetime) -> None:
    """Instead of what there was."""
    await connection.execute(
        "INSERT INTO message_settings (org_id, senders, alphanumeric, languages, folds, needs_consent, prices, currency, most_per_day,"
        " answers_per_day, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $11, $10)"
        " ON CONFLICT (org_id) DO UPDATE SET senders = EXCLUDED.senders,"
        " alphanumeric = EXCLUDED.alphanumeric, languages = EXCLUDED.languages, folds = EXCLUDED.folds,"
        " needs_consent = EXCLUDED.needs_consent, prices = EXCLUDED.prices, currency = EXCLUDED.currency,"
        " most_per_day = EXCLUDED.most_per_day, answers_per_day = EXCLUDED.answers_per_day, updated_at = EXCLUDED.updated_at",
        org_id,
        list(new.senders),
        new.alphanumeric,
        list(new.languages),
        new.folds,
        new.needs_consent,
        json.dumps(dict(new.prices)),
        new.currency,
        new.most_per_day,
        at,
        new.answers_per_day,
    )


_NUMBERS = (
    "SELECT n.id, n.number_sealed, n.lookup, n.agent_id AS rings, r.target, r.agent_id, r.group_id,"
    " coalesce(r.is_pooled, false) AS is_pooled, n.masks, coalesce(r.is_marketing, false) AS is_marketing"
    " FROM numbers AS n LEFT JOIN message_numbers AS r ON r.number_id = n.id"
)


async def numbers(connection: Connection) -> list[OwnNumber]:
    """Every number of the organisation, in the order in which they were made."""
    return [OwnNumber(**dict(row)) for row in await connection.fetch(f"{_NUMBERS} ORDER BY n.id")]


async def number(connection: Connection, number_id: UUID) -> OwnNumber | None:
    """One of them."""
    row = await connection.fetchrow(f"{_NUMBERS} WHERE n.id = $1", number_id)
    return None if row is None else OwnNumber(**dict(row))


async def take_from_day(connection: Connection, org_id: OrgId, day: date, parts: int, most: int) -> bool:
    """Count these parts against the day's limit; False, and nothing is counted, where they don't fit. Others wait for the commit."""
    row = await connection.fetchrow(
        "INSERT INTO message_days AS d (org_id, day, parts) SELECT $1, $2::date, $3::bigint WHERE $3::bigint <= $4::bigint"
        " ON CONFLICT (org_id, day) DO UPDATE SET parts = d.parts + $3 WHERE d.parts + $3 <= $4::bigint RETURNING d.parts",
        org_id,
        day,
        parts,
        most,
    )
    return row is not None


async def wrote_to(connection: Connection, remote_index: bytes, spared: str, since: datetime) -> bool:
    """Whether a message to this number has left since then, beside those that `spared` sent."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM messages WHERE remote_index = $1 AND direction = 'outbound' AND submitted_at IS NOT NULL"
            " AND sent_by IS DISTINCT FROM $2 AND created_at >= $3)",
            remote_index,
            spared,
            since,
        )
    )


async def take_answer(connection: Connection, org_id: OrgId, number_id: UUID, day: date, of_number: int, of_all: int) -> int | None:
    """Count one answer to a stranger by this number of ours; how many are left that day, None where none was left.

    `of_number` and `of_all` are the day's bounds, of the number and of the organisation. Under `do_not_call.lock`: one at a time.
    """
    row = await connection.fetchrow(
        "SELECT (SELECT answers FROM message_answers WHERE number_id = $1 AND day = $2) AS by_number,"
        " (SELECT answers FROM message_days WHERE day = $2) AS by_all",
        number_id,
        day,
    )
    assert row is not None
    left = min(of_number - (row["by_number"] or 0), of_all - (row["by_all"] or 0))
    if left <= 0:
        return None
    await connection.execute(
        "INSERT INTO message_answers AS a (org_id, number_id, day, answers) VALUES ($1, $2, $3, 1) ON CONFLICT (number_id) DO UPDATE"
        " SET day = EXCLUDED.day, answers = CASE WHEN a.day = EXCLUDED.day THEN a.answers ELSE 0 END + 1",
        org_id,
        number_id,
        day,
    )
    await connection.execute(
        "INSERT INTO message_days AS d (org_id, day, parts, answers) VALUES ($1, $2, 0, 1)"
        " ON CONFLICT (org_id, day) DO UPDATE SET answers = d.answers + 1",
        org_id,
        day,
    )
    return left - 1


async def put_number(
    connection: Connection,
    org_id: OrgId,
    number_id: UUID,
    target: str,
    agent_id: UUID | None,
    group_id: UUID | None,
    is_pooled: bool,
    is_marketing: bool | None,
    at: datetime,
) -> bool:
    """Where its messages go from now on, and what those that it sends are (None: as before); whether campaigns come from it."""
    found: bool = await connection.fetchval(
        "INSERT INTO message_numbers AS n (org_id, number_id, target, agent_id, group_id, is_pooled, is_marketing, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, false), $8)"
        " ON CONFLICT (number_id) DO UPDATE SET target = EXCLUDED.target, agent_id = EXCLUDED.agent_id,"
        " group_id = EXCLUDED.group_id, is_pooled = EXCLUDED.is_pooled, is_marketing = coalesce($7, n.is_marketing),"
        " updated_at = EXCLUDED.updated_at RETURNING is_marketing",
        org_id,
        number_id,
        target,
        agent_id,
        group_id,
        is_pooled,
        is_marketing,
        at,
    )
    return found


async def caller_ids(connection: Connection, agent_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """The numbers that these agents show, closed."""
    rows = await connection.fetch(
        "SELECT id, caller_id_sealed FROM agents WHERE id = ANY($1::uuid[]) AND caller_id_sealed IS NOT NULL", list(agent_ids)
    )
    return {row["id"]: row["caller_id_sealed"] for row in rows}


async def telemarketers(connection: Connection, agent_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these agents do telemarketing."""
    rows = await connection.fetch("SELECT id FROM agents WHERE id = ANY($1::uuid[]) AND telemarketing", list(agent_ids))
    return {row["id"] for row in rows}


async def telemarketing_hours(connection: Connection) -> list[str]:
    """When telemarketing of the entered organisation may reach whom."""
    return list(await connection.fetchval("SELECT telemarketing_hours FROM orgs WHERE id = current_org()") or ())


async def members(connection: Connection, group_id: UUID) -> list[UUID]:
    """Who is in a ring group, first first."""
    rows = await connection.fetch("SELECT agent_id FROM ring_group_members WHERE group_id = $1 ORDER BY position", group_id)
    return [row["agent_id"] for row in rows]


async def targets(connection: Connection, number_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    """The agents for whom messages to these numbers are: the one, or the members of the ring group, first first."""
    rows = await connection.fetch(
        "SELECT n.id, CASE WHEN r.target IS NULL THEN n.agent_id WHEN r.target = 'agent' THEN r.agent_id END AS agent_id,"
        " CASE WHEN r.target = 'team' THEN r.group_id END AS group_id"
        " FROM numbers AS n LEFT JOIN message_numbers AS r ON r.number_id = n.id WHERE n.id = ANY($1::uuid[])",
        list(number_ids),
    )
    found = {row["id"]: [row["agent_id"]] for row in rows if row["agent_id"] is not None}
    for row in rows:
        if row["group_id"] is not None:
            found[row["id"]] = await members(connection, row["group_id"])
    return found


async def answers_since(connection: Connection, remote_index: bytes, by: str, since: datetime) -> list[datetime]:
    """When this sender has written to that number since then."""
    query = "SELECT created_at FROM messages WHERE remote_index = $1 AND sent_by = $2 AND created_at >= $3"
    return [row["created_at"] for row in await connection.fetch(query, remote_index, by, since)]


async def consenting(connection: Connection, indexes: Sequence[bytes]) -> set[bytes]:
    """Which of these numbers agreed to messages of marketing and did not take it back."""
    rows = await connection.fetch(
        "SELECT DISTINCT remote_index FROM consents WHERE remote_index = ANY($1::bytea[]) AND about = 'marketing-messages'"
        " AND withdrawn_at IS NULL AND erased_at IS NULL",
        list(indexes),
    )
    return {row["remote_index"] for row in rows}


_TEMPLATE: Final = "id, name, body_sealed, created_at, updated_at, is_marketing"
_PAGE_OF_TEMPLATES: Final = f"SELECT {_TEMPLATE} FROM message_templates WHERE $1::text IS NULL OR name > $1 ORDER BY name LIMIT $2"  # noqa: S608
_CHANGE_TEMPLATE: Final = (
    "UPDATE message_templates SET body_sealed = $2, updated_at = $3, is_marketing = coalesce($4, is_marketing) WHERE id = $1"  # noqa: S608
    f" RETURNING {_TEMPLATE}"
)


async def template(connection: Connection, name: str) -> TemplateRow | None:
    """The template of this name."""
    row = await connection.fetchrow(
        "SELECT id, name, body_sealed, created_at, updated_at, is_marketing FROM message_templates WHERE name = $1", name
    )
    return None if row is None else TemplateRow(**dict(row))


async def templates(connection: Connection, *, after: str | None, limit: int) -> list[TemplateRow]:
    """A page of templates, by name."""
    rows = await connection.fetch(
        _PAGE_OF_TEMPLATES,
        after,
        limit,
    )
    return [TemplateRow(**dict(row)) for row in rows]


async def add_template(connection: Connection, org_id: OrgId, row: TemplateRow) -> bool:
    """A new one; False if one has its name already."""
    status = await connection.execute(
        "INSERT INTO message_templates (id, org_id, name, body_sealed, created_at, updated_at, is_marketing)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (org_id, name) DO NOTHING",
        row.id,
        org_id,
        row.name,
        row.body_sealed,
        row.created_at,
        row.updated_at,
        row.is_marketing,
    )
    return bool(status == "INSERT 0 1")


async def change_template(
    connection: Connection, template_id: UUID, body_sealed: bytes, is_marketing: bool | None, at: datetime
) -> TemplateRow | None:
    """Another text for it; None where there is none. `is_marketing` None: as it is."""
    row = await connection.fetchrow(
        _CHANGE_TEMPLATE,
        template_id,
        body_sealed,
        at,
        is_marketing,
    )
    return None if row is None else TemplateRow(**dict(row))


async def drop_template(connection: Connection, template_id: UUID) -> bool:
    """It is there no more; False if it was not."""
    return bool(await connection.execute("DELETE FROM message_templates WHERE id = $1", template_id) == "DELETE 1")


async def begin_batch(
    connection: Connection, org_id: OrgId, batch_id: UUID, at: datetime, by: str, accepted: int, refused: Mapping[str, int]
) -> None:
    """A new batch, before its messages."""
    await connection.execute(
        "INSERT INTO message_batches (id, org_id, created_at, created_by, accepted, refused) VALUES ($1, $2, $3, $4, $5, $6::jsonb)",
        batch_id,
        org_id,
        at,
        by,
        accepted,
        json.dumps(refused),
    )


async def batch(connection: Connection, batch_id: UUID) -> BatchRow | None:
    """One batch and how far it is."""
    row = await connection.fetchrow("SELECT id, created_at, created_by, accepted, refused FROM message_batches WHERE id = $1", batch_id)
    if row is None:
        return None
    states = await connection.fetch("SELECT state, count(*) AS n FROM messages WHERE batch_id = $1 GROUP BY state", batch_id)
    return BatchRow(
        row["id"], row["created_at"], row["created_by"], row["accepted"], json.loads(row["refused"]), {s["state"]: s["n"] for s in states}
    )
