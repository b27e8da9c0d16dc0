"""Messages opened to be handed to a carrier or a phone, and what became of them carried back (`services/carriage.py`)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

import structlog

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError, RefusedError, Unavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.policy.model import Allow, Channel, Deny
from hushwire.services.carriage import Change
from hushwire.services.free_carriers import barred_centres
from hushwire.services.message_opt_outs import opted_out
from hushwire.services.message_replies import OPT_OUT
from hushwire.services.message_sealing import opened
from hushwire.services.message_sending import Verdicts
from hushwire.services.phone_numbers import REMOTE
from hushwire.sms.text.encoding import PLAIN, WIDE, Encoding
from hushwire.sms.text.segmentation import Segment, Style, segments
from hushwire.store import message_parts, message_settings, outbox
from hushwire.store import messages as table
from hushwire.store.database import Connection, Database
from hushwire.store.messages import Advanced, MessageRow
from hushwire.vault.buckets import DataKey
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

DELIVERY: Final = Why("system:messages", purposes.MESSAGE_DELIVERY)
JUDGED_FOR: Final = timedelta(minutes=1)
"""So long the verdict that accepted a message counts; what waited for longer is judged once more."""
_KINDS: Final = {
    "submitted": EventKind.MESSAGE_SUBMITTED,
    "unknown": EventKind.MESSAGE_UNKNOWN,
    "delivered": EventKind.MESSAGE_DELIVERED,
    "failed": EventKind.MESSAGE_FAILED,
    "expired": EventKind.MESSAGE_EXPIRED,
    "received": EventKind.MESSAGE_RECEIVED,
}
_log = structlog.get_logger(__name__)


T = TypeVar("T")


@frozen
class OpenedMessage:
    """A message that is about to leave (`carriage.Opened`)."""

    source: Personal[str]
    destination: Personal[str]
    text: Personal[str]
    parts: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class OpenedText:
    """A message that is about to be shown on a phone."""

    direction: str
    remote: Personal[str]
    local: Personal[str]
    text: Personal[str]
    agent_id: UUID | None
    peer_agent_id: UUID | None
    at: datetime


class MessageBodies:
    """For processes whose keyring opens. `verdicts`: for those that hand messages to carriers."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random, verdicts: Verdicts | None = None) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._verdicts = verdicts

    async def open(self, org_id: OrgId, message_ids: Sequence[UUID], style: Style) -> Mapping[UUID, OpenedMessage | None]:
        """The messages, cut as `style` says; without those that were erased meanwhile, or that only the customer's key opens.

        And without those that must not leave any more: to people who asked for no more since they were accepted (what was with a carrier
        meanwhile may come back into the outbox), from numbers that are not the organisation's any more, and, of those that waited, where
        the rules do not let them out now. They fail here.

        None for those that can't be opened now; one of them does not keep the others of its organisation. Raises Unavailable.
        """
        return await _each(message_ids, lambda some: self._open(org_id, some, style))

    async def _open(self, org_id: OrgId, message_ids: Sequence[UUID], style: Style) -> dict[UUID, OpenedMessage | None]:
        rows, keys = await self._opened(org_id, message_ids, DELIVERY)
        found = await asyncio.to_thread(_cut, org_id, rows, keys, style)
        going = [row for row in rows if row.id in found and row.sent_by != OPT_OUT]
        withheld = await self._withheld(org_id, going, found) if going else {}
        return {id_: message for id_, message in found.items() if id_ not in withheld}

    async def texts(self, org_id: OrgId, message_ids: Sequence[UUID], why: Why) -> Mapping[UUID, OpenedText | None]:
        """The messages for a phone; without those that were erased, and those whose processing is restricted.

        None for those that can't be opened now, as in `open`.
        """
        return await _each(message_ids, lambda some: self._texts(org_id, some, why))

    async def _texts(self, org_id: OrgId, message_ids: Sequence[UUID], why: Why) -> dict[UUID, OpenedText | None]:
        async with self._main.organisation(org_id) as connection:
            restricted = {row.id for row in await table.get_all(connection, message_ids) if row.is_restricted}
        rows, keys = await self._opened(org_id, [each for each in message_ids if each not in restricted], why)
        found: dict[UUID, OpenedText | None] = {}
        for row in rows:
            if row.sealed_with is None or row.sealed_with not in keys:
                continue
            said = opened(keys[row.sealed_with], org_id, row.id, row.remote_sealed, row.local_sealed, row.body_sealed)
            if said.remote is not None and said.local is not None and said.body is not None:
                found[row.id] = OpenedText(
                    row.direction,
                    Personal(said.remote),
                    Personal(said.local),
                    Personal(said.body),
                    row.agent_id,
                    row.peer_agent_id,
                    row.created_at,
                )
        return found

    async def advance(self, connection: Connection, org_id: OrgId, changes: Sequence[Change]) -> None:
        """Fold the parts' new states into their messages and tell of it, in the transaction that wrote them."""
        now = self._clock.now()
        alone = {change.message_id: (change.state, change.error) for change in changes if change.parts == 1}
        advanced = await table.follow(connection, alone, now) if alone else []
        if several := list({change.message_id for change in changes if change.parts != 1}):
            advanced += await table.fold(connection, several, now)
        await outbox.add_all(connection, [told(org_id, each, now, self._random) for each in advanced if each.state in _KINDS])

    async def _withheld(self, org_id: OrgId, going: Sequence[MessageRow], found: Mapping[UUID, OpenedMessage]) -> dict[UUID, str]:
        """Why which of these must not leave; they are failed."""
        org_keys, now = await self._keyring.org_context(org_id), self._clock.now()
        numbers = {row.id: found[row.id].destination.reveal() for row in going}
        gone = {row.id: "sender" for row in going if row.number_id is None and found[row.id].source.reveal().startswith("+")}
        for row in going:
            if row.id not in gone and row.created_at < now - JUDGED_FOR and (reason := await self._forbids(org_id, row, numbers[row.id])):
                gone[row.id] = reason
        async with self._main.organisation(org_id) as connection:
            pairs = {row.id: (numbers[row.id], found[row.id].source.reveal()) for row in going}
            asked = await opted_out(connection, org_keys, pairs.values())
            gone |= {message_id: "opted-out" for message_id, pair in pairs.items() if pair in asked}
            marketing = {row.id: org_keys.index(REMOTE, numbers[row.id]) for row in going if row.is_marketing and row.id not in gone}
            if marketing and (await message_settings.settings(connection)).needs_consent:
                agreed = await message_settings.consenting(connection, list(marketing.values()))
                gone |= {message_id: "no-consent" for message_id, index in marketing.items() if index not in agreed}
            barred = await barred_centres(connection, [row.centre_id for row in going if row.centre_id is not None], now)
            gone |= {row.id: "no-carrier" for row in going if row.centre_id in barred}
            for reason in set(gone.values()):
                moved = await message_parts.withhold(connection, [id_ for id_, why in gone.items() if why == reason], reason, now)
                await self.advance(connection, org_id, [Change(ref.message_id, ref.part, "failed", reason, now) for ref in moved])
        return gone

    async def _forbids(self, org_id: OrgId, row: MessageRow, number: str) -> str | None:
        """Why the rules do not let it out now. A short code was judged as it was dialled, which nobody knows any more."""
        if self._verdicts is None or not number.startswith("+"):
            return None
        agent = None if row.agent_id is None else str(row.agent_id)
        verdict = await self._verdicts.check(org_id, number, Channel.SMS, agent=agent, is_telemarketing=row.is_marketing)
        if isinstance(verdict, Allow):
            return None
        return verdict.reason.value if isinstance(verdict, Deny) else "rules"

    async def _opened(self, org_id: OrgId, ids: Sequence[UUID], why: Why) -> tuple[list[MessageRow], Mapping[UUID, DataKey]]:
        async with self._main.organisation(org_id) as connection:
            rows = await table.to_send(connection, ids)
        wanted = [row.sealed_with for row in rows if row.sealed_with is not None]
        return rows, await self._keyring.open_many(org_id, "message", wanted, why)


