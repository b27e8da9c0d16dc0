"""The outbox of parts: put in with their message, taken out by whoever holds links to their centre."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.core.values import frozen
from hushwire.store.database import Connection

NOT_OPENED: Final = "key-unavailable"
"""Why a part waits that could not be opened."""


@frozen
class PartRef:
    """One part, and whose."""

    org_id: OrgId
    message_id: UUID
    part: int


@frozen
class Claimed:
    """A part that is ours to send now, committed as such."""

    message_id: UUID
    part: int
    parts: int
    attempts: int
    expires_at: datetime | None


@frozen
class Settled:
    """What became of a part that was being sent. `due_at` where it is `queued` again."""

    message_id: UUID
    part: int
    state: str
    receipt_id: str | None = None
    error: str | None = None
    due_at: datetime | None = None


@frozen
class Receipt:
    """What a centre said became of a part. `receipt_id` in the form that is compared."""

    receipt_id: str
    destination_index: bytes
    state: str
    error: str | None
    at: datetime


async def enqueue_all(
    connection: Connection,
    org_id: OrgId,
    messages: Sequence[tuple[UUID, int, UUID]],
    due_at: datetime,
    expires_at: datetime | None,
    others: Mapping[UUID, Sequence[UUID]] = MappingProxyType({}),
) -> None:
    """Put in every part of each (message, number of parts, centre), in the caller's transaction; the links are woken by its commit.

    `others`: the centres that fit a message too, the likeliest first, where there are any.
    """
    await connection.execute(
        """INSERT INTO message_parts (org_id, message_id, part, parts, centre_id, due_at, expires_at, changed_at, others)
           SELECT $1, m.message_id, p.part, m.parts, m.centre_id, $5, $6, $5, CASE WHEN p.part = 1 THEN m.others::uuid[] END
           FROM unnest($2::uuid[], $3::smallint[], $4::uuid[], $7::text[]) AS m (message_id, parts, centre_id, others),
                LATERAL generate_series(1, m.parts) AS p (part)""",
        org_id,
        [message for message, _, _ in messages],
        [parts for _, parts, _ in messages],
        [centre for _, _, centre in messages],
        due_at,
        expires_at,
        ["{" + ",".join(map(str, found)) + "}" if (found := others.get(message)) else None for message, _, _ in messages],
    )


async def due(connection: Connection, centre_id: UUID, now: datetime, most: int) -> list[PartRef]:
    """The parts that a centre should be given, those due first first. In a transaction of no organisation."""
    return _refs(await connection.fetch("SELECT org_id, message_id, part FROM message_parts_due($1, $2, $3)", centre_id, now, most))


async def claim(
    connection: Connection, run_id: UUID, centre_id: UUID, parts: Sequence[tuple[PartRef, bytes]], now: datetime
) -> list[Claimed]:
    """Mark what is still queued for the centre of (part, index of its destination) as being sent by `run_id`, in its organisation's
    transaction.

    To be committed before anything is sent. What was erased meanwhile has no row any more, and is not sent.
    """
    rows = await connection.fetch(
        """UPDATE message_parts AS p
           SET state = 'sending', run_id = $1, attempts = p.attempts + 1, error = NULL, changed_at = $5,
               destination_index = c.destination_index
           FROM unnest($2::uuid[], $3::smallint[], $4::bytea[]) AS c (message_id, part, destination_index)
           WHERE p.message_id = c.message_id AND p.part = c.part AND p.centre_id = $6
             -- A CASE, so that no plan goes by the index of what is queued: for each window it would read the whole backlog.
             AND CASE p.state WHEN 'queued' THEN p.expires_at IS NULL OR p.expires_at > $5 ELSE false END
           RETURNING p.message_id, p.part, p.parts, p.attempts, p.expires_at""",
        run_id,
        [ref.message_id for ref, _ in parts],
        [ref.part for ref, _ in parts],
        [index for _, index in parts],
        now,
        centre_id,
    )
    return [Claimed(row["message_id"], row["part"], row["parts"], row["attempts"], row["expires_at"]) for row in rows]


async def settle(connection: Connection, run_id: UUID, settled: Sequence[Settled], now: datetime) -> list[tuple[Settled, int]]:
    """Write what became of parts that `run_id` was sending, in their organisation's transaction; returns those that were still its own,
    each with how many parts its message has.

    One that did not leave is not counted as an attempt: it is `queued` without a `receipt_id` and without an `error`.
    """
    rows = await connection.fetch(
        """UPDATE message_parts AS p
           SET state = s.state, receipt_id = s.receipt_id, error = s.error,
               destination_index = CASE WHEN s.state = 'unknown' THEN p.destination_index END,
               due_at = coalesce(s.due_at, p.due_at), run_id = NULL, changed_at = $8,
               attempts = p.attempts - CASE WHEN s.state = 'queued' AND s.error IS NULL THEN 1 ELSE 0 END
           FROM unnest($2::uuid[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
                AS s (message_id, part, state, receipt_id, error, due_at)
           WHERE p.message_id = s.message_id AND p.part = s.part AND p.run_id = $1 AND p.state = 'sending'
           RETURNING p.message_id, p.part, p.parts""",
        run_id,
        [one.message_id for one in settled],
        [one.part for one in settled],
        [one.state for one in settled],
        [one.receipt_id for one in settled],
        [one.error for one in settled],
        [one.due_at for one in settled],
        now,
    )
    own = {(row["message_id"], row["part"]): row["parts"] for row in rows}
    return [(one, parts) for one in settled if (parts := own.get((one.message_id, one.part))) is not None]


async def of_receipts(connection: Connection, centre_id: UUID, receipt_ids: Sequence[str]) -> dict[str, PartRef]:
    """Which parts receipts are about. In a transaction of no organisation."""
    rows = await connection.fetch(
        "SELECT place, org_id, message_id, part FROM message_parts_of_receipts($1, $2)", centre_id, list(receipt_ids)
    )
    return {receipt_ids[row["place"] - 1]: PartRef(OrgId(row["org_id"]), row["message_id"], row["part"]) for row in rows}


async def unanswered(connection: Connection, centre_id: UUID, destinations: Sequence[bytes]) -> dict[bytes, list[tuple[PartRef, bool]]]:
    """Parts that are being sent or of unknown state (then True), by whom they are for. In a transaction of no organisation."""
    found: dict[bytes, list[tuple[PartRef, bool]]] = {}
    rows = await connection.fetch(
        "SELECT place, org_id, message_id, part, is_unknown FROM message_parts_unanswered($1, $2)", centre_id, list(destinations)
    )
    for row in rows:
        ref = PartRef(OrgId(row["org_id"]), row["message_id"], row["part"])
        found.setdefault(destinations[row["place"] - 1], []).append((ref, row["is_unknown"] == 1))
    return found


async def conclude(
    connection: Connection, parts: Sequence[tuple[PartRef, str, str | None, str]], now: datetime
) -> dict[tuple[UUID, int], int]:
    """Write final or better states (part, state, error, receipt_id), in their organisation's transaction.

    Returns which parts changed, each with how many its message has.

    What was delivered, failed or expired stays so, whatever comes later; a part of unknown state was sent after all.
    """
    rows = await connection.fetch(
        """UPDATE message_parts AS p SET state = c.state, error = c.error, changed_at = $6, destination_index = NULL,
                  receipt_id = coalesce(p.receipt_id, c.receipt_id)
           FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[]) AS c (message_id, part, state, error, receipt_id)
           WHERE p.message_id = c.message_id AND p.part = c.part AND p.state IN ('submitted', 'unknown') AND p.state <> c.state
           RETURNING p.message_id, p.part, p.parts""",
        [ref.message_id for ref, _, _, _ in parts],
        [ref.part for ref, _, _, _ in parts],
        [state for _, state, _, _ in parts],
        [error for _, _, error, _ in parts],
        [receipt_id for _, _, _, receipt_id in parts],
        now,
    )
    return {(row["message_id"], row["part"]): row["parts"] for row in rows}


async def late(connection: Connection, settled: Sequence[Settled], now: datetime) -> list[tuple[Settled, int]]:
    """Write what was answered to parts whose state is unknown; otherwise as `settle`."""
    rows = await connection.fetch(
        """UPDATE message_parts AS p
           SET state = s.state, receipt_id = s.receipt_id, error = s.error, due_at = coalesce(s.due_at, p.due_at), destination_index = NULL,
               changed_at = $7
           FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
                AS s (message_id, part, state, receipt_id, error, due_at)
           WHERE p.message_id = s.message_id AND p.part = s.part AND p.state = 'unknown'
           RETURNING p.message_id, p.part, p.parts""",
        [one.message_id for one in settled],
        [one.part for one in settled],
        [one.state for one in settled],
        [one.receipt_id for one in settled],
        [one.error for one in settled],
        [one.due_at for one in settled],
        now,
    )
    own = {(row["message_id"], row["part"]): row["parts"] for row in rows}
    return [(one, parts) for one in settled if (parts := own.get((one.message_id, one.part))) is not None]


async def keep_early(connection: Connection, centre_id: UUID, receipts: Sequence[Receipt]) -> None:
    """Keep receipts that name no part yet; the last one of each id counts, but that it is on its way is no news of one that ended.

    In a transaction of no organisation.
    """
    await connection.execute(
        """INSERT INTO message_receipts (centre_id, receipt_id, destination_index, state, error, at)
           SELECT $1, * FROM unnest($2::text[], $3::bytea[], $4::text[], $5::text[], $6::timestamptz[])
           ON CONFLICT (centre_id, receipt_id) DO UPDATE
           SET destination_index = EXCLUDED.destination_index, state = EXCLUDED.state, error = EXCLUDED.error, at = EXCLUDED.at
           WHERE message_receipts.state = 'submitted' OR EXCLUDED.state <> 'submitted'""",
        centre_id,
        [one.receipt_id for one in receipts],
        [one.destination_index for one in receipts],
        [one.state for one in receipts],
        [one.error for one in receipts],
        [one.at for one in receipts],
    )


async def take_early(connection: Connection, centre_id: UUID, receipt_ids: Sequence[str]) -> list[Receipt]:
    """The receipts kept under these ids, which go with the caller's transaction."""
    return _receipts(
        await connection.fetch(
            """DELETE FROM message_receipts WHERE centre_id = $1 AND receipt_id = ANY($2)
               RETURNING receipt_id, destination_index, state, error, at""",
            centre_id,
            list(receipt_ids),
        )
    )


async def early_ones(connection: Connection, centre_id: UUID, before: datetime, after: str, most: int) -> list[Receipt]:
    """Receipts that are kept since before `before` and may name a part by now, by their ids, those behind `after`.

    In a transaction of no organisation.
    """
    return _receipts(
        await connection.fetch(
            """SELECT r.receipt_id, r.destination_index, r.state, r.error, r.at FROM message_receipts AS r
               WHERE r.centre_id = $1 AND r.at <= $2 AND r.receipt_id > $3
                 AND (EXISTS (SELECT FROM message_parts_of_receipts($1, ARRAY[r.receipt_id]))
                      OR EXISTS (SELECT FROM message_parts_unanswered($1, ARRAY[r.destination_index])))
               ORDER BY r.receipt_id LIMIT $4""",
            centre_id,
            before,
            after,
            most,
        )
    )


async def begin_run(connection: Connection, run_id: UUID, node_id: UUID, now: datetime) -> None:
    """Enter a process that holds links."""
    await connection.execute("INSERT INTO message_runs (id, node_id, started_at, seen_at) VALUES ($1, $2, $3, $3)", run_id, node_id, now)


async def seen(connection: Connection, run_id: UUID, now: datetime) -> bool:
    """Say that the process lives; False if it was given up meanwhile, and nothing it holds is its own any more."""
    return await connection.fetchval("UPDATE message_runs SET seen_at = $2 WHERE id = $1 RETURNING true", run_id, now) is True


async def lost_runs(connection: Connection, run_id: UUID, node_id: UUID, before: datetime) -> list[UUID]:
    """Processes that are gone: earlier ones of this node, and those of others that were not seen since `before`."""
    rows = await connection.fetch("SELECT id FROM message_runs WHERE id <> $1 AND (node_id = $2 OR seen_at < $3)", run_id, node_id, before)
    return [row["id"] for row in rows]


async def end_runs(connection: Connection, run_ids: Sequence[UUID]) -> None:
    """Strike processes out, first thing: what they hold is theirs no longer."""
    await connection.execute("DELETE FROM message_runs WHERE id = ANY($1)", list(run_ids))


async def orphans(connection: Connection, most: int) -> list[PartRef]:
    """Parts that are being sent by no process that is entered. In a transaction of no organisation."""
    return _refs(await connection.fetch("SELECT org_id, message_id, part FROM message_parts_orphaned($1)", most))


async def in_doubt(connection: Connection, centre_id: UUID, before: datetime, most: int) -> list[PartRef]:
    """Parts whose state is unknown since before `before`. In a transaction of no organisation."""
    return _refs(await connection.fetch("SELECT org_id, message_id, part FROM message_parts_in_doubt($1, $2, $3)", centre_id, before, most))


async def overdue(connection: Connection, now: datetime, most: int) -> list[PartRef]:
    """Queued parts that nobody wants to be sent any more. In a transaction of no organisation."""
    return _refs(await connection.fetch("SELECT org_id, message_id, part FROM message_parts_expired($1, $2)", now, most))


async def move(connection: Connection, refs: Sequence[PartRef], was: str, state: str, error: str | None, now: datetime) -> list[PartRef]:
    """Bring parts that are `was` into `state`, in their organisation's transaction; returns those that were."""
    rows = await connection.fetch(
        """UPDATE message_parts AS p SET state = $4, error = $5, changed_at = $6, run_id = NULL,
                  due_at = CASE WHEN $4 = 'queued' THEN $6 ELSE p.due_at END,
                  destination_index = CASE WHEN $4 = 'unknown' THEN p.destination_index END
           FROM unnest($1::uuid[], $2::smallint[]) AS c (message_id, part)
           WHERE p.message_id = c.message_id AND p.part = c.part AND p.state = $3
           RETURNING p.org_id, p.message_id, p.part""",
        [ref.message_id for ref in refs],
        [ref.part for ref in refs],
        was,
        state,
        error,
        now,
    )
    return _refs(rows)


async def not_begun(
    connection: Connection, centre_id: UUID, now: datetime, most: int, takers: Sequence[tuple[UUID, UUID, bool]]
) -> list[tuple[OrgId, UUID, UUID | None]]:
    """Messages due at a centre of which no part has left, nor may have, and that one of these may take; with the first of these that fitted
    it when it was accepted.

    `takers`: with the smallest id of a message that a centre may take because it fitted it, and whether it takes all. In a transaction of
    no organisation.
    """
    rows = await connection.fetch(
        "SELECT org_id, message_id, fitted FROM messages_not_begun($1, $2, $3, $4, $5, $6)",
        centre_id,
        now,
        most,
        [one for one, _, _ in takers],
        [floor for _, floor, _ in takers],
        [is_wide for _, _, is_wide in takers],
    )
    return [(OrgId(row["org_id"]), row["message_id"], row["fitted"]) for row in rows]


async def give_to(connection: Connection, message_ids: Sequence[UUID], centre_id: UUID, other_id: UUID, now: datetime) -> int:
    """Give whole messages to another centre, in their organisation's transaction, unless one of their parts was begun meanwhile.

    Returns how many parts.
    """
    held = await connection.fetch(
        "SELECT message_id, state, attempts, centre_id FROM message_parts WHERE message_id = ANY($1::uuid[])"
        " ORDER BY message_id, part FOR NO KEY UPDATE",
        list(message_ids),
    )
    begun = {row["message_id"] for row in held if row["state"] != "queued" or row["attempts"] > 0 or row["centre_id"] != centre_id}
    going = [each for each in message_ids if each not in begun]
    await connection.execute("UPDATE messages SET centre_id = $2 WHERE id = ANY($1::uuid[])", going, other_id)
    said = await connection.execute(
        "UPDATE message_parts SET centre_id = $2, changed_at = $3 WHERE message_id = ANY($1::uuid[])", going, other_id, now
    )
    return int(said.removeprefix("UPDATE "))


async def later(connection: Connection, refs: Sequence[PartRef], due_at: datetime, error: str, now: datetime) -> None:
    """What is still queued of these can't be sent now: once more then, in their organisation's transaction. It is no attempt."""
    await connection.execute(
        """UPDATE message_parts AS p SET due_at = $3, error = $4, changed_at = $5
           FROM unnest($1::uuid[], $2::smallint[]) AS c (message_id, part)
           WHERE p.message_id = c.message_id AND p.part = c.part AND p.state = 'queued'""",
        [ref.message_id for ref in refs],
        [ref.part for ref in refs],
        due_at,
        error,
        now,
    )


async def held_up(connection: Connection) -> dict[OrgId, int]:
    """How many parts wait because they could not be opened, by organisation. In a transaction of no organisation."""
    return {OrgId(row["org_id"]): row["parts"] for row in await connection.fetch("SELECT org_id, parts FROM message_parts_held_up()")}


async def withhold(connection: Connection, message_ids: Sequence[UUID], error: str, now: datetime) -> list[PartRef]:
    """Fail what is still queued of these messages, in their organisation's transaction; returns those parts."""
    rows = await connection.fetch(
        "UPDATE message_parts SET state = 'failed', error = $2, changed_at = $3, destination_index = NULL"
        " WHERE message_id = ANY($1::uuid[]) AND state = 'queued' RETURNING org_id, message_id, part",
        list(message_ids),
        error,
        now,
    )
    return _refs(rows)


async def forget_receipts(connection: Connection, before: datetime) -> None:
    """Drop receipts that nothing of ours was ever found for."""
    await connection.execute("DELETE FROM message_receipts WHERE at < $1", before)


def _refs(rows: Sequence[object]) -> list[PartRef]:
    return [PartRef(OrgId(row["org_id"]), row["message_id"], row["part"]) for row in rows]  # type: ignore[index]


def _receipts(rows: Sequence[object]) -> list[Receipt]:
    return [Receipt(row["receipt_id"], row["destination_index"], row["state"], row["error"], row["at"]) for row in rows]  # type: ignore[index]
