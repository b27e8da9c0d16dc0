"""What HTTP carriers say: verified and kept by the API, carried out by the process that holds carriers (docs/http-carriers.md).

A request is believed for its signature (services/webhook_signing.py), made within five minutes of now; the same request again changes
nothing. It is acknowledged once its row is committed. A message is handed to the inbox and a receipt to the receipts of its carrier, as
those that come by SMPP are.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError
from hushwire.core.ids import uuid7
from hushwire.core.personal import Personal
from hushwire.services import webhook_signing
from hushwire.services.carriage import Bodies, Inbound, Inbox, PartState
from hushwire.services.message_parties import Form, party
from hushwire.services.message_receipts import Receipts
from hushwire.services.message_submission import digits
from hushwire.sms.smpp.receipts import canonical
from hushwire.store import carrier_callbacks as table
from hushwire.store.carrier_callbacks import CallbackRow
from hushwire.store.database import Connection, Database
from hushwire.store.message_parts import Receipt
from hushwire.vault.keyring import DeploymentKeys, Keyring

MOST_BODY: Final = 65_536
AT_ONCE: Final = 200
RETRY_FIRST: Final = timedelta(seconds=15)
RETRY_MOST: Final = timedelta(hours=1)
MOST_TRIES: Final = 20
"""Half a day: longer than a database is away."""
KEPT_ASIDE: Final = timedelta(days=7)
REMEMBERED: Final = timedelta(minutes=15)
"""Longer than a signature is believed, early or late."""
_UCS2: Final = 8
_NO_ORG: Final = UUID(int=0)
_STATES: Final[dict[str, PartState]] = {"pending": "submitted", "delivered": "delivered", "failed": "failed", "expired": "expired"}
_log = structlog.get_logger(__name__)


def place_of_secret(centre_id: UUID) -> dict[str, Any]:
    """Where a carrier's secret is sealed to."""
    return {"table": "carrier_secrets", "column": "secret_sealed", "row": centre_id, "org": _NO_ORG}


class CarrierCallbacks:
    """The API's share."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def is_from(self, centre_id: UUID, request_id: str, timestamp: str, signature: str, body: bytes) -> bool:
        """Whether the carrier signed this, just now. Carriers that are none and signatures that are wrong take the same time."""
        keys = await self._keyring.deployment()
        async with self._main.transaction() as connection:
            sealed = await table.secret(connection, centre_id)
        secret = bytes(32) if sealed is None else keys.operational.open(sealed, **place_of_secret(centre_id))
        is_signed = webhook_signing.is_signed(request_id, timestamp, signature, body, secret, self._clock.now().timestamp())
        return is_signed and sealed is not None

    async def keep(self, centre_id: UUID, kind: str, request_id: str, said: object) -> bool:
        """Committed when this returns; False where the same request was kept before."""
        keys, now = await self._keyring.deployment(), self._clock.now()
        row_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        sealed = keys.operational.seal(orjson.dumps(said), **_place(row_id))
        marked = hashlib.sha256(request_id.encode("utf-8", "surrogateescape")).digest()
        async with self._main.transaction() as connection:
            return await table.add(connection, CallbackRow(row_id, centre_id, kind, sealed), marked, now)


class CallbackWork:
    """The share of the process that holds carriers."""

    def __init__(self, main: Database, keyring: Keyring, bodies: Bodies, inbox: Inbox, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._bodies = bodies
        self._inbox = inbox
        self._clock = clock

    async def carry_out(self) -> int:
        """Carries out what waits; returns how many. What was begun when a process died is begun again, and doubles nothing.

        What can't be carried out holds up nothing else: it is tried again ever later, and set aside in the end (`set_aside`).
        """
        total = 0
        while True:
            keys, now = await self._keyring.deployment(), self._clock.now()
            async with self._main.transaction() as connection:
                await table.forget(connection, now - REMEMBERED, now - KEPT_ASIDE)
                rows = await table.waiting(connection, now, AT_ONCE)
                done = await self._carry(keys, rows, now)
                await table.done(connection, list(done), now)
                for row in rows:
                    if row.id not in done:
                        await self._put_off(connection, row, now)
            total += len(done)
            if len(rows) < AT_ONCE:
                return total

    async def begin(self) -> int:
        """Once at the start of a process: what was set aside is tried once more, perhaps by a program that knows better."""
        async with self._main.transaction() as connection:
            return await table.take_up(connection, self._clock.now())

    async def _carry(self, keys: DeploymentKeys, rows: Sequence[CallbackRow], now: datetime) -> set[UUID]:
        """Which of these were carried out."""
        texts: dict[UUID, list[tuple[UUID, Inbound]]] = defaultdict(list)
        receipts: dict[UUID, list[tuple[UUID, Receipt]]] = defaultdict(list)
        for row in rows:
            try:
                said = orjson.loads(keys.operational.open(row.body_sealed, **_place(row.id)))
                if row.kind == "message":
                    texts[row.centre_id].append((row.id, _inbound(row, said)))
                else:
                    receipts[row.centre_id].append((row.id, _receipt(keys, row, said, now)))
            except (HushwireError, ValueError, KeyError, TypeError) as error:
                _log.error("carrier_callback.unreadable", callback=str(row.id), kind=row.kind, error=type(error).__name__)
        done: set[UUID] = set()
        for centre_id, some in texts.items():
            taken = await self._inbox.receive(centre_id, [text for _, text in some])
            done |= {some[place][0] for place in taken}
        for centre_id, told in receipts.items():
            done |= await self._take(Receipts(centre_id, self._main, self._bodies, self._clock), told)
        return done

    async def _take(self, receipts: Receipts, told: Sequence[tuple[UUID, Receipt]]) -> set[UUID]:
        try:
            taken = await receipts.take([receipt for _, receipt in told])
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if len(told) == 1:
                _log.error("carrier_callback.not_taken", callback=str(told[0][0]), error=type(error).__name__)
                return set()
            return {row_id for one in told for row_id in await self._take(receipts, [one])}
        return {told[place][0] for place in taken}

    async def _put_off(self, connection: Connection, row: CallbackRow, now: datetime) -> None:
        if row.attempts + 1 >= MOST_TRIES:
            _log.error("carrier_callback.set_aside", callback=str(row.id), kind=row.kind)
            await table.set_aside(connection, row.id, now)
        else:
            await table.later(connection, row.id, now + min(RETRY_MOST, RETRY_FIRST * 2 ** min(row.attempts, 16)))


def _receipt(keys: DeploymentKeys, row: CallbackRow, said: dict[str, str], now: datetime) -> Receipt:
    whom = party(said["to"], Form.UNTYPED, row.country, untyped_is_national=row.untyped_is_national)
    state = _STATES[said["status"]]
    return Receipt(canonical(said["id"], "exact"), keys.text_destination(digits(whom)), state, said["error"], now)


def _inbound(row: CallbackRow, said: dict[str, str]) -> Inbound:
    """As UCS-2 with surrogates, which holds any text; the carrier's own id tells one that it brings twice."""
    dedupe = hashlib.sha256(row.centre_id.bytes + said["id"].encode()).digest()
    return Inbound(
        Personal(said["from"]), Personal(said["to"]), Personal(said["text"].encode("utf-16-be")), _UCS2, False, None,
        datetime.fromisoformat(said["at"]), dedupe, country=row.country, untyped_is_national=row.untyped_is_national,
    )  # fmt: skip


def _place(row_id: UUID) -> dict[str, Any]:
    return {"table": "carrier_callbacks", "column": "body_sealed", "row": row_id, "org": _NO_ORG}
