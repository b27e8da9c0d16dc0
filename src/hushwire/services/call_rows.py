"""What the rows of a call say, made from the call; written by `Records`, in order and until the database takes them."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from hushwire.calls.effects import Ended
from hushwire.calls.model import SUPERVISING, EndReason
from hushwire.core.clock import Clock
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import CallId, NodeId, RecordingId
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.media.model import BridgeReport
from hushwire.policy.model import Allow, Deny, Emergency, NumberClass
from hushwire.services.call_journal import CallJournal
from hushwire.services.emergencies import NO_ROUTE
from hushwire.services.kept import Kept
from hushwire.services.live import Joining, LiveCall, RecordingRun, end_state
from hushwire.services.recorder import Recorder, recording_end
from hushwire.services.records import Records, StepWrite
from hushwire.services.route import Refused
from hushwire.services.snapshot import Organisation
from hushwire.sip.effects import DialogKey
from hushwire.store import calls as rows
from hushwire.store import greetings, voicemail
from hushwire.store.calls import Attempts, CallEnd, Facts, NewCall, RecordingEnd, Step
from hushwire.store.database import Connection
from hushwire.vault.buckets import DataKey
from hushwire.vault.seal import Columns

QUALITY_WAITS_BEHIND: Final = 200
"""Rows; with more of them waiting, how live calls sound is not written."""


class CallRows:
    """Writes of calls; those of recordings that begin or end within a call are the recorder's."""

    def __init__(
        self, records: Records, recorder: Recorder, journal: CallJournal, clock: Clock, node_id: NodeId, least_speech_s: float
    ) -> None:
        self._records = records
        self._clock = clock
        self._recorder = recorder
        self._journal = journal
        self._node_id = node_id
        self._least_s = least_speech_s

    def begin(self, live: LiveCall) -> None:
        """The call's row and CallStarted."""
        live.new = new = self._new(live, "ringing")
        live.remote_index = new.remote_index
        event = self._recorder.event(live, EventKind.CALL_STARTED, live.started_at)
        org_id = live.route.org.id
        self._records.write(org_id, "call.begin", StepWrite(Step.BEGIN, rows.begun(org_id, new), (event,)))

    def unstarted(self, live: LiveCall, at: datetime, why: EndReason, status: int) -> None:
        """The row of a call that ended before anything was opened for it."""
        new = self._new(live, end_state(why, was_answered=False), at, why, status)
        event = self._recorder.event(live, EventKind.CALL_ENDED, at, reason=why.value, status=status)
        org_id = live.route.org.id
        self._journal.note(org_id, new)
        self._dropped(new.id, self._records.write(org_id, "call.unstarted", StepWrite(Step.BEGIN, rows.begun(org_id, new), (event,))))

    def diverted(self, live: LiveCall) -> None:
        """Who called is called on to somebody else, or was to be; and CallDiverted for each step."""
        if live.new is None:
            return
        told = len(live.new.diversions or ())
        route, verdict = live.route, live.route.verdict
        sealed, index = self._diverted_to(live)
        live.new = new = replace(
            live.new,
            agent_id=route.parties[0],
            peer_agent_id=route.parties[1],
            trunk_id=None if route.trunk is None else route.trunk.id,
            verdict=live.new.verdict if verdict is None else "allow",
            country=live.new.country if verdict is None else verdict.country,
            number_class=_class(verdict.number_class) if isinstance(verdict, Allow) else live.new.number_class,
            diversions=[one.facts() for one in route.diversions],
            diverted_to_sealed=sealed,
            diverted_to_index=index,
        )
        at = self._clock.now()
        facts = [
            self._recorder.event(live, EventKind.CALL_DIVERTED, at, by=str(one.agent_id), reason=one.reason.value, refused=one.refused)
            for one in route.diversions[told:]
        ]

        async def write(connection: Connection) -> list[DomainEvent]:
            await rows.divert(connection, new)
            return facts

        self._records.write(route.org.id, "call.diverted", write)

    def _diverted_to(self, live: LiveCall) -> tuple[bytes | None, bytes | None]:
        number, org = live.route.diverted_to, live.route.org
        if number is None or live.key is None:
            return None, None
        place: dict[str, Any] = {"table": "calls", "column": "diverted_to_sealed", "row": live.id, "org": org.id}
        return Columns(live.key.key).seal(number.reveal().encode(), **place), org.keys.index("calls.remote", number.reveal())

    def legs(self, live: LiveCall, agent: Facts, peer: Facts) -> None:
        """How the legs are protected now."""
        self._records.write(live.route.org.id, "call.legs", lambda connection: rows.update_legs(connection, live.id, agent, peer))

    def joined(self, live: LiveCall, joining: Joining) -> None:
        """A party is in somebody else's call now. A supervisor's coming is an event of that call."""
        if joining.role in SUPERVISING:
            self._tell(live, joining, EventKind.SUPERVISION_STARTED)

    def joined_as(self, live: LiveCall, joining: Joining) -> None:
        """A supervisor is in the call as something else from now on."""
        role = joining.role.value
        event = self._supervision(live, joining, EventKind.SUPERVISION_CHANGED)

        async def write(connection: Connection) -> list[DomainEvent]:
            await rows.update_joined_as(connection, live.id, role)
            return [event]

        self._records.write(live.route.org.id, "call.joined_as", write)

    def _tell(self, live: LiveCall, joining: Joining, kind: EventKind) -> None:
        event = self._supervision(live, joining, kind)

        async def write(_connection: Connection) -> list[DomainEvent]:
            return [event]

        self._records.write(live.route.org.id, kind.value, write)

    def _supervision(self, live: LiveCall, joining: Joining, kind: EventKind, duration_ms: int | None = None) -> DomainEvent:
        """A fact about the supervised call: who is in it, as what, on whose word and what for."""
        return self._recorder.event(
            joining.host,
            kind,
            self._clock.now(),
            supervisor=str(live.route.agent.id),
            role=joining.role.value,
            purpose=joining.purpose,
            actor=joining.actor,
            call=str(live.id),
            duration_ms=duration_ms,
        )

    def now(self) -> datetime:
        """The time that rows say."""
        return self._clock.now()

    def leg_ended(self, live: LiveCall, origin: CallId) -> None:
        """A party that had come into this call is not in it any more: the row of the call by which it was called says until when it was."""
        at = self._clock.now()
        self._records.write(live.route.org.id, "call.leg_ended", lambda connection: rows.end_leg(connection, origin, at))

    def leg_moved(self, live: LiveCall, origin: CallId) -> None:
        """A party that had come into another call before goes on in this one."""
        to = live.id
        self._records.write(live.route.org.id, "call.leg_moved", lambda connection: rows.move_leg(connection, origin, to))

    def quality(self, live: LiveCall) -> None:
        """How a live call sounds. Not worth waiting for: left out while other rows wait for the database."""
        if self._records.waiting < QUALITY_WAITS_BEHIND:
            facts = live.quality.so_far()
            self._records.write(live.route.org.id, "call.quality", lambda connection: rows.update_quality(connection, live.id, facts))

    def one_way(self, live: LiveCall, at: datetime, leg: str, cause: str) -> asyncio.Future[bool]:
        """A party is not heard, or is again."""
        event = self._recorder.event(live, EventKind.CALL_ONE_WAY_AUDIO, at, leg=leg, cause=cause)

        async def write(_connection: Connection) -> list[DomainEvent]:
            return [event]

        return self._records.write(live.route.org.id, "call.one_way_audio", write)

    def end(
        self,
        live: LiveCall,
        effect: Ended,
        at: datetime,
        duration_ms: int | None,
        report: BridgeReport | None,
        run: RecordingRun | None,
        attempts: Attempts | None = None,
    ) -> asyncio.Future[bool]:
        """How the call and its recording ended, and CallEnded, in one transaction. `attempts` are the ways to a carrier that it tried."""
        state, reason = end_state(effect.reason, live.answered_at is not None), effect.reason.value
        left: list[DomainEvent] = []
        if live.joining is not None and live.joining.role in SUPERVISING and live.answered_at is not None:
            left = [self._supervision(live, live.joining, EventKind.SUPERVISION_ENDED, duration_ms=duration_ms)]
        trunk = None if live.route.trunk is None else live.route.trunk.id
        end = CallEnd(
            live.id,
            state,
            at,
            duration_ms,
            effect.status,
            reason,
            live.quality.at_end(report),
            trunk,
            attempts,
            live.transferred,
            bool(live.replaced),
        )
        ended = self._recorder.event(
            live,
            EventKind.CALL_ENDED,
            at,
            reason=reason,
            status=effect.status,
            duration_ms=duration_ms,
            goes_on_in=None if live.transferred is None else str(live.transferred.to),
        )
        recording: RecordingEnd | None = None
        if report is not None and report.recording is not None:
            recording = recording_end(report.recording, at)
        elif run is not None:
            # Nobody closed it: what lies in the spool plays as far as it goes.
            recording = RecordingEnd(RecordingId(run.id), at)
        live.end, live.ended_recording = end, recording
        if recording is None and not end.took_parties_in:
            return self._records.write(live.route.org.id, "call.end", StepWrite(Step.END, rows.ended(end), (ended, *left)))
        speech_ms = None if report is None or not live.route.takes_message else _speech_ms(live, report)
        closed = None if recording is None else self._recorder.event(live, EventKind.RECORDING_CLOSED, at, recording=recording.id)

        async def write(connection: Connection) -> list[DomainEvent]:
            is_closed = recording is not None and await rows.close_recording(connection, recording)
            if recording is not None and speech_ms is not None:
                is_empty = speech_ms < 1000 * self._least_s
                await voicemail.finish(connection, recording.id, speech_ms, is_empty=is_empty)
            if recording is not None and live.route.mailbox is not None and live.route.makes_greeting:
                await greetings.discard(connection, live.route.mailbox.id, recording.id)  # nobody said that it is to be kept
            await rows.end(connection, end)
            return [closed, ended] if is_closed and closed is not None else [ended, *left]

        return self._records.write(live.route.org.id, "call.end", write, at_once=recording is not None)

    def refused(self, call_id: CallId, refused: Refused, key: DataKey | None, at: datetime) -> None:
        """The row of a call that was never made: the admin sees what was refused and why."""
        org = refused.org
        verdict = refused.verdict
        remote_sealed, remote_index, _ = _seal(org, call_id, key, refused.remote, None)
        new = NewCall(
            id=call_id,
            agent_id=None if refused.agent is None else refused.agent.id,
            peer_agent_id=None,
            trunk_id=None if refused.trunk is None else refused.trunk.id,
            node_id=self._node_id,
            bridge_id=None,
            direction=refused.direction.value,
            state="refused" if verdict is not None else "failed" if refused.status >= 500 else "ended",
            started_at=at,
            verdict=_refused_as(refused),
            verdict_reason=None if verdict is None else verdict.reason.value,
            country=verdict.country if isinstance(verdict, Deny) else None,
            number_class=_class(verdict.number_class) if isinstance(verdict, Deny) else None,
            rules_version=org.rules.version,
            sealed_with=None if key is None else key.id,
            remote_sealed=remote_sealed,
            remote_index=remote_index,
            ended_at=at,
            sip_status=refused.status,
            end_reason=refused.end_reason,
            caller_hidden=refused.hides,
        )
        event = self._recorder.refusal(call_id, refused, at)
        self._journal.note(org.id, new)
        self._dropped(call_id, self._records.write(org.id, "call.refused", StepWrite(Step.BEGIN, rows.begun(org.id, new), (event,))))

    def again(self, kept: Kept) -> asyncio.Future[bool]:
        """All that the rows of a call should say, by the journal of the process before this one; what they say already stays."""
        new, answer, end, recording = kept.new, kept.answer, kept.end, kept.recording
        facts: dict[str, str | int | bool | None] = {
            "direction": new.direction,
            "agent": None if new.agent_id is None else str(new.agent_id),
        }

        async def write(connection: Connection) -> list[DomainEvent]:
            found = []
            if await rows.begin(connection, kept.org_id, new):
                kind = (
                    EventKind.CALL_STARTED
                    if new.ended_at is None
                    else EventKind.CALL_REFUSED
                    if new.verdict_reason
                    else EventKind.CALL_ENDED
                )
                found.append(
                    self._recorder.fact(
                        kept.org_id, kind, new.id, new.started_at, {**facts, "status": new.sip_status, "reason": new.end_reason}
                    )
                )
            if new.diversions:
                await rows.divert(connection, new)
            if answer is not None and await rows.answer(connection, answer):
                found.append(self._recorder.fact(kept.org_id, EventKind.CALL_ANSWERED, new.id, answer.answered_at, facts))
            for begun in kept.unwritten:
                if await rows.begin_recording(connection, kept.org_id, begun, has_begun=True):
                    told = {**facts, "call": str(new.id)}
                    found.append(self._recorder.fact(kept.org_id, EventKind.RECORDING_STARTED, begun.id, begun.started_at, told))
            if recording is not None and await rows.close_recording(connection, recording):
                found.append(
                    self._recorder.fact(
                        kept.org_id, EventKind.RECORDING_CLOSED, recording.id, recording.ended_at, {**facts, "call": str(new.id)}
                    )
                )
            if end is not None and await rows.end(connection, end):
                told = {**facts, "reason": end.end_reason, "status": end.sip_status, "duration_ms": end.duration_ms}
                found.append(self._recorder.fact(kept.org_id, EventKind.CALL_ENDED, new.id, end.ended_at, told))
            return found

        written = self._records.write(kept.org_id, "call.again", write, at_once=True)
        if kept.talk is None:
            heard = [*(one.farewell.dialog.key for one in kept.farewells), *(dialog.key for dialog in kept.parting)]
            self._dropped(new.id, written, heard)
        return written

    def _dropped(self, call_id: CallId, written: asyncio.Future[bool], parting: Iterable[DialogKey] = ()) -> None:
        """The journal forgets the call once its rows say all, and once these have heard its end."""
        written.add_done_callback(lambda done: None if done.cancelled() else self._journal.drop_once_heard(call_id, parting))

    def _new(
        self, live: LiveCall, state: str, ended_at: datetime | None = None, why: EndReason | None = None, status: int | None = None
    ) -> NewCall:
        route, verdict, vouched = live.route, live.route.verdict, live.verification
        remote_sealed, remote_index, local_sealed = _seal(route.org, live.id, live.key, route.remote, route.local)
        diverted_to_index: bytes | None = None
        if route.masking_id is not None:
            # Found for who asks by their own number, to be erased; and read by nobody.
            remote_index, diverted_to_index = (_index(route.org, live.key, number) for number in (route.withheld, route.diverted_to))
        return NewCall(
            id=live.id,
            agent_id=route.parties[0],
            peer_agent_id=route.parties[1],
            trunk_id=None if route.trunk is None else route.trunk.id,
            node_id=self._node_id,
            bridge_id=live.bridge_id,
            joined_call_id=None if live.joining is None or live.joining.host.answered is None else live.joining.host.id,
            joined_as=None if live.joining is None else live.joining.role.value,
            direction=route.plan.direction.value,
            state=state,
            started_at=live.started_at,
            verdict=None if verdict is None else "emergency" if isinstance(verdict, Emergency) else "allow",
            country=None if verdict is None else verdict.country,
            number_class="emergency" if isinstance(verdict, Emergency) else _class(verdict.number_class) if verdict else None,
            rules_version=route.org.rules.version,
            sealed_with=None if live.key is None else live.key.id,
            remote_sealed=remote_sealed,
            remote_index=remote_index,
            local_sealed=local_sealed,
            ended_at=ended_at,
            sip_status=status,
            end_reason=None if why is None else why.value,
            caller_hidden=route.hides,
            diverted_to_index=diverted_to_index,
            masking_session_id=route.masking_id,
            device_id=route.device_id,
            caller_verdict=None if vouched is None else vouched.standing.value,
            caller_verdict_reason=None if vouched is None else vouched.reason,
            caller_attestation=None if vouched is None or vouched.attestation is None else vouched.attestation.value,
            caller_signer=None if vouched is None else vouched.signer,
        )


