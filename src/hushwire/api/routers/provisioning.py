"""One-time links for phones' accounts: made with a key, opened by whoever holds the link."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.problems import not_found
from hushwire.api.values import Body, Id, parsed_id
from hushwire.services.phone_accounts import linphone, sheet
from hushwire.services.provisioning_links import LINK_S, qr_code

router = APIRouter(tags=["directory"])
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]


class Form(StrEnum):
    """What a link is answered with."""

    LINPHONE = "linphone"
    SHEET = "sheet"


class NewLink(Body):
    """How long the link is good."""

    ttl_s: Annotated[int, Field(ge=60, le=604_800)] = LINK_S


class ProvisioningLink(BaseModel):
    """A link that can be opened once. It is shown here and never again."""

    url: str = Field(description="Linphone's remote provisioning; with ?form=sheet a text to type from, for any phone.")
    qr_svg: str = Field(description="The link as a QR code, for Linphone's camera.")
    expires_at: datetime


@router.post("/v1/agents/{agent_id}/devices/{device_id}/link", status_code=201)
async def make_link(means: Given, caller: Changing, agent_id: Id, device_id: Id, body: NewLink, request: Request) -> ProvisioningLink:
    """A one-time link to a device's account; the link before it is void. Opening it gives the device a new password."""
    found = await means.links.make(caller.org_id, parsed_id(agent_id), parsed_id(device_id), actor=caller.actor, ttl_s=body.ttl_s)
    if found is None:
        raise not_found()
    url = f"{str(request.base_url).rstrip('/')}/provisioning/{found.token}"
    return ProvisioningLink(url=url, qr_svg=qr_code(url), expires_at=found.expires_at)


@router.get("/provisioning/{token}", response_class=Response)
async def open_link(means: Given, token: Annotated[str, Path(max_length=128)], form: Form = Form.LINPHONE) -> Response:
    """The account behind a link, once: 404 ever after, as for a link that never was."""
    account = await means.links.open(token)
    if account is None:
        raise not_found()
    if form is Form.SHEET:
        return Response(sheet(account), media_type="text/plain")
    return Response(linphone(account), media_type="application/xml")
