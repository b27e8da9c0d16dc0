"""/v1/voice-security: which countries agents may reach, and what the judge says of a destination."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal, assert_never

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.problems import Problem, invalid
from hushwire.api.routers.fraud import AllLimits, LimitsChange, all_limits, change_limits, check_limits
from hushwire.api.routers.rule_proposals import Proposal, shown
from hushwire.api.values import Body, ClassName, Country
from hushwire.policy import calling_hours
from hushwire.policy.four_eyes import ALL
from hushwire.policy.groups import GROUPS, expand
from hushwire.policy.model import PERMITTED_CLASSES, Allow, AllowContact, Channel, Deny, Emergency, Malformed, NumberClass, Verdict
from hushwire.policy.numbers import has_numbering
from hushwire.policy.terms import MOST_WINDOWS, hours_of, said_hours, said_terms, terms_of
from hushwire.policy.territories import TERRITORIES
from hushwire.services.agent_rules import zone_name
from hushwire.services.limits import Shown
from hushwire.services.rule_changes import Change, Outdated, ZoneGuarded
from hushwire.services.voice_security import NoAgent, WhatIf
from hushwire.store.rules import RulesRow

router = APIRouter(prefix="/v1/voice-security", tags=["voice security"])

Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Changing = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
Checking = Annotated[Caller, Depends(needs(Permission.CHECK))]


def _hours(value: str) -> str:
    calling_hours.parse(value)
    return value


def _guarded(value: str) -> str:
    if value != ALL and value not in TERRITORIES and value not in PERMITTED_CLASSES:
        raise ValueError("must be a code of a country, a class that can be permitted, or *")
    return value


def _group(value: str) -> str:
    if value.casefold() not in {name.casefold() for name in GROUPS}:
        raise ValueError(f"is no group: {', '.join(GROUPS)}")
    return value


def _terms(value: dict[str, Any]) -> dict[str, Any]:
    if not value.keys() <= TERRITORIES.keys() | PERMITTED_CLASSES:
        raise ValueError("must be by codes of countries and classes that can be permitted")
    try:
        return said_terms(terms_of(value))
    except (TypeError, OverflowError):
        raise ValueError("can't be read: ways, until and windows are words, a time and a list") from None


def _windows(value: list[Any]) -> list[Any]:
    try:
        return list(said_hours(hours_of(value)))
    except (TypeError, OverflowError):
        raise ValueError("can't be read: days, from and to are a list and two times of day") from None


Group = Annotated[str, Field(max_length=64), AfterValidator(_group)]
JustTerms = Annotated[dict[str, Any], Field(max_length=400), AfterValidator(_terms)]
JustHours = Annotated[list[Any], Field(max_length=MOST_WINDOWS), AfterValidator(_windows)]
ShortCode = Annotated[str, Field(pattern=r"^[0-9]{2,8}$")]
TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(zone_name)]
Guarded = Annotated[str, Field(max_length=20), AfterValidator(_guarded)]
HoursEntry = Annotated[str, Field(max_length=40), AfterValidator(_hours)]
ToLive = Annotated[bool, Query(description="Also end calls under way, on every node, that could not be made any more.")]
LONGEST_DESTINATION: Final = 65_536
_MOST_COUNTRIES: Final = 300
_CHANGES: Final = frozenset(
    {
        "allowed_countries",
        "country_groups",
        "classes",
        "terms",
        "hours",
        "short_codes",
        "time_zone",
        "telemarketing_hours",
        "four_eyes",
        "limits",
    }
)


class VoiceSecurity(BaseModel):
    """The rules. An empty list of countries lets nothing out but emergency calls."""

    version: int
    home_country: str
    outside_prefix: str | None
    allowed_countries: list[str]
    classes: list[str]
    terms: dict[str, Any] = Field(description="Of single countries and classes: calls or messages only, an end, hours of the week.")
    hours: list[dict[str, Any]] = Field(description="When anything but emergency calls goes out at all; empty: always.")
    short_codes: list[str]
    time_zone: str = Field(description="In which hours and windows are meant.")
    telemarketing_hours: list[str] = Field(description="When telemarketing may reach whom; empty: at any hour.")
    live_rules_version: int = Field(description="Calls that began under older rules were judged anew, and ended where not allowed.")
    four_eyes: list[str] = Field(description="Countries and classes that two must agree to before they open; *: all.")
    limits: AllLimits = Field(description="How much of calling is normal (docs/fraud.md).")
    updated_at: datetime
    waits: Proposal | None = Field(default=None, description="What of the change waits for a second person (202).")


class VoiceSecurityChange(Body):
    """New lists; what is left out stays as it is. What GET answers may be sent back as a whole."""

    allowed_countries: list[Country] | None = Field(default=None, max_length=_MOST_COUNTRIES)
    country_groups: list[Group] | None = Field(
        default=None, max_length=20, description="Names as EU: their countries are added to allowed_countries, else to those saved."
    )
    classes: list[ClassName] | None = Field(default=None, max_length=20)
    terms: JustTerms | None = None
    hours: JustHours | None = None
    short_codes: list[ShortCode] | None = Field(default=None, max_length=1000)
    time_zone: TimeZone | None = None
    telemarketing_hours: list[HoursEntry] | None = Field(default=None, max_length=calling_hours.MOST)
    four_eyes: list[Guarded] | None = Field(default=None, max_length=_MOST_COUNTRIES)
    limits: LimitsChange | None = Field(default=None, description="See PUT /v1/voice-security/limits.")
    version: int | None = Field(default=None, ge=0, description="Change only if the rules still have this version (else 409).")
    home_country: str | None = Field(default=None, description="Only as it is: `hushwire apply` changes it.")
    outside_prefix: str | None = Field(default=None, description="Only as it is: `hushwire apply` changes it.")
    updated_at: str | None = Field(default=None, description="Ignored.")
    live_rules_version: int | None = Field(default=None, description="Ignored: see apply_to_live.")
    waits: Any = Field(default=None, description="Ignored.")

    @model_validator(mode="after")
    def _says_something(self) -> "VoiceSecurityChange":
        if all(getattr(self, name) is None for name in _CHANGES):
            raise ValueError("give allowed_countries, classes or another list that is to change")
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
    telemarketing: bool = Field(default=False, description="As of a campaign, whoever the agent: the do-not-call set and the hours hold.")
    rules: Rules | None = None


class Answer(BaseModel):
    """The verdict, in one sentence too."""

    verdict: Literal["allow", "deny", "emergency", "malformed"]
    number: str | None = Field(description="What would leave: +E.164, or an emergency number.")
    country: str | None
    rule: str | None = Field(description="What decided: of which level which list, terms, hours, exception or risk pack.")
    number_class: str | None = Field(alias="class")
    reason: str | None
    explanation: str


@router.get("")
async def get_rules(means: Given, caller: Reading) -> VoiceSecurity:
    """The rules as they are saved now."""
    return _shown(await means.voice_security.rules(caller.org_id), await means.limits.of_all(caller.org_id))


@router.put("", responses={202: {"model": VoiceSecurity, "description": "Saved but for what waits for a second person."}})
async def put_rules(
    means: Given, caller: Changing, response: Response, body: VoiceSecurityChange, apply_to_live: ToLive = False
) -> VoiceSecurity:
    """Save new lists. The next call on every node obeys them within a second.

    What would open a guarded country or class waits until somebody else approves it; the rest is saved.
    """
    if body.home_country is not None or body.outside_prefix is not None:
        saved = await means.voice_security.rules(caller.org_id)
        if body.home_country not in (None, saved.home_country):
            raise invalid("home_country", "is changed by hushwire apply, not here")
        if body.outside_prefix not in (None, saved.outside_prefix):
            raise invalid("outside_prefix", "is changed by hushwire apply, not here")
    countries = None if body.allowed_countries is None else frozenset(body.allowed_countries)
    if body.country_groups is not None:
        listed = (await means.voice_security.rules(caller.org_id)).allowed_countries if countries is None else countries
        countries = frozenset(listed) | expand(body.country_groups)
    change = Change(
        allowed_countries=countries,
        classes=None if body.classes is None else frozenset(NumberClass(name) for name in body.classes),
        terms=None if body.terms is None else terms_of(body.terms),
        hours=None if body.hours is None else hours_of(body.hours),
        short_codes=None if body.short_codes is None else frozenset(body.short_codes),
        time_zone=body.time_zone,
        telemarketing_hours=None if body.telemarketing_hours is None else tuple(body.telemarketing_hours),
        four_eyes=None if body.four_eyes is None else frozenset(body.four_eyes),
        version=body.version,
        applies_to_live=apply_to_live,
    )
    if body.limits is not None:
        check_limits(body.limits)
    found = await means.voice_security.change(caller.org_id, change, actor=caller.actor)
    if isinstance(found, Outdated):
        raise Problem(409, f"The rules were changed meanwhile: they stand at version {found.version}.", version=found.version)
    if isinstance(found, ZoneGuarded):
        detail = "What two must agree to stands under windows, which would be other hours there: have the windows taken off first."
        raise Problem(409, detail, reason="guarded-windows")
    if body.limits is not None:
        await change_limits(means, caller, body.limits)
    if found.waits is not None:
        response.status_code = 202
    limits, rules = await means.limits.of_all(caller.org_id), found.rules
    if body.limits is not None:
        rules = await means.voice_security.rules(caller.org_id)
    return _shown(rules, limits).model_copy(update={"waits": None if found.waits is None else shown(found.waits, means.clock.now())})


@router.post(
    "/check",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Question"}}}}
    },
)
async def check(request: Request, means: Given, caller: Checking) -> Answer:
    """The verdict on a destination, without any side effect. Any text up to 64 KiB has one."""
    question, destination = _question(await request.body())
    verdict = await means.voice_security.check(
        caller.org_id,
        destination,
        question.channel,
        agent=question.agent,
        what_if=None if question.rules is None else what_if_of(question.rules),
        is_telemarketing=question.telemarketing,
    )
    if isinstance(verdict, NoAgent):
        raise Problem(404, "The organisation has no such agent.")
    answer = answered(verdict)
    means.metrics.note_verdict(answer.verdict)
    return answer


def what_if_of(rules: Rules) -> WhatIf:
    """The rules to try."""
    return WhatIf(
        home_country=rules.home_country,
        allowed_countries=None if rules.allowed_countries is None else frozenset(rules.allowed_countries),
        classes=None if rules.classes is None else frozenset(NumberClass(name) for name in rules.classes),
        outside_prefix=rules.outside_prefix or None,
        has_outside_prefix="outside_prefix" in rules.model_fields_set,
    )


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


def answered(verdict: Verdict) -> Answer:
    """A verdict as the API gives it."""
    match verdict:
        case Allow():
            said: dict[str, Any] = {
                "verdict": "allow",
                "number": verdict.number,
                "country": verdict.country,
                "class": verdict.number_class,
                "rule": verdict.rule or None,
            }
        case AllowContact():
            said = {"verdict": "allow"}
        case Deny():
            said = {
                "verdict": "deny",
                "number": verdict.number,
                "country": verdict.country,
                "class": verdict.number_class,
                "reason": verdict.reason,
                "rule": verdict.rule or None,
            }
        case Emergency():
            said = {"verdict": "emergency", "number": verdict.number, "country": verdict.country, "class": NumberClass.EMERGENCY}
        case Malformed():
            said = {"verdict": "malformed", "reason": verdict.reason}
        case _:
            assert_never(verdict)
    empty = {"number": None, "country": None, "class": None, "reason": None, "rule": None}
    return Answer.model_validate(empty | said | {"explanation": verdict.explanation})


def _shown(row: RulesRow, limits: dict[str, Shown]) -> VoiceSecurity:
    return VoiceSecurity(
        limits=all_limits(limits),
        version=row.version,
        home_country=row.home_country,
        outside_prefix=row.outside_prefix,
        allowed_countries=sorted(row.allowed_countries),
        classes=sorted(row.classes),
        terms=json.loads(row.terms),
        hours=json.loads(row.hours),
        short_codes=list(row.short_codes),
        time_zone=row.time_zone,
        telemarketing_hours=list(row.telemarketing_hours),
        live_rules_version=row.live_rules_version,
        four_eyes=list(row.four_eyes),
        updated_at=row.updated_at,
    )
