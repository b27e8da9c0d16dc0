"""A refusal that is heard: early media to the agent alone, a sentence that says why, then the refusal itself.

What an agent has set by a feature code is confirmed the same way, by a call that is taken, two tones, and BYE.

Only for agents who are known, and for destinations that the rules deny. No target is rung and no trunk hears of it. At most so many at
once, and one for each agent: whoever dials on and on is refused without a word.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.calls.effects import LegStatement
from hushwire.calls.ends import End
from hushwire.calls.model import Ports
from hushwire.core.clock import Random
from hushwire.core.errors import Unavailable
from hushwire.core.ids import AgentId, CallId
from hushwire.media.certificates import Certificates
from hushwire.media.handshakes import Handshakes
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused, Mode
from hushwire.policy.model import Deny
from hushwire.sdp.offer_answer import LegMedia, Refusal
from hushwire.services.agent_terms import agent_terms
from hushwire.services.live import settings
from hushwire.services.route import Refused
from hushwire.services.snapshot import Organisation
from hushwire.services.sound_library import SoundKind
from hushwire.services.sounds import Sounds
from hushwire.sip import refusals
from hushwire.sip.effects import DialogKey, TxId
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request
from hushwire.transport.endpoint import SipEndpoint

MOST: Final = 20
MAX_S: Final = 30.0
_LEG: Final = 0
_BETWEEN_MS: Final = 300
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Spoken:
    tx: TxId
    bridge_id: CallId
    org: Organisation
    agent: AgentId | None
    refused: Refused | None
    """None: nothing is refused, and two tones say so."""
    dialog: DialogKey | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    is_cancelled: bool = False
    statement: LegStatement | None = None


class SpokenRefusals:
    """The refusals that are being spoken now."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        link: MediaLink,
        handshakes: Handshakes,
        certificates: Certificates,
        sounds: Sounds,
        random: Random,
        new_id: Callable[[], CallId],
    ) -> None:
        self._endpoint = endpoint
        self._link = link
        self._handshakes = handshakes
        self._certificates = certificates
        self._sounds = sounds
        self._random = random
        self._new_id = new_id
        self._spoken: dict[CallId, _Spoken] = {}

    def may_speak(self, request: Request, refused: Refused) -> bool:
        """Whether this refusal is to be heard."""
        agent = refused.agent
        return (
            isinstance(refused.verdict, Deny)
            and agent is not None
            and refused.org.sounds.spoken_refusals
            and bool(request.body)
            and len(self._spoken) < MOST
            and not self._hears(agent.id)
            and self._sounds.library.has(SoundKind.REFUSAL, refused.org.slug, refused.verdict.reason.value)
        )

    def knows(self, bridge_id: UUID) -> bool:
        """Whether a bridge is one of these."""
        return bridge_id in self._spoken

    def cancelled(self, tx: TxId) -> None:
        """The agent took its INVITE back; that is answered already."""
        for one in self._spoken.values():
            if one.tx == tx:
                one.is_cancelled = True
                one.over.set()

    def reached(self, bridge_id: UUID) -> None:
        """The agent's browser chose its way to us: a ClientHello of ours has somewhere to go."""
        if self.knows(bridge_id):
            self._handshakes.begin(bridge_id, _LEG)

    async def keyed(self, bridge_id: UUID) -> None:
        """The agent's device proved who it is: now it can be spoken to."""
        one, keys = self._spoken.get(CallId(bridge_id)), self._handshakes.keys(bridge_id, _LEG)
        if one is None or one.statement is None or keys is None:
            return
        try:
            await self._link.client.set_legs(bridge_id, [(_LEG, settings(one.statement, keys))])
        except (MediaRefused, Unavailable) as error:
            _log.warning("refusal.not_spoken", call_id=str(bridge_id), why=str(error))
            one.over.set()

    def not_keyed(self, bridge_id: UUID) -> None:
        """The device is not who its signalling says: it is refused without a word."""
        if (one := self._spoken.get(CallId(bridge_id))) is not None:
            one.over.set()

    def end_all(self) -> None:
        """No more words: the refusals follow at once."""
        for one in self._spoken.values():
            one.over.set()

    def begin(self, tx: TxId, request: Request, flow: Flow, refused: Refused) -> Coroutine[Any, Any, None]:
        """Count it from now on; what comes back says the words and then refuses."""
        one = _Spoken(tx, self._new_id(), refused.org, None if refused.agent is None else refused.agent.id, refused)
        self._spoken[one.bridge_id] = one
        return self._speak(one, request, flow)

    async def confirm(self, tx: TxId, request: Request, flow: Flow, org: Organisation, agent: AgentId) -> None:
        """Take the call, let two tones be heard, and end it: what the agent dialled is done."""
        one = _Spoken(tx, self._new_id(), org, agent, None)
        self._spoken[one.bridge_id] = one
        await self._speak(one, request, flow)

    async def _speak(self, one: _Spoken, request: Request, flow: Flow) -> None:
        # Whatever fails here, the refusal is sent.
        try:
            async with asyncio.timeout(MAX_S):
                await self._say(one, request, flow)
        except TimeoutError:
            _log.warning("refusal.cut_short", call_id=str(one.bridge_id), why="the sentence is too long")
        except (MediaRefused, Unavailable) as error:
            _log.warning("refusal.not_spoken", call_id=str(one.bridge_id), why=str(error))
        finally:
            self._end(one)
            self._handshakes.forget(one.bridge_id)
            self._sounds.forget(one.bridge_id)
            self._spoken.pop(one.bridge_id, None)
            with suppress(MediaRefused, Unavailable):
                await self._link.client.close_bridge(one.bridge_id)

    def _end(self, one: _Spoken) -> None:
        if one.dialog is not None:
            self._endpoint.bye(one.dialog)
        elif one.refused is not None and not one.is_cancelled:
            self._endpoint.respond(one.tx, one.refused.status, headers=[("Reason", one.refused.reason)])
        elif not one.is_cancelled:
            self._endpoint.respond(one.tx, 488, headers=[("Reason", refusals.header("not-confirmed"))])

    async def _say(self, one: _Spoken, request: Request, flow: Flow) -> None:
        (ports,) = await self._link.client.open_call(one.bridge_id, Mode.RELAY, (_LEG,))
        media = self._answered(one, request, flow, Ports(str(ports.ip), ports.rtp_port, ports.rtcp_port))
        if media is None or one.over.is_set():
            return
        one.statement = LegStatement(_LEG, media, flow.remote.host)
        if media.dtls is not None:
            self._handshakes.expect(one.bridge_id, _LEG, media.dtls, self._certificates.current)
        await self._link.client.set_legs(one.bridge_id, [(_LEG, settings(one.statement))])
        if media.dtls is not None and media.ice is None:
            self._handshakes.begin(one.bridge_id, _LEG)
        verdict = None if one.refused is None else one.refused.verdict
        reason = "" if verdict is None else verdict.reason.value
        if one.refused is None:
            playing = await self._sounds.play(one.bridge_id, _LEG, media, SoundKind.BEEP, one.org, times=2, interval_ms=_BETWEEN_MS)
        else:
            playing = await self._sounds.play(one.bridge_id, _LEG, media, SoundKind.REFUSAL, one.org, reason=reason)
        if playing is None:
            return
        over = asyncio.ensure_future(one.over.wait())
        try:
            await asyncio.wait((over, playing.ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if one.refused is not None:
            _log.info("refusal.spoken", call_id=str(one.bridge_id), reason=reason, was_heard=playing.was_heard)

    def _answered(self, one: _Spoken, request: Request, flow: Flow, ports: Ports) -> LegMedia | None:
        """Send 183 (200 where nothing is refused) with our answer; None where the offer can't be answered or nobody waits any more."""
        terms = agent_terms(one.org, flow.transport, flow.remote.host, leg=_LEG)
        if one.over.is_set():
            return None
        end = End(terms, ports, self._random, self._certificates.current.fingerprint)
        offered = end.read(request.body)
        if isinstance(offered, Refusal):
            return None
        body = end.answer(request.body)
        if isinstance(body, Refusal) or end.agreed is None:
            return None
        dialog = self._endpoint.respond(one.tx, 183 if one.refused is not None else 200, body=body)
        one.dialog = dialog if one.refused is None else None
        return end.agreed

    def _hears(self, agent: AgentId) -> bool:
        return any(one.agent == agent for one in self._spoken.values())
