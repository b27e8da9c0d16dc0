"""/v1/agents/{id}/devices: the credentials of an agent's phones, each made, shown once, listed and revoked alone."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.problems import Problem, not_found
from hushwire.api.values import Body, Id, parsed_id
from hushwire.services.devices import MOST_DEVICES, DeviceView, Minted, TooMany

router = APIRouter(prefix="/v1/agents/{agent_id}/devices", tags=["directory"])
Reading = Annotated[Caller, Depends(needs(Permission.DIRECTORY))]
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]


def _printable(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("must be 1 to 100 printable characters")
    return value


class DeviceCredential(BaseModel):
    """A credential of an agent's. The agent's own password, as provisioned, has the agent's id and no login of its own."""

    id: UUID
    name: str
    login: str | None = Field(description="The user name of its digest.")
    state: Literal["waiting", "active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewDevice(Body):
    """A device to make a credential for."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
    ttl_s: Annotated[int, Field(ge=60, le=86_400)] | None = Field(
        default=None,
        description="The credential ends by itself after so many seconds: for the web phone, say. Without: when it is revoked.",
    )
    waits: bool = Field(
        default=False, description="Make no password now: the device gets it when its link is opened (POST .../devices/{id}/link)."
    )


class MintedDevice(BaseModel):
    """A new device's credential. The password is shown here and never again."""

    id: UUID
    sip_uri: str = Field(description="The address of record: the agent's, the same for all of its devices.")
    domain: str = Field(description="What a phone calls its registrar or domain; the proxy is wherever the deployment is reached.")
    login: str = Field(description="The user name for authentication; the display and address part is the agent's username.")
    password: str | None = Field(description="None for a device that waits for its link to be opened.")
    realm: str
    expires_at: datetime | None
    note: str | None = Field(default=None, description="Where this was minted before and nothing is shown: how to get another one.")


@router.get("")
async def list_devices(means: Given, caller: Reading, agent_id: Id) -> list[DeviceCredential]:
    """The agent's own password and its devices, oldest first; revoked ones too. What is registered now stands in `/v1/agents/{id}`."""
    views = await means.devices.listed(caller.org_id, parsed_id(agent_id), reader(caller))
    if views is None:
        raise not_found()
    return [_shown(view) for view in views]


@router.post("", status_code=201)
async def add_device(means: Given, caller: Changing, agent_id: Id, body: NewDevice) -> MintedDevice:
    """Make a credential for one more device of the agent. Every gateway takes it within a second."""
    found = await means.devices.add(caller.org_id, parsed_id(agent_id), body.name, actor=caller.actor, ttl_s=body.ttl_s, waits=body.waits)
    return minted(means.sip_domain, granted(found))


@router.delete("/{device_id}", status_code=204)
async def revoke_device(means: Given, caller: Changing, agent_id: Id, device_id: Id) -> Response:
    """Revoke a device: it is registered no more, and its live calls end, an emergency call excepted. Safe to repeat.

    The agent's own password is revoked under the agent's id; provisioning gives it a new one.
    """
    if not await means.devices.revoke(caller.org_id, parsed_id(agent_id), parsed_id(device_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


def granted(found: Minted | TooMany | None) -> Minted:
    """A credential that was made. Problem 404 or 409 where none was."""
    if found is None:
        raise not_found()
    if isinstance(found, TooMany):
        raise Problem(409, f"The agent has {MOST_DEVICES} devices: revoke one that is not used any more.")
    return found


def minted(realm: str, found: Minted, note: str | None = None) -> MintedDevice:
    """A credential as it is shown, once."""
    domain = f"{found.slug}.{realm}"
    return MintedDevice(
        id=found.id,
        sip_uri=f"sip:{found.username}@{domain}",
        domain=domain,
        login=found.login,
        password=found.password,
        realm=realm,
        expires_at=found.expires_at,
        note=note,
    )


def _shown(view: DeviceView) -> DeviceCredential:
    return DeviceCredential(
        id=view.id,
        name=view.name,
        login=view.login,
        state=view.state,  # type: ignore[arg-type]
        created_at=view.created_at,
        expires_at=view.expires_at,
        revoked_at=view.revoked_at,
    )
