"""Messages on their way out: who may be written to, from whom, in how many parts, at what price; accepted in one commit.

Nothing is accepted that the verdict does not allow, that asked for no more messages, or that no carrier can take. What is accepted
stands in its row and in the outbox of parts (`store/message_parts.py`) before the answer leaves: it is not lost, and not doubled.
"""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import AgentId, OrgId, uuid7
from hushwire.policy import calling_hours
from hushwire.policy.model import Allow, Channel, Reason, Verdict
from hushwire.services import message_senders
from hushwire.services.fraud_texts import Over, TextCounters, TextUse
from hushwire.services.free_carriers import barred_centres
from hushwire.services.message_centres import Way, choose, ways
from hushwire.services.message_opt_outs import Pair, listed, opted_out
from hushwire.services.message_parties import is_number
from hushwire.services.message_sealing import Draft, sealed
from hushwire.services.message_senders import Own, Sender
from hushwire.services.once import KeyReused, Once, made_before
from hushwire.services.phone_numbers import REMOTE
from hushwire.services.verdicts import marketed
from hushwire.services.voice_security import NoAgent
from hushwire.sms.text.folding import folded
from hushwire.sms.text.segmentation import MOST_PARTS, Size, Style, size
from hushwire.store import message_parts, message_settings, messages, outbox
from hushwire.store.database import Connection, Database
from hushwire.store.message_settings import Settings
from hushwire.store.messages import NewMessage
from hushwire.vault.keyring import Keyring, OrgKeys

AT_ONCE: Final = 1000
VALID_FOR: Final = timedelta(hours=48)
LATEST: Final = timedelta(days=30)
LONGEST_TEXT: Final = 10_000
_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_DIALLED: Final = re.compile(r"[\s().\-/]+")
_RECEIVED: Final = "messages.received_as"
_BREATH: Final = 25
"""Numbers are read on the loop that answers others too: after so many it lets them go first."""


class Verdicts(Protocol):
    """Who says whether somebody may be written to (`services/voice_security.py`)."""

    async def check(
        self,
        org_id: OrgId,
        destination: str,
        channel: Channel,
        *,
        agent: str | None = None,
        is_telemarketing: bool = False,
        at: datetime | None = None,
    ) -> Verdict | NoAgent:
        """The verdict; of telemarketing also by the do-not-call set and the hours of the recipient. Nothing is counted.

        `at`: for what leaves then, not now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """A message that somebody wants to send. Exactly one of `text` and `template` is given."""

    to: str = field(repr=False)
    text: str | None = field(default=None, repr=False)
    template: str | None = None
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    sender: str | None = field(default=None, repr=False)
    agent: AgentId | None = None
    is_marketing: bool = False
    send_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that will leave, or left before under the same key of idempotency."""

    id: UUID
    parts: int
    encoding: str
    sender: str
    """own, alphanumeric or pool."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message is not sent: a code, and a sentence without anything personal."""

    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a message would be: honest before anything is sent. `price` None: the organisation states none for the country."""

    number: str = field(repr=False)
    country: str | None
    sender: Sender
    size: Size
    text: str = field(repr=False)
    price: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of each wish, in their order. `batch_id` where they were handed in together."""

    outcomes: tuple[Accepted | Refused, ...]
    batch_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """An earlier request under the same Idempotency-Key made this message, or batch."""

    id: UUID


@dataclass(frozen=True, slots=True)
class _Ready:
    """A message about to be accepted."""

    allowed: Allow
    sender: Sender
    text: str = field(repr=False)
    size: Size
    centre: Way
    others: tuple[UUID, ...]
    """Carriers that take the number too, and cut the text alike."""
    wish: Wish

    @property
    def pair(self) -> Pair:
        """Who is written to, and by whom."""
        return self.allowed.number, self.sender.shown


