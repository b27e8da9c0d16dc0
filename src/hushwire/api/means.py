"""What the routers are handed, and how they ask who calls."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

from hushwire.api.access import Caller, Permission
from hushwire.api.metrics import Metrics
from hushwire.api.problems import Problem
from hushwire.core.clock import Clock
from hushwire.services.audit_exports import AuditExports
from hushwire.services.call_actions import CallActions
from hushwire.services.clocks import Clocks
from hushwire.services.custody import Custodian
from hushwire.services.erasure import Erasures
from hushwire.services.holds import Holds
from hushwire.services.notices import Notices
from hushwire.services.organisation import Organisations
from hushwire.services.queries import Queries
from hushwire.services.recordings import Recordings
from hushwire.services.recordings_sealed import SealedRecordings
from hushwire.services.rights import Rights
from hushwire.services.voice_security import VoiceSecurity
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
    erasures: Erasures
    holds: Holds
    voice_security: VoiceSecurity
    actions: CallActions
    rights: Rights
    audit_exports: AuditExports
    custodian: Custodian
    sealed: SealedRecordings
    metrics: Metrics
    clocks: Clocks
    notices: Notices
    organisations: Organisations


async def _means(request: Request) -> Means:
    means = request.app.state.means
    assert isinstance(means, Means)
    return means


Given = Annotated[Means, Depends(_means)]


def needs(permission: Permission) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, whose role must have the permission (else 403)."""

    async def caller(request: Request, _: Annotated[object, Security(_bearer)]) -> Caller:
        found = request.state.caller
        assert isinstance(found, Caller)
        if not found.may(permission):
            raise Problem(403, f"A key of the role {found.role} does not have the permission {permission.value}.")
        return found

    return caller


PurposeHeader = Annotated[
    str | None,
    Header(alias="Hushwire-Purpose", description="Why content is read; without it the key's own purpose."),
]


def reader(caller: Caller) -> Why:
    """What the access log says of a read that needs no purpose of its own."""
    return Why(caller.actor, caller.default_purpose)
