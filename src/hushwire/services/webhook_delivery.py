"""What happens, told to webhooks: signed, at least once, with back-off, and given up after a day; the worker's.

Each webhook has a lane of its own, so that one whose server is slow or away holds up no other; where lanes are few organisations take
turns, so that one with many slow ones holds up no other either. A try is claimed by a commit: a worker
that dies leaves it to be tried again, under the same id, which is the event's. Ids and states are told, and of content only what an owner
granted to this webhook, opened as it is sent.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import orjson
import structlog

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.services import webhook_signing
from hushwire.services.webhooks import Inside, opened
from hushwire.store import webhooks as table
from hushwire.store.database import STORE_FAILED, Database
from hushwire.store.events import FeedEvent
from hushwire.store.webhooks import Attempted, DeliveryRow, WebhookRow
from hushwire.transport.outgoing import NotReached, Outgoing
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

AT_ONCE: Final = 8
"""So many deliveries of one webhook are under way at once."""
MOST_LANES: Final = 64
MOST_OF_ONE: Final = 16
"""Lanes of one organisation at once, however many webhooks it has."""
LEASE: Final = timedelta(seconds=60)
BACK_OFF: Final = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800))
"""After the n-th try; after the last of them a delivery is dead."""
REST_MOST_S: Final = 300.0
KEPT_FOR: Final = timedelta(days=1)
_GONE: Final = 410
_PRODUCT: Final = "hushwire-webhooks"
_FAILED: Final = (HushwireError, *STORE_FAILED)
_log = structlog.get_logger(__name__)


class Contents(Protocol):
    """What events are about, opened for who may be told."""

    async def of(self, org_id: OrgId, event: FeedEvent, grants: Sequence[str], why: Why) -> Mapping[str, Any] | None:
        """Numbers and bodies of what one event is about, as far as granted; None where there is nothing (any more)."""


@dataclass(slots=True)
class _Rest:
    """How long a webhook whose server does not answer is left alone."""

    until: float
    seconds: float


class WebhookDelivery:
    """The worker's job."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        outgoing: Outgoing,
        clock: Clock,
        random: Random,
        contents: Sequence[Contents] = (),
        inside: Inside = lambda _slug: None,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._outgoing = outgoing
        self._clock = clock
        self._random = random
        self._contents = tuple(contents)
        self._inside = inside
        self._lanes: dict[UUID, asyncio.Task[int]] = {}
        self._whose: dict[UUID, OrgId] = {}
        self._is_crowded = False  # others wait for a lane
        self._crowding: frozenset[OrgId] = frozenset()  # whose own others wait for one of its lanes
        self._rests: dict[UUID, _Rest] = {}
        self.delivered = 0

    async def deliver(self) -> int:
        """Begin on every webhook that is due and has no lane yet; returns how many lanes began. They go on by themselves."""
        async with self._main.transaction() as connection:
            due = await table.due(connection, self._clock.now())
        began, is_crowded, crowding = 0, False, set[OrgId]()
        for org_id, webhook_id in self._by_turns(due):
            if len(self._lanes) >= MOST_LANES:
                is_crowded = True
                continue
            if sum(whose == org_id for whose in self._whose.values()) >= MOST_OF_ONE:
                crowding.add(org_id)
                continue
            self._whose[webhook_id] = org_id
            self._lanes[webhook_id] = asyncio.create_task(self._lane(org_id, webhook_id), name="webhook")
            began += 1
        self._is_crowded, self._crowding = is_crowded, frozenset(crowding)
        return began

    def _by_turns(self, due: Sequence[tuple[OrgId, UUID]]) -> list[tuple[OrgId, UUID]]:
        """Those that may begin: of organisations by turns, first who has the fewest lanes. One tenant's receivers hold up no other's."""
        now, held = self._clock.monotonic(), Counter(self._whose.values())
        ranked: list[tuple[int, OrgId, UUID]] = []
        for org_id, webhook_id in due:
            rest = self._rests.get(webhook_id)
            if webhook_id not in self._lanes and (rest is None or rest.until <= now):
                ranked.append((held[org_id], org_id, webhook_id))
                held[org_id] += 1
        return [(org_id, webhook_id) for _, org_id, webhook_id in sorted(ranked, key=lambda one: one[0])]

    async def settled(self) -> int:
        """Wait for the lanes that run; returns how many deliveries they made."""
        return sum([lane for lane in await asyncio.gather(*self._lanes.values()) if isinstance(lane, int)])

    async def close(self) -> None:
        """Leave what is under way; another worker tries it again."""
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)

    async def tidy(self) -> int:
        """Remove rows of what was delivered a day ago; returns how many."""
        async with self._main.transaction() as connection:
            organisations = [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]
        return await for_each(organisations, self._tidy, "webhooks-tidied")

    async def _tidy(self, org_id: OrgId) -> int:
        async with self._main.organisation(org_id) as connection:
            return await table.remove_delivered(connection, self._clock.now() - KEPT_FOR)

    async def _lane(self, org_id: OrgId, webhook_id: UUID) -> int:
        done = 0
        try:
            while (made := await self._round(org_id, webhook_id)) is not None:
                done += made
                if self._is_crowded or org_id in self._crowding:
                    break  # somebody else's turn; this one is due again, and comes after who has fewer lanes
        except Exception as error:
            _log.error("webhook.delayed", org_id=str(org_id), webhook_id=str(webhook_id), exc_info=error)
        finally:
            del self._lanes[webhook_id]
            del self._whose[webhook_id]
        return done

    async def _round(self, org_id: OrgId, webhook_id: UUID) -> int | None:
        """One batch; how many were taken, or None where nothing is due or the webhook rests."""
        now = self._clock.now()
        rest = self._rests.get(webhook_id)
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, webhook_id)
            if row is None or row.state != "active":
                self._rests.pop(webhook_id, None)
                return None
            slug = await connection.fetchval("SELECT slug FROM orgs WHERE id = $1", org_id)
            claimed = await table.claim(connection, webhook_id, now, now + LEASE, AT_ONCE if rest is None else 1)
        if not claimed:
            return None
        keys = await self._keyring.org_context(org_id)
        url, secrets = opened(keys, row, now)
        attempts = await asyncio.gather(*(self._attempt(org_id, row, url, secrets, one, self._inside(slug or "")) for one in claimed))
        is_gone = any(one.status == _GONE for one in attempts)
        async with self._main.organisation(org_id) as connection:
            await table.note(connection, attempts)
            if is_gone:
                await table.note_gone(connection, webhook_id, self._clock.now())
        made = sum(one.state == "delivered" for one in attempts)
        self.delivered += made
        if is_gone:
            _log.warning("webhook.gone", org_id=str(org_id), webhook_id=str(webhook_id))
            return None
        if made:
            self._rests.pop(webhook_id, None)
            return made
        # Nobody there: what waits is not tried one by one against a closed door.
        seconds = min(2 * rest.seconds, REST_MOST_S) if rest is not None else BACK_OFF[0].total_seconds()
        self._rests[webhook_id] = _Rest(self._clock.monotonic() + seconds, seconds)
        _log.info("webhook.not_now", org_id=str(org_id), webhook_id=str(webhook_id), failure=attempts[0].failure, status=attempts[0].status)
        return None

    async def _attempt(
        self, org_id: OrgId, row: WebhookRow, url: str, secrets: list[bytes], one: DeliveryRow, inside: Sequence[str] | None
    ) -> Attempted:
        try:
            body = orjson.dumps(await self._told(org_id, row, one.event))
        except (*_FAILED, ValueError, TypeError) as error:
            # This one comes later; those beside it, which may be told already, are noted all the same.
            _log.error("webhook.unread", org_id=str(org_id), event_id=str(one.event.id), error=type(error).__name__)
            now = self._clock.now()
            if one.attempts > len(BACK_OFF):
                return Attempted(one.id, "dead", now, now, None, "unread")
            return Attempted(one.id, "waiting", now, now + self._back_off(one.attempts), None, "unread")
        at_s = int(self._clock.now().timestamp())
        headers = webhook_signing.headers(str(one.event.id), at_s, body, row.signs, secrets)  # type: ignore[arg-type]
        headers += [("Content-Type", "application/json"), ("User-Agent", _PRODUCT)]
        status, failure = None, None
        try:
            status = (await self._outgoing.ask("POST", url, headers, body, reads_body=False, networks=inside)).status
        except NotReached as error:
            failure = error.reason
        now = self._clock.now()
        if status is not None and 200 <= status < 300:
            return Attempted(one.id, "delivered", now, now, status, None)
        if status is not None and 300 <= status < 400:
            failure = "redirect"
        if one.attempts > len(BACK_OFF) or status == _GONE:
            _log.warning("webhook.dead", org_id=str(org_id), webhook_id=str(row.id), event_id=str(one.event.id), attempts=one.attempts)
            return Attempted(one.id, "dead", now, now, status, failure)
        return Attempted(one.id, "waiting", now, now + self._back_off(one.attempts), status, failure)

    async def _told(self, org_id: OrgId, row: WebhookRow, event: FeedEvent) -> dict[str, Any]:
        said: dict[str, Any] = {"id": str(event.id), "position": event.position, "type": event.kind, "timestamp": event.at.isoformat()}
        said["data"] = {"subject": str(event.subject), **event.fields}
        if row.grants:
            why = Why(f"webhook:{row.id}", purposes.WEBHOOK)
            for source in self._contents:
                if (found := await source.of(org_id, event, row.grants, why)) is not None:
                    said["content"] = dict(found)
        return said

    def _back_off(self, attempts: int) -> timedelta:
        # Up to a fifth more, so that what failed together does not come back together.
        share = int.from_bytes(self._random.token_bytes(2), "big") / 65_536
        return BACK_OFF[min(attempts, len(BACK_OFF)) - 1] * (1 + share / 5)
