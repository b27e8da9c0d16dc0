"""A call while it lives: the machine, the engine's names for its parties, and what rows will say of it."""

import asyncio
import ipaddress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from hushwire.calls.call import Call
from hushwire.calls.effects import LegStatement, SendInvite
from hushwire.calls.ends import recording_format
from hushwire.calls.hearing import Hearing
from hushwire.calls.keyed_transfer import KeyedTransfer
from hushwire.calls.model import SUPERVISING, EndReason, JoinedAs, Side
from hushwire.calls.transfer import Exchange, TransferKind
from hushwire.core.ids import AgentId, CallId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.media.certificates import Certificate
from hushwire.media.dtls import SrtpKeys
from hushwire.media.formats import leg_codecs
from hushwire.media.model import IceCredentials, LegSettings, Protection, Suite
from hushwire.media.ports import IpAddress
from hushwire.policy.model import Channel, Emergency
from hushwire.privacy.consent import Places
from hushwire.sdp.offer_answer import Crypto, LegMedia
from hushwire.services.call_quality import CallQuality
from hushwire.services.kept import Waiting
from hushwire.services.route import Route
from hushwire.services.snapshot import Agent
from hushwire.services.trunk import Trunk
from hushwire.sip.effects import DialogKey, InviteId, SubscriptionId, TxId
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.message import Request
from hushwire.sip.shaken import Verdict
from hushwire.sip.uri import NameAddr
from hushwire.store.calls import CallAnswer, CallEnd, Facts, NewCall, NewRecording, RecordingEnd, Transferred
from hushwire.vault.buckets import DataKey

if TYPE_CHECKING:
    from hushwire.services.answering import Answering
    from hushwire.services.trunk_attempts import TrunkAttempt


@dataclass(slots=True)
class RecordingRun:
    """One recording of a call. `is_running` from the media process's word on; `is_paused` while it leaves a gap."""

    key: DataKey
    segment: int
    spool_name: str
    is_running: bool = False
    is_paused: bool = False

    @property
    def id(self) -> UUID:
        """The recording's id: that of its key."""
        return self.key.id


@dataclass(slots=True, eq=False)
class Joining:
    """How a call joins another one's bridge: as which leg, as what, and on whose word."""

    host: "LiveCall"
    leg: int
    role: JoinedAs
    actor: str = ""
    purpose: str = ""
    is_in: bool = False
    """Its party has answered, and is to hear and be heard."""


@frozen
class Wanted:
    """What a call that we began is for: whom its agent wants to reach, and on which way it was asked for."""

    to: Personal[str]
    channel: Channel
    is_telemarketing: bool = False


@frozen
class Party:
    """Who talks on one side of a call: an agent, or somebody behind a carrier. `shown` is what others are told of it."""

    hop: Hop | None
    agent: Agent | None
    trunk: Trunk | None
    shown: Personal[str] | None
    number: Personal[str] | None = None
    """Of somebody behind a carrier."""
    places: Places = ()
    device_id: UUID | None = None
    """Whose credential an agent's device showed."""
    origin: CallId | None = None
    """The call by which it was called, where that is another one: its row accounts for the leg."""
    is_withheld: bool = False
    """The number was hidden: the law on recording is asked about it while the call lasts, and nothing is ever found by it."""


@dataclass(slots=True, eq=False)
class Transfer:
    """What one party of a call asked for, and what has become of it. `side` is whose place is to be taken."""

    kind: TransferKind
    side: Side
    by: Agent
    subscription: SubscriptionId | None = None
    successor: "LiveCall | None" = None
    """Who is being rung to take the place."""
    told: int = 0
    """The status that the party who asked was told last."""
    is_return: bool = False
    """It failed, and the one who is rung now is who asked for it."""
    cseq: int = 0
    """The number of the REFER."""
    is_keyed: bool = False
    """It was asked for by keys of a phone, which is told nothing by NOTIFY."""
    slot: str | None = None
    """Where the other party is parked."""
    returns: int = 0
    """How often who parked it was rung."""
    has_left: bool = False
    """Who parked it hung up before it was out of the call."""
    before: "Transfer | None" = None
    """What goes on where who comes does not come after all."""


