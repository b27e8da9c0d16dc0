"""The provisioned world as calls meet it: organisations, their agents, credentials and numbers, as frozen values.

Every call takes one `Organisation` and keeps it to its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.policy.breaker import LimitBook
from hushwire.policy.calling_hours import CallingHours
from hushwire.policy.rules import Rules
from hushwire.privacy.consent import Declaration, Places, standing
from hushwire.sdp.model import Keying, Srtp
from hushwire.services.forwarding import Forwarding
from hushwire.services.ring_groups import RingGroup
from hushwire.services.sound_settings import SoundSettings
from hushwire.services.trunk import Trunk
from hushwire.vault.keyring import OrgKeys

_NO_NUMBER: Final = UUID(int=0)

Address = tuple[tuple[str, str], ...]
"""A civic address: names of RFC 5139 and their values, in their order."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One person who calls. `ha1` maps `<algorithm>/<form>` to H(A1)."""

    id: AgentId
    org_id: OrgId
    username: Personal[str]
    role: str
    extension: Personal[str] | None
    caller_id: Personal[str] | None
    ha1: Mapping[str, str] = field(repr=False)
    is_suspended: bool
    is_telemarketing: bool = False
    media_ports: str = "auto"
    hides_identity: bool = False
    """Whether its calls show its number only where one asks for it."""
    forwarding: Forwarding = field(default_factory=Forwarding)
    """What becomes of calls that it does not take."""
    address: Personal[Address] | None = None
    """Where it calls from, for emergency calls."""


@frozen
class Credential:
    """What one device of an agent shows that it is the agent's. The agent's own password, as provisioned, has the agent's id."""

    id: UUID
    agent_id: AgentId
    ha1: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None = None
    is_locked: bool = False
    """By the fraud breaker: it opens nothing now but the way to emergency calls."""


class Shown(StrEnum):
    """What colleagues see of one another."""

    OFF = "off"
    STATE = "state"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Organisation:
    """One organisation as calls meet it; a snapshot that nothing changes."""

    id: OrgId
    slug: str
    residency: str
    record: str
    agent_srtp: Srtp
    sdes: Keying
    allows_sdes_in_clear: bool
    calls_without_recording: bool
    custody_version: int
    rules: Rules
    keys: OrgKeys
    by_id: Mapping[AgentId, Agent] = field(repr=False)
    by_username: Mapping[str, Agent] = field(repr=False)
    by_extension: Mapping[str, Agent] = field(repr=False)
    subprocessors: frozenset[str] = frozenset()
    """Names of the sub-processors that the organisation's data may go to now (privacy/agreement.py)."""

    unrecorded: frozenset[bytes] = frozenset()
    """Blind indexes (`calls.remote`) of numbers that are never recorded: their owners objected, or are minors."""

    consent: Declaration = Declaration.CONTRACT
    """How who is called comes to agree to a recording, as the organisation declares it."""

    jurisdictions: tuple[str, ...] = ()
    do_not_call: frozenset[bytes] = field(default=frozenset(), repr=False)
    """Blind indexes (`do_not_call.number`) of numbers that its telemarketing must not call; empty where no agent does any."""

    do_not_call_version: int | None = None
    """Of the set above; None where it was not read."""

    sounds: SoundSettings = field(default_factory=SoundSettings)
    """What is played in its calls."""

    groups: Mapping[str, RingGroup] = field(default_factory=dict, repr=False)
    """Its ring groups, by extension."""

    presence: Shown = Shown.STATE
    telemarketing_hours: tuple[CallingHours, ...] = ()
    """When its telemarketing may reach whom."""

    live_rules_version: int = 0
    """Calls that began under older rules than these are judged anew."""

    limits: LimitBook = field(default_factory=LimitBook, repr=False)
    """How much of calling is normal (policy/breaker.py)."""

    record_emergency: bool = False
    """Whether the law of the home country has emergency calls recorded."""

    narrowed: Mapping[AgentId, Rules] = field(default_factory=dict, repr=False)
    """The rules of agents who have others than the organisation's: narrowed by their team or themselves, or with access given to them."""

    teams: Mapping[AgentId, UUID] = field(default_factory=dict, repr=False)
    """The team that an agent is of; those who are of none are not there."""

    def agent_named(self, text: str) -> Agent | None:
        """The agent whose extension or user name it is."""
        return self.by_extension.get(text) or self.by_username.get(text)

    def group_of(self, group_id: UUID | None) -> RingGroup | None:
        """The ring group of this id."""
        return None if group_id is None else next((group for group in self.groups.values() if group.id == group_id), None)

    def team_of(self, agent: Agent) -> UUID | None:
        """The team that an agent is of."""
        return self.teams.get(agent.id)

    def rules_of(self, agent: Agent) -> Rules:
        """The rules that an agent's attempts are judged by."""
        return self.narrowed.get(agent.id, self.rules)

    def may_record(self, places: Places) -> bool:
        """Whether calls with somebody in one of these places may be recorded at all, by law and declaration; looked up, not computed."""
        return standing(self.consent, self.jurisdictions, places).may_record

    def may_use(self, trunk: Trunk) -> bool:
        """Whether calls may go to a carrier: one that is nobody's sub-processor, or one that nothing stands against."""
        return trunk.subprocessor is None or trunk.subprocessor in self.subprocessors


@dataclass(frozen=True, slots=True)
class AssignedNumber:
    """A number of ours, and whom it rings; nobody while `agent_id` is None."""

    org_id: OrgId
    number: Personal[str]
    agent_id: AgentId | None
    id: UUID = _NO_NUMBER
    masks: bool = False
    """It is a proxy number: whom it leads to depends on who calls."""
    group_id: UUID | None = None
    """The ring group that it rings."""
