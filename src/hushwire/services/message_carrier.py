"""One carrier at work: parts from the outbox to its links, and what comes back into rows.

    outbox row 'queued' -> opened -> 'sending' committed -> submit_sm -> answer -> 'submitted' committed -> receipt -> 'delivered'

A turn writes the answers so far and claims the next parts in one transaction for each organisation. It waits a moment for half a window
of answers, so that one half is with the centre while the other one is written, and two may be under way: a window costs two commits rather
than two hundred. Parts that are claimed and not settled never exceed the links' windows together, whichever of the turns under way are
committed: so many, at most, are in doubt when this process dies; beyond them only what was answered and can't be written, where the
database does not take one organisation's rows.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, Unavailable
from hushwire.core.ids import OrgId
from hushwire.core.values import frozen
from hushwire.services.carriage import Bodies, Change, Inbound, Inbox, PartState
from hushwire.services.message_ahead import LOOK_EVERY_S, Ahead, Ready
from hushwire.services.message_centres import Centre, LinkSpec
from hushwire.services.message_receipts import STATES, Receipts
from hushwire.services.message_runs import Run
from hushwire.services.message_submission import inbound, receipt_digits, validity
from hushwire.sms.smpp.bodies import DataSm, DeliverSm
from hushwire.sms.smpp.codes import Status, status_name
from hushwire.sms.smpp.outcomes import Meaning
from hushwire.sms.smpp.receipts import canonical, is_receipt, receipt_of
from hushwire.sms.smpp.session import Accepted, Delivered, Event, Refused, Unanswered
from hushwire.store import message_parts
from hushwire.store.database import Connection, Database
from hushwire.store.message_link_states import LinkState
from hushwire.store.message_parts import PartRef, Receipt, Settled
from hushwire.transport.message_link import MessageLink
from hushwire.vault.keyring import DeploymentKeys

LANES: Final = 2
"""So many turns may be under way at once."""
LINGER_S: Final = 0.004
"""So long an answer waits for others to be committed with, while less than half a window of them is there."""
GATHER_MOST: Final = 4
ENOUGH: Final = 50
"""Deliveries that come one by one are gathered for so many times `LINGER_S` at the most, or until so many are there."""
RETRY_FIRST: Final = timedelta(seconds=15)
RETRY_MOST: Final = timedelta(minutes=30)
MOST_DELIVERIES: Final = 500
_AWAY: Final = (HushwireError, asyncpg.PostgresError, OSError)
_OF_ONE: Final = (HushwireError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What may be wrong with one organisation's rows, unless it is Unavailable: nothing of the others'."""
_PAUSE_S: Final = 1.0
_log = structlog.get_logger(__name__)


@frozen
class Held:
    """A part in the hands of a link."""

    org_id: OrgId
    message_id: UUID
    part: int
    attempts: int
    is_over: bool
    """Whether it is not tried again after a refusal for now."""


@dataclass(slots=True)
class Counts:
    """What went over one link, for metrics."""

    submitted: int = 0
    refused: int = 0
    deferred: int = 0
    unknown: int = 0
    receipts: int = 0
    received: int = 0


