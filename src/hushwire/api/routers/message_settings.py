"""/v1/messages/settings, templates and numbers: who sends, what is sent again and again, and where messages to a number go."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Limit, Page
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.routers.messages import TemplateName, Text
from hushwire.api.values import Body, Id, parsed_id
from hushwire.policy.territories import TERRITORIES
from hushwire.services.message_senders import what_is_wrong_with
from hushwire.services.message_settings import Target, TemplateView
from hushwire.sms.stop_words import LANGUAGES
from hushwire.store.message_settings import Settings

router = APIRouter(prefix="/v1/messages", tags=["messages"])

Reading = Annotated[Caller, Depends(needs(Permission.MESSAGES_SEND))]
Changing = Annotated[Caller, Depends(needs(Permission.MESSAGES_CHANGE))]
Way = Literal["own", "alphanumeric", "pool"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


def _once(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("names each once")
    return values


def _language(value: str) -> str:
    if value not in LANGUAGES:
        raise ValueError(f"is one of {', '.join(sorted(LANGUAGES))}")
    return value


def _name(value: str) -> str:
    if (problem := what_is_wrong_with(value)) is not None:
        raise ValueError(problem)
    return value


def _place(value: str) -> str:
    if value != "*" and value not in TERRITORIES:
        raise ValueError("is an ISO 3166-1 alpha-2 code, or *")
    return value


def _amount(value: str) -> str:
    if not 0 <= Decimal(value) < 1000:
        raise ValueError("must lie between 0 and 1000")
    return value


class MessageSettings(Body):
    """How the organisation's messages are sent."""

    senders: Annotated[list[Way], AfterValidator(_once)] = Field(
        default=["own", "pool"], min_length=1, max_length=3, description="Who is tried as sender, in this order."
    )
    alphanumeric: Annotated[str, AfterValidator(_name)] | None = Field(
        default=None, description="At most 11 characters; can't be answered."
    )
    languages: Annotated[list[Annotated[str, AfterValidator(_language)]], AfterValidator(_once)] = Field(
        default=["en", "de", "fr", "es", "it"], max_length=20, description="Whose words and sentences for stop are understood."
    )
    folds: bool = Field(default=False, description="Typographic quotes, dashes and blanks become plain ones.")
    needs_consent: bool = Field(default=True, description="Marketing goes only to numbers with a consent to it.")
    prices: dict[
        Annotated[str, AfterValidator(_place)], Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?$"), AfterValidator(_amount)]
    ] = Field(default_factory=dict, max_length=300, description="Of one part, by country; * elsewhere.")
    currency: Currency | None = None
    most_per_day: int | None = Field(default=None, ge=0, le=100_000_000, description="Parts accepted in a UTC day; null: no limit.")
    answers_per_day: int = Field(
        default=500, ge=0, le=1_000_000, description="Answers to stop and help in a UTC day, to numbers that were not written to."
    )


class MessageTemplate(BaseModel):
    """A text with places for values, such as {name}."""

    id: UUID
    name: str
    text: str
    marketing: bool
    created_at: datetime
    updated_at: datetime


class NewTemplate(Body):
    """A template's name, which messages give, and what it says."""

    name: TemplateName
    text: Text
    marketing: bool = Field(default=False, description="Of a campaign: whatever is sent from it is marketing.")


class TemplateText(Body):
    """What a template says from now on, and whether it is a campaign's."""

    text: Text
    marketing: bool | None = Field(default=None, description="Left out: as it is.")


class NumberTarget(Body):
    """Where messages to a number go, and whether it may be the sender for anybody."""

    target: Literal["agent", "team", "webhook", "nobody"]
    agent_id: UUID | None = Field(default=None, strict=False)
    group_id: UUID | None = Field(default=None, strict=False, description="A ring group: each member's phones get it.")
    pooled: bool = False
    marketing: bool | None = Field(default=None, description="Campaigns come from it: whatever it sends is marketing. Left out: as it is.")

    @model_validator(mode="after")
    def _fits(self) -> "NumberTarget":
        if (self.target == "agent") != (self.agent_id is not None) or (self.target == "team") != (self.group_id is not None):
            raise ValueError("give agent_id for an agent, group_id for a team, and neither otherwise")
        return self


