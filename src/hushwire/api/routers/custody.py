"""/v1/privacy/custody: who holds the keys of recordings; the customer's own keys, and the proof that they are held."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, BodyMoment, Id, parsed_id
from hushwire.services.custody import Challenged, KeyView, NoSuchKey, Refused, View
from hushwire.vault.recipients import Algorithm, RecipientKeyError, load_public

router = APIRouter(prefix="/v1/privacy/custody", tags=["privacy"])
Holding = Annotated[Caller, Depends(needs(Permission.CUSTODY))]
ModeName = Literal["hushwire", "both", "customer"]
T = TypeVar("T")

_WORDS: Final[dict[str, str]] = {
    "hushwire": "New recordings open under hushwire's keys: it can play, measure and export them.",
    "both": "New recordings open under hushwire's keys and under yours.",
    "customer": "New recordings open under your keys only: hushwire can't play, measure or export them, and nobody can without them.",
}
_EARLIER: Final = " Recordings that exist stay as they were sealed."
_NOTHING: Final = " There is no active, unexpired key of yours: nothing can be recorded until there is one."


def _printable(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("must be 1 to 100 printable characters")
    return value


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]


class CustodyKey(BaseModel):
    """One of the customer's public keys. `pending`: nothing is sealed to it before its challenge is answered."""

    id: UUID
    name: str
    algorithm: Algorithm
    fingerprint: str = Field(description="The key id that envelopes name it by, hexadecimal.")
    state: Literal["pending", "active", "retired"]
    expires_at: datetime | None = Field(description="Nothing is sealed to it from then on.")
    has_expired: bool
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None


class CustodyState(BaseModel):
    """Who can open what is recorded from now on."""

    mode: ModeName
    version: int
    can_record: bool = Field(description="False: no key of a recording can be sealed as the mode wants it, so nothing is recorded.")
    note: str
    keys: list[CustodyKey]


class CustodyMode(Body):
    """The mode to set."""

    mode: ModeName


class NewKey(Body):
    """A public key to register: PEM text, a JSON Web Key, or the raw bytes in base64 or base64url."""

    name: Name
    algorithm: Annotated[Algorithm, Field(strict=False)]
    public_key: Annotated[str, Field(max_length=32768)] | dict[str, Any]
    expires_at: BodyMoment | None = None


class KeyChange(Body):
    """Another name or end; `expires_at` null: it does not end by itself."""

    name: Name
    expires_at: BodyMoment | None


class Challenge(BaseModel):
    """What the holder of the private key has to answer (`hushwire prove-key`)."""

    key: CustodyKey
    challenge: str = Field(description="An envelope of the kind challenge, base64.")
    answer_until: datetime


class Answer(Body):
    """The answer to the newest challenge."""

    answer: Annotated[str, Field(max_length=200, description="32 bytes, hexadecimal or base64.")]


@router.get("")
async def get_custody(means: Given, caller: Holding) -> CustodyState:
    """The mode and the keys."""
    return _shown(await means.custodian.view(caller.org_id))


@router.put("")
async def put_custody(means: Given, caller: Holding, body: CustodyMode) -> CustodyState:
    """Set the mode. It is true of recordings that begin after the answer, on every node."""
    return _shown(_granted(await means.custodian.set_mode(caller.org_id, body.mode, actor=caller.actor)))


@router.post("/keys", status_code=201)
async def add_key(means: Given, caller: Holding, body: NewKey) -> Challenge:
    """Register a public key; the same pending key again: a new challenge."""
    _not_past(means, body.expires_at)
    try:
        key = load_public(body.algorithm, body.public_key)
    except RecipientKeyError as error:
        raise invalid("public_key", str(error)) from None
    return _challenge(_granted(await means.custodian.add(caller.org_id, body.name, key, body.expires_at, actor=caller.actor)))


@router.put("/keys/{key_id}")
async def change_key(means: Given, caller: Holding, key_id: Id, body: KeyChange) -> CustodyState:
    """Another name, another end."""
    _not_past(means, body.expires_at)
    found = await means.custodian.describe(caller.org_id, parsed_id(key_id), name=body.name, expires_at=body.expires_at, actor=caller.actor)
    return _shown(_granted(found))


@router.post("/keys/{key_id}/challenge")
async def new_challenge(means: Given, caller: Holding, key_id: Id) -> Challenge:
    """A new challenge for a pending key; an earlier one is void."""
    return _challenge(_granted(await means.custodian.challenge(caller.org_id, parsed_id(key_id))))


@router.post("/keys/{key_id}/proof")
async def prove_key(means: Given, caller: Holding, key_id: Id, body: Answer) -> CustodyState:
    """Answer the challenge: the key becomes active, and recordings that begin from now on are sealed to it if the mode says so."""
    return _shown(_granted(await means.custodian.prove(caller.org_id, parsed_id(key_id), _answer(body.answer), actor=caller.actor)))


@router.delete("/keys/{key_id}")
async def remove_key(means: Given, caller: Holding, key_id: Id) -> CustodyState:
    """Retire a key at once (a pending one is forgotten): nothing more is sealed to it. What was sealed to it still opens with it."""
    return _shown(_granted(await means.custodian.remove(caller.org_id, parsed_id(key_id), actor=caller.actor)))


def _not_past(means: Means, moment: datetime | None) -> None:
    if moment is not None and moment <= means.clock.now():
        raise invalid("expires_at", "lies in the past: to end a key now, delete it")


def _granted(found: T | NoSuchKey | Refused) -> T:
    if isinstance(found, NoSuchKey):
        raise not_found()
    if isinstance(found, Refused):
        raise Problem(409, found.why)
    return found


def _answer(text: str) -> bytes:
    try:
        if len(text) == 64:
            return bytes.fromhex(text)
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise invalid("answer", "must be 32 bytes, hexadecimal or base64") from None


def _challenge(found: Challenged) -> Challenge:
    return Challenge(key=_key(found.key), challenge=base64.b64encode(found.challenge).decode(), answer_until=found.until)


def _shown(found: View) -> CustodyState:
    note = _WORDS[found.mode] + _EARLIER + ("" if found.can_record else _NOTHING)
    return CustodyState(mode=found.mode, version=found.version, can_record=found.can_record, note=note, keys=[_key(k) for k in found.keys])


def _key(found: KeyView) -> CustodyKey:
    return CustodyKey(
        id=found.id,
        name=found.name,
        algorithm=found.algorithm,
        fingerprint=found.fingerprint.hex(),
        state=found.state,
        expires_at=found.expires_at,
        has_expired=found.has_expired,
        created_at=found.created_at,
        activated_at=found.activated_at,
        retired_at=found.retired_at,
    )