class Scene:
    """What holds for an organisation's messages now: read once for all that are sent together."""

    def __init__(
        self,
        keys: OrgKeys,
        settings: Settings,
        owned: Sequence[Own],
        callers: Mapping[UUID, str],
        carriers: Sequence[Way],
        name: str,
        telemarketers: Collection[UUID] = (),
    ) -> None:
        self.keys = keys
        self.settings = settings
        self.owned = owned
        self.callers = callers
        self.carriers = carriers
        self.organisation = name
        self.telemarketers = telemarketers

    def is_of_campaigns(self, sender: Sender) -> bool:
        """Whether campaigns come from this number."""
        return any(one.is_marketing for one in self.owned if one.id == sender.number_id)

    def sender(self, wish: Wish, allowed: Allow) -> Sender | Refused:
        """Who it comes from."""
        name = self.settings.alphanumeric
        if wish.sender is not None:
            wanted = _DIALLED.sub("", wish.sender) if wish.sender.lstrip().startswith("+") else wish.sender
            found = message_senders.asked_for(wanted, name, self.owned, country=allowed.country)
            return found or Refused("sender", "The sender is neither a number of the organisation nor a name that is shown there.")
        found = message_senders.chosen(
            self.settings.senders,
            name,
            self.owned,
            agent_id=wish.agent,
            caller_id=None if wish.agent is None else self.callers.get(wish.agent),
            country=allowed.country,
            stickiness=self.keys.index(REMOTE, allowed.number),
            is_marketing=wish.is_marketing,
        )
        return found or Refused("no-sender", "No number or name of the organisation can be the sender: see /v1/messages/settings.")

    def price(self, country: str | None, parts: int) -> Decimal | None:
        """What so many parts cost there, as the organisation states it."""
        said = self.settings.prices.get(country or "*", self.settings.prices.get("*"))
        return None if said is None else Decimal(said) * parts


