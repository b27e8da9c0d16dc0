"""What the routers are handed, and how they ask who calls."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, assert_never

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

from hushwire.api.access import OPENING, Caller, Permission
from hushwire.api.metrics import Metrics
from hushwire.api.problems import Problem
from hushwire.core.clock import Clock
from hushwire.privacy.purposes import Refusal
from hushwire.services.access_requests import AccessRequests
from hushwire.services.account_deletions import AccountDeletions
from hushwire.services.agent_forwarding import AgentForwarding
from hushwire.services.agreement import Agreement
from hushwire.services.annexes import Annexes
from hushwire.services.audit_exports import AuditExports
from hushwire.services.audits import Audits
from hushwire.services.breaches import Breaches
from hushwire.services.call_actions import CallActions
from hushwire.services.call_requests import CallRequests
from hushwire.services.carrier_callbacks import CarrierCallbacks
from hushwire.services.clocks import Clocks
from hushwire.services.consents import Consents
from hushwire.services.custody import Custodian
from hushwire.services.devices import Devices
from hushwire.services.do_not_call import DoNotCall
from hushwire.services.dpa import Dpa
from hushwire.services.erasure import Erasures
from hushwire.services.event_feed import EventFeed
from hushwire.services.exception_settings import ExceptionSettings
from hushwire.services.fraud_alarms import FraudAlarms
from hushwire.services.greeting_uploads import GreetingUploads
from hushwire.services.greetings import Greetings
from hushwire.services.group_settings import GroupSettings
from hushwire.services.holds import Holds
from hushwire.services.limits import Limits
from hushwire.services.masking import Masking
from hushwire.services.messages import Messages
from hushwire.services.notices import Notices
from hushwire.services.organisation import Organisations
from hushwire.services.provisioning_links import ProvisioningLinks
from hushwire.services.queries import Queries
from hushwire.services.readings import Readings
from hushwire.services.recordings import Recordings
from hushwire.services.recordings_sealed import SealedRecordings
from hushwire.services.recordings_shipping import Spool
from hushwire.services.retention import RetentionRules
from hushwire.services.rights import Rights
from hushwire.services.simulation import Simulation
from hushwire.services.team_settings import TeamSettings
from hushwire.services.voice_security import VoiceSecurity
from hushwire.services.voicemail_queries import VoicemailQueries
from hushwire.services.webhooks import Webhooks
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

# For the description only: the gate in front has looked at the header already.
_bearer = HTTPBearer(auto_error=False, bearerFormat="hw_...", description="An API key of the organisation.")


@dataclass(frozen=True, slots=True)
class Means:
    """Everything that a router may use."""

    main: Database = field(repr=False)
    keyring_db: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    clock: Clock
    queries: Queries
    recordings: Recordings
    spool: Spool
    erasures: Erasures
    holds: Holds
    retention: RetentionRules
    voice_security: VoiceSecurity
    forwarding: AgentForwarding
    simulation: Simulation
    access_requests: AccessRequests
    actions: CallActions
    call_requests: CallRequests
    rights: Rights
    audit_exports: AuditExports
    custodian: Custodian
    sealed: SealedRecordings
    breaches: Breaches
    dpa: Dpa
    annexes: Annexes
    audits: Audits
    readings: Readings
    metrics: Metrics
    agreement: Agreement
    clocks: Clocks
    notices: Notices
    organisations: Organisations
    account_deletions: AccountDeletions
    consents: Consents
    do_not_call: DoNotCall
    fraud_alarms: FraudAlarms
    limits: Limits
    devices: Devices
    groups: GroupSettings
    teams: TeamSettings
    exceptions: ExceptionSettings
    masking: Masking
    messages: Messages
    links: ProvisioningLinks
    voicemail: VoicemailQueries
    greetings: Greetings
    greeting_uploads: GreetingUploads
    webhooks: Webhooks
    callbacks: CarrierCallbacks
    events: EventFeed
    sip_domain: str


async def _means(request: Request) -> Means:
    means = request.app.state.means
    assert isinstance(means, Means)
    return means


Given = Annotated[Means, Depends(_means)]


PurposeHeader = Annotated[
    str | None,
    Header(alias="Hushwire-Purpose", description="Why personal data is read; without it the key's own purpose."),
]


def needs(permission: Permission, *, opens: bool | None = None) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, whose role must have the permission (else 403).

    Where personal values are opened (`OPENING`, or `opens`) it also judges why: the purpose, the customer's instruction, the undertaking
    (else 403, and a row of the audit log). Only such a caller has a `why`, and nothing opens without one.
    """

    async def caller(request: Request, _: Annotated[object, Security(_bearer)]) -> Caller:
        found = request.state.caller
        assert isinstance(found, Caller)
        if not found.may(permission):
            raise Problem(403, f"A key of the role {found.role} does not have the permission {permission.value}.")
        return found

    async def reading_caller(request: Request, bearer: Annotated[object, Security(_bearer)], purpose: PurposeHeader = None) -> Caller:
        found = await caller(request, bearer)
        means = await _means(request)
        wanted = purpose or found.default_purpose
        refused = await means.readings.judge(
            found.org_id, found.actor, wanted, of_the_role=found.may_read_for(wanted), permission=permission.value
        )
        if refused is not None:
            raise _refusals(refused)
        return replace(found, why=Why(found.actor, wanted))

    return reading_caller if (permission in OPENING if opens is None else opens) else caller


def reader(caller: Caller) -> Why:
    """Who reads and for what. Only for callers of paths that open personal values: anything else is our mistake."""
    if caller.why is None:
        raise LookupError("this path opens personal values: its permission must be among OPENING, or say opens=True")
    return caller.why


def _refusals(refused: Refusal) -> Problem:
    match refused:
        case Refusal.PURPOSE:
            return Problem(403, "This purpose is unknown, or not one that the key's role may open content for.", reason=refused.value)
        case Refusal.INSTRUCTION:
            detail = "The organisation does not allow this purpose: see GET /v1/privacy/purposes."
            return Problem(403, detail, reason=refused.value, purposes="/v1/privacy/purposes")
        case Refusal.UNDERTAKING:
            detail = "Nothing opens without a signed undertaking of confidentiality: read and sign it at /v1/privacy/undertakings."
            return Problem(403, detail, reason=refused.value, sign_at="/v1/privacy/undertakings")
        case _:
            assert_never(refused)
