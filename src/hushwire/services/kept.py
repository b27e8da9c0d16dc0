"""What of a call is kept beyond this process, and its form in the journal.

Everything that rows are to say of it, whole: each row may be written any number of times. And, once it is answered, all that another
process needs to go on with it. No key of a recording is of it: the media process has it. What the form does not know any more (another
version wrote it) is not read, and its call is an orphan.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Final
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hushwire.calls.kept import KeptCall
from hushwire.calls.model import Side
from hushwire.calls.transfer import Exchange, TransferKind
from hushwire.core.ids import AgentId, OrgId, TrunkId
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.media.dtls import SrtpKeys
from hushwire.policy.model import Allow, Emergency
from hushwire.privacy.consent import Places
from hushwire.sdp.dtls import RemoteDtls
from hushwire.services.forwarding import Diversion
from hushwire.sip.dialog import Dialog
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.server_tx import Unacknowledged
from hushwire.store.calls import CallAnswer, CallEnd, NewCall, NewRecording, RecordingEnd

VERSION: Final = 1


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
    """One call. `talk` while its parties talk; `waiting` is the caller's INVITE before; neither once it is over.

    `parting` are dialogs that end with this process: of who joined another call, and is not taken along. `unwritten` are recordings
    that began while the database was away.
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
    version: int = field(default=VERSION)

    def __repr__(self) -> str:
        return f"Kept({self.new.id})"


_FORM: Final = TypeAdapter(tuple[Kept], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


def to_bytes(kept: Kept) -> bytes:
    """As it stands in the journal."""
    return _FORM.dump_json((kept,), exclude_defaults=True)


def from_bytes(data: bytes) -> Kept | None:
    """What `to_bytes` wrote; None where this version can't read it."""
    try:
        (kept,) = _FORM.validate_json(data)
    except ValidationError:
        return None
    return kept if kept.version == VERSION else None


def read_all(journal: Mapping[UUID, bytes]) -> tuple[dict[UUID, Kept], list[UUID]]:
    """The calls of a journal, and the names of those that can't be read."""
    read = {name: from_bytes(data) for name, data in journal.items()}
    return {name: kept for name, kept in read.items() if kept is not None}, [name for name, kept in read.items() if kept is None]
