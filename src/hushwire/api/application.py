"""The HTTP application: routers, problems instead of errors, and a description that tells the truth."""

import asyncio
from typing import Any, Final

import orjson
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from hushwire import __version__
from hushwire.api import problems
from hushwire.api.authentication import Authenticator
from hushwire.api.gate import Gate
from hushwire.api.means import Means
from hushwire.api.routers import (
    access_requests,
    account_deletions,
    agreement,
    auditing,
    audits,
    breaches,
    calls,
    carriers,
    cases,
    clocks,
    consents,
    contacts,
    custody,
    devices,
    directory,
    do_not_call,
    dpa,
    erasures,
    events,
    exports,
    forwarding,
    fraud,
    greeting,
    holds,
    keys,
    listening,
    masking,
    message_settings,
    messages,
    notices,
    number_exceptions,
    operation,
    organisation,
    privacy,
    provisioning,
    readings,
    recordings,
    refusals,
    requests,
    restrictions,
    retention,
    ring_groups,
    rule_proposals,
    sealed,
    simulation,
    teams,
    termination,
    voice_security,
    voicemail,
    webhooks,
)
from hushwire.api.routers.voice_security import Question

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Nothing that came in the request is repeated in it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
}
_ALWAYS: Final = {"500": "Our fault.", "503": "Not now: see Retry-After."}
_GUARDED: Final = {
    "400": "Not JSON.",
    "401": "No valid API key.",
    "403": "The key's role or the purpose does not allow it.",
    "404": "Unknown here, or another organisation's.",
    "408": "The body was not whole in time.",
    "409": "Not in the present state.",
    "410": "Erased.",
    "412": "If-Match names other bytes.",
    "413": "The body is larger than 1 MiB.",
    "415": "Not application/json.",
    "416": "The range lies behind the end: see Content-Range.",
    "422": "A value is not valid.",
    "429": "Too many requests: see Retry-After.",
}

_ROUTERS: Final = (
    access_requests,
    rule_proposals,
    simulation,
    voice_security,
    calls,
    recordings,
    listening,
    voicemail,
    events,
    webhooks,
    carriers,
    masking,
    message_settings,
    messages,
    sealed,
    custody,
    contacts,
    directory,
    forwarding,
    fraud,
    ring_groups,
    number_exceptions,
    teams,
    greeting,
    devices,
    provisioning,
    erasures,
    holds,
    requests,
    retention,
    exports,
    restrictions,
    consents,
    do_not_call,
    privacy,
    keys,
    clocks,
    notices,
    organisation,
    account_deletions,
    operation,
    auditing,
    readings,
    refusals,
    breaches,
    agreement,
    cases,
    termination,
    dpa,
    audits,
)


def application(means: Means, *, is_tls: bool) -> ASGIApp:
    """The whole application, ready to be served."""
    app = FastAPI(
        title="hushwire",
        version=__version__,
        description="Calls, recordings, voice security and privacy of one organisation. Authorization: Bearer hw_...",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=None,
    )
    app.state.means = means
    problems.install(app)
    for module in _ROUTERS:
        # Their routes are whole as they are: included, each of hundreds would be made once more while the first request waits.
        app.router.routes.extend(module.router.routes)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    told: list[bytes] = []
    telling = asyncio.Lock()

    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        # Made once, however many ask at once, and not on the loop: it takes about a second, and anybody may ask for it.
        async with telling:
            if not told:
                told.append(await asyncio.to_thread(lambda: orjson.dumps(app.openapi())))
        return Response(told[0], media_type="application/json")

    return Gate(app, Authenticator(means.main, means.clock), means.metrics, means.clock, is_tls=is_tls)


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with problems where errors are answered."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    question = Question.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= question.pop("$defs", {})
    schemas["Question"] = question
    for path, operations in found["paths"].items():
        for described in operations.values():
            answers = described["responses"]
            answers.pop("422", None)
            for status, words in (_ALWAYS | _GUARDED if path.startswith("/v1/") else _ALWAYS).items():
                answers[status] = {
                    "description": words,
                    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
    app.openapi_schema = found
    return found
