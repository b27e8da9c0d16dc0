"""What HTTP carriers say, verified and taken (docs/http-carriers.md).

A request is believed for its signature (services/webhook_signing.py), made within five minutes of now; the same request again changes
nothing. A message goes to the inbox, and is acknowledged once it is a message of its organisation: what can't be taken now is refused, and
the carrier brings it again. So nothing of what was said lies anywhere that an erasure does not reach. A receipt is kept as those that come
by SMPP before their answers are: whom it is about as a keyed hash; the process that holds carriers finds its message.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.personal import Personal
from hushwire.services import webhook_signing
from hushwire.services.carriage import Inbound, Inbox
from hushwire.services.message_parties import Form, party
from hushwire.services.message_receipts import STATES, TOPIC
from hushwire.services.message_submission import digits
from hushwire.sms.smpp.receipts import Fate, canonical
from hushwire.store import carrier_callbacks as table
from hushwire.store import message_parts
from hushwire.store.database import Database
from hushwire.store.message_parts import Receipt
from hushwire.vault.keyring import Keyring

MOST_BODY: Final = 65_536
REMEMBERED: Final = timedelta(minutes=15)
"""Longer than a signature is believed, early or late."""
_UCS2: Final = 8
_NO_ORG: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Brought:
    """A message as a carrier names and writes it. `id` is its own."""

    id: str
    source: str = field(repr=False)
    destination: str = field(repr=False)
    text: str = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What a carrier says became of a message that it called `id` when it took it."""

    id: str
    destination: str = field(repr=False)
    fate: Fate
    error: str | None


def place_of_secret(centre_id: UUID) -> dict[str, Any]:
    """Where a carrier's secret is sealed to."""
    return {"table": "carrier_secrets", "column": "secret_sealed", "row": centre_id, "org": _NO_ORG}


class CarrierCallbacks:
    """For the API."""

    def __init__(self, main: Database, keyring: Keyring, inbox: Inbox, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._inbox = inbox
        self._clock = clock

    async def is_from(self, centre_id: UUID, request_id: str, timestamp: str, signature: str, body: bytes) -> bool:
        """Whether the carrier signed this, just now. Carriers that are none and signatures that are wrong take the same time."""
        keys = await self._keyring.deployment()
        async with self._main.transaction() as connection:
            sealed = await table.secret(connection, centre_id)
        secret = bytes(32) if sealed is None else keys.operational.open(sealed, **place_of_secret(centre_id))
        is_signed = webhook_signing.is_signed(request_id, timestamp, signature, body, secret, self._clock.now().timestamp())
        return is_signed and sealed is not None

    async def take_message(self, centre_id: UUID, request_id: str, brought: Brought) -> bool:
        """Committed when this returns True, or taken before; False where it can't be taken now. Raises Unavailable."""
        marked = _marked(request_id)
        async with self._main.transaction() as connection:
            if await table.is_marked(connection, centre_id, marked):
                return True
            home = await table.home(connection, centre_id)
        # The carrier's own id tells one that it brings twice; UCS-2 with surrogates holds any text.
        dedupe = hashlib.sha256(centre_id.bytes + brought.id.encode()).digest()
        text = Inbound(
            Personal(brought.source), Personal(brought.destination), Personal(brought.text.encode("utf-16-be")), _UCS2, False, None,
            brought.at, dedupe, country=home.country, untyped_is_national=home.untyped_is_national,
        )  # fmt: skip
        if not await self._inbox.receive(centre_id, [text]):
            return False
        async with self._main.transaction() as connection:
            await table.mark(connection, centre_id, marked, self._clock.now())
        return True

    async def take_receipt(self, centre_id: UUID, request_id: str, told: Told) -> bool:
        """Committed when this returns; False where the same request was taken before. Raises Unavailable."""
        keys, now = await self._keyring.deployment(), self._clock.now()
        async with self._main.transaction() as connection:
            home = await table.home(connection, centre_id)
            whom = party(told.destination, Form.UNTYPED, home.country, untyped_is_national=home.untyped_is_national)
            index = keys.text_destination(digits(whom))
            if not await table.mark(connection, centre_id, _marked(request_id), now):
                return False
            receipt = Receipt(canonical(told.id, "exact"), index, STATES[told.fate], told.error, now)
            await message_parts.keep_early(connection, centre_id, [receipt])
            await connection.execute("SELECT pg_notify('hushwire_work', $1)", TOPIC)
        return True


def _marked(request_id: str) -> bytes:
    return hashlib.sha256(request_id.encode("utf-8", "surrogateescape")).digest()
