"""What a provisioning file declares, checked: carriers, organisations and what each of them has."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hushwire.core.personal import Personal
from hushwire.policy.rating import Rate
from hushwire.privacy.notices import ContactRole
from hushwire.services.agreement_provisioning import PolicySpec, SubprocessorSpec
from hushwire.services.forwarding import Forwarding
from hushwire.services.provisioning_centres import CentreSpec
from hushwire.services.provisioning_custody import CustodySpec
from hushwire.services.provisioning_rules import ExceptionSpec, LevelSpec, OrgRulesSpec, TeamSpec
from hushwire.services.snapshot import Address
from hushwire.store.provisioning import OrgRow, TrunkSettings


@dataclass(frozen=True, slots=True)
class TrunkSpec(TrunkSettings):
    """One carrier as declared."""

    password: str | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent as declared. Without `sip_password` an existing agent keeps what it has and a new one is given a random one."""

    username: str
    role: str
    extension: str | None
    caller_id: str | None
    sip_password: str | None = field(repr=False)
    suspended: bool
    telemarketing: bool = False
    media_ports: str = "auto"
    hides_identity: bool = False
    forwarding: Forwarding | None = None
    level: LevelSpec | None = None
    address: Address | None = field(default=None, repr=False)
    """None of the last three: as the agent, or an administrator, has set it."""


@dataclass(frozen=True, slots=True)
class NumberSpec:
    """A canonical +E.164 number and the agent whose devices it rings."""

    number: str
    to: str | None
    masks: bool = False
    """Of the pool of proxy numbers (docs/masking.md)."""
    group: str | None = None
    """The ring group that it rings instead."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """An API key as declared; its secret is made here."""

    name: str
    role: str
    purpose: str
    person: str | None = None
    """The agent, by username, in whose hands it is: keys of one person are one to what two must agree to."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A ring group; members by username, in the order in which they are rung one after the other."""

    name: str
    extension: str
    strategy: str
    ring_s: int
    follows_forwarding: bool
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrgSpec:
    """One organisation as declared."""

    row: OrgRow
    agents: tuple[AgentSpec, ...]
    numbers: tuple[NumberSpec, ...]
    api_keys: tuple[KeySpec, ...]
    # None: what the organisation has set itself stays.
    jurisdictions: tuple[str, ...] | None = None
    contacts: tuple[tuple[ContactRole, Personal[str]], ...] | None = None
    custody: CustodySpec = field(default_factory=CustodySpec)
    groups: tuple[GroupSpec, ...] = ()
    rules: OrgRulesSpec = field(default_factory=OrgRulesSpec)
    teams: tuple[TeamSpec, ...] = ()
    exceptions: tuple[ExceptionSpec, ...] = ()
    limits: Mapping[str, Mapping[str, object]] | None = None
    """Of calling (policy/limits.py), by level."""


@dataclass(frozen=True, slots=True)
class Desired:
    """A whole provisioning file, checked."""

    trunks: tuple[TrunkSpec, ...]
    orgs: tuple[OrgSpec, ...]
    subprocessors: tuple[SubprocessorSpec, ...] = ()
    policies: tuple[PolicySpec, ...] = ()
    message_centres: tuple[CentreSpec, ...] = ()
    rates: Mapping[str, Mapping[str, Rate]] = field(default_factory=dict)
    """Rate tables by trunk; one that is not named keeps what it has."""
