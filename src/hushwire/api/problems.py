"""RFC 9457 problems: every error that the API answers with. No value that came in a request is ever repeated in one."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hushwire.core.errors import CustomerHeld, KeyUnavailable, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2

_TITLES: Final = {
    400: ("malformed", "The request can't be read"),
    401: ("unauthorized", "An API key is needed"),
    403: ("forbidden", "The API key does not allow this"),
    404: ("not-found", "There is no such thing here"),
    405: ("method-not-allowed", "The method is not offered here"),
    408: ("too-slow", "The request did not come in time"),
    409: ("conflict", "This can't be done in the present state"),
    410: ("gone", "It was erased"),
    412: ("precondition-failed", "It is not what If-Match names"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "Only JSON is read"),
    416: ("range", "The range lies behind the end"),
    422: ("invalid", "A value is not valid"),
    429: ("too-many-requests", "Too many requests"),
    500: ("internal", "Something went wrong on our side"),
    503: ("unavailable", "Not available right now"),
}
# Names of fields are repeated only where they look like a field's name: a stranger's key could hold anything.
_FIELD: Final = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)


class Problem(Exception):
    """An error to answer with. `detail` is one sentence for people that holds nothing out of the request."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def response(problem: Problem) -> Response:
    """The answer that carries a problem."""
    slug, title = _TITLES.get(problem.status, ("error", HTTPStatus(problem.status).phrase))
    body = {"type": f"urn:hushwire:problem:{slug}", "title": title, "status": problem.status, "detail": problem.detail, **problem.more}
    return Response(orjson.dumps(body), problem.status, problem.headers, MEDIA_TYPE)


def not_found() -> Problem:
    """The one answer for what does not exist and for what is another organisation's."""
    return Problem(404, "Nothing is known under this id.")


def customer_held() -> Problem:
    """It is there, and hushwire can't open it."""
    detail = "Only your key opens this: fetch it sealed, with its envelopes, and open it with hushwire open-recording."
    return Problem(409, detail, custody="customer")


def unavailable(detail: str = "A part of the system does not answer: try again.", retry_after_s: int = RETRY_AFTER_S) -> Problem:
    """Not now."""
    return Problem(503, detail, headers={"Retry-After": str(retry_after_s)})


def restricted() -> Problem:
    """What is kept, and not shown."""
    return Problem(403, "Its processing is restricted: it is kept, and not shown until the restriction is lifted.", reason="restricted")


def held(hold_id: UUID, reason: str) -> Problem:
    """A legal hold keeps it."""
    detail = "A legal hold keeps this: nothing was erased. What was asked for is noted and is carried out when the hold is released."
    return Problem(409, detail, hold=str(hold_id), reason=reason)


def invalid(field: str, message: str) -> Problem:
    """One field whose value is not valid."""
    return Problem(422, f"{field}: {message}", errors=[{"field": field, "message": message}])


def install(app: FastAPI) -> None:
    """Answer every error as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(KeyUnavailable, _unavailable)
    app.add_exception_handler(CustomerHeld, _customer_held)
    app.add_exception_handler(Exception, _internal)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error)


async def _unavailable(_request: Request, _error: Exception) -> Response:
    return response(unavailable())


async def _customer_held(_request: Request, _error: Exception) -> Response:
    return response(customer_held())


async def _internal(_request: Request, _error: Exception) -> Response:
    # The gate in front logs it.
    return response(Problem(500, "The request could not be carried out."))


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        400: "The body is not JSON.",
        404: "There is no such path.",
        408: "The body was not whole in time.",
        413: "The body is larger than 1 MiB.",
        405: "This path does not offer the method: see the Allow header.",
    }
    return response(Problem(error.status_code, details.get(error.status_code, "The request was refused."), headers=error.headers))


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return response(Problem(400, "The body is not JSON."))
    errors = [{"field": _place(item), "message": _message(item)} for item in found[:20]]
    return response(Problem(422, "; ".join(f"{item['field']}: {item['message']}" for item in errors[:3]), errors=errors))


def _place(item: Mapping[str, Any]) -> str:
    location: Sequence[str | int] = item["loc"]
    parts = []
    for part in location[1:]:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            parts.append(f".{part}" if _FIELD.fullmatch(part) else ".(unknown)")
    return "".join(parts).lstrip(".") or str(location[0])


def _message(item: Mapping[str, Any]) -> str:
    kind = str(item["type"])
    if kind == "extra_forbidden":
        return "is not a field of this request"
    if kind == "value_error":
        # Our own validators: their words hold no input.
        return str(item["ctx"]["error"]) if "ctx" in item else "is not valid"
    if kind in ("literal_error", "enum"):
        return f"must be one of {item['ctx']['expected']}"
    return {
        "missing": "is missing",
        "uuid_parsing": "is not an id",
        "string_unicode": "is not Unicode text",
        "json_type": "is not JSON",
    }.get(kind, _plain(str(item["msg"])))


def _plain(message: str) -> str:
    """pydantic's own sentence up to where it would begin to tell what it was given."""
    sentence = re.split(r"[,:;(]", message, maxsplit=1)[0]
    return sentence.replace("Input should", "should").strip() or "is not valid"
