"""Messages that carriers bring: found whose they are, joined where they come in parts, sealed, and committed before they are acknowledged.

Who asks for no more messages is obeyed in the same commit, and answered once. Parts stand in rows under the message's own key, so that
they may come in any order, by any link and to any process; what never becomes whole is delivered as it is once `WAIT` is over.

A key is committed before the row that needs it, so one is made before it is sure that its message is taken. Where the row's transaction
was not going to be committed the key is destroyed at once: a text that can't be taken is brought again and again. Where it may have been
committed, or this process is killed, the key stays, since it may be a message's: unused ones are swept (services/unused_keys.py).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, Protocol
from uuid import UUID

import asyncpg
import structlog
from phonenumbers import SUPPORTED_REGIONS

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError, Unavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.policy.model import Allow, Channel
from hushwire.privacy import audit
from hushwire.privacy.audit import Action
from hushwire.services.carriage import Inbound
from hushwire.services.message_bodies import DELIVERY, told
from hushwire.services.message_opt_outs import opt_in, opt_out
from hushwire.services.message_parties import Form, is_number, party
from hushwire.services.message_replies import OPT_OUT, reply
from hushwire.services.message_sealing import Draft, seal_body, sealed
from hushwire.services.message_sending import VALID_FOR, Scene, Verdicts, carriers_for, read_scene, style_of
from hushwire.services.phone_numbers import REMOTE, dialling
from hushwire.sms.keywords import Found, Keyword, keyword
from hushwire.sms.text.alphabets import Language
from hushwire.sms.text.decoding import Part, joined, read_part
from hushwire.sms.text.header import PartOf
from hushwire.sms.text.segmentation import size
from hushwire.store import do_not_call, message_parts, message_settings, outbox
from hushwire.store import messages as table
from hushwire.store.database import Connection, Database
from hushwire.store.messages import Advanced, Arriving, InboundPart, NewMessage
from hushwire.vault.buckets import DataKey
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.seal import Columns

WAIT: Final = timedelta(minutes=5)
"""So long after its last part a message is waited for."""
TO_PHONE_FOR: Final = timedelta(days=7)
_KNOWN_FOR_S: Final = 5.0
HELP_EVERY: Final = timedelta(hours=1)
ANSWERS_A_DAY: Final = 5
"""So often whoever writes stop, start and help by turns is answered: another machine that answers would go on for ever."""
KNOWN_FOR: Final = timedelta(days=30)
"""Whom we wrote to within this time is no stranger: the first answer to them is in no bound but that of what we sent."""
NUMBER_ANSWERS_A_DAY: Final = 100
"""So many answers to strangers one number of ours gives; senders can be made up, and each answer costs money."""
HOMES_KNOWN_FOR_S: Final = 60.0
_ASSEMBLY: Final = "messages.assembly"
_RECEIVED: Final = "messages.received_as"
_PAYLOAD: Final = "message_inbound_parts.payload"
_Kept = Literal["again", "kept", "begun"]
"""What became of a part: another process was faster, look again; it is kept; it is, and its message with it, under the spare key."""
_log = structlog.get_logger(__name__)


class ToPhones(Protocol):
    """Where texts for agents' phones wait (`store/text_deliveries.py`)."""

    async def __call__(
        self, connection: Connection, org_id: OrgId, texts: Sequence[tuple[UUID, UUID]], at: datetime, expires_at: datetime, /
    ) -> None:
        """Deliver each (message, agent), in the caller's transaction."""
        ...


@dataclass(frozen=True, slots=True)
class _Text:
    """One delivery, read: from whom, to which number of whose. `place`: among those that came with it."""

    place: int
    remote: str = field(repr=False)
    local: str = field(repr=False)
    number_id: UUID
    part: Part = field(repr=False)
    at: datetime
    dedupe: bytes | None = field(default=None, repr=False)


