"""Carriers that take messages by https: parts of the outbox as JSON, one signed request each (docs/http-carriers.md).

    outbox row 'queued' -> opened -> 'sending' committed -> POST -> answer -> 'submitted' committed -> callback -> 'delivered'

As with SMPP, nothing leaves that is not committed as being sent, and what may have left without an answer is `unknown`: a callback or the
carrier's rule says what to make of it. The guard of `transport/outgoing.py` stands before every request.
"""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError, Unavailable, Unfinished
from hushwire.core.ids import OrgId
from hushwire.services import message_moves, message_runs, webhook_signing
from hushwire.services.carriage import Change, PartState
from hushwire.services.carrier_callbacks import REMEMBERED, place_of_secret
from hushwire.services.message_bodies import MessageBodies, OpenedMessage
from hushwire.services.message_centres import SmppSettings, place_of_password, read_style
from hushwire.services.message_receipts import Receipts
from hushwire.services.message_runs import Run
from hushwire.services.message_submission import digits
from hushwire.sms.smpp.receipts import canonical
from hushwire.store import carrier_callbacks, message_parts
from hushwire.store.database import Connection, Database
from hushwire.store.message_parts import PartRef, Settled
from hushwire.transport.outgoing import NotReached, Outgoing, Reply
from hushwire.vault.keyring import DeploymentKeys, Keyring

