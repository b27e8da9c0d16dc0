"""Values of requests that several paths share: ids, times, agents, numbers, keys of idempotency."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import Header, Path, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from hushwire.api.access import Caller
from hushwire.api.problems import invalid, not_found
from hushwire.core.ids import AgentId
from hushwire.policy.model import PERMITTED_CLASSES, NumberClass
from hushwire.policy.territories import TERRITORIES
from hushwire.services.queries import Queries
from hushwire.services.voice_security import as_uuid

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_MISTAKEN: Final = {"UK": "GB", "EN": "GB", "EL": "GR", "KO": "XK", "KS": "XK", "RKS": "XK"}


class Body(BaseModel):
    """The JSON object of a request: a field that it does not know is an error, and types are not bent."""

    model_config = ConfigDict(extra="forbid", strict=True)


Id = Annotated[str, Path(description="The id of the thing, a UUID.")]


def parsed_id(text: str) -> UUID:
    """The id of a path. What is no id is not found, like an id that nobody has."""
    found = as_uuid(text)
    if found is None:
        raise not_found()
    return found


def _moment(value: object) -> object:
    # A "+" of an offset that was not escaped arrives as a blank.
    return value.replace(" ", "+") if isinstance(value, str) and value.count(" ") == 1 and "T" in value else value


def _plausible(value: datetime) -> datetime:
    if not _EARLIEST <= value < _LATEST:
        raise ValueError("must lie between the years 1970 and 9000")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_plausible)]
BodyMoment = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_plausible)]
From = Annotated[Moment | None, Query(alias="from", description="Begun at this time or later (RFC 3339, with its offset).")]
To = Annotated[Moment | None, Query(alias="to", description="Begun before this time.")]
AgentQuery = Annotated[str | None, Query(max_length=128, description="Id or username of an agent.")]
TypedNumber = Annotated[str, Field(min_length=1, max_length=64, description="A phone number as a person types it.")]

NOBODY: Final = AgentId(UUID(int=0))


async def agent_of(queries: Queries, caller: Caller, agent: str | None) -> AgentId | None:
    """The id behind an `agent=`; `NOBODY` for one that the organisation does not have, which matches nothing."""
    if not agent:
        return None
    return await queries.agent_id(caller.org_id, agent) or NOBODY


async def indexes_of(queries: Queries, caller: Caller, number: str) -> list[bytes]:
    """Blind indexes of a typed number. Problem 422 for what is no number."""
    found = await queries.number_indexes(caller.org_id, number)
    if found is None:
        raise invalid("number", 'must be a phone number such as "+493023125000"')
    return found


def _country(value: str) -> str:
    if value in TERRITORIES:
        return value
    if value.upper() in TERRITORIES and value.isascii():
        raise ValueError("write the code in capitals, such as DE")
    if meant := _MISTAKEN.get(value.upper()):
        raise ValueError(f"is not an ISO 3166-1 code: the code meant may be {meant}")
    raise ValueError("is not an ISO 3166-1 alpha-2 code of a country or territory, such as DE")


def _class(value: str) -> NumberClass:
    if value not in PERMITTED_CLASSES:
        raise ValueError(f"is not a class that can be permitted: {', '.join(sorted(PERMITTED_CLASSES))}")
    return NumberClass(value)


Country = Annotated[str, AfterValidator(_country), Field(json_schema_extra={"enum": sorted(TERRITORIES)})]
ClassName = Annotated[str, AfterValidator(_class), Field(json_schema_extra={"enum": sorted(PERMITTED_CLASSES)})]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Repeat a request under the same key, and it is carried out once.",
    ),
]


def request_hash(caller: Caller, *parts: str) -> bytes:
    """What an Idempotency-Key stands for: the same caller asking the same."""
    return hashlib.sha256("\x00".join((str(caller.key_id), *parts)).encode()).digest()