def _speech_ms(live: LiveCall, report: BridgeReport) -> int | None:
    """How much the caller of a mailbox said; None where nobody counted."""
    return next((leg.speech_ms for leg in report.legs if leg.leg == live.route.plan.caller.leg), None)


def _seal(
    org: Organisation, call_id: CallId, key: DataKey | None, remote: Personal[str] | None, local: Personal[str] | None
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The personal columns under the call's own key; without one (the keyring was away) they stay empty."""
    if key is None:
        return None, None, None
    columns = Columns(key.key)

    def sealed(value: Personal[str] | None, column: str) -> bytes | None:
        if value is None:
            return None
        return columns.seal(value.reveal().encode("utf-8", "replace"), table="calls", column=column, row=call_id, org=org.id)

    index = None if remote is None else org.keys.index("calls.remote", remote.reveal())
    return sealed(remote, "remote_sealed"), index, sealed(local, "local_sealed")


def _index(org: Organisation, key: DataKey | None, number: Personal[str] | None) -> bytes | None:
    return None if key is None or number is None else org.keys.index("calls.remote", number.reveal())


def _refused_as(refused: Refused) -> str | None:
    """The verdict's word in the row of a call that was not made."""
    if refused.end_reason == NO_ROUTE:
        return "emergency"
    return None if refused.verdict is None else "deny" if isinstance(refused.verdict, Deny) else "malformed"


def _class(number_class: NumberClass | None) -> str | None:
    return None if number_class is None else number_class.value