RETRY_FIRST: Final = timedelta(seconds=15)
RETRY_MOST: Final = timedelta(minutes=30)
AWAY_PAUSE: Final = timedelta(seconds=30)
AWAY_AFTER_S: Final = 60.0
"""So long a carrier may be away before operators are told."""
_NOTHING_BUT_POST: Final = frozenset((400, 405, 406, 411, 415, 422))
"""What may be said to a HEAD where a message would be taken; every other refusal says that nothing is there, or nothing for us."""
_LATER: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
_AWAY: Final = (HushwireError, asyncpg.PostgresError, OSError)
_OF_ONE: Final = (HushwireError, asyncpg.PostgresError, asyncpg.InterfaceError)
_LONGEST_ID: Final = 128
SETTLE_PAUSE_S: Final = 1.0
SETTLE_PAUSE_MOST_S: Final = 30.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HttpCentre:
    """One carrier by https, as provisioned. `password` is its token or password, `secret` what requests are signed with."""

    id: UUID
    name: str
    url: str = field(repr=False)
    auth: str
    username: str
    header: str
    window: int
    most_attempts: int
    unknown: SmppSettings
    password: str = field(repr=False)
    secret: bytes | None = field(repr=False)

    def headers(self, message_id: str, at_s: int, body: bytes) -> list[tuple[str, str]]:
        """What stands beside the body."""
        found = [("Content-Type", "application/json"), ("Idempotency-Key", message_id), *self.who()]
        if self.secret is not None:
            found += webhook_signing.headers(message_id, at_s, body, "hmac-sha256", [self.secret])
        return found

    def who(self) -> list[tuple[str, str]]:
        """The headers that say who asks."""
        found = [("User-Agent", "hushwire-messages")]
        if self.auth == "bearer":
            found.append(("Authorization", f"Bearer {self.password}"))
        elif self.auth == "basic":
            found.append(("Authorization", "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()))
        elif self.auth == "header":
            found.append((self.header, self.password))
        return found


async def http_centres(connection: Connection, keys: DeploymentKeys) -> list[HttpCentre]:
    """All carriers by https, ready to be asked. In a transaction of no organisation."""
    rows = await connection.fetch(
        "SELECT c.id, c.name, c.settings, c.password_sealed, s.secret_sealed FROM message_centres AS c"
        " LEFT JOIN carrier_secrets AS s ON s.centre_id = c.id WHERE c.kind = 'http' ORDER BY c.name"
    )
    found = []
    for row in rows:
        said: Mapping[str, Any] = json.loads(row["settings"])
        if "url" not in said:
            continue
        sealed, secret = row["password_sealed"], row["secret_sealed"]
        password = "" if sealed is None else keys.operational.open(sealed, **place_of_password(row["id"])).decode()
        style = read_style(said)
        told = {
            name: said[name] for name in ("unknown_after_s", "when_unknown", "move_after_s", "country", "untyped_numbers") if name in said
        }
        rule = SmppSettings("", (), style=style, **told)
        signing = None if secret is None else keys.operational.open(secret, **place_of_secret(row["id"]))
        told = {name: said[name] for name in ("url", "auth", "username", "header", "window", "most_attempts")}
        found.append(HttpCentre(row["id"], row["name"], unknown=rule, password=password, secret=signing, **told))
    return found


class HttpCarriers:
    """The carriers by https of one process."""

    def __init__(
        self, run: Run, main: Database, keyring: Keyring, bodies: MessageBodies, outgoing: Outgoing, clock: Clock, random: Random
    ) -> None:
        self._run = run
        self._main = main
        self._keyring = keyring
        self._bodies = bodies
        self._outgoing = outgoing
        self._clock = clock
        self._random = random
        self._settling: set[asyncio.Task[None]] = set()
        self._away: dict[UUID, float] = {}
        """The carriers that were not reached when they were asked last, and since when (monotonic)."""
        self.submitted = 0

    async def work(self) -> int:
        """Sends what is due at all of them; returns how many parts. One that fails holds up no other."""
        keys = await self._keyring.deployment()
        return sum(await asyncio.gather(*(self._centre(centre, keys) for centre in await self._centres())))

    async def receipts(self) -> int:
        """What carriers said of messages, found and written; returns how many parts it concerns."""
        found = [await self._receipts(centre.id).look_again(at_once=True) for centre in await self._centres()]
        async with self._main.transaction() as connection:
            await carrier_callbacks.forget(connection, self._clock.now() - REMEMBERED)
        return sum(found)

    async def upkeep(self) -> int:
        """What is in doubt for too long, and what waits for a carrier that stays away; returns how many parts changed."""
        changed = 0
        for centre in await self._centres():
            changed += await message_runs.resolve_by_rule(self._main, self._bodies, centre.id, centre.unknown, self._clock)
            after_s = centre.unknown.move_after_s
            if after_s and self._away_s(centre.id) >= after_s:
                changed += await message_moves.move_on(self._main, centre.id, self._clock, self._random, self.there)
        return changed

    async def there(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these carriers answer now, and would let us in: asked for the head of what messages are posted to."""
        centres = [centre for centre in await self._centres() if centre.id in ids]
        answers = await asyncio.gather(*(self._is_there(centre) for centre in centres))
        return {centre.id for centre, is_there in zip(centres, answers, strict=True) if is_there}

    async def look_away(self) -> int:
        """0 where no carrier stays away. Raises Unfinished, with how many do: that is how operators are told."""
        centres = await self._centres()
        if away := [one for one in centres if self._away_s(one.id) >= AWAY_AFTER_S]:
            raise Unfinished(f"{len(away)} of {len(centres)} carriers of messages by https stay away")
        return 0

    def _away_s(self, centre_id: UUID) -> float:
        since = self._away.get(centre_id)
        return 0.0 if since is None else self._clock.monotonic() - since

    async def _is_there(self, centre: HttpCentre) -> bool:
        try:
            reply = await self._outgoing.ask("HEAD", centre.url, centre.who(), reads_body=False)
        except NotReached:
            return False
        return 200 <= reply.status < 300 or reply.status in _NOTHING_BUT_POST

    async def _centres(self) -> list[HttpCentre]:
        keys = await self._keyring.deployment()
        async with self._main.transaction() as connection:
            return await http_centres(connection, keys)

    def _receipts(self, centre_id: UUID) -> Receipts:
        return Receipts(centre_id, self._main, self._bodies, self._clock)

    async def _centre(self, centre: HttpCentre, keys: DeploymentKeys) -> int:
        done, resting = 0, set[OrgId]()
        try:
            while self._run.may_send:
                async with self._main.transaction() as connection:
                    # By turns: of those beside the ones that rest there are as many as the window holds, whatever waits.
                    most = centre.window * (1 + len(resting))
                    refs = await message_parts.due(connection, centre.id, self._clock.now(), most)
                # One that was not reached is asked with one message at a time.
                at_once = 1 if centre.id in self._away else centre.window
                by_org: dict[OrgId, list[PartRef]] = defaultdict(list)
                for ref in [ref for ref in refs if ref.org_id not in resting][:at_once]:
                    by_org[ref.org_id].append(ref)
                if not by_org:
                    break
                for org_id, some in by_org.items():
                    sent = await self._of(centre, keys, org_id, some)
                    if sent is None:
                        resting.add(org_id)
                    else:
                        done += sent
                if centre.id in self._away:
                    break
        except _AWAY as error:
            _log.error("http_carrier.delayed", centre=centre.name, error=type(error).__name__)
        return done

    async def _of(self, centre: HttpCentre, keys: DeploymentKeys, org_id: OrgId, refs: Sequence[PartRef]) -> int | None:
        """How many of an organisation's were sent; None where it rests in this run, since nothing of these could be changed.

        What is wrong with its keys or rows alone holds up no other's. Raises Unavailable.
        """
        try:
            return await self._batch(centre, keys, org_id, refs)
        except Unavailable:
            raise
        except _OF_ONE as error:
            _log.error("http_carrier.not_sent", centre=centre.name, org_id=str(org_id), error=type(error).__name__)
        try:
            await message_runs.put_off(self._main, org_id, refs, self._clock)
        except Unavailable:
            raise
        except _OF_ONE as error:
            _log.error("http_carrier.not_put_off", centre=centre.name, org_id=str(org_id), error=type(error).__name__)
        return None

    async def _batch(self, centre: HttpCentre, keys: DeploymentKeys, org_id: OrgId, refs: Sequence[PartRef]) -> int | None:
        opened = await self._bodies.open(org_id, list(dict.fromkeys(ref.message_id for ref in refs)), centre.unknown.style)
        now = self._clock.now()
        there = [(ref, message) for ref in refs if (message := opened.get(ref.message_id)) is not None]
        if waiting := [ref for ref in refs if opened.get(ref.message_id, ...) is None]:
            _log.error("http_carrier.not_opened", centre=centre.name, org_id=str(org_id), parts=len(waiting))
            await message_runs.put_off(self._main, org_id, waiting, self._clock)
        async with self._main.organisation(org_id) as connection:
            gone = [ref for ref in refs if ref.message_id not in opened]
            moved = await message_parts.move(connection, gone, "queued", "failed", "erased", now) if gone else []
            wanted = [(ref, keys.text_destination(digits(message.destination.reveal()))) for ref, message in there]
            rows = await message_parts.claim(connection, self._run.id, centre.id, wanted, now) if wanted else []
            await self._tell(connection, org_id, [Change(ref.message_id, ref.part, "failed", "erased", now) for ref in moved])
        messages = {ref.message_id: message for ref, message in there}
        settled = await asyncio.gather(*(self._send(centre, messages[row.message_id], row) for row in rows))
        if settled:
            await self._settle_surely(centre, org_id, settled)
        return len(rows) if rows or moved or waiting else None

    async def _settle_surely(self, centre: HttpCentre, org_id: OrgId, settled: Sequence[Settled]) -> None:
        """Nobody but us knows what was answered, and while we live nobody else looks after these parts: so it is tried again and again.

        Where the database answers, and one organisation's rows can't be written, the others are not kept waiting for that.
        """
        while True:
            try:
                return await self._settle(centre, org_id, settled)
            except _AWAY as error:
                _log.error("http_carrier.not_settled", centre=centre.name, error=type(error).__name__)
                if not isinstance(error, Unavailable | OSError):
                    break
            await asyncio.sleep(SETTLE_PAUSE_S)
        again = asyncio.create_task(self._settle_again(centre, org_id, settled), name="http-carrier-settle")
        self._settling.add(again)
        again.add_done_callback(self._settling.discard)

    async def _settle_again(self, centre: HttpCentre, org_id: OrgId, settled: Sequence[Settled]) -> None:
        pause_s = SETTLE_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, SETTLE_PAUSE_MOST_S)
            try:
                return await self._settle(centre, org_id, settled)
            except _AWAY as error:
                _log.error("http_carrier.not_settled", centre=centre.name, org_id=str(org_id), error=type(error).__name__)

    async def _settle(self, centre: HttpCentre, org_id: OrgId, settled: Sequence[Settled]) -> None:
        """Commit what was answered; the same once more changes nothing."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            own = await message_parts.settle(connection, self._run.id, settled, now)
            await self._tell(
                connection,
                org_id,
                [Change(one.message_id, one.part, _state(one), one.error, now, parts) for one, parts in own if one.state != "queued"],
            )
            if named := {one.receipt_id: (one.message_id, one.part) for one, _ in own if one.receipt_id is not None}:
                await self._receipts(centre.id).settled_with(connection, org_id, named)
        self.submitted += sum(one.state == "submitted" for one, _ in own)

    async def _send(self, centre: HttpCentre, message: OpenedMessage, row: message_parts.Claimed) -> Settled:
        said = {
            "id": str(row.message_id), "from": message.source.reveal(), "to": message.destination.reveal(), "text": message.text.reveal(),
            "valid_until": None if row.expires_at is None else row.expires_at.isoformat(),
        }  # fmt: skip
        body = orjson.dumps(said)
        try:
            headers = centre.headers(str(row.message_id), int(self._clock.now().timestamp()), body)
            reply = await self._outgoing.ask("POST", centre.url, headers, body)
        except NotReached as error:
            if error.is_sent:
                return Settled(row.message_id, row.part, "unknown", None, "unanswered")
            # Nothing left: it waits, however often, until its time is over or another carrier takes it.
            self._away.setdefault(centre.id, self._clock.monotonic())
            return Settled(row.message_id, row.part, "queued", None, None, self._clock.now() + AWAY_PAUSE)
        self._away.pop(centre.id, None)
        if 200 <= reply.status < 300:
            receipt_id = _id_in(reply)
            return Settled(row.message_id, row.part, "submitted", None if receipt_id is None else canonical(receipt_id, "exact"))
        word = "redirect" if 300 <= reply.status < 400 else f"http-{reply.status}"
        if reply.status in _LATER:
            return self._later(centre, row, word)
        return Settled(row.message_id, row.part, "failed", None, word)

    def _later(self, centre: HttpCentre, row: message_parts.Claimed, word: str) -> Settled:
        if row.attempts >= centre.most_attempts:
            return Settled(row.message_id, row.part, "failed", None, word)
        pause = min(RETRY_MOST, RETRY_FIRST * 2 ** min(row.attempts, 10))
        return Settled(row.message_id, row.part, "queued", None, word, self._clock.now() + pause)

    async def _tell(self, connection: Connection, org_id: OrgId, changes: Sequence[Change]) -> None:
        if changes:
            await self._bodies.advance(connection, org_id, changes)


def _state(settled: Settled) -> PartState:
    states: tuple[PartState, ...] = ("submitted", "unknown", "failed")
    return next(state for state in states if state == settled.state)


def _id_in(reply: Reply) -> str | None:
    """What the carrier calls the message: `id` of a JSON object; None where it says none that can be compared."""
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    found = said.get("id") if isinstance(said, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= _LONGEST_ID and found.isprintable() else None
