"""MESSAGE from agents' phones (RFC 3428): to numbers by the verdict and the outbox, to colleagues at once or once they are there.

Who sends is proven by digest, and the agent's own rules decide: nothing is believed of From, and nothing goes to a host of a phone's
choosing. What is answered with 2xx is committed: 200 where a phone of the colleague has it, 202 where it is stored to be brought or sent
(section 7). A request that comes again (a phone repeats it to the gateway that came after this one) is the same message.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, Protocol, assert_never
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError
from hushwire.core.ids import AgentId, OrgId
from hushwire.policy.model import Allow, AllowContact, Attempt, Channel, Deny, Emergency, Malformed, Reason
from hushwire.services.addressed import dialled, own_user
from hushwire.services.directory import Directory
from hushwire.services.identity import Authenticator, Known, Unknown
from hushwire.services.message_sealing import Draft, sealed
from hushwire.services.message_sending import Accepted, Refused
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.text_delivery import LEASE, Brought, Taking, TextDelivery
from hushwire.services.verdicts import Admit, Judge, unlimited, verdict_for
from hushwire.sip import refusals
from hushwire.sip.effects import TxId
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.text import NoText, Text, read_text
from hushwire.sip.uri import NameAddr, SipUri, escape_user
from hushwire.store import messages
from hushwire.store import text_deliveries as table
from hushwire.store.database import STORE_FAILED, Database
from hushwire.transport.limits import SourceLimiter
from hushwire.vault.pool import KeyPool

MOST_WAITING: Final = 500
"""Texts that wait for one agent."""
PATIENCE_S: Final = 3.0
"""So long a sender waits to hear that a phone has it: others answer a request that is not an INVITE within 4 s or not at all (RFC 4320)."""
_AT_ONCE: Final = 200
_log = structlog.get_logger(__name__)
Respond = Callable[[TxId, int, tuple[Line, ...]], None]


_STATUSES: Final = {"too-long": 413, "no-carrier": 503, "empty": 400}
"""Of reasons for which a message is not accepted that no rule of destinations has; others are 403."""


class Outbox(Protocol):
    """Whoever keeps messages to numbers (`services/message_sending.py`)."""

    async def to_number(self, org_id: OrgId, agent_id: AgentId, allowed: Allow, text: str, *, received_as: bytes) -> Accepted | Refused:
        """Seal it and put it into the outbox; committed when this returns. Raises Unavailable."""


class Texting:
    """The texts that phones send to one gateway."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        authenticator: Authenticator,
        judge: Judge,
        outbox: Outbox,
        delivery: TextDelivery,
        pool: KeyPool,
        clock: Clock,
        respond: Respond,
        *,
        per_minute: int,
        admit: Admit = unlimited,
    ) -> None:
        self._db = db
        self._directory = directory
        self._authenticator = authenticator
        self._judge = judge
        self._admit = admit
        self._outbox = outbox
        self._delivery = delivery
        self._pool = pool
        self._clock = clock
        self._respond = respond
        self._limiter = SourceLimiter(per_minute / 60, float(per_minute))
        self._tasks: set[asyncio.Task[None]] = set()
        self.taken = 0
        """Texts that were taken since the start."""

    def request(self, tx: TxId, request: Request, flow: Flow) -> None:
        """Answer a MESSAGE outside any dialog."""
        known = self._authenticator.identify(request, flow)
        if isinstance(known, Unknown):
            self._respond(tx, known.status, known.headers)
            return
        try:
            text = read_text(request)
        except ParseError:
            self._respond(tx, 400, ())
            return
        if isinstance(text, NoText):
            self._refuse(tx, text.status, refusals.header(text.reason), *text.headers)
        elif not self._limiter.admit(str(known.agent.id), self._clock.monotonic()) or len(self._tasks) >= _AT_ONCE:
            _log.warning("text.too_many", agent=str(known.agent.id))
            self._refuse(tx, 503, refusals.header("too-many-texts"), ("Retry-After", "30"))
        else:
            self._to_whom(tx, request, flow, known, text)

    def _to_whom(self, tx: TxId, request: Request, flow: Flow, known: Known, text: Text) -> None:
        org, agent = known.org, known.agent
        user = own_user(request, org)
        if user is not None and (callee := org.agent_named(user)) is not None:
            if callee.id == agent.id:
                self._refuse(tx, 403, refusals.header("text-to-self"))
            elif callee.is_suspended:
                self._refuse(tx, 404, refusals.header("no-such-number"))
            else:
                self._spawn(tx, self._to_colleague(tx, request, known, callee, text))
            return
        attempt = Attempt(request.uri, Channel.MESSAGE, peer=flow.remote.host)
        verdict = verdict_for(self._judge, org, agent, attempt, self._clock.now())
        verdict = self._admit(org, agent, verdict, user or dialled(request), known.credential.id, flow.remote.host)
        match verdict:
            case Allow():
                self._spawn(tx, self._to_number(tx, request, known, verdict, text))
            case Emergency():
                self._refuse(tx, 403, refusals.header("text-emergency"))
            case Deny() | Malformed():
                _log.info("text.refused", agent=str(agent.id), reason=verdict.reason.value)
                self._refuse(tx, verdict.reason.sip_status, verdict.reason.sip_reason)
            case AllowContact():
                raise LocalError("the verdict on a MESSAGE was one on a Contact")
            case _:
                assert_never(verdict)

    async def _to_number(self, tx: TxId, request: Request, known: Known, allowed: Allow, text: Text) -> None:
        try:
            made = await self._outbox.to_number(known.org.id, known.agent.id, allowed, text.body, received_as=_mark(known, request))
        except STORE_FAILED as error:
            self._not_stored(tx, error)
            return
        if isinstance(made, Refused):
            _log.info("text.refused", agent=str(known.agent.id), reason=made.reason)
            self._refuse(tx, *_answer_to(made))
            return
        self.taken += 1
        self._respond(tx, 202, ())

    async def _to_colleague(self, tx: TxId, request: Request, known: Known, callee: Agent, text: Text) -> None:
        org, agent = known.org, known.agent
        try:
            made = await self._store(known, callee, text, _mark(known, request))
        except STORE_FAILED as error:
            self._not_stored(tx, error)
            return
        if made is None:
            self._refuse(tx, 480, refusals.header("texts-waiting"), ("Retry-After", "3600"))
            return
        self.taken += 1
        message_id, is_new = made
        if not is_new:
            self._respond(tx, 202, ())
            return
        sender = NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(agent.username.reveal())))
        bringing = asyncio.create_task(self._bring(org, callee, message_id, Brought(sender, text.body)), name="text-brought")
        done, _ = await asyncio.wait({bringing}, timeout=PATIENCE_S)
        self._respond(tx, 200 if done and bringing.result() else 202, ())
        await bringing

    async def _bring(self, org: Organisation, callee: Agent, message_id: UUID, what: Brought) -> bool:
        """Bring what is committed and claimed already; what no phone takes waits for one."""
        is_brought = await self._delivery.bring(org, callee, message_id, what) is Taking.TAKEN
        try:
            if is_brought:
                await self._delivery.settle(org.id, callee.id, message_id, is_internal=True)
            else:
                await self._delivery.not_taken(org.id, callee.id, message_id)
        except STORE_FAILED as error:
            # Its claim lapses by itself: then it is brought, or brought once more.
            _log.warning("text.unwritten", org_id=str(org.id), error=type(error).__name__)
        return is_brought

    async def _store(self, known: Known, callee: Agent, text: Text, received_as: bytes) -> tuple[UUID, bool] | None:
        """The message's id and whether it is new; None where too many wait. It is this gateway's to bring, for as long as that takes."""
        org, now = known.org, self._clock.now()
        kept_for = table.KEPT_FOR if text.expires_s is None else min(table.KEPT_FOR, timedelta(seconds=max(text.expires_s, 60)))
        key = await self._pool.take_or_make(org.id, "message")
        draft = Draft(
            direction="internal", channel="sip", state="queued", at=now, remote=_name(callee), local=_name(known.agent), body=text.body,
            agent_id=known.agent.id, peer_agent_id=callee.id, sent_by=f"agent:{known.agent.id}", received_as=received_as,
        )  # fmt: skip
        row = sealed(draft, key, org.keys)
        async with self._db.organisation(org.id) as connection:
            if await table.count(connection, callee.id) >= MOST_WAITING:
                return None
            if row.id in await messages.insert_all(connection, org.id, [row]):
                await table.add_all(connection, org.id, [(row.id, callee.id)], now, now + kept_for, now + LEASE)
                return row.id, True
        return row.id, False

    def _spawn(self, tx: TxId, work: Coroutine[Any, Any, None]) -> None:
        async def kept() -> None:
            try:
                await work
            except Exception as error:
                # One text's fault holds up no other; its sender must not be left to believe anything.
                _log.error("text.internal_error", exc_info=error)
                self._respond(tx, 500, ())

        task = asyncio.get_running_loop().create_task(kept(), name="text-taken")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _refuse(self, tx: TxId, status: int, reason: str, *more: Line) -> None:
        self._respond(tx, status, (*more, ("Reason", reason)))

    def _not_stored(self, tx: TxId, error: BaseException) -> None:
        _log.warning("text.not_stored", error=type(error).__name__)
        self._refuse(tx, 503, refusals.header("text-not-stored"), ("Retry-After", "5"))

    async def settled(self) -> None:
        """Return once every text that came is answered and brought, or waits."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))


def _mark(known: Known, request: Request) -> bytes:
    """What tells a MESSAGE that is repeated from a new one (RFC 3261 section 8.2.2.2), and tells nobody anything."""
    said = "\0".join((str(known.credential.id), request.call_id, request.from_tag, str(request.cseq.number)))
    return known.org.keys.index("messages.received_as", said)


def _answer_to(refused: Refused) -> tuple[int, str]:
    """The status, and the Reason header's value."""
    if refused.reason in set(Reason):
        reason = Reason(refused.reason)
        return reason.sip_status, reason.sip_reason
    status = _STATUSES.get(refused.reason, 403)
    return status, refusals.reason_header(status, refused.explanation.rstrip(".").replace('"', "'"))


def _name(agent: Agent) -> str:
    return agent.username.reveal()
