"""/v1/carriers: what HTTP carriers say of messages, and bring. A signature opens it, not a key (docs/http-carriers.md)."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Request, Response
from pydantic import AwareDatetime, Field, ValidationError

from hushwire.api.means import Given, Means
from hushwire.api.problems import Problem
from hushwire.api.values import Body, Id
from hushwire.services.carrier_callbacks import MOST_BODY, Brought, Told
from hushwire.services.voice_security import as_uuid
from hushwire.sms.smpp.receipts import Fate

T = TypeVar("T", bound=Body)
# Not described: only carriers come here, and what opens it is no key of an organisation.
router = APIRouter(prefix="/v1/carriers/{carrier_id}", include_in_schema=False)
OLDEST: Final = timedelta(days=7)
"""A message that says that it is older counts as that old: a carrier does not decide when a message's retention is over."""
_FIELDS: Final = frozenset({"id", "from", "to", "text", "at", "status", "error"})
RequestId = Annotated[str | None, Header(alias="webhook-id", max_length=256)]
Timestamp = Annotated[str | None, Header(alias="webhook-timestamp", max_length=32)]
Signature = Annotated[str | None, Header(alias="webhook-signature", max_length=2048)]
Word = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Party = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[\x20-\x7e]+$")]


class CarrierMessage(Body):
    """A message that a carrier brings. `id` is the carrier's own: the same again changes nothing."""

    id: Word
    sender: Party = Field(alias="from")
    to: Party
    text: str = Field(max_length=10_000)
    at: Annotated[AwareDatetime, Field(strict=False)] | None = None


class CarrierReceipt(Body):
    """What became of a message. `id` is what the carrier called it when it took it."""

    id: Word
    to: Party
    status: Literal["pending", "delivered", "failed", "expired"]
    error: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")] | None = None


@router.post("/messages", status_code=202)
async def take_message(
    means: Given, request: Request, carrier_id: Id, request_id: RequestId = None, timestamp: Timestamp = None, signature: Signature = None
) -> Response:
    """A message for one of our numbers. Acknowledged once it is committed; the same request again is acknowledged too.

    503: it can't be taken now, nothing of it was kept, and it is to be brought again.
    """
    centre_id, body = await _signed(means, request, carrier_id, request_id, timestamp, signature)
    said = _read(CarrierMessage, body)
    now: datetime = means.clock.now()
    at = now if said.at is None else min(max(said.at, now - OLDEST), now)
    brought = Brought(said.id, said.sender, said.to, said.text, at)
    if not await means.callbacks.take_message(centre_id, request_id or "", brought):
        raise Problem(503, "The message can't be taken now: bring it again later.")
    return Response(status_code=202)


@router.post("/receipts", status_code=202)
async def take_receipt(
    means: Given, request: Request, carrier_id: Id, request_id: RequestId = None, timestamp: Timestamp = None, signature: Signature = None
) -> Response:
    """What became of a message of ours."""
    centre_id, body = await _signed(means, request, carrier_id, request_id, timestamp, signature)
    said = _read(CarrierReceipt, body)
    await means.callbacks.take_receipt(centre_id, request_id or "", Told(said.id, said.to, Fate(said.status), said.error))
    return Response(status_code=202)


async def _signed(
    means: Means, request: Request, carrier_id: str, request_id: str | None, timestamp: str | None, signature: str | None
) -> tuple[UUID, bytes]:
    body = await request.body()
    if len(body) > MOST_BODY:
        raise Problem(413, "The body is larger than 64 KiB.")
    centre_id = as_uuid(carrier_id)
    is_from = centre_id is not None and await means.callbacks.is_from(centre_id, request_id or "", timestamp or "", signature or "", body)
    if centre_id is None or not is_from or not request_id:
        # One answer for a carrier that is none, for a wrong signature, and for one of another time.
        raise Problem(401, "The request is not signed by this carrier, or not just now.")
    return centre_id, body


def _read(kind: type[T], body: bytes) -> T:
    try:
        return kind.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, RecursionError):
        raise Problem(400, "The body is not JSON.") from None
    except ValidationError as error:
        fields = sorted({str(item["loc"][0]) for item in error.errors() if item["loc"] and item["loc"][0] in _FIELDS})
        raise Problem(422, "A value is not valid.", errors=[{"field": name, "message": "is not valid"} for name in fields]) from None