class MessageInbox:
    """For processes whose keyring opens: `hushwire sms`."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        verdicts: Verdicts,
        clock: Clock,
        random: Random,
        to_phones: ToPhones | None = None,
        *,
        wait: timedelta = WAIT,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._verdicts = verdicts
        self._clock = clock
        self._random = random
        self._to_phones = to_phones
        self._wait = wait
        self._homes_known: tuple[float, tuple[str, ...]] | None = None
        self._known: dict[UUID, DataKey] = {}
        """Keys of messages that arrive here, so that not every part opens it anew; kept for seconds."""

    async def receive(self, centre_id: UUID, texts: Sequence[Inbound]) -> frozenset[int]:
        """Take what can be taken; the places of those that are committed when this returns. The others are to be brought again.

        What is for a number of nobody here is dropped, and counts as taken: the carrier could only bring it again. Where one organisation's
        can't be taken, or one text, the others are all the same. Raises Unavailable where nothing could be looked at.
        """
        whose, taken = await self._whose(texts)
        for org_id, found in whose.items():
            taken |= await self._take(org_id, centre_id, found)
        return frozenset(taken)

    async def give_up_waiting(self) -> int:
        """Deliver as they are messages of which a part never came; returns how many.

        Raises Unfinished where some can't be opened now, once all others are through: those wait for the next time.
        """
        async with self._main.transaction() as connection:
            left = await table.left_arriving(connection, self._clock.now() - self._wait)
        return await for_each(left, self._give_up, "message-assembly")

    async def _give_up(self, which: tuple[OrgId, UUID]) -> bool:
        org_id, message_id = which
        keys = await self._keyring.org_context(org_id)
        key = await self._key(org_id, message_id)
        if key is None:
            return False
        async with self._main.organisation(org_id) as connection:
            arriving = await table.arriving_by_id(connection, message_id)
            if arriving is None:
                return False
            scene = await read_scene(connection, keys, self._clock.now())
            return await self._complete(connection, keys, scene, arriving, key, None)

    # Whose they are.

    async def _whose(self, texts: Sequence[Inbound]) -> tuple[dict[OrgId, list["_Addressed"]], set[int]]:
        deployment = await self._keyring.deployment()
        homes = await self._homes() if any(text.country is None for text in texts) else ()
        readings = [
            (place, number, home)
            for place, text in enumerate(texts)
            for number, home in _ours(text.destination.reveal(), text.destination_form, text.country, text.untyped_is_national, homes)
        ]
        async with self._main.transaction() as connection:
            rows = await connection.fetch(
                "SELECT place, org_id, number_id FROM find_numbers_at_home($1::bytea[], $2::text[])",
                [deployment.lookup(number) for _, number, _ in readings],
                [home for _, _, home in readings],
            )
        places: dict[int, _Addressed] = {}
        for row in sorted(rows, key=lambda row: row["place"]):
            place, number, _ = readings[row["place"] - 1]
            places.setdefault(place, _Addressed(place, texts[place], OrgId(row["org_id"]), number, row["number_id"]))
        found: dict[OrgId, list[_Addressed]] = {}
        for one in places.values():
            found.setdefault(one.org_id, []).append(one)
        nobodys = set(range(len(texts))) - places.keys()
        if nobodys:
            _log.warning("message.for_nobody", messages=len(nobodys))
        return found, nobodys

    async def _homes(self) -> tuple[str, ...]:
        """Where organisations of this deployment are at home."""
        now = self._clock.monotonic()
        if self._homes_known is None or now - self._homes_known[0] > HOMES_KNOWN_FOR_S:
            countries = sorted(SUPPORTED_REGIONS)
            async with self._main.transaction() as connection:
                rows = await connection.fetch("SELECT place FROM homes_among($1::text[])", countries)
            self._homes_known = (now, tuple(countries[row["place"] - 1] for row in rows))
        return self._homes_known[1]

    # Taking them.

    async def _take(self, org_id: OrgId, centre_id: UUID, found: Sequence["_Addressed"]) -> set[int]:
        """The places of what was committed."""
        taken: set[int] = set()
        try:
            keys = await self._keyring.org_context(org_id)
            async with self._main.organisation(org_id) as connection:
                home, _ = await dialling(connection)
        except (HushwireError, asyncpg.PostgresError, OSError) as error:
            _log.error("message.not_taken", org_id=str(org_id), messages=len(found), error=type(error).__name__)
            return taken
        texts = [text for one in found if (text := _read_one(one, home)) is not None]
        whole = [text for text in texts if text.part.part is None]
        said = await self._tried(org_id, whole, self._take_whole(org_id, keys, centre_id, whole)) if whole else "taken"
        if said == "taken":
            taken |= {text.place for text in whole}
        elif said == "refused" and len(whole) > 1:
            for text in whole:  # one of them is not to be had: the others are
                said = await self._tried(org_id, [text], self._take_whole(org_id, keys, centre_id, [text]))
                if said == "taken":
                    taken.add(text.place)
                elif said == "away":
                    break
        for text in texts:
            if said == "away":
                break
            if text.part.part is not None:
                said = await self._tried(org_id, [text], self._take_part(org_id, keys, centre_id, text, text.part.part))
                if said == "taken":
                    taken.add(text.place)
        return taken

    async def _tried(self, org_id: OrgId, texts: Sequence[_Text], taking: Awaitable[None]) -> Literal["taken", "refused", "away"]:
        """Whether it was committed, and else whether anything could be. What nobody expected is told, and concerns these texts alone."""
        try:
            await taking
        except Exception as error:
            unknown = None if isinstance(error, HushwireError | asyncpg.PostgresError | asyncpg.InterfaceError) else error
            _log.error(
                "message.not_taken",
                org_id=str(org_id),
                messages=len(texts),
                error=type(error).__name__,
                exc_info=unknown,
            )
            return "away" if isinstance(error, Unavailable) else "refused"
        return "taken"

    async def _take_whole(self, org_id: OrgId, keys: OrgKeys, centre_id: UUID, texts: Sequence[_Text]) -> None:
        async with self._main.organisation(org_id) as connection:
            scene = await read_scene(connection, keys, self._clock.now())
            targets = await message_settings.targets(connection, {text.number_id for text in texts})
        async with self._making(org_id) as made:
            await self._take_under(keys, centre_id, texts, scene, targets, made)

    async def _take_under(
        self,
        keys: OrgKeys,
        centre_id: UUID,
        texts: Sequence[_Text],
        scene: Scene,
        targets: Mapping[UUID, Sequence[UUID]],
        made: "_Made",
    ) -> None:
        org_id, now = keys.org_id, self._clock.now()
        data_keys = await self._new_keys(org_id, len(texts), now, made)
        rows: list[NewMessage] = []
        asked: list[Found | None] = []
        for text, key in zip(texts, data_keys, strict=True):
            body, is_binary = _read([text.part])
            found = None if is_binary else keyword(body, scene.settings.languages)
            agent = _only(targets.get(text.number_id))
            rows.append(self._row(keys, text, centre_id, key, "received", body, is_binary=is_binary, found=found, agent_id=agent))
            asked.append(found)
        answers = {
            row.id: await self._answer_if_any(org_id, scene, text, found, centre_id, made)
            for row, text, found in zip(rows, texts, asked, strict=True)
            if found is not None
        }
        async with self._main.organisation(org_id) as connection:
            new = used = await table.insert_all(connection, org_id, rows)
            for row, text, found in zip(rows, texts, asked, strict=True):
                answer = answers.get(row.id)
                if row.id in new and found is not None and await self._obey(connection, keys, row.id, text, found, answer):
                    assert answer is not None
                    used = used | {answer.row.id}
            fresh = [_as_received(row) for row in rows if row.id in new]
            await self._tell(connection, org_id, fresh)
            made.used |= used  # the last step: from here on it may be committed, whatever comes

    async def _take_part(self, org_id: OrgId, keys: OrgKeys, centre_id: UUID, text: _Text, place: PartOf) -> None:
        index = keys.index(_ASSEMBLY, "\0".join((str(centre_id), text.remote, text.local, str(place.reference), str(place.total))))
        now = self._clock.now()
        async with self._making(org_id) as made:
            spare: DataKey | None = None
            said: _Kept = "again"
            while said == "again":
                async with self._main.organisation(org_id) as connection:
                    arriving = await table.arriving(connection, index)
                if arriving is None and spare is None:
                    (spare,) = await self._new_keys(org_id, 1, now, made)
                key = spare if arriving is None else await self._key(org_id, arriving.id)
                async with self._main.organisation(org_id) as connection:
                    said = await self._keep(connection, keys, centre_id, text, place, index, arriving, key, spare, now)
                    if said == "begun":
                        made.used |= made.made

    async def _keep(
        self,
        connection: Connection,
        keys: OrgKeys,
        centre_id: UUID,
        text: _Text,
        place: PartOf,
        index: bytes,
        seen: Arriving | None,
        key: DataKey | None,
        spare: DataKey | None,
        now: datetime,
    ) -> _Kept:
        """Keep a part, and the message where it is the first or the last."""
        arriving = await table.arriving(connection, index)
        if (None if arriving is None else arriving.id) != (None if seen is None else seen.id):
            return "again"
        if arriving is not None and key is None:
            # It is being erased: what comes now is a message of its own.
            await table.give_up_waiting(connection, arriving.id)
            return "again"
        said: _Kept = "kept"
        if arriving is None:
            assert spare is not None
            targets = await message_settings.targets(connection, [text.number_id])
            agent = _only(targets.get(text.number_id))
            row = self._row(keys, text, centre_id, spare, "receiving", None, parts=place.total, assembly=index, agent_id=agent)
            if not await table.insert_all(connection, keys.org_id, [row]):
                return "kept"  # the organisation is erased
            self._remember(spare)
            said = "begun"
            arriving, key = Arriving(spare.id, spare.id, place.total), spare
        assert key is not None
        part = _closed(keys, key, arriving.id, text.part, place)
        if not await table.add_part(connection, keys.org_id, arriving.id, part, now):
            here = await table.parts_of(connection, arriving.id)
            if any(each.position == place.number and each.payload_index != part.payload_index for each in here):
                await table.give_up_waiting(connection, arriving.id)  # the sender's references went round: another message begins
                return "again"
            return said  # the same part again
        if len(await table.parts_of(connection, arriving.id)) == arriving.total:
            scene = await read_scene(connection, keys, self._clock.now())
            await self._complete(connection, keys, scene, arriving, key, text)
        return said

    async def _complete(
        self, connection: Connection, keys: OrgKeys, scene: Scene, arriving: Arriving, key: DataKey, text: _Text | None
    ) -> bool:
        """Join what is there. A keyword in parts is obeyed as any; `text` None: nobody else is waited for."""
        kept = await table.parts_of(connection, arriving.id)
        parts = [_open_part(keys, key, arriving.id, each) for each in kept]
        body, is_binary = _read(parts)
        is_incomplete = len(kept) < arriving.total
        found = None if is_binary or is_incomplete else keyword(body, scene.settings.languages)
        advanced = await table.complete(
            connection,
            arriving.id,
            seal_body(key, keys.org_id, body),
            self._clock.now(),
            keyword=None if found is None else found.keyword.value,
            is_incomplete=is_incomplete,
            is_binary=is_binary,
        )
        self._known.pop(arriving.id, None)
        if advanced is None:
            return False
        if found is not None and text is not None:
            await self._obey(connection, keys, arriving.id, text, found, None)
        await self._tell(connection, keys.org_id, [advanced])
        return True

    # Obeying, answering, telling.

    async def _obey(
        self, connection: Connection, keys: OrgKeys, message_id: UUID, text: _Text, found: Found, answer: "_Answer | None"
    ) -> bool:
        """List or unlist, say so in the audit log, and answer, in the transaction that takes the message; returns whether it answers."""
        org_id, now = keys.org_id, self._clock.now()
        index = keys.index(REMOTE, text.remote)
        is_news = True
        if found.keyword is Keyword.STOP:
            is_news = await opt_out(connection, keys, text.remote, text.local, now)
            # What waits to be sent, perhaps for hours or for a carrier that is away, is not sent any more.
            number = None if is_number(text.remote) else text.number_id
            called_back = await table.call_back(connection, index, number, OPT_OUT, "opted-out", now)
            await outbox.add_all(connection, [told(org_id, each, now, self._random) for each in called_back])
        elif found.keyword is Keyword.START:
            is_news = await opt_in(connection, keys, text.remote, text.local)
        if found.keyword is not Keyword.HELP and is_news:
            said = {"added": 1} if found.keyword is Keyword.STOP else {"removed": 1}
            await audit.append(connection, org_id, now, OPT_OUT, Action.DO_NOT_CALL_CHANGED, f"organisation:{org_id}", said)
            kind = EventKind.MESSAGE_OPTED_OUT if found.keyword is Keyword.STOP else EventKind.MESSAGE_OPTED_IN
            await outbox.add(connection, DomainEvent(self._new_id(now), org_id, kind, message_id, now, {"actor": OPT_OUT}))
        if not is_news or answer is None:
            return False
        if not await self._may_answer(connection, org_id, index, text, found, answer, now):
            return False
        await table.insert_all(connection, org_id, [answer.row])
        await message_parts.enqueue_all(connection, org_id, [(answer.row.id, 1, answer.centre_id)], now, now + VALID_FOR)
        return True

    async def _may_answer(
        self, connection: Connection, org_id: OrgId, index: bytes, text: _Text, found: Found, answer: "_Answer", now: datetime
    ) -> bool:
        """Whether this sender, this number and this organisation have an answer left; it counts then."""
        await do_not_call.lock(connection)
        answered = await message_settings.answers_since(connection, index, OPT_OUT, now - KNOWN_FOR)
        today = [at for at in answered if at >= now - timedelta(days=1)]
        if len(today) >= ANSWERS_A_DAY or (found.keyword is Keyword.HELP and any(at >= now - HELP_EVERY for at in today)):
            return False
        if not answered and await message_settings.wrote_to(connection, index, OPT_OUT, now - KNOWN_FOR):
            return True
        day = now.astimezone(UTC).date()
        left = await message_settings.take_answer(connection, org_id, text.number_id, day, NUMBER_ANSWERS_A_DAY, answer.most_a_day)
        if left == 0:
            _log.warning("message.answers_used_up", org_id=str(org_id), number_id=str(text.number_id))
        return left is not None

    async def _answer_if_any(
        self, org_id: OrgId, scene: Scene, text: _Text, found: Found, centre_id: UUID, made: "_Made"
    ) -> "_Answer | None":
        """An answer that can't be made stands in no way of what was asked for."""
        try:
            return await self._answer(org_id, scene, text, found, centre_id, made)
        except Unavailable:
            raise
        except (HushwireError, asyncpg.PostgresError) as error:
            _log.error("message.not_answered", org_id=str(org_id), error=type(error).__name__)
            return None

    async def _answer(self, org_id: OrgId, scene: Scene, text: _Text, found: Found, centre_id: UUID, made: "_Made") -> "_Answer | None":
        """The one answer, ready to be sent by the carrier that brought the message, where the verdict lets it out; else None."""
        verdict = await self._verdicts.check(org_id, text.remote, Channel.SMS)
        carriers = {way.id: way for way in scene.carriers}
        if not isinstance(verdict, Allow) or verdict.number != text.remote:
            return None
        way = carriers.get(centre_id) or next(iter(carriers_for(scene.carriers, text.remote, self._random)), None)
        if way is None:
            return None
        now = self._clock.now()
        body = reply(found, scene.settings.languages, scene.organisation)
        measured = size(body, style_of(way))
        (key,) = await self._new_keys(org_id, 1, now, made)
        draft = Draft(
            direction="outbound",
            channel="sms",
            state="queued",
            at=now,
            remote=text.remote,
            local=text.local,
            body=body,
            encoding=measured.encoding.name,
            parts=measured.parts,
            number_id=text.number_id,
            centre_id=way.id,
            sent_by=OPT_OUT,
            country=verdict.country,
            number_class=verdict.number_class.value,
        )
        return _Answer(sealed(draft, key, scene.keys), way.id, scene.settings.answers_per_day)

    async def _tell(self, connection: Connection, org_id: OrgId, received: Sequence[Advanced]) -> None:
        """Events, and what is for agents to their phones."""
        now = self._clock.now()
        await outbox.add_all(connection, [told(org_id, each, now, self._random) for each in received])
        if self._to_phones is None or not received:
            return
        targets = await message_settings.targets(connection, {each.number_id for each in received if each.number_id is not None})
        wanted = [(each.id, agent) for each in received if each.number_id is not None for agent in targets.get(each.number_id, ())]
        if wanted:
            await self._to_phones(connection, org_id, wanted, now, now + TO_PHONE_FOR)

    def _row(
        self,
        keys: OrgKeys,
        text: _Text,
        centre_id: UUID,
        key: DataKey,
        state: str,
        body: str | None,
        *,
        parts: int = 1,
        is_binary: bool = False,
        found: Found | None = None,
        assembly: bytes | None = None,
        agent_id: UUID | None = None,
    ) -> NewMessage:
        draft = Draft(
            direction="inbound",
            channel="sms",
            state=state,
            at=text.at,
            remote=text.remote,
            local=text.local,
            body=body,
            encoding="ucs2" if text.part.data_coding == 8 else "gsm7",
            parts=parts,
            agent_id=agent_id,
            number_id=text.number_id,
            centre_id=centre_id,
            is_binary=is_binary,
            keyword=None if found is None else found.keyword.value,
            assembly_index=assembly,
            received_as=None if text.dedupe is None else keys.index(_RECEIVED, f"{centre_id}:{text.dedupe.hex()}"),
            is_ended=state == "received",
        )
        return sealed(draft, key, keys)

    async def _new_keys(self, org_id: OrgId, count: int, now: datetime, made: "_Made") -> list[DataKey]:
        keys = await self._keyring.new_data_keys(org_id, "message", [self._new_id(now) for _ in range(count)])
        made.made |= {key.id for key in keys}
        return keys

    @asynccontextmanager
    async def _making(self, org_id: OrgId) -> AsyncIterator["_Made"]:
        """Keys that were made in here and are no message's at the end are destroyed, also where what is in here fails."""
        made = _Made()
        try:
            yield made
        except Exception:
            await self._destroy(org_id, made.made - made.used)
            raise
        await self._destroy(org_id, made.made - made.used)

    async def _destroy(self, org_id: OrgId, ids: Set[UUID]) -> None:
        """Of what is surely not committed. What can't be destroyed now is swept: it changes nothing of what was taken."""
        if not ids:
            return
        try:
            await self._keyring.destroy_data_keys(org_id, "message", list(ids))
        except (HushwireError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            _log.warning("message.keys_left", org_id=str(org_id), keys=len(ids), error=type(error).__name__)

    async def _key(self, org_id: OrgId, message_id: UUID) -> DataKey | None:
        if message_id not in self._known:
            found = await self._keyring.open_many(org_id, "message", [message_id], DELIVERY)
            if message_id not in found:
                return None
            self._remember(found[message_id])
        return self._known[message_id]

    def _remember(self, key: DataKey) -> None:
        """For seconds only: an erasure leaves nobody a key, and a process that holds it can't be told."""
        self._known[key.id] = key
        asyncio.get_running_loop().call_later(_KNOWN_FOR_S, self._known.pop, key.id, None)

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


@dataclass(slots=True)
class _Made:
    """Keys that were made, and of them those whose rows stand in a transaction that is about to be committed, or was."""

    made: set[UUID] = field(default_factory=set)
    used: set[UUID] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Answer:
    row: NewMessage
    centre_id: UUID
    most_a_day: int


@dataclass(frozen=True, slots=True)
class _Addressed:
    """A delivery, and whose number it is for."""

    place: int
    text: Inbound = field(repr=False)
    org_id: OrgId
    local: str = field(repr=False)
    number_id: UUID


@lru_cache(maxsize=1024)
def _ours(
    written: str,
    form: Form,
    country: str | None,
    untyped_is_national: bool,
    homes: tuple[str, ...],
) -> tuple[tuple[str, str | None], ...]:
    """Which number of ours it may be for, the likeliest first; with the country that its owner must be at home in."""
    sure = party(written, form, country, untyped_is_national=untyped_is_national)
    if country is not None:
        return ((sure, None),)
    at_home = [(party(written, form, home, untyped_is_national=untyped_is_national), home) for home in homes]
    national = [(number, home) for number, home in at_home if number != sure]
    return (*national, (sure, None)) if untyped_is_national else ((sure, None), *national)


def _read_one(one: _Addressed, home: str) -> _Text | None:
    """As the organisation reads it; None for what can't be read at all, which is brought again."""
    text = one.text
    try:
        remote = party(text.source.reveal(), text.source_form, text.country or home, untyped_is_national=text.untyped_is_national)
        part = read_part(text.payload.reveal(), text.data_coding, has_udh=text.has_udh, sar=text.sar)
    except Exception as error:
        _log.error("message.unreadable", org_id=str(one.org_id), error=type(error).__name__)
        return None
    return _Text(one.place, remote, one.local, one.number_id, part, text.at, text.dedupe)


def _read(parts: Sequence[Part]) -> tuple[str, bool]:
    """The text, or what came in hexadecimal digits; and whether it is no text."""
    text = joined(parts)
    if text is None:
        return b"".join(part.octets for part in parts).hex(), True
    return text.replace("\0", "\ufffd"), False


def _closed(keys: OrgKeys, key: DataKey, message_id: UUID, part: Part, place: PartOf) -> InboundPart:
    head = bytes([part.data_coding, part.locking, part.single])
    payload = Columns(key.key).seal(
        bytes([place.number]) + head + part.octets, table="message_inbound_parts", column="payload_sealed", row=message_id, org=keys.org_id
    )
    return InboundPart(
        place.number, place.total, payload, keys.index(_PAYLOAD, f"{message_id}:{place.number}:{(head + part.octets).hex()}")
    )


def _open_part(keys: OrgKeys, key: DataKey, message_id: UUID, part: InboundPart) -> Part:
    said = Columns(key.key).open(
        part.payload_sealed, table="message_inbound_parts", column="payload_sealed", row=message_id, org=keys.org_id
    )
    return Part(None, said[4:], said[1], Language(said[2]), Language(said[3]))


def _only(agents: Sequence[UUID] | None) -> UUID | None:
    return agents[0] if agents is not None and len(agents) == 1 else None


def _as_received(row: NewMessage) -> Advanced:
    return Advanced(row.id, row.state, None, row.direction, row.channel, row.agent_id, row.number_id, row.batch_id)