@router.get("/settings")
async def get_message_settings(means: Given, caller: Reading) -> MessageSettings:
    """As they stand."""
    return _settings(await means.messages.settings.get(caller.org_id))


@router.put("/settings")
async def put_message_settings(means: Given, caller: Changing, body: MessageSettings) -> MessageSettings:
    """Instead of what there was; the next message obeys."""
    new = Settings(
        tuple(body.senders),
        body.alphanumeric,
        tuple(body.languages),
        body.folds,
        body.needs_consent,
        dict(body.prices),
        body.currency,
        body.most_per_day,
        body.answers_per_day,
    )
    return _settings(await means.messages.settings.put(caller.org_id, new, actor=caller.actor))


@router.get("/templates")
async def list_message_templates(
    means: Given, caller: Reading, limit: Limit = 50, after: Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = None
) -> Page[MessageTemplate]:
    """Templates by name; `next` is what `after` takes."""
    views, more = await means.messages.settings.templates(caller.org_id, after=after, limit=limit)
    return Page(items=[_template(view) for view in views], next=more)


@router.post("/templates", status_code=201)
async def add_message_template(means: Given, caller: Changing, body: NewTemplate) -> MessageTemplate:
    """A new template. 409 where one has this name already."""
    made = await means.messages.settings.add_template(caller.org_id, body.name, body.text, is_marketing=body.marketing, actor=caller.actor)
    if made is None:
        raise Problem(409, "There is a template of this name.")
    return _template(made)


@router.put("/templates/{template_id}")
async def put_message_template(means: Given, caller: Changing, template_id: Id, body: TemplateText) -> MessageTemplate:
    """Another text for it; messages that were sent from it stay as they are."""
    found = await means.messages.settings.put_template(
        caller.org_id, parsed_id(template_id), body.text, is_marketing=body.marketing, actor=caller.actor
    )
    if found is None:
        raise not_found()
    return _template(found)


@router.delete("/templates/{template_id}", status_code=204, response_class=Response)
async def drop_message_template(means: Given, caller: Changing, template_id: Id) -> Response:
    """Messages that were sent from it stay as they are."""
    if not await means.messages.settings.drop_template(caller.org_id, parsed_id(template_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


@router.get("/numbers/{number_id}")
async def get_message_target(means: Given, caller: Reading, number_id: Id) -> NumberTarget:
    """Where messages to this number go."""
    found = await means.messages.settings.target(caller.org_id, parsed_id(number_id))
    if found is None:
        raise not_found()
    return _target(found)


@router.put("/numbers/{number_id}")
async def put_message_target(means: Given, caller: Changing, number_id: Id, body: NumberTarget) -> NumberTarget:
    """From the next message on."""
    wanted = Target(body.target, body.agent_id, body.group_id, body.pooled, body.marketing)
    match found := await means.messages.settings.put_target(caller.org_id, parsed_id(number_id), wanted, actor=caller.actor):
        case None:
            raise not_found()
        case str():
            raise invalid("agent_id" if found == "agent" else "group_id", "is none of the organisation's")
        case Target():
            return _target(found)
        case _:
            assert_never(found)


def _settings(found: Settings) -> MessageSettings:
    return MessageSettings(
        senders=list(found.senders),  # type: ignore[arg-type]
        alphanumeric=found.alphanumeric,
        languages=list(found.languages),
        folds=found.folds,
        needs_consent=found.needs_consent,
        prices=dict(found.prices),
        currency=found.currency,
        most_per_day=found.most_per_day,
        answers_per_day=found.answers_per_day,
    )


def _template(view: TemplateView) -> MessageTemplate:
    return MessageTemplate(
        id=view.id,
        name=view.name,
        text=view.text,
        marketing=view.is_marketing,
        created_at=view.created_at,
        updated_at=view.updated_at,
    )


def _target(found: Target) -> NumberTarget:
    return NumberTarget(
        target=found.target,  # type: ignore[arg-type]
        agent_id=found.agent_id,
        group_id=found.group_id,
        pooled=found.is_pooled,
        marketing=found.is_marketing,
    )
