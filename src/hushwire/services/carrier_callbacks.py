"""What HTTP carriers say: verified and kept by the API, carried out by the process that holds carriers (docs/http-carriers.md).

A request is believed for its signature (services/webhook_signing.py), made within five minutes of now; the same request again changes
nothing. It is acknowledged once its row is committed. A message is handed to the inbox and a receipt to the receipts of its carrier, as
those that come by SMPP are.
"""

import hashlib
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import uuid7
from hushwire.core.personal import Personal
from hushwire.services import webhook_signing
from hushwire.services.carriage import Bodies, Inbound, Inbox, PartState
from hushwire.services.message_receipts import Receipts
from hushwire.services.message_submission import digits
from hushwire.sms.smpp.receipts import canonical
from hushwire.store import carrier_callbacks as table
from hushwire.store.carrier_callbacks import CallbackRow
from hushwire.store.database import Database
from hushwire.store.message_parts import Receipt
from hushwire.vault.keyring import Keyring

MOST_BODY: Final = 65_536
AT_ONCE: Final = 200
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
        """Carries out what waits; returns how many. What was begun when a process died is begun again, and doubles nothing."""
        total = 0
        while True:
            keys, now = await self._keyring.deployment(), self._clock.now()
            async with self._main.transaction() as connection:
                await table.forget(connection, now - REMEMBERED)
                rows = await table.waiting(connection, AT_ONCE)
                texts: dict[UUID, list[Inbound]] = defaultdict(list)
                receipts: dict[UUID, list[Receipt]] = defaultdict(list)
                for row in rows:
                    said = orjson.loads(keys.operational.open(row.body_sealed, **_place(row.id)))
                    if row.kind == "message":
                        texts[row.centre_id].append(_inbound(row.centre_id, said))
                    else:
                        index = keys.text_destination(digits(said["to"]))
                        state = _STATES[said["status"]]
                        receipts[row.centre_id].append(Receipt(canonical(said["id"], "exact"), index, state, said["error"], now))
                for centre_id, some in texts.items():
                    await self._inbox.receive(centre_id, some)
                for centre_id, told in receipts.items():
                    await Receipts(centre_id, self._main, self._bodies, self._clock).take(told)
                await table.done(connection, [row.id for row in rows], now)
            total += len(rows)
            if len(rows) < AT_ONCE:
                return total


def _inbound(centre_id: UUID, said: dict[str, str]) -> Inbound:
    """As UCS-2 with surrogates, which holds any text; the carrier's own id tells one that it brings twice."""
    dedupe = hashlib.sha256(centre_id.bytes + said["id"].encode()).digest()
    return Inbound(
        Personal(said["from"]), Personal(said["to"]), Personal(said["text"].encode("utf-16-be")), _UCS2, False, None,
        datetime.fromisoformat(said["at"]), dedupe,
    )  # fmt: skip


def _place(row_id: UUID) -> dict[str, Any]:
    return {"table": "carrier_callbacks", "column": "body_sealed", "row": row_id, "org": _NO_ORG}
