"""Calls in the journal: written before anybody reads what follows from them, and dropped once their rows say all.

A call is written when it begins, when it is answered, at each event of its life from then on, and when it is over: each time what is new
of it. So wherever this process dies, the next one finds what the parties believe (services/adoption.py), and no call is without its rows.
What is over stays until its parties have answered our BYE, too.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.model import Side
from hushwire.core.ids import AgentId, OrgId
from hushwire.media.handshakes import Handshakes
from hushwire.services import kept
from hushwire.services.kept import (
    Answered,
    Begun,
    KeptFarewell,
    KeptParty,
    KeptTransfer,
    Keyed,
    Now,
    Over,
    Part,
    Rung,
    Talk,
    Tried,
    Waiting,
)
from hushwire.services.live import LiveCall, Party, Transfer
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import DialogKey
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.headers import Headers, header_key
from hushwire.sip.message import Request
from hushwire.store.calls import CallAnswer, CallEnd, NewCall, NewRecording, RecordingEnd
from hushwire.transport.endpoint import SipEndpoint
from hushwire.vault.journal import Journal

DeviceAt = Callable[[AgentId, Flow], UUID | None]
"""Which of an agent's devices registered by a flow."""
SOON_S: Final = 0.02
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Written:
    """What the journal says of a call: the values themselves, since none of them ever changes."""

    new: NewCall | None = None
    unwritten: tuple[NewRecording, ...] = ()
    answer: CallAnswer | None = None
    is_now: bool = False
    farewells: tuple[KeptFarewell, ...] = ()
    ringing: tuple[tuple[Request, Hop], ...] = ()
    end: CallEnd | None = None
    recording: RecordingEnd | None = None