@dataclass(slots=True, eq=False)
class LiveCall:
    """One call. Its id names its bridge too, unless it joins another one's."""

    id: CallId
    route: Route
    call: Call
    flow: Flow | None
    """The caller's; None where we ring and nobody called."""
    tx: TxId | None
    started_at: datetime
    started: float
    max_forwards: int
    certificate: Certificate
    """What DTLS handshakes of this call show; the call's SDP names its fingerprint."""
    wanted: Wanted | None = None
    """Set where we began it in an agent's name."""
    caller_hop: Hop | None = None
    """The way to its caller then, once it is there."""
    key: DataKey | None = None
    recording_key: DataKey | None = None
    remote_index: bytes | None = None
    answered_at: datetime | None = None
    answered: float | None = None
    dialogs: dict[Side, DialogKey] = field(default_factory=dict)
    branch_dialogs: dict[int, DialogKey] = field(default_factory=dict)
    unheard: set[Side] = field(default_factory=set)
    """Callers of whom it is not known whether the process before this one told them the answer."""
    left: dict[DialogKey, UUID | None] = field(default_factory=dict)
    """Dialogs of parties whose place another one took, and their devices where they talked over connections."""
    invites: dict[int, InviteId] = field(default_factory=dict)
    located: dict[int, SendInvite] = field(default_factory=dict)
    """What was sent beside a document that says where the caller is, by branch."""
    unlocated: set[int] = field(default_factory=set)
    """Branches whose carrier does not take such a document."""
    attempts: list["TrunkAttempt"] = field(default_factory=list)
    """The ways to a carrier that were tried, the last one that of now."""
    ring: asyncio.TimerHandle | None = None
    retries: dict[Side, asyncio.TimerHandle] = field(default_factory=dict)
    """Re-INVITEs that met the party's own and are to be tried again."""
    has_bridge: bool = False
    recording: RecordingRun | None = None
    recordings: set[UUID] = field(default_factory=set)
    """Every recording that was begun of this call: each is its own to end, until the call is wholly closed."""
    recording_events: list[int] = field(default_factory=list)
    unwritten: dict[UUID, NewRecording] = field(default_factory=dict)
    """Rows of recordings that began while the database was away; the journal has them until it is back."""
    segments: int = 0
    """How many recordings of this call were begun: the number of the next segment."""
    lost_recording: RecordingRun | None = None
    """What was recorded when the media process died; it goes on as the next segment, or once it is resumed where it was paused."""
    renewal: asyncio.TimerHandle | None = None
    is_sensitive: bool = False
    heard_early: set[int] = field(default_factory=set)
    """Legs whose party heard the announcement before the answer."""
    silent_legs: set[int] = field(default_factory=set)
    quality: CallQuality = field(default_factory=CallQuality)
    stated: dict[int, LegStatement] = field(default_factory=dict)
    """What was last said of each leg: said again with keys once its handshake has made them."""
    reachable: set[int] = field(default_factory=set)
    """Legs whose party chose its way to us by ICE."""
    shared_legs: set[int] = field(default_factory=set)
    """Legs on a port that others use too."""
    suites: dict[int, Suite] = field(default_factory=dict)
    """What the handshakes agreed on, by leg."""
    deflected: str | None = None
    """Where a phone that was rung said that the call is to go instead: a Contact's value."""
    joining: Joining | None = None
    guests: dict[int, "LiveCall"] = field(default_factory=dict)
    """Calls that join this one, by leg."""
    hears: Hearing = field(default_factory=dict)
    """What the media process was last told of whom each leg hears."""
    recorded: frozenset[int] = frozenset({0, 1})
    """And of whose speech is recorded."""
    answering: "Answering | None" = None
    """What of ours talks to the caller."""
    keyed: dict[Side, KeyedTransfer] = field(default_factory=dict)
    """What agents key in it, where that may transfer it."""
    key_pauses: dict[Side, asyncio.TimerHandle] = field(default_factory=dict)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its bridge stands, or it is over."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is answered, or over: who joins it waits for that."""
    arranging: asyncio.Lock = field(default_factory=asyncio.Lock)
    replaced: dict[Side, Party] = field(default_factory=dict)
    """Who took the place of a party of the beginning."""
    early: dict[int, DialogKey] = field(default_factory=dict)
    """The dialogs of targets that ring, by branch."""
    newcomer: DialogKey | None = None
    """The dialog of who is about to take a party's place."""
    transfer: Transfer | None = None
    transferred: Transferred | None = None
    """Where its other party went on, once it is over."""
    exchange: Exchange | None = None
    """Legs that are being moved: what the next process would have to put right."""
    replacing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while legs go and come."""
    stating: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while what was stated of its legs is carried out, and while one of them leaves."""
    goes_to: "LiveCall | None" = None
    """The call that a leg of this one is being moved to."""
    held_back: list[LegStatement] = field(default_factory=list)
    """What is stated of its legs meanwhile."""
    shown: dict[Side, NameAddr | None] = field(default_factory=dict)
    """Whom a party talks with since its other party was replaced, as it may be told."""
    judged_under: int = 0
    """The version of the rules that it was last judged by anew."""
    is_ended: bool = False
    is_end_unknown: bool = False
    """The call is over, but the media process has not said that its recording is."""
    facts: tuple[Facts, Facts] | None = None
    invite: Request | None = None
    """The caller's, while it waits for a final response."""
    verification: Verdict | None = None
    """Whether the number of who calls is vouched for, where its carrier is asked for that."""
    reoffer: Waiting | None = None
    """A re-INVITE that waits for ours."""
    new: NewCall | None = None
    answer: CallAnswer | None = None
    end: CallEnd | None = None
    ended_recording: RecordingEnd | None = None
    """What the rows of the call are to say, written or not."""
    working: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the bridge is opened or closed and while a recording begins or ends: one after the other."""

    @property
    def is_emergency(self) -> bool:
        """Whether somebody in it called for help: nothing ends it but its parties."""
        return isinstance(self.route.verdict, Emergency)

    @property
    def bridge_id(self) -> CallId:
        """The bridge that its legs are in."""
        return self.id if self.joining is None else self.joining.host.id

    def recording_format(self) -> bytes:
        """The format entry of its recording: leg 0 first, guests behind the parties."""
        legs = self.call.legs()
        for leg, guest in self.guests.items():
            legs.update((leg, media) for media in guest.call.legs().values())
        return recording_format(legs.get(leg) for leg in range(max(1, *legs, 1) + 1))

    def side_of(self, dialog: DialogKey) -> Side | None:
        """Whose dialog it is."""
        return next((side for side, key in self.dialogs.items() if key == dialog), None)

    def devices_that_answered(self) -> tuple[UUID | None, UUID | None]:
        """The credential of the device that took the call, as the agent's or as the peer agent's."""
        winner = self.call.winner
        target = None if winner is None else self.route.plan.targets[winner]
        rung = self.route.device_id if self.wanted is not None else None
        taken = None if target is None else target.device_id
        return (rung, taken) if self.route.peer_agent is not None else (taken or rung, None)

    def hop(self, side: Side) -> Hop | None:
        """The way to a party."""
        if side in self.replaced:
            return self.replaced[side].hop
        if side is Side.CALLER:
            return self.flow or self.caller_hop
        winner = self.call.winner
        return None if winner is None else self.route.plan.targets[winner].hop

    def party(self, side: Side) -> Party:
        """Who talks on a side."""
        if side in self.replaced:
            return self.replaced[side]
        route, hop = self.route, self.hop(side)
        if self.joining is not None:  # by its leg nobody could tell
            is_agents = side is Side.CALLER or self.joining.role in SUPERVISING
            leg, agent = 1, route.agent if is_agents else route.peer_agent
        else:
            known = self.call.leg(side)
            # Before anybody answered, and before the bridge is there, the plan says it.
            leg = known if known is not None else route.plan.caller.leg if side is Side.CALLER else route.callee_leg
            agent = route.agent_at(leg)
        is_hidden = route.hides and side is Side.CALLER
        if agent is not None:
            winner = None if side is Side.CALLER else self.call.winner
            device_id = route.device_id if side is Side.CALLER else None if winner is None else route.plan.targets[winner].device_id
            return Party(hop, agent, None, None if is_hidden else agent.extension or agent.username, device_id=device_id)
        number = route.diverted_to if side is Side.CALLEE and route.leads_out else route.withheld or route.remote
        # Who talks by a proxy number is told to nobody by another one.
        shown = None if is_hidden else route.local if route.masking_id is not None else number
        is_withheld = side is Side.CALLER and route.withheld is not None and route.masking_id is None
        return Party(hop, None, route.trunk_at(leg), shown, number, route.places, is_withheld=is_withheld)

    def credentials(self) -> list[tuple[AgentId, UUID]]:
        """The agents in the call and whose credentials their devices showed."""
        parties = (self.party(side) for side in Side)
        return [(party.agent.id, party.device_id) for party in parties if party.agent is not None and party.device_id is not None]

    def legs(self) -> tuple[Facts, Facts]:
        """The truth about the protection of the agent's leg and the other party's, for the row."""
        facts: dict[int, Facts] = {0: {}, 1: {}}
        for side in Side:
            end, hop = self.call.end(side), self.hop(side)
            if end is not None and hop is not None:
                facts[0 if self.joining is not None else end.terms.leg] = leg_facts(hop, end.agreed, self.suites.get(end.terms.leg))
        return facts[0], facts[1]


def leg_facts(hop: Hop, media: LegMedia | None, handshake: Suite | None = None) -> Facts:
    """`{"transport", "tls", "media", "suite", "codec"}` of one leg. A leg of `dtls-srtp` has no suite until its handshake is done.

    `handshake` is the suite that a DTLS handshake of the leg agreed on.
    """
    kind, suite = None, None
    if media is not None and media.dtls is not None:
        kind, suite = "dtls-srtp", None if handshake is None else handshake.name
    elif media is not None:
        crypto = media.send_crypto
        kind, suite = ("rtp", None) if crypto is None else ("srtp", crypto.suite.value)
    return {
        "transport": hop.transport,
        "tls": hop.transport.is_protected,
        "media": kind,
        "suite": suite,
        "codec": None if media is None or not media.codecs else media.codecs[0].name,
    }


def end_state(reason: EndReason, was_answered: bool) -> str:
    """The row's state: `failed` is for calls that something of ours or the trunk's kept from being answered."""
    faults = (EndReason.TRUNK_FAILED, EndReason.MEDIA_FAILED, EndReason.MEDIA_LOST, EndReason.NO_RECORDING, EndReason.INTERNAL_ERROR)
    return "failed" if not was_answered and reason in faults else "ended"


def settings(statement: LegStatement, keys: SrtpKeys | None = None, *, answered: bool = False) -> LegSettings:
    """A leg's statement for the media process; `keys` are what its DTLS handshake made, None while there are none."""
    media, signalling = statement.media, statement.signalling_address
    agreed = media.codecs + media.events
    return LegSettings(
        remote_ip=_address(media.address),
        remote_port=media.port,
        remote_rtcp_port=media.rtcp_port or None,
        rtcp_mux=media.rtcp_mux,
        sending=_protection(media.send_crypto) if keys is None else keys.sending,
        receiving=_protection(media.recv_crypto) if keys is None else keys.receiving,
        signalling_ip=None if signalling is None else _address(signalling),
        send=media.direction.sends,
        receive=media.direction.receives,
        payload_types=statement.payload_types,
        clock_rate=media.clock_rate,
        answered=answered,
        codecs=leg_codecs(((codec.payload_type, codec.name, codec.rate, codec.fmtp) for codec in agreed), media.ptime_ms),
        ice=None if media.ice is None else IceCredentials(media.ice.local.ufrag, media.ice.local.password, media.ice.remote.ufrag),
        is_dtls=media.dtls is not None,
    )


def _protection(crypto: Crypto | None) -> Protection | None:
    return None if crypto is None else Protection(Suite[crypto.suite.name], crypto.key)


@lru_cache(maxsize=1024)
def _address(text: str) -> Personal[IpAddress]:
    return Personal(ipaddress.ip_address(text))