async def _each(ids: Sequence[UUID], opening: Callable[[Sequence[UUID]], Awaitable[dict[UUID, T | None]]]) -> dict[UUID, T | None]:
    """What `opening` gives of these, asked for their halves where it fails: one that can't be opened now (None) keeps no other from it.

    Raises Unavailable.
    """
    try:
        return await opening(ids)
    except Unavailable:
        raise
    except HushwireError:
        if len(ids) <= 1:
            return dict.fromkeys(ids)
    half = len(ids) // 2
    return {**await _each(ids[:half], opening), **await _each(ids[half:], opening)}


def told(org_id: OrgId, message: Advanced, now: datetime, random: Random) -> DomainEvent:
    """The event of a message's new state."""
    fields: dict[str, str | int | bool | None] = {
        "direction": message.direction,
        "channel": message.channel,
        "agent": None if message.agent_id is None else str(message.agent_id),
        "number": None if message.number_id is None else str(message.number_id),
        "batch": None if message.batch_id is None else str(message.batch_id),
        "error": message.error,
    }
    event_id = uuid7(int(now.timestamp() * 1000), random.token_bytes(10))
    return DomainEvent(event_id, org_id, _KINDS[message.state], message.id, now, fields)


def _cut(org_id: OrgId, rows: Sequence[MessageRow], keys: Mapping[UUID, DataKey], style: Style) -> dict[UUID, OpenedMessage]:
    found = {}
    for row in rows:
        key = None if row.sealed_with is None else keys.get(row.sealed_with)
        if key is None:
            continue
        said = opened(key, org_id, row.id, row.remote_sealed, row.local_sealed, row.body_sealed)
        if said.remote is None or said.local is None or said.body is None:
            continue
        encoding = Encoding.named(row.encoding) if row.encoding else PLAIN
        # The random end of the id: parts of messages to one phone at the same time must not share it.
        reference = int.from_bytes(row.id.bytes[-2:], "big")
        try:
            parts = segments(said.body, encoding, style, reference)
        except RefusedError:
            parts = segments(said.body, WIDE, style, reference)
            _log.warning("message.encoding_changed", message_id=str(row.id))
        found[row.id] = OpenedMessage(Personal(said.local), Personal(said.remote), Personal(said.body), parts)
    return found