class MessageCarrier:
    """A centre, its links and its loops. `links` are made by whoever wires, with `on_events` for what they tell."""

    def __init__(
        self,
        centre: Centre,
        run: Run,
        main: Database,
        keys: DeploymentKeys,
        bodies: Bodies,
        inbox: Inbox,
        clock: Clock,
        links: Callable[["MessageCarrier"], Sequence[tuple[LinkSpec, MessageLink]]],
    ) -> None:
        self.centre = centre
        self._run = run
        self._main = main
        self._keys = keys
        self._bodies = bodies
        self._inbox = inbox
        self._clock = clock
        self._receipts = Receipts(centre.id, main, bodies, clock)
        self._links = [_Weighted(spec, link) for spec, link in links(self)]
        self._wake = asyncio.Event()
        self._ahead = Ahead(centre, main, keys, bodies, clock, self._wake.set)
        self._outcomes: list[tuple[OrgId, Settled]] = []
        self._late: list[tuple[OrgId, Settled]] = []
        # Of organisations whose rows could not be written: outcomes and late answers that come back in a moment.
        self._aside: tuple[list[tuple[OrgId, Settled]], list[tuple[OrgId, Settled]]] = ([], [])
        self._returning: asyncio.TimerHandle | None = None
        self._in_hand = 0
        self._turns: list[_Turn] = []
        self._ripening: asyncio.TimerHandle | None = None
        self._is_ripe = False
        self._texts: list[tuple[Callable[[int, int], None], int, Inbound]] = []
        self._told: list[tuple[Callable[[int, int], None], int, Receipt]] = []
        self._arrived = asyncio.Event()
        # What the centre calls parts whose answers are not committed yet; and receipts about them, which wait for that.
        self._settling: set[str] = set()
        self._waiting: dict[str, list[tuple[Callable[[int, int], None], int, Receipt]]] = {}

    def woken(self) -> None:
        """Something may be due."""
        self._ahead.may_hold_more = True
        self._wake.set()

    @property
    def links(self) -> Sequence[MessageLink]:
        return [one.link for one in self._links]

    @property
    def counts(self) -> Counts:
        """Of all links together."""
        return Counts(*(sum(values) for values in zip(*(astuple(one.counts) for one in self._links), strict=True)))

    def states(self) -> list[LinkState]:
        """How its links stand."""
        now, at = self._clock.now(), self._clock.monotonic()
        return [
            LinkState(
                self.centre.id,
                place,
                one.link.reason,
                now - timedelta(seconds=at - one.link.since),
                one.spec.mode != "receiver",
                one.link.unanswered,
                one.link.settings.window,
                {**asdict(one.counts), "binds": one.link.binds},
            )
            for place, one in enumerate(self._links, 1)
        ]

    def away_s(self) -> float:
        """For how long no link has been there that sends; 0 while one is."""
        senders = [one.link for one in self._links if one.spec.mode != "receiver"]
        if not senders or any(link.is_sender for link in senders):
            return 0.0
        return min(self._clock.monotonic() - link.since for link in senders)

    async def work(self) -> None:
        """Hold the links and work until cancelled; then leave the centre, and write what it still answered."""
        links = [asyncio.create_task(one.link.run(), name=f"message-link-{one.link.place.name}") for one in self._links]
        out = [
            asyncio.create_task(self._submit(), name="message-submit"),
            asyncio.create_task(self._ahead.run(), name="message-ahead"),
        ]
        taking_in = asyncio.create_task(self._take_in(), name="message-take-in")
        try:
            done, _ = await asyncio.wait([*links, *out, taking_in], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # ends only by an error that nobody expected
        finally:
            for task in (*out, *links):
                task.cancel()
            await asyncio.gather(*links, *out, return_exceptions=True)
            taking_in.cancel()
            await asyncio.gather(taking_in, return_exceptions=True)
            try:
                self._bring_back()
                async with asyncio.timeout(2):
                    await self._write(self._next_turn())
            except (TimeoutError, *_AWAY) as error:
                _log.error("message_carrier.not_settled", error=type(error).__name__)

    # Links.

    def on_events(self, link: MessageLink, events: Sequence[Event]) -> None:
        """What a link's session tells."""
        counts = next(one.counts for one in self._links if one.link is link) if events else Counts()
        for event in events:
            match event:
                case Accepted():
                    receipt_id = canonical(event.message_id, self.centre.settings.answer_ids) if event.message_id else None
                    self._settle(event.ref, "submitted", receipt_id=receipt_id, is_late=event.is_late)
                    counts.submitted += 1
                case Refused():
                    self._refused(event, counts)
                case Unanswered():
                    self._settle(event.ref, "unknown", error="unanswered")
                    counts.unknown += 1
                case Delivered():
                    self._delivered(link, event, counts)
                case _:
                    self._wake.set()
        self._rouse()

    def _refused(self, event: Refused, counts: Counts) -> None:
        held = event.ref
        assert isinstance(held, Held)
        word = status_name(event.status)
        if event.meaning is Meaning.REFUSED or (event.meaning is Meaning.LATER and held.is_over):
            counts.refused += 1
            self._settle(held, "failed", error=word, is_late=event.is_late)
            return
        counts.deferred += 1
        self._ahead.may_hold_more = True
        if event.meaning is Meaning.BUSY:
            self._settle(held, "queued", is_late=event.is_late)  # as if it had not left: in its old place
        else:
            pause = min(RETRY_MOST, RETRY_FIRST * 2 ** min(held.attempts, 10))
            self._settle(held, "queued", error=word, due_at=self._clock.now() + pause, is_late=event.is_late)

    def _settle(
        self,
        ref: object,
        state: PartState,
        *,
        receipt_id: str | None = None,
        error: str | None = None,
        due_at: datetime | None = None,
        is_late: bool = False,
    ) -> None:
        assert isinstance(ref, Held)
        settled = Settled(ref.message_id, ref.part, state, receipt_id, error, due_at)
        if receipt_id is not None:
            self._settling.add(receipt_id)
        (self._late if is_late else self._outcomes).append((ref.org_id, settled))

    # Out.

    def _rouse(self) -> None:
        """Something came from a link: a turn at once where it is worth one, else in a moment."""
        if self._is_worth_a_turn():
            self._wake.set()
        else:
            self._linger()

    def _linger(self) -> None:
        """See to it that what was answered waits for no more than a moment."""
        if self._ripening is None and not self._is_ripe and (self._outcomes or self._late):
            self._ripening = asyncio.get_running_loop().call_later(LINGER_S, self._ripen)

    def _ripen(self) -> None:
        self._ripening, self._is_ripe = None, True
        self._wake.set()

    def _is_worth_a_turn(self) -> bool:
        settled = len(self._outcomes)
        unanswered = self._in_hand - settled - sum(len(turn.outcomes) for turn in self._turns)
        windows = self._windows()
        # Half a window; or all that there is to come, unless it is a few that the next turn takes along.
        is_all = unanswered <= 0 and (not self._turns or 4 * settled >= windows)
        is_enough = self._is_ripe or is_all or 2 * settled >= windows
        return (bool(settled or self._late_by_now()[0]) and is_enough) or (len(self._ahead) > 0 and self._room(0) > 0)

    async def _submit(self) -> None:
        lanes: dict[asyncio.Task[None], _Turn] = {}
        try:
            while True:
                self._wake.clear()
                for lane in [lane for lane in lanes if lane.done()]:
                    del lanes[lane]
                    lane.result()  # raises what nobody expected
                if self._room(len(self._outcomes)) > 0:
                    self._ahead.want(self._windows())
                if len(lanes) < LANES and self._is_worth_a_turn():
                    turn = self._next_turn((self._windows() + 1) // 2 or len(self._outcomes))
                    if turn.is_empty:
                        self._turns.remove(turn)  # what was ready was stale
                        continue
                    lane = asyncio.create_task(self._carry_out(turn), name="message-turn")
                    lane.add_done_callback(lambda _: self._wake.set())
                    lanes[lane] = turn
                    continue
                self._linger()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._until()):
                        await self._wake.wait()
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            for turn in self._turns:  # one that was cancelled before its first step
                self._outcomes, self._late = turn.outcomes + self._outcomes, turn.late + self._late
            self._turns.clear()

    def _until(self) -> float:
        """Seconds until there may be something to do without being woken."""
        if not len(self._ahead) and (not self._ahead.may_hold_more or self._room(len(self._outcomes)) > 0):
            return LOOK_EVERY_S
        now = self._clock.monotonic()
        opening = [at - now for one in self._links if (at := one.link.opens_at()) is not None]
        return max(0.005, min([LOOK_EVERY_S, *opening]))

    def _next_turn(self, most: int | None = None) -> "_Turn":
        """What was answered so far and what there is room for, `most` of each; None: all that was answered, and nothing new."""
        if self._ripening is not None:
            self._ripening.cancel()
        self._ripening, self._is_ripe = None, False
        outcomes, self._outcomes = self._outcomes[:most], [] if most is None else self._outcomes[most:]
        room = 0 if most is None else max(0, min(most, self._room(len(outcomes))))
        late, self._late = self._late_by_now()
        turn = _Turn(self._ahead.take(room), outcomes, late)
        self._turns.append(turn)
        return turn

    def _late_by_now(self) -> tuple[list[tuple[OrgId, Settled]], list[tuple[OrgId, Settled]]]:
        """The late answers that may be written, and those to parts of which it is not written yet that nobody knew: they come later."""
        if not self._late:
            return [], []
        told = (self._outcomes, *(turn.outcomes for turn in self._turns))
        unwritten = {(one.message_id, one.part) for outcomes in told for _, one in outcomes}
        parted: tuple[list[tuple[OrgId, Settled]], list[tuple[OrgId, Settled]]] = ([], [])
        for org_id, one in self._late:
            parted[(one.message_id, one.part) in unwritten].append((org_id, one))
        return parted

    async def _carry_out(self, turn: "_Turn") -> None:
        """Write and claim, and hand what is claimed to the links."""
        claimed = None
        try:
            claimed = await self._write(turn)
        except _AWAY as error:
            _log.error("message_carrier.turn_failed", centre=self.centre.name, error=type(error).__name__)
        if claimed is None:
            await asyncio.sleep(_PAUSE_S)
        else:
            self._give(claimed)

    def _windows(self) -> int:
        """How many parts may be with the centre at once."""
        return sum(one.link.settings.window for one in self._senders())

    def _room(self, settling: int) -> int:
        """How many parts may be claimed, once `settling` ones are settled."""
        senders = self._senders()
        free = sum(one.link.free() for one in senders)
        windows = sum(one.link.settings.window for one in senders)
        # Of a turn under way either what it settles is still in hand, or what it claims is already: the larger one counts.
        claiming = sum(len(turn.batch) for turn in self._turns)
        beyond = sum(max(0, len(turn.batch) - len(turn.outcomes)) for turn in self._turns)
        return min(free - claiming, windows - (self._in_hand + beyond - settling))

    async def _write(self, turn: "_Turn") -> list[tuple[Held, Ready]]:
        """Commit a turn, an organisation at a time; returns what is ours to send."""
        batch, outcomes, late = turn.batch, turn.outcomes, turn.late
        claimed: list[tuple[Held, Ready]] = []
        doubtful: list[PartRef] = []
        aside: set[PartRef] = set()
        more = Counter(ready.ref.org_id for ready in batch)
        more.subtract(Counter(org for org, _ in outcomes))
        # Those first that give back more than they claim: at no commit is more in hand than before or after all of them.
        orgs = sorted({*more, *(org for org, _ in late)}, key=lambda org: more[org])
        left = list(orgs)
        try:
            for org_id in orgs:
                settled = [one for org, one in outcomes if org == org_id]
                wanted = [ready for ready in batch if ready.ref.org_id == org_id]
                late_ones = [one for org, one in late if org == org_id]
                try:
                    claimed += await self._write_org(org_id, settled, late_ones, wanted)
                except Unavailable:
                    raise
                except _OF_ONE as error:
                    _log.error("message_carrier.not_written", centre=self.centre.name, org_id=str(org_id), error=type(error).__name__)
                    self._put_aside(org_id, settled, late_ones, wanted)
                    aside |= {ready.ref for ready in wanted}
                    left.remove(org_id)
                    continue
                self._in_hand -= len(settled)
                left.remove(org_id)
                self._ahead.left(PartRef(org_id, one.message_id, one.part) for one in settled if one.state == "queued")
                self._committed_ids(one.receipt_id for org, one in (*outcomes, *late) if org == org_id)
        except BaseException:
            # Not committed, or nobody knows: the same once more changes nothing. What was perhaps claimed has not left.
            self._outcomes = [one for one in outcomes if one[0] in left] + self._outcomes
            self._late = [one for one in late if one[0] in left] + self._late
            doubtful = [ready.ref for ready in batch if ready.ref.org_id in left] + [ready.ref for _, ready in claimed]
            self._outcomes += [(ref.org_id, Settled(ref.message_id, ref.part, "queued")) for ref in doubtful]
            self._in_hand += sum(ref.org_id in left for ref in doubtful)
            self._ahead.may_hold_more = True
            raise
        finally:
            self._turns.remove(turn)
            # Until it is written that those did not leave nobody claims them anew: what is written then would call back what has left.
            self._ahead.left({ready.ref for ready in batch} - set(doubtful) - aside)
        return claimed

    def _put_aside(self, org_id: OrgId, settled: Sequence[Settled], late: Sequence[Settled], wanted: Sequence[Ready]) -> None:
        """What concerns one organisation is written a moment later, and takes none of the others' room until then."""
        self._ahead.rest(org_id, LOOK_EVERY_S)
        self._in_hand -= len(settled)
        gone_back = [Settled(ready.ref.message_id, ready.ref.part, "queued") for ready in wanted]
        outcomes, late_ones = self._aside
        outcomes += [(org_id, one) for one in (*settled, *gone_back)]
        late_ones += [(org_id, one) for one in late]
        if self._returning is None:
            self._returning = asyncio.get_running_loop().call_later(_PAUSE_S, self._bring_back)

    def _bring_back(self) -> None:
        if self._returning is not None:
            self._returning.cancel()
        self._returning = None
        (outcomes, late), self._aside = self._aside, ([], [])
        self._in_hand += len(outcomes)
        self._outcomes, self._late = outcomes + self._outcomes, late + self._late
        self._rouse()

    async def _write_org(
        self, org_id: OrgId, settled: Sequence[Settled], late: Sequence[Settled], wanted: Sequence[Ready]
    ) -> list[tuple[Held, Ready]]:
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if settled:
                await self._settled(connection, org_id, await message_parts.settle(connection, self._run.id, settled, now), now)
            if late:
                await self._settled(connection, org_id, await message_parts.late(connection, late, now), now)
            rows = (
                await message_parts.claim(connection, self._run.id, self.centre.id, [(one.ref, one.index) for one in wanted], now)
                if wanted
                else []
            )
        self._in_hand += len(rows)
        by_part = {(one.ref.message_id, one.ref.part): one for one in wanted}
        most_attempts = self.centre.settings.most_attempts
        claimed: list[tuple[Held, Ready]] = []
        for row in rows:
            ready = by_part[row.message_id, row.part]
            if row.expires_at is not None:
                ready = replace(ready, body=replace(ready.body, validity_period=validity(row.expires_at, now)))
            claimed.append((Held(org_id, row.message_id, row.part, row.attempts, row.attempts >= most_attempts), ready))
        return claimed

    async def _settled(self, connection: Connection, org_id: OrgId, own: Sequence[tuple[Settled, int]], now: datetime) -> None:
        changes = [
            Change(one.message_id, one.part, _part_state(one.state), one.error, now, parts) for one, parts in own if one.state != "queued"
        ]
        if changes:
            await self._bodies.advance(connection, org_id, changes)
        if named := {one.receipt_id: (one.message_id, one.part) for one, _ in own if one.receipt_id is not None}:
            await self._receipts.settled_with(connection, org_id, named)

    def _committed_ids(self, receipt_ids: Iterable[str | None]) -> None:
        """The receipts that waited for these may be taken."""
        for receipt_id in receipt_ids:
            if receipt_id is not None:
                self._settling.discard(receipt_id)
                self._told += self._waiting.pop(receipt_id, [])
        if self._told:
            self._arrived.set()

    def _give(self, claimed: Sequence[tuple[Held, Ready]]) -> None:
        """Hand claimed parts to links; those that no link takes any more go back as they were."""
        for held, ready in claimed:
            link = self._next_link() if self._run.may_send else None
            if link is None:
                self._settle(held, "queued")
                self._ahead.may_hold_more = True
                continue
            try:
                link.submit(held, ready.body)
            except ValueError:
                self._settle(held, "failed", error="unsendable")

    def _senders(self) -> list["_Weighted"]:
        """The links that messages go to now: those bound, of the lowest priority."""
        bound = [one for one in self._links if one.link.is_sender]
        lowest = min((one.spec.priority for one in bound), default=0)
        return [one for one in bound if one.spec.priority == lowest]

    def _next_link(self) -> MessageLink | None:
        """By weight, smoothly: each link's share of the parts is its share of the weights, as far as their windows let it."""
        free = [one for one in self._senders() if one.link.free() > 0]
        if not free:
            return None
        for one in free:
            one.credit += one.spec.weight
        chosen = max(free, key=lambda one: one.credit)
        chosen.credit -= sum(one.spec.weight for one in free)
        return chosen.link

    # In.

    def _delivered(self, link: MessageLink, event: Delivered, counts: Counts) -> None:
        settings, body = self.centre.settings, event.body
        acknowledge = link.acknowledger()
        receipt = receipt_of(body, is_told_by_text=settings.receipts_by_text)
        if receipt is not None:
            counts.receipts += 1
            row = self._row_of(body, receipt.message_id, STATES[receipt.fate], receipt.error)
            told = self._waiting.setdefault(row.receipt_id, []) if row.receipt_id in self._settling else self._told
            told.append((acknowledge, event.sequence, row))
        elif is_receipt(body):
            acknowledge(event.sequence, Status.ESME_ROK)  # it says nothing of use: it would come for ever
            _log.warning("message_receipt.unreadable", centre=self.centre.name)
            return
        else:
            counts.received += 1
            self._texts.append((acknowledge, event.sequence, inbound(body, settings, self._clock.now())))
        self._arrived.set()

    def _row_of(self, body: DeliverSm | DataSm, message_id: str, state: PartState, error: str | None) -> Receipt:
        index = self._keys.text_destination(receipt_digits(body.source, self.centre.settings))
        return Receipt(canonical(message_id, self.centre.settings.receipt_ids), index, state, error, self._clock.now())

    async def _take_in(self) -> None:
        while True:
            if not (self._texts or self._told):
                self._arrived.clear()
                await self._arrived.wait()
                await self._gather()
            texts, self._texts = self._texts[:MOST_DELIVERIES], self._texts[MOST_DELIVERIES:]
            told, self._told = self._told[:MOST_DELIVERIES], self._told[MOST_DELIVERIES:]
            if texts:
                taken = await self._committed(self._inbox.receive(self.centre.id, [text for _, _, text in texts]))
                for place, (acknowledge, sequence, _) in enumerate(texts):
                    acknowledge(sequence, Status.ESME_ROK if place in taken else Status.ESME_RX_T_APPN)
            if told:
                taken = await self._committed(self._receipts.take([receipt for _, _, receipt in told]))
                for place, (acknowledge, sequence, _) in enumerate(told):
                    acknowledge(sequence, Status.ESME_ROK if place in taken else Status.ESME_RX_T_APPN)

    async def _gather(self) -> None:
        """A moment more, while deliveries keep coming: what is written together costs one commit."""
        before = 0
        for _ in range(GATHER_MOST):
            count = len(self._texts) + len(self._told)
            if count == before or count >= ENOUGH:
                break
            before = count
            await asyncio.sleep(LINGER_S)

    async def _committed(self, writing: Awaitable[frozenset[int]]) -> frozenset[int]:
        """The places of what was taken: each delivery is answered by itself, so that one that is not to be had doubles no other."""
        try:
            return await writing
        except _AWAY as error:
            _log.error("message_carrier.not_taken_in", centre=self.centre.name, error=type(error).__name__)
            return frozenset()

    async def look_again(self) -> int:
        """Early receipts, once more."""
        return await self._receipts.look_again()


@dataclass(slots=True, eq=False)
class _Turn:
    """What one turn claims and settles."""

    batch: list[Ready]
    outcomes: list[tuple[OrgId, Settled]]
    late: list[tuple[OrgId, Settled]]

    @property
    def is_empty(self) -> bool:
        return not (self.batch or self.outcomes or self.late)


@dataclass(slots=True)
class _Weighted:
    spec: LinkSpec
    link: MessageLink
    credit: int = 0
    counts: Counts = field(default_factory=Counts)


def _part_state(text: str) -> PartState:
    states: tuple[PartState, ...] = ("queued", "sending", "submitted", "unknown", "delivered", "failed", "expired")
    return next(state for state in states if state == text)
