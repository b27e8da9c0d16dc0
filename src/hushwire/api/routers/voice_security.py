"""/v1/voice-security: which countries agents may reach, and what the judge says of a destination."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal, assert_never

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.problems import Problem, invalid
from hushwire.api.values import Body, ClassName, Country
from hushwire.policy.model import Allow, AllowContact, Channel, Deny, Emergency, Malformed, NumberClass, Verdict
from hushwire.policy.numbers import has_numbering
from hushwire.services.voice_security import Change, NoAgent, Outdated, WhatIf
from hushwire.store.rules import RulesRow

router = APIRouter(prefix="/v1/voice-security", tags=["voice security"])

Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Changing = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
Checking = Annotated[Caller, Depends(needs(Permission.CHECK))]

LONGEST_DESTINATION: Final = 65_536
_MOST_COUNTRIES: Final = 300


class VoiceSecurity(BaseModel):
    """The rules. An empty list of countries lets nothing out but emergency calls."""

    version: int
    home_country: str
    outside_prefix: str | None
    allowed_countries: list[str]
    classes: list[str]
    updated_at: datetime


class VoiceSecurityChange(Body):
    """New lists; what is left out stays as it is. What GET answers may be sent back as a whole."""

    allowed_countries: list[Country] | None = Field(default=None, max_length=_MOST_COUNTRIES)
    classes: list[ClassName] | None = Field(default=None, max_length=20)
    version: int | None = Field(default=None, ge=0, description="Change only if the rules still have this version (else 409).")
    home_country: str | None = Field(default=None, description="Only as it is: `hushwire apply` changes it.")
    outside_prefix: str | None = Field(default=None, description="Only as it is: `hushwire apply` changes it.")
    updated_at: str | None = Field(default=None, description="Ignored.")

    @model_validator(mode="after")
    def _says_something(self) -> "VoiceSecurityChange":
        if self.allowed_countries is None and self.classes is None:
            raise ValueError("give allowed_countries, classes or both")
        return self


class Rules(Body):
    """Rules to try; what is left out is taken from the saved ones."""

    home_country: Country | None = None
    allowed_countries: list[Country] | None = Field(default=None, max_length=_MOST_COUNTRIES)
    classes: list[ClassName] | None = Field(default=None, max_length=20)
    outside_prefix: str | None = Field(default=None, pattern=r"^[0-9*]{0,5}$")

    @model_validator(mode="after")
    def _home_dials(self) -> "Rules":
        if self.home_country is not None and not has_numbering(self.home_country):
            raise ValueError("home_country has no numbering plan of its own")
        return self


class Question(Body):
    """A destination, and by which way it would be reached."""

    destination: str = Field(
        max_length=LONGEST_DESTINATION,
        description="A user part as dialled, a SIP, tel or urn URI, or for header channels the header's value.",
    )
    channel: Channel
    agent: str | None = Field(default=None, max_length=128, description="Id or username of an agent: its lists are used.")
    rules: Rules | None = None


class Answer(BaseModel):
    """The verdict, in one sentence too."""

    verdict: Literal["allow", "deny", "emergency", "malformed"]
    number: str | None = Field(description="What would leave: +E.164, or an emergency number.")
    country: str | None
    number_class: str | None = Field(alias="class")
    reason: str | None
    explanation: str


@router.get("")
async def get_rules(means: Given, caller: Reading) -> VoiceSecurity:
    """The rules as they are saved now."""
    return _shown(await means.voice_security.rules(caller.org_id))


@router.put("")
async def put_rules(means: Given, caller: Changing, body: VoiceSecurityChange) -> VoiceSecurity:
    """Save new lists. The next call on every node obeys them within a second."""
    if body.home_country is not None or body.outside_prefix is not None:
        saved = await means.voice_security.rules(caller.org_id)
        if body.home_country not in (None, saved.home_country):
            raise invalid("home_country", "is changed by hushwire apply, not here")
        if body.outside_prefix not in (None, saved.outside_prefix):
            raise invalid("outside_prefix", "is changed by hushwire apply, not here")
    change = Change(
        allowed_countries=None if body.allowed_countries is None else frozenset(body.allowed_countries),
        classes=None if body.classes is None else frozenset(NumberClass(name) for name in body.classes),
        version=body.version,
    )
    found = await means.voice_security.change(caller.org_id, change, actor=caller.actor)
    if isinstance(found, Outdated):
        raise Problem(409, f"The rules were changed meanwhile: they stand at version {found.version}.", version=found.version)
    return _shown(found)


@router.post(
    "/check",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Question"}}}}
    },
)
async def check(request: Request, means: Given, caller: Checking) -> Answer:
    """The verdict on a destination, without any side effect. Any text up to 64 KiB has one."""
    question, destination = _question(await request.body())
    what_if = None
    if question.rules is not None:
        rules = question.rules
        what_if = WhatIf(
            home_country=rules.home_country,
            allowed_countries=None if rules.allowed_countries is None else frozenset(rules.allowed_countries),
            classes=None if rules.classes is None else frozenset(NumberClass(name) for name in rules.classes),
            outside_prefix=rules.outside_prefix or None,
            has_outside_prefix="outside_prefix" in rules.model_fields_set,
        )
    verdict = await means.voice_security.check(caller.org_id, destination, question.channel, agent=question.agent, what_if=what_if)
    if isinstance(verdict, NoAgent):
        raise Problem(404, "The organisation has no such agent.")
    answer = _answer(verdict)
    means.metrics.note_verdict(answer.verdict)
    return answer


def _question(body: bytes) -> tuple[Question, str]:
    """The question and its destination, which may hold what a validated string can't: a lone surrogate is a JSON string too."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.") from None
    destination = said.get("destination") if isinstance(said, dict) else None
    if isinstance(destination, str) and len(destination) <= LONGEST_DESTINATION:
        said = {**said, "destination": ""}
    try:
        question = Question.model_validate(said, strict=False)
    except ValidationError as error:
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]) from None
    return question, destination if isinstance(destination, str) else question.destination


def _answer(verdict: Verdict) -> Answer:
    match verdict:
        case Allow():
            said: dict[str, Any] = {"verdict": "allow", "number": verdict.number, "country": verdict.country, "class": verdict.number_class}
        case AllowContact():
            said = {"verdict": "allow"}
        case Deny():
            said = {
                "verdict": "deny",
                "number": verdict.number,
                "country": verdict.country,
                "class": verdict.number_class,
                "reason": verdict.reason,
            }
        case Emergency():
            said = {"verdict": "emergency", "number": verdict.number, "country": verdict.country, "class": NumberClass.EMERGENCY}
        case Malformed():
            said = {"verdict": "malformed", "reason": verdict.reason}
        case _:
            assert_never(verdict)
    empty = {"number": None, "country": None, "class": None, "reason": None}
    return Answer.model_validate(empty | said | {"explanation": verdict.explanation})


def _shown(row: RulesRow) -> VoiceSecurity:
    return VoiceSecurity(
        version=row.version,
        home_country=row.home_country,
        outside_prefix=row.outside_prefix,
        allowed_countries=sorted(row.allowed_countries),
        classes=sorted(row.classes),
        updated_at=row.updated_at,
    )
