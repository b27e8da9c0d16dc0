"""Going on with the calls of the process before this one, which died without a word.

The media process went on with every bridge and recording meanwhile, and each phone believes what it was told last: the journal says what
that was. A call whose parties talked goes on, with its dialogs, its keys and its recording, and who waits for an answer gets it. A call
that was being set up is refused now, so that its caller need not wait, and whom it rings is rung no more. Rows that had not reached the
database are written. What can't go on (its agent is gone, its bridge too) is ended as such a call ends, with BYE to both parties.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.call import Call
from hushwire.calls.model import EndReason
from hushwire.calls.transfer import SPARE, Exchange
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import CallId
from hushwire.core.personal import Personal
from hushwire.media.adoption import BridgeState
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.policy.model import Emergency
from hushwire.services.calling import Calling
from hushwire.services.directory import Directory
from hushwire.services.kept import Kept, KeptFarewell, KeptParty, Talk
from hushwire.services.live import LiveCall, Party, RecordingRun, end_state
from hushwire.services.registration import Registrations
from hushwire.services.route import Route
from hushwire.services.snapshot import Organisation
from hushwire.services.trunk_attempts import TrunkAttempt
from hushwire.sip import refusals
from hushwire.sip.dialog import Dialog
from hushwire.sip.errors import ParseError
from hushwire.sip.farewells import Farewell
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.sip.server_tx import Unacknowledged
from hushwire.store.calls import CallEnd
from hushwire.transport.endpoint import SipEndpoint
from hushwire.vault.buckets import DataKey

SAID_AGAIN_S: Final = 32.0
"""So long a 2xx of the other process is said again (64*T1, RFC 3261 section 13.3.1.4), from now on: phones need time to come back."""
LOOK_S: Final = 2.0
_log = structlog.get_logger(__name__)


def dialogs(calls: Mapping[UUID, Kept]) -> list[Dialog]:
    """The dialogs that the SIP engine has to know before the first message comes."""
    found: list[Dialog] = []
    for kept in calls.values():
        found += kept.parting
        for dialog in () if kept.talk is None else kept.talk.dialogs.values():
            open_cseq = None if kept.talk is None else _open_cseq(kept.talk, dialog)
            # The request that waits is given to the engine once more: it must not look like a replay of itself.
            found.append(dialog if open_cseq is None else replace(dialog, remote_cseq=open_cseq - 1))
    return found


class Adoption:
    """Carried out once, when everything else stands and before the first event is heard."""

    def __init__(
        self,
        calling: Calling,
        endpoint: SipEndpoint,
        directory: Directory,
        registrations: Registrations,
        link: MediaLink,
        clock: Clock,
        random: Random,
    ) -> None:
        self._calling = calling
        self._endpoint = endpoint
        self._directory = directory
        self._registrations = registrations
        self._link = link
        self._clock = clock
        self._random = random

    async def run(self, calls: Mapping[UUID, Kept]) -> None:
        """Go on with these. Raises Unavailable where the media process does not answer."""
        goes_on = 0
        for kept in calls.values():
            if kept.talk is not None and kept.talk.exchange is not None and kept.end is None:
                await self._put_back(CallId(kept.new.id), kept.talk.exchange)
        for kept in calls.values():
            if kept.talk is None or kept.end is not None:
                self._close(kept)
                continue
            found = await self._bridge(kept)
            live = self._live(kept, kept.talk, found)
            if live is None:
                self._abandon(kept)
                continue
            goes_on += 1
            self._calling.adopt(live, kept, found)
            if kept.talk.exchange is not None:
                self._calling.recorder.put_right(live)  # its segment may name who was to come
            if kept.talk.transfer is not None:
                self._calling.transfers.adopt(live, kept.talk.transfer)
            for side, device_id in kept.talk.devices.items():
                hop = kept.talk.dialogs[side].hop if side in kept.talk.dialogs else None
                if isinstance(hop, Flow):
                    self._registrations.left(device_id, self._endpoint.adopted(hop))
            for said in kept.talk.unacknowledged:
                is_told = self._say_again(said)
                self._calling.unheard.expect(live, said.dialog, SAID_AGAIN_S + 1.0 if is_told else LOOK_S, is_told=is_told)
            live.left.update((one.farewell.dialog.key, one.device_id) for one in kept.farewells)
            self._part(kept.farewells)
            if kept.talk.reoffer is not None:
                self._repeat(kept.talk.reoffer.request, kept.talk.reoffer.flow)
        if calls:
            _log.info("calls.adopted", going_on=goes_on, over=len(calls) - goes_on)

    async def _put_back(self, call_id: CallId, exchange: Exchange) -> None:
        """One party was being replaced: neither call knew of it yet, so each gets back the leg that it had."""
        client = self._link.client
        try:
            legs = (await client.state(call_id)).legs
            is_aside = SPARE in legs
            if exchange.leg in legs and (is_aside or exchange.is_vacant):
                try:
                    await client.move_leg(call_id, exchange.leg, exchange.from_bridge, exchange.from_leg)
                except MediaRefused:
                    await client.close_leg(call_id, exchange.leg)  # its own bridge is gone
            if is_aside:
                await client.move_leg(call_id, SPARE, call_id, exchange.leg)
        except MediaRefused as error:
            _log.warning("call.legs_not_back", call_id=str(call_id), why=str(error))

    async def _bridge(self, kept: Kept) -> BridgeState | None:
        try:
            return await self._link.client.state(kept.new.id)
        except MediaRefused:
            return None

    def _live(self, kept: Kept, talk: Talk, found: BridgeState | None) -> LiveCall | None:
        org = self._directory.organisation(kept.org_id)
        agent = None if org is None else org.by_id.get(talk.agent_id)
        peer = None if org is None or talk.peer_agent_id is None else org.by_id.get(talk.peer_agent_id)
        mailbox = None if org is None or talk.mailbox_id is None else org.by_id.get(talk.mailbox_id)
        trunks = {trunk.id: trunk for trunk in self._directory.trunks}
        trunk = None if talk.trunk_id is None else trunks.get(talk.trunk_id)
        out_trunk = None if talk.out_trunk_id is None else trunks.get(talk.out_trunk_id)
        is_whole = (
            (peer is None) == (talk.peer_agent_id is None)
            and (mailbox is None) == (talk.mailbox_id is None)
            and (trunk is None) == (talk.trunk_id is None)
            and (out_trunk is None) == (talk.out_trunk_id is None)
        )
        # Nobody pays for a call whose payer was removed. An emergency call is nobody's to end.
        is_paid = isinstance(talk.verdict, Emergency) or (org is not None and all(payer in org.by_id for payer in talk.payers))
        if org is None or agent is None or not is_whole or not is_paid or kept.answer is None:
            return None
        certificate = self._calling.certificates.current
        texts = (talk.remote, talk.local, talk.withheld, talk.diverted_to)
        remote, local, withheld, diverted_to = (None if text is None else Personal(text) for text in texts)
        route = Route(
            talk.call.plan,
            org,
            agent,
            peer,
            trunk,
            () if trunk is None else (trunk,),
            out_trunk,
            remote=remote,
            local=local,
            verdict=talk.verdict,
            places=talk.places,
            mailbox=mailbox,
            withheld=withheld,
            masking_id=talk.masking_id,
            hides=kept.new.caller_hidden,
            device_id=kept.new.device_id,
            diversions=talk.diversions,
            diverted_to=diverted_to,
            payers=tuple(org.by_id[payer] for payer in talk.payers if payer in org.by_id),
            further_trunks=tuple(trunks[further] for further in talk.further_trunks if further in trunks),
            others=tuple(Personal(number) for number in talk.others),
            called_later=tuple(Personal(number) for number in talk.called_later),
            let_out=talk.let_out,
        )
        now, answered_at = self._clock.now(), kept.answer.answered_at
        gone = self._clock.monotonic() - max(0.0, (now - answered_at).total_seconds())
        live = LiveCall(
            id=CallId(kept.new.id),
            route=route,
            call=Call.adopted(talk.call, self._random, certificate.fingerprint),
            flow=None if talk.flow is None else self._endpoint.adopted(talk.flow),
            caller_hop=self._hop(talk.caller_hop),
            tx=None,
            started_at=kept.new.started_at,
            started=gone - max(0.0, (answered_at - kept.new.started_at).total_seconds()),
            max_forwards=talk.max_forwards,
            certificate=certificate,
            remote_index=kept.new.remote_index,
            answered_at=answered_at,
            answered=gone,
            dialogs={side: dialog.key for side, dialog in talk.dialogs.items()},
            has_bridge=found is not None,
            segments=talk.segments,
            shared_legs=set(talk.shared_legs),
            attempts=[
                TrunkAttempt(0, tried, 0.0, one.outcome, one.after_ms, one.attestation)
                for one in talk.attempts
                if (tried := next((each for each in self._directory.trunks if each.name == one.trunk), None)) is not None
            ],
            new=kept.new,
            answer=kept.answer,
            replaced={side: self._party(org, party) for side, party in talk.replaced.items()},
        )
        if found is not None:
            live.is_sensitive = found.is_sensitive
            if (running := found.recording) is not None:
                # Its key is the media process's alone now; the row knows all the rest.
                key = DataKey(running.recording_id, "recording", b"", b"")
                live.recording = RecordingRun(key, running.segment, running.file, is_running=True, is_paused=running.is_paused)
                live.recordings.add(running.recording_id)
                live.segments = max(live.segments, running.segment + 1)
        return live

    def _hop(self, hop: Hop | None) -> Hop | None:
        return self._endpoint.adopted(hop) if isinstance(hop, Flow) else hop

    def _party(self, org: Organisation, kept: KeptParty) -> Party:
        hop = self._hop(kept.hop)
        shown, number = (None if text is None else Personal(text) for text in (kept.shown, kept.number))
        trunk = next((trunk for trunk in self._directory.trunks if trunk.id == kept.trunk_id), None)
        agent = None if kept.agent_id is None else org.by_id.get(kept.agent_id)
        origin = None if kept.origin is None else CallId(kept.origin)
        return Party(hop, agent, trunk, shown, number, kept.places, kept.device_id, origin, kept.is_withheld)

    def _close(self, kept: Kept) -> None:
        """A call that was not answered, or was over: its rows are all that is left to do, and an answer to who still waits for one."""
        for dialog in kept.parting:
            self._endpoint.bye(dialog.key)
        self._part(kept.farewells)
        for rung in kept.ringing:
            if (invite := _request(rung.invite)) is not None:
                self._endpoint.take_back(invite, self._hop(rung.hop) or rung.hop)
        if kept.waiting is not None:
            self._refuse(kept.waiting.request, kept.waiting.flow)
        if kept.end is None and kept.new.ended_at is None:
            kept = self._ended(kept, EndReason.ORPHANED)
        self._calling.write_again(kept)

    def _abandon(self, kept: Kept) -> None:
        """A call that can't go on: both parties hear of it."""
        _log.warning("call.not_adopted", call_id=str(kept.new.id))
        talk = kept.talk
        for said in () if talk is None else talk.unacknowledged:
            self._say_again(said)
        parting = [] if talk is None else [KeptFarewell(Farewell(dialog), talk.devices.get(side)) for side, dialog in talk.dialogs.items()]
        self._part(parting)
        self._calling.write_again(replace(self._ended(kept, EndReason.ORPHANED), farewells=(*kept.farewells, *parting)))

    def _part(self, farewells: Iterable[KeptFarewell]) -> None:
        """BYE, once more where the other process had said it already; to who talked over a connection once it comes back."""
        for one in farewells:
            farewell, said = one.farewell, one.farewell.unacknowledged
            hop = self._hop(farewell.dialog.hop) or farewell.dialog.hop
            if one.device_id is not None and isinstance(hop, Flow):
                self._registrations.left(one.device_id, hop)
            if said is not None:
                said = replace(said, flow=self._endpoint.adopted(said.flow), until=self._clock.monotonic() + SAID_AGAIN_S)
            self._endpoint.say_farewell(replace(farewell, dialog=replace(farewell.dialog, hop=hop), unacknowledged=said))

    def _say_again(self, said: Unacknowledged) -> bool:
        """What a caller may never have been told, unless it is long ago. Where its connection is gone it hears it by the next one."""
        now = self._clock.monotonic()
        if said.until <= now - SAID_AGAIN_S:
            return False
        self._endpoint.say_again(replace(said, flow=self._endpoint.adopted(said.flow), until=now + SAID_AGAIN_S))
        return True

    def _ended(self, kept: Kept, why: EndReason) -> Kept:
        now = self._clock.now()
        duration_ms = None if kept.answer is None else round((now - kept.answer.answered_at).total_seconds() * 1000)
        state = end_state(why, was_answered=kept.answer is not None)
        return replace(kept, talk=None, end=CallEnd(CallId(kept.new.id), state, now, duration_ms, None, why.value, None))

    def _repeat(self, data: bytes, flow: Flow) -> None:
        request = _request(data)
        if request is not None:
            self._endpoint.received(request, self._endpoint.adopted(flow))

    def _refuse(self, data: bytes, flow: Flow) -> None:
        request = _request(data)
        if request is not None:
            reason = ("Reason", refusals.header("restarted"))
            self._endpoint.refuse(request, self._endpoint.adopted(flow), 503, headers=[("Retry-After", "1"), reason])


def _request(data: bytes) -> Request | None:
    try:
        message = parse(data)
    except ParseError:
        return None
    return message if isinstance(message, Request) else None


def _open_cseq(talk: Talk, dialog: Dialog) -> int | None:
    """The number of the re-INVITE that waits for our answer in this dialog."""
    request = None if talk.reoffer is None else _request(talk.reoffer.request)
    if request is None or (request.call_id, request.from_tag) != (dialog.key.call_id, dialog.key.remote_tag):
        return None
    return request.cseq.number