class MessageSending:
    """Accepts messages of every organisation. `verdicts` None: for a gateway, which asks for its verdicts itself (`to_number`)."""

    def __init__(self, main: Database, keyring: Keyring, verdicts: Verdicts | None, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._verdicts = verdicts
        self._clock = clock
        self._random = random
        self._counters = TextCounters(self.new_id)

    async def estimate(self, org_id: OrgId, wish: Wish) -> Estimate | Refused:
        """What would become of it. Nothing is written, counted or sent."""
        scene, (ready,) = await self._ready(org_id, [wish])
        if isinstance(ready, Refused):
            return ready
        price = scene.price(ready.allowed.country, ready.size.parts)
        return Estimate(ready.allowed.number, ready.allowed.country, ready.sender, ready.size, ready.text, price, scene.settings.currency)

    async def send(
        self, org_id: OrgId, wishes: Sequence[Wish], *, actor: str, once: Once | None = None, is_batch: bool = False
    ) -> Sent | Repeated | KeyReused:
        """Accept these, as far as each may be sent; committed when this returns.

        With `once` an earlier request under the key is answered by what it made. Raises Unavailable: nothing was accepted then, or it was
        and the answer was lost. So no key is destroyed, which may be a message's; those made in vain are swept (services/unused_keys.py).
        """
        scene, found = await self._ready(org_id, wishes)
        going = [each for each in found if isinstance(each, _Ready)]
        now = self._clock.now()
        batch_id = self.new_id(now) if is_batch else None
        rows = await self._sealed(scene, going, batch_id, actor, now)
        try:
            async with self._main.organisation(org_id) as connection:
                made = batch_id or (rows[0].id if rows else None)
                known = None if made is None else await made_before(connection, scene.keys, once, made, now)
                if known is None:
                    refused = await self._too_late(connection, scene.keys, going)
                    kept = [(row, ready) for row, ready in zip(rows, going, strict=True) if ready.pair not in refused]
                    await self._count(connection, scene, [ready for _, ready in kept], None, now)
                    outcomes = _outcomes(found, rows, going, refused)
                    if batch_id is not None:
                        counts = _counted(outcomes)
                        await message_settings.begin_batch(connection, org_id, batch_id, now, actor, len(kept), counts)
                    await _accept(connection, org_id, kept, now)
                    if not is_batch:
                        refusals = [self._refusal(org_id, each, actor, now) for each in outcomes if isinstance(each, Refused)]
                        await outbox.add_all(connection, refusals)
        except _OverLimit as error:
            await self._destroy(org_id, [row.id for row in rows])
            await self._tell(org_id, error.over, now)
            return Sent(tuple(each if isinstance(each, Refused) else error.refused for each in found))
        if known is not None:
            await self._destroy(org_id, [row.id for row in rows])
            return known if isinstance(known, KeyReused) else Repeated(known)
        await self._destroy(org_id, [row.id for row, ready in zip(rows, going, strict=True) if ready.pair in refused])
        return Sent(tuple(outcomes), batch_id)

    async def to_number(self, org_id: OrgId, agent: AgentId, allowed: Allow, text: str, *, received_as: bytes) -> Accepted | Refused:
        """Accept what an agent wrote at a phone, the verdict being `allowed`; committed when this returns.

        `received_as` names what the phone sent: the same again is answered by what it made, and nothing is doubled. A key that was made
        in vain is swept (services/unused_keys.py): a gateway destroys none. Raises Unavailable.
        """
        wish = Wish(to=allowed.number, text=text, agent=agent)
        scene = await self._scene(org_id, [wish])
        wish = replace(wish, is_marketing=agent in scene.telemarketers)
        said = _text(wish, {}, folds=scene.settings.folds)
        ready = said if isinstance(said, Refused) else self._fitted(scene, wish, said, allowed)
        now = self._clock.now()
        if not isinstance(ready, Refused) and (ready.wish.is_marketing or scene.is_of_campaigns(ready.sender)):
            async with self._main.organisation(org_id) as connection:
                ready = await _as_marketing(connection, scene, ready, now)
        if isinstance(ready, Refused):
            return ready
        index = scene.keys.index(_RECEIVED, f"{agent}:{received_as.hex()}")
        (row,) = await self._sealed(scene, [ready], None, f"agent:{agent}", now)
        row = replace(row, received_as=index)
        try:
            async with self._main.organisation(org_id) as connection:
                if await self._too_late(connection, scene.keys, [ready]):
                    return OPTED_OUT
                if row.id not in await messages.insert_all(connection, org_id, [row]):
                    earlier = await messages.received_as(connection, index)
                    if earlier is None:
                        return Refused("erased", "The message was erased.")
                    return Accepted(earlier, ready.size.parts, ready.size.encoding.name, ready.sender.kind)
                await self._count(connection, scene, [ready], agent, now)
                await _enqueue(connection, org_id, [(row, ready)], now)
        except _OverLimit as error:
            await self._tell(org_id, error.over, now)
            return error.refused
        return Accepted(row.id, ready.size.parts, ready.size.encoding.name, ready.sender.kind)

    async def _count(self, connection: Connection, scene: Scene, going: Sequence[_Ready], agent: AgentId | None, now: datetime) -> None:
        """Count these in the transaction that accepts them. Raises _OverLimit, which rolls it back."""
        if not await _fits_the_day(connection, scene, going, now):
            raise _OverLimit(OVER_LIMIT)
        uses = [TextUse(agent, ready.size.parts, _micros(scene.price(ready.allowed.country, ready.size.parts))) for ready in going]
        over = await self._counters.count(connection, scene.keys.org_id, uses, now)
        if over is not None:
            raise _OverLimit(TOO_MANY, over)

    async def _tell(self, org_id: OrgId, over: Over | None, now: datetime) -> None:
        if over is not None:
            async with self._main.organisation(org_id) as connection:
                await self._counters.tell(connection, org_id, over, now)

    async def _scene(self, org_id: OrgId, wishes: Sequence[Wish]) -> Scene:
        keys = await self._keyring.org_context(org_id)
        agents = sorted({wish.agent for wish in wishes if wish.agent is not None})
        async with self._main.organisation(org_id) as connection:
            return await read_scene(connection, keys, self._clock.now(), agents)

    async def _ready(self, org_id: OrgId, wishes: Sequence[Wish]) -> tuple[Scene, list["_Ready | Refused"]]:
        scene = await self._scene(org_id, wishes)
        texts, wishes = await self._texts(org_id, scene, wishes)
        verdicts: list[Allow | Refused] = []
        for place, wish in enumerate(wishes):
            verdicts.append(await self._verdict(org_id, wish))
            if place % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        barred = await self._barred(org_id, scene, wishes, verdicts)
        found: list[_Ready | Refused] = []
        for wish, text, verdict, bar in zip(wishes, texts, verdicts, barred, strict=True):
            problem = next((each for each in (text, verdict, bar) if isinstance(each, Refused)), None)
            if problem is not None:
                found.append(problem)
                continue
            assert isinstance(text, str)
            assert isinstance(verdict, Allow)
            found.append(self._fitted(scene, wish, text, verdict))
        found = await self._of_campaigns(org_id, scene, found)
        others = [each for each in found if isinstance(each, _Ready) and not is_number(each.allowed.number)]
        if others:
            async with self._main.organisation(org_id) as connection:
                asked = await self._too_late(connection, scene.keys, others)
            found = [OPTED_OUT if isinstance(each, _Ready) and each.pair in asked else each for each in found]
        return scene, found

    async def _of_campaigns(self, org_id: OrgId, scene: Scene, found: list["_Ready | Refused"]) -> list["_Ready | Refused"]:
        """What a number of campaigns is to send is marketing, which shows when its sender is known."""
        marked = [each for each in found if isinstance(each, _Ready) and not each.wish.is_marketing and scene.is_of_campaigns(each.sender)]
        if not marked:
            return found
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            made = {id(each): await _as_marketing(connection, scene, each, now) for each in marked}
        return [made.get(id(each), each) for each in found]

    def _fitted(self, scene: Scene, wish: Wish, text: str, allowed: Allow) -> "_Ready | Refused":
        sender = scene.sender(wish, allowed)
        if isinstance(sender, Refused):
            return sender
        fitting = carriers_for(scene.carriers, allowed.number, self._random)
        if not fitting:
            return Refused("no-carrier", "No carrier takes messages to this number.")
        way, *rest = fitting
        measured = size(text, style_of(way))
        if measured.parts > MOST_PARTS:
            return Refused("too-long", "The text takes more than 255 parts.")
        return _Ready(allowed, sender, text, measured, way, tuple(one.id for one in rest if one.style == way.style), wish)

    async def _verdict(self, org_id: OrgId, wish: Wish) -> "Allow | Refused":
        assert self._verdicts is not None
        destination = _DIALLED.sub("", wish.to)
        verdict = await self._verdicts.check(
            org_id,
            destination,
            Channel.SMS,
            agent=None if wish.agent is None else str(wish.agent),
            is_telemarketing=wish.is_marketing,
            at=wish.send_at,
        )
        if isinstance(verdict, Allow):
            return verdict
        if isinstance(verdict, NoAgent):
            return Refused("agent", "The organisation has no such agent.")
        reason = getattr(verdict, "reason", None)
        code = reason.value if isinstance(reason, Reason) else "emergency"
        words = verdict.explanation if code != "emergency" else "Emergency services are not reached by text message here."
        return Refused(code, words)

    async def _barred(
        self, org_id: OrgId, scene: Scene, wishes: Sequence[Wish], verdicts: "Sequence[Allow | Refused]"
    ) -> list[Refused | None]:
        """Who asked not to be written to, or did not agree to marketing."""
        numbers = list({each.number for each in verdicts if isinstance(each, Allow)})
        remote = {number: scene.keys.index(REMOTE, number) for number in numbers}
        is_marketing = any(wish.is_marketing for wish in wishes) and scene.settings.needs_consent
        async with self._main.organisation(org_id) as connection:
            # Those that are no numbers are asked about once their sender is known.
            asked = {number for number, _ in await opted_out(connection, scene.keys, [(each, "") for each in numbers if is_number(each)])}
            agreed = await message_settings.consenting(connection, list(remote.values())) if is_marketing else set[bytes]()
        found: list[Refused | None] = []
        for wish, verdict in zip(wishes, verdicts, strict=True):
            if not isinstance(verdict, Allow):
                found.append(None)
            elif verdict.number in asked:
                found.append(OPTED_OUT)
            elif wish.is_marketing and scene.settings.needs_consent and remote[verdict.number] not in agreed:
                found.append(NO_CONSENT)
            else:
                found.append(None)
        return found

    async def _texts(self, org_id: OrgId, scene: Scene, wishes: Sequence[Wish]) -> tuple[list["str | Refused"], list[Wish]]:
        """What each says; and the wishes, marked as marketing where their template or agent is."""
        names = {wish.template for wish in wishes if wish.template is not None}
        bodies: dict[str, str] = {}
        campaigns: set[str | None] = set()
        if names:
            async with self._main.organisation(org_id) as connection:
                for name in names:
                    row = await message_settings.template(connection, name)
                    if row is not None:
                        bodies[name] = open_template(scene.keys, row.id, row.body_sealed)
                        campaigns |= {name} if row.is_marketing else set()
        marked = [
            wish if wish.is_marketing else replace(wish, is_marketing=wish.template in campaigns or wish.agent in scene.telemarketers)
            for wish in wishes
        ]
        return [_text(wish, bodies, folds=scene.settings.folds) for wish in wishes], marked

    async def _sealed(self, scene: Scene, going: Sequence[_Ready], batch_id: UUID | None, actor: str, now: datetime) -> list[NewMessage]:
        if not going:
            return []
        keys = await self._keyring.new_data_keys(scene.keys.org_id, "message", [self.new_id(now) for _ in going])
        drafts = [
            Draft(
                direction="outbound",
                channel="sms",
                state="queued",
                at=now,
                remote=ready.allowed.number,
                local=ready.sender.shown,
                body=ready.text,
                encoding=ready.size.encoding.name,
                parts=ready.size.parts,
                agent_id=ready.wish.agent,
                number_id=ready.sender.number_id,
                batch_id=batch_id,
                centre_id=ready.centre.id,
                is_marketing=ready.wish.is_marketing,
                sent_by=actor,
                country=ready.allowed.country,
                number_class=ready.allowed.number_class.value,
            )
            for ready in going
        ]
        return await asyncio.to_thread(lambda: [sealed(draft, key, scene.keys) for draft, key in zip(drafts, keys, strict=True)])

    async def _too_late(self, connection: Connection, keys: OrgKeys, going: Sequence[_Ready]) -> set[Pair]:
        """Whose owner asked for no more messages since they were looked at: an opt-out is obeyed at once."""
        return await opted_out(connection, keys, [ready.pair for ready in going])

    async def _destroy(self, org_id: OrgId, ids: Sequence[UUID]) -> None:
        if ids:
            await self._keyring.destroy_data_keys(org_id, "message", ids)

    def _refusal(self, org_id: OrgId, refused: Refused, actor: str, now: datetime) -> DomainEvent:
        event_id = self.new_id(now)
        return DomainEvent(event_id, org_id, EventKind.MESSAGE_REFUSED, event_id, now, {"actor": actor, "reason": refused.reason})

    def new_id(self, now: datetime) -> UUID:
        """A fresh id of this time."""
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


OPTED_OUT: Final = Refused("opted-out", "Whoever has this number asked for no more messages.")

NO_CONSENT: Final = Refused("no-consent", "Nobody with this number agreed to messages of marketing: see /v1/privacy/consents.")

OVER_LIMIT: Final = Refused("limit", "The organisation accepts no more messages today: see most_per_day in /v1/messages/settings.")


TOO_MANY: Final = Refused("limit", "More texts, or a higher cost, than the limits of /v1/voice-security/limits let through.")


class _OverLimit(Exception):
    """Nothing is accepted. `over`: what the breaker's counters have against it."""

    def __init__(self, refused: Refused, over: Over | None = None) -> None:
        super().__init__(refused.reason)
        self.refused = refused
        self.over = over


def _micros(price: Decimal | None) -> int:
    return 0 if price is None else int(price * 1_000_000)


async def _as_marketing(connection: Connection, scene: Scene, ready: _Ready, now: datetime) -> _Ready | Refused:
    """What was allowed as any message, as one of a campaign: what the do-not-call set, the hours of the recipient and consents say of it.

    Of rows alone, so that a gateway can ask too.
    """
    number, keys = ready.allowed.number, scene.keys
    is_listed = bool(await listed(connection, keys, [number]))
    hours = [calling_hours.parse(text) for text in await message_settings.telemarketing_hours(connection)]
    at = now if ready.wish.send_at is None else max(now, ready.wish.send_at)
    verdict = marketed(ready.allowed, hours, at, is_listed=is_listed)
    if not isinstance(verdict, Allow):
        return Refused(verdict.reason.value, verdict.explanation)
    if scene.settings.needs_consent and not await message_settings.consenting(connection, [keys.index(REMOTE, number)]):
        return NO_CONSENT
    return replace(ready, wish=replace(ready.wish, is_marketing=True))


async def _fits_the_day(connection: Connection, scene: Scene, going: Sequence[_Ready], now: datetime) -> bool:
    """Whether the day's limit has room for all of these; they are counted then."""
    most, parts = scene.settings.most_per_day, sum(ready.size.parts for ready in going)
    if most is None or not parts:
        return True
    return await message_settings.take_from_day(connection, scene.keys.org_id, now.astimezone(UTC).date(), parts, most)


async def read_scene(connection: Connection, keys: OrgKeys, now: datetime, agents: Sequence[UUID] = ()) -> Scene:
    """What holds now, in the caller's transaction of the organisation; without carriers that something of the customer's stands against."""
    said = await message_settings.settings(connection)
    rows = await message_settings.numbers(connection)
    callers = await message_settings.caller_ids(connection, agents) if agents else {}
    telemarketers = await message_settings.telemarketers(connection, agents) if agents else set[UUID]()
    carriers = await ways(connection)
    if any(way.subprocessor is not None for way in carriers):
        barred = await barred_centres(connection, [way.id for way in carriers], now)
        carriers = [way for way in carriers if way.id not in barred]
    name = await connection.fetchval("SELECT name FROM orgs WHERE id = $1", keys.org_id) or ""

    def opened(sealed_: bytes, table: str, column: str, row: UUID) -> str:
        return keys.operational.open(sealed_, table=table, column=column, row=row, org=keys.org_id).decode()

    owned = [
        Own(
            row.id,
            opened(row.number_sealed, "numbers", "number_sealed", row.id),
            row.agent_id if row.target == "agent" else row.rings if row.target is None else None,
            row.is_pooled,
            row.is_marketing,
        )
        for row in rows
        if not row.masks
    ]
    shown = {agent: opened(value, "agents", "caller_id_sealed", agent) for agent, value in callers.items()}
    return Scene(keys, said, owned, shown, carriers, name, telemarketers)


def carriers_for(carriers: Sequence[Way], number: str, random: Random) -> list[Way]:
    """Carriers that take messages to a number, the one to begin with first."""
    return choose(carriers, number, random)


def style_of(way: Way) -> Style:
    """How a carrier takes long messages."""
    return way.style


def open_template(keys: OrgKeys, row_id: UUID, body_sealed: bytes) -> str:
    """A template's text."""
    return keys.operational.open(body_sealed, table="message_templates", column="body_sealed", row=row_id, org=keys.org_id).decode()


def seal_template(keys: OrgKeys, row_id: UUID, text: str) -> bytes:
    """As its row holds it."""
    return keys.operational.seal(text.encode(), table="message_templates", column="body_sealed", row=row_id, org=keys.org_id)


def _text(wish: Wish, bodies: Mapping[str, str], *, folds: bool) -> "str | Refused":
    text = wish.text
    if wish.template is not None:
        body = bodies.get(wish.template)
        if body is None:
            return Refused("template", "The organisation has no such template.")
        missing = {name for name in _PLACEHOLDER.findall(body) if name not in wish.values}
        if missing:
            return Refused("template-values", "A value that the template names is missing.")
        text = _PLACEHOLDER.sub(lambda found: wish.values[found[1]], body)
    if not text:
        return Refused("empty", "The text is empty.")
    if len(text) > LONGEST_TEXT:
        return Refused("too-long", f"A text has at most {LONGEST_TEXT} characters.")
    return folded(text) if folds else text


async def _accept(connection: Connection, org_id: OrgId, kept: Sequence[tuple[NewMessage, _Ready]], now: datetime) -> None:
    if not kept:
        return
    await messages.insert_all(connection, org_id, [row for row, _ in kept])
    await _enqueue(connection, org_id, kept, now)


async def _enqueue(connection: Connection, org_id: OrgId, kept: Sequence[tuple[NewMessage, _Ready]], now: datetime) -> None:
    times: dict[datetime, list[tuple[UUID, int, UUID]]] = {}
    for row, ready in kept:
        due = ready.wish.send_at if ready.wish.send_at is not None and ready.wish.send_at > now else now
        times.setdefault(due, []).append((row.id, ready.size.submits, ready.centre.id))
    for due, parts in times.items():
        others = {row.id: ready.others for row, ready in kept if ready.others}
        await message_parts.enqueue_all(connection, org_id, parts, due, due + VALID_FOR, others)


def _outcomes(
    found: Sequence["_Ready | Refused"], rows: Sequence[NewMessage], going: Sequence[_Ready], refused: set[Pair]
) -> list[Accepted | Refused]:
    by_place = {id(ready): row for row, ready in zip(rows, going, strict=True)}
    outcomes: list[Accepted | Refused] = []
    for each in found:
        if isinstance(each, Refused):
            outcomes.append(each)
        elif each.pair in refused:
            outcomes.append(OPTED_OUT)
        else:
            row = by_place[id(each)]
            outcomes.append(Accepted(row.id, each.size.parts, each.size.encoding.name, each.sender.kind))
    return outcomes


def _counted(outcomes: Sequence[Accepted | Refused]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in outcomes:
        if isinstance(each, Refused):
            counts[each.reason] = counts.get(each.reason, 0) + 1
    return counts
