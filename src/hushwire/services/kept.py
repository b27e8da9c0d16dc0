"""What of a call is kept beyond this process, and its form in the journal.

Everything that rows are to say of it, whole: each row may be written any number of times. And, once it is answered, all that another
process needs to go on with it. No key of a recording is of it: the media process has it. What the form does not know any more (another
version wrote it) is not read, and its call is an orphan.
"""

from collections.abc import Mapping
from dataclasses import field
from enum import IntEnum
from typing import Final
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hushwire.calls.kept import KeptCall
from hushwire.calls.model import Side
from hushwire.calls.transfer import Exchange, TransferKind
from hushwire.core.ids import AgentId, OrgId, TrunkId
from hushwire.core.personal import SHOWN
from hushwire.core.plain import hides, plain, said_as_json, shown
from hushwire.core.values import frozen
from hushwire.media.dtls import SrtpKeys
from hushwire.policy.model import Allow, Emergency
from hushwire.privacy.consent import Places
from hushwire.sdp.dtls import RemoteDtls
from hushwire.services.forwarding import Diversion
from hushwire.sip.dialog import Dialog
from hushwire.sip.farewells import Farewell
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.server_tx import Unacknowledged
from hushwire.store.calls import CallAnswer, CallEnd, NewCall, NewRecording, RecordingEnd
from hushwire.vault.journal import Parts

VERSION: Final = 2


@frozen(repr=False)
class Waiting:
    """A request that is not answered yet, as it came."""

    request: bytes
    flow: Flow

    def __repr__(self) -> str:
        return f"Waiting({SHOWN})"


@frozen(repr=False)
class Keyed:
    """A leg whose DTLS handshake is done."""

    leg: int
    remote: RemoteDtls
    keys: SrtpKeys

    def __repr__(self) -> str:
        return f"Keyed({self.leg}, {SHOWN})"


@frozen
class Tried:
    """One way to a carrier that the call tried before it was answered, or was answered on."""

    trunk: str
    outcome: str | None
    after_ms: int | None
    attestation: str | None = None


@frozen(repr=False)
class KeptParty:
    """Who took the place of one of the two parties."""

    hop: Hop | None
    agent_id: AgentId | None = None
    trunk_id: TrunkId | None = None
    shown: str | None = None
    number: str | None = None
    places: Places = ()
    origin: UUID | None = None
    device_id: UUID | None = None
    is_withheld: bool = False

    def __repr__(self) -> str:
        return f"KeptParty({SHOWN})"


@frozen
class KeptTransfer:
    """What a party asked for and waits to hear of: `cseq` is the number of its REFER, None where it does not wait."""

    kind: TransferKind
    side: Side
    by: AgentId
    cseq: int | None = None
    is_return: bool = False
    slot: str | None = None
    """Where the other party is parked."""


@frozen(repr=False)
class Rung:
    """An INVITE of ours that nobody has answered for good: what CANCEL repeats of it, and by which way it went."""

    invite: bytes
    hop: Hop

    def __repr__(self) -> str:
        return f"Rung({SHOWN})"


@frozen
class KeptFarewell:
    """A party that may not have heard yet that its call is over; `device_id` of an agent's that talked over a connection."""

    farewell: Farewell
    device_id: UUID | None = None


@frozen(repr=False)
class Talk:
    """What two parties' call needs to go on. `reoffer`: one of them waits for our answer to a re-INVITE.

    `devices` are those of agents that talk over a connection, which ends with this process: each comes back by registering again.
    """

    call: KeptCall
    flow: Flow | None
    dialogs: dict[Side, Dialog]
    agent_id: AgentId
    peer_agent_id: AgentId | None
    trunk_id: TrunkId | None
    remote: str | None
    local: str | None
    verdict: Allow | Emergency | None
    places: Places
    max_forwards: int
    segments: int
    shared_legs: tuple[int, ...] = ()
    mailbox_id: AgentId | None = None
    handshakes: tuple[Keyed, ...] = ()
    reoffer: Waiting | None = None
    devices: dict[Side, UUID] = field(default_factory=dict)
    attempts: tuple[Tried, ...] = ()
    withheld: str | None = None
    masking_id: UUID | None = None
    diversions: tuple[Diversion, ...] = ()
    diverted_to: str | None = None
    out_trunk_id: TrunkId | None = None
    replaced: dict[Side, KeptParty] = field(default_factory=dict)
    payers: tuple[AgentId, ...] = ()
    further_trunks: tuple[TrunkId, ...] = ()
    others: tuple[str, ...] = ()
    called_later: tuple[str, ...] = ()
    let_out: tuple[AgentId, ...] = ()
    transfer: KeptTransfer | None = None
    caller_hop: Hop | None = None
    """The way to a caller whom we rang."""
    unacknowledged: tuple[Unacknowledged, ...] = ()
    """What was said to a party's INVITE, or is being said in this moment: this process may end before it leaves."""
    exchange: Exchange | None = None
    """Legs were being moved: both calls are as they were before, and their legs are to be put back."""

    def __repr__(self) -> str:
        return f"Talk({SHOWN})"