class CallJournal:
    """Writes calls into the journal. Without one (`None`) nothing outlives this process."""

    def __init__(self, journal: Journal | None, endpoint: SipEndpoint, handshakes: Handshakes, device_at: DeviceAt) -> None:
        self._device_at = device_at
        self._journal = journal
        self._endpoint = endpoint
        self._handshakes = handshakes
        self._changed: dict[UUID, LiveCall] = {}
        self._written: dict[UUID, _Written] = {}
        self._parting: dict[DialogKey, UUID] = {}
        self._over: dict[UUID, set[DialogKey]] = {}
        self._due: asyncio.TimerHandle | None = None
        self.watcher: Callable[[LiveCall], None] = lambda _live: None
        """Told of each call to which something happened, journal or not."""

    def changed(self, live: LiveCall) -> None:
        """Something happened to a call; `commit` writes what is new of it."""
        self.watcher(live)
        if self._journal is not None:
            self._changed[live.id] = live

    def soon(self, live: LiveCall) -> None:
        """Something happened to a call that nobody hears of: it is written with what is written next, or else by itself within `SOON_S`."""
        self.changed(live)
        if self._journal is not None and self._due is None:
            self._due = asyncio.get_running_loop().call_later(SOON_S, self._is_due)

    def _is_due(self) -> None:
        self._due = None
        self.commit()

    def commit(self) -> None:
        """Write all that changed. Called before anything is sent; costs nothing where nothing changed."""
        if self._journal is None:
            return
        if self._changed:
            changed, self._changed = self._changed, {}
            for live in changed.values():
                try:
                    self._put(self._journal, live)
                except Exception as error:
                    # The call goes on; it would end with this process. No words of the error: they may hold a peer's bytes.
                    _log.error("journal.call_not_kept", call_id=str(live.id), error=type(error).__name__)
        if self._journal.pending:
            self._journal.commit()

    def secure(self, live: LiveCall) -> bool:
        """Write all of a call onto the disk itself, before what has no row yet begins; False where that can't be."""
        if self._journal is None or live.new is None or live.call.keep() is None:
            return False
        self.changed(live)
        self.commit()
        return self._journal.sync()

    def note(self, org_id: OrgId, new: NewCall) -> None:
        """A call that is over as it begins: its row is all of it."""
        if self._journal is not None:
            self._journal.put(new.id, *kept.to_bytes(Begun(org_id, new)))

    def over(self, live: LiveCall) -> None:
        """The rows say all of it; who was told so by BYE may not have heard it yet."""
        self.drop_once_heard(live.id, (*live.dialogs.values(), *live.branch_dialogs.values(), *live.left))

    def drop_once_heard(self, call_id: UUID, dialogs: Iterable[DialogKey]) -> None:
        """The rows say all: forget the call once nobody in these dialogs is to hear BYE any more."""
        if self._journal is None:
            return
        unheard = {dialog for dialog in dialogs if self._endpoint.farewell(dialog) is not None}
        if not unheard:
            self.drop(call_id)
            return
        self._over[call_id] = unheard
        self._parting.update((dialog, call_id) for dialog in unheard)

    def parted(self, dialog: DialogKey) -> None:
        """Somebody has answered our BYE, or will not."""
        call_id = self._parting.pop(dialog, None)
        if call_id is None:
            return
        unheard = self._over[call_id]
        unheard.discard(dialog)
        if not unheard:
            self.drop(call_id)

    def tidy(self) -> None:
        """Forget what is over and was waited for in vain."""
        self._endpoint.forget_unheard()
        for dialog in [dialog for dialog in self._parting if self._endpoint.farewell(dialog) is None]:
            self.parted(dialog)

    def drop(self, call_id: UUID) -> None:
        """The rows say all."""
        if self._journal is not None:
            self._changed.pop(call_id, None)
            self._written.pop(call_id, None)
            self._over.pop(call_id, None)
            self._journal.drop(call_id)

    def _put(self, journal: Journal, live: LiveCall) -> None:
        if live.new is None:
            return  # nothing was opened for it
        written = self._written.get(live.id)
        if written is None:
            written = self._written[live.id] = _Written()
        unwritten = tuple(live.unwritten.values())
        talk = None if live.is_ended else self._talk(live)
        if live.new is not written.new or unwritten != written.unwritten:
            is_waiting = talk is None and not live.is_ended and live.invite is not None
            waiting = Waiting(live.invite.to_bytes(), live.flow) if is_waiting and live.invite and live.flow else None
            journal.put(live.id, *kept.to_bytes(Begun(live.route.org.id, live.new, waiting, unwritten)))
            written.new, written.unwritten = live.new, unwritten
        if live.answer is not None and live.answer is not written.answer:
            journal.put(live.id, *kept.to_bytes(Answered(live.answer)))
            written.answer = live.answer
        parting = tuple(self._dialogs(live).values()) if live.dialogs and self._parts(live, talk) else ()
        farewells = self._farewells(live) if live.is_ended or live.left or live.branch_dialogs else ()
        ringing = () if talk is not None or live.is_ended else self._ringing(live)
        if talk is not None or parting or farewells or ringing:
            if talk is not None or parting or farewells != written.farewells or ringing != written.ringing:
                rung = tuple(Rung(_lean(invite), hop) for invite, hop in ringing)
                journal.put(live.id, *kept.to_bytes(Now(talk, parting, farewells, rung)))
                written.farewells, written.ringing = farewells, ringing
            written.is_now = True
        elif written.is_now:
            journal.put(live.id, b"", Part.NOW)
            written.is_now, written.farewells, written.ringing = False, (), ()
        if live.end is not None and (live.end is not written.end or live.ended_recording is not written.recording):
            journal.put(live.id, *kept.to_bytes(Over(live.end, live.ended_recording)))
            written.end, written.recording = live.end, live.ended_recording

    @staticmethod
    def _parts(live: LiveCall, talk: Talk | None) -> bool:
        """Whether its dialogs end with this process: of who joined another call, and of who waits in a call that nobody answered."""
        return not live.is_ended and (live.joining is not None or (talk is None and live.wanted is not None))

    def _talk(self, live: LiveCall) -> Talk | None:
        call = live.call.keep()
        if call is None:
            return None
        route = live.route
        return Talk(
            call=call,
            flow=live.flow,
            dialogs=self._dialogs(live),
            agent_id=route.agent.id,
            peer_agent_id=None if route.peer_agent is None else route.peer_agent.id,
            trunk_id=None if route.trunk is None else route.trunk.id,
            remote=None if route.remote is None else route.remote.reveal(),
            local=None if route.local is None else route.local.reveal(),
            verdict=route.verdict,
            places=route.places,
            max_forwards=live.max_forwards,
            segments=live.segments,
            mailbox_id=None if route.mailbox is None else route.mailbox.id,
            shared_legs=tuple(sorted(live.shared_legs)),
            handshakes=tuple(self._keyed(live)),
            reoffer=live.reoffer,
            devices=self._devices(live),
            diversions=route.diversions,
            diverted_to=None if route.diverted_to is None else route.diverted_to.reveal(),
            out_trunk_id=None if route.out_trunk is None else route.out_trunk.id,
            masking_id=route.masking_id,
            withheld=None if route.withheld is None else route.withheld.reveal(),
            attempts=tuple([Tried(one.trunk.name, one.outcome, one.after_ms, one.attestation) for one in live.attempts]),
            replaced={side: _party(party) for side, party in live.replaced.items()} if live.replaced else {},
            payers=tuple(agent.id for agent in route.payers) if route.payers else (),
            further_trunks=tuple(trunk.id for trunk in route.further_trunks) if route.further_trunks else (),
            others=tuple(number.reveal() for number in route.others) if route.others else (),
            called_later=tuple(number.reveal() for number in route.called_later) if route.called_later else (),
            let_out=route.let_out,
            transfer=None if live.transfer is None else _transfer(live.transfer),
            caller_hop=live.caller_hop,
            exchange=live.exchange,
            unacknowledged=tuple(said for key in live.dialogs.values() if (said := self._endpoint.unacknowledged(key)) is not None),
        )

    def _dialogs(self, live: LiveCall) -> dict[Side, Dialog]:
        return {side: dialog for side, key in live.dialogs.items() if (dialog := self._endpoint.dialog(key)) is not None}

    def _ringing(self, live: LiveCall) -> tuple[tuple[Request, Hop], ...]:
        sent = (self._endpoint.under_way(invite) for invite in live.invites.values())
        return tuple(found for found in sent if found is not None)

    def _farewells(self, live: LiveCall) -> tuple[KeptFarewell, ...]:
        found = []
        for side, key in live.dialogs.items():
            if live.is_ended and (farewell := self._endpoint.farewell(key)) is not None:
                found.append(KeptFarewell(farewell, self.device(live, side)))
        lost = [(key, None) for key in live.branch_dialogs.values() if key not in live.dialogs.values()]
        for key, device_id in (*live.left.items(), *lost):
            if (farewell := self._endpoint.farewell(key)) is not None:
                found.append(KeptFarewell(farewell, device_id))
        return tuple(found)

    def _devices(self, live: LiveCall) -> dict[Side, UUID]:
        found = {side: device_id for side in live.dialogs if (device_id := self.device(live, side)) is not None}
        return {side: device_id for side, device_id in found.items() if live.call.end(side) is not None} if found else found

    def device(self, live: LiveCall, side: Side) -> UUID | None:
        """The device of an agent who talks over a connection."""
        hop = live.hop(side)
        if not isinstance(hop, Flow) or not hop.transport.is_reliable:
            return None
        agent = live.party(side).agent
        return None if agent is None else self._device_at(agent.id, hop)

    def _keyed(self, live: LiveCall) -> list[Keyed]:
        found = []
        for leg, stated in live.stated.items():
            keys = None if stated.media.dtls is None else self._handshakes.keys(live.id, leg)
            if stated.media.dtls is not None and keys is not None:
                found.append(Keyed(leg, stated.media.dtls, keys))
        return found


_OF_CANCEL: Final = frozenset({"via", "route", "max-forwards", "from", "to", "call-id", "cseq", "contact"})


def _lean(invite: Request) -> bytes:
    """What CANCEL and the ACK to its answer repeat of an INVITE."""
    return Request("INVITE", invite.uri, Headers([line for line in invite.headers.lines if header_key(line[0]) in _OF_CANCEL])).to_bytes()


def _party(party: Party) -> KeptParty:
    return KeptParty(
        party.hop,
        None if party.agent is None else party.agent.id,
        None if party.trunk is None else party.trunk.id,
        None if party.shown is None else party.shown.reveal(),
        None if party.number is None else party.number.reveal(),
        party.places,
        party.origin,
        party.device_id,
        party.is_withheld,
    )


def _transfer(transfer: Transfer) -> KeptTransfer:
    cseq = None if transfer.subscription is None else transfer.cseq
    return KeptTransfer(transfer.kind, transfer.side, transfer.by.id, cseq, transfer.is_return, transfer.slot)