@frozen(repr=False)
class Kept:
    """One call, of all that was written of it. `talk` while its parties talk; `waiting` is the caller's INVITE before; neither once it is
    over.

    `parting` are dialogs that end with this process: of who joined another call, and is not taken along. `unwritten` are recordings
    that began while the database was away. `farewells`: BYE was said to these, or is being said in this moment. `ringing`: whom a call
    rings that nobody has answered.
    """

    org_id: OrgId
    new: NewCall
    answer: CallAnswer | None = None
    end: CallEnd | None = None
    recording: RecordingEnd | None = None
    talk: Talk | None = None
    waiting: Waiting | None = None
    parting: tuple[Dialog, ...] = ()
    unwritten: tuple[NewRecording, ...] = ()
    farewells: tuple[KeptFarewell, ...] = ()
    ringing: tuple[Rung, ...] = ()

    def __repr__(self) -> str:
        return f"Kept({self.new.id})"


# The parts of a call in the journal: each is written when it changes.


@frozen(repr=False)
class Begun:
    """What is known from the beginning on."""

    org_id: OrgId
    new: NewCall
    waiting: Waiting | None = None
    unwritten: tuple[NewRecording, ...] = ()
    version: int = field(default=VERSION)


@frozen(repr=False)
class Answered:
    """What the row learns as it is answered."""

    answer: CallAnswer


@frozen(repr=False)
class Now:
    """What the parties have at this moment; nothing is written once they have nothing."""

    talk: Talk | None
    parting: tuple[Dialog, ...] = ()
    farewells: tuple[KeptFarewell, ...] = ()
    ringing: tuple[Rung, ...] = ()


@frozen(repr=False)
class Over:
    """What the row learns at the end."""

    end: CallEnd
    recording: RecordingEnd | None = None


class Part(IntEnum):
    """Their numbers in the journal."""

    BEGUN = 0
    ANSWERED = 1
    NOW = 2
    OVER = 3


_FORM: Final = ConfigDict(val_json_bytes="base64")
_BEGUN: Final = TypeAdapter(tuple[Begun], config=_FORM)
_ANSWERED: Final = TypeAdapter(tuple[Answered], config=_FORM)
_NOW: Final = TypeAdapter(tuple[Now], config=_FORM)
_OVER: Final = TypeAdapter(tuple[Over], config=_FORM)
_PARTS: Final[dict[type, Part]] = {Begun: Part.BEGUN, Answered: Part.ANSWERED, Now: Part.NOW, Over: Part.OVER}


def to_bytes(word: Begun | Answered | Now | Over) -> tuple[bytes, Part]:
    """As it stands in the journal, and as which part of its call. Raises TypeError for what no JSON can say."""
    return said_as_json((plain(word),)), _PARTS[type(word)]


def from_parts(parts: Parts) -> Kept | None:
    """All of a call, by what `to_bytes` wrote of it; None where this version can't read it."""
    try:
        (begun,) = _BEGUN.validate_json(parts[Part.BEGUN])
        answer = _ANSWERED.validate_json(parts[Part.ANSWERED])[0].answer if parts.get(Part.ANSWERED) else None
        now = _NOW.validate_json(parts[Part.NOW])[0] if parts.get(Part.NOW) else Now(None)
        over = _OVER.validate_json(parts[Part.OVER])[0] if parts.get(Part.OVER) else None
    except (KeyError, ValidationError):
        return None
    if begun.version != VERSION:
        return None
    if any(map(hides, parts.values())):
        begun, answer, now, over = shown(begun), shown(answer), shown(now), shown(over)
    # Whose call is over may not have heard its refusal either; who has heard one takes a second for the first, said again.
    is_waiting = answer is None and now.talk is None and not now.parting
    end, recording = (None, None) if over is None else (over.end, over.recording)
    waiting = begun.waiting if is_waiting else None
    known = (waiting, now.parting, begun.unwritten, now.farewells, now.ringing)
    return Kept(begun.org_id, begun.new, answer, end, recording, now.talk, *known)


def read_all(journal: Mapping[UUID, Parts]) -> tuple[dict[UUID, Kept], list[UUID]]:
    """The calls of a journal, and the names of those that can't be read."""
    read = {name: from_parts(parts) for name, parts in journal.items()}
    return {name: kept for name, kept in read.items() if kept is not None}, [name for name, kept in read.items() if kept is None]
