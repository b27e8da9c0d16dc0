"""The ASGI shell around every request: size and type of the body, who asks, how often, headers of the answer, one line of log.

Nothing of a path, query or body is logged: the line has the route's template, and the caller's key id.
"""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hushwire.api import problems
from hushwire.api.access import Caller
from hushwire.api.authentication import Authenticator
from hushwire.api.limits import CARRIERS, CHECKS, PUBLIC, REQUESTS, STRANGERS, Buckets
from hushwire.api.metrics import Metrics
from hushwire.api.problems import Problem
from hushwire.core.clock import Clock
from hushwire.core.errors import KeyUnavailable, Unavailable

MOST_BODY: Final = 1 << 20
MOST_FILE: Final = 16 << 20
"""Of what is given as a file; which of them how large may be is the path's own affair."""
_FILES: Final = re.compile(r"/v1/agents/[^/]+/greeting", re.ASCII)
BODY_WITHIN_S: Final = 20.0
_LEFT: Final = 499
CHECK_PATH: Final = "/v1/voice-security/check"
CARRIERS_PATH: Final = "/v1/carriers/"
_AFTER_THE_END: Final = ("/v1/privacy/erasures", "/v1/privacy/receipts", "/v1/privacy/termination", "/v1/audit")
"""What a key of an erased organisation may still ask for."""

_PROBES: Final = ("/healthz", "/readyz", "/metrics")
_SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_log = structlog.get_logger(__name__)


class Gate:
    """Wraps the application. `is_tls` adds HSTS."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, metrics: Metrics, clock: Clock, *, is_tls: bool) -> None:
        self._app = app
        self._authenticator = authenticator
        self._metrics = metrics
        self._checks, self._requests = Buckets(CHECKS, clock), Buckets(REQUESTS, clock)
        self._carriers = Buckets(CARRIERS, clock)
        self._strangers, self._public = Buckets(STRANGERS, clock), Buckets(PUBLIC, clock)
        self._headers = _SECURITY | ({"Strict-Transport-Security": "max-age=31536000"} if is_tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        is_begun = False

        async def sending(message: Message) -> None:
            nonlocal status, is_begun
            if message["type"] == "http.response.start":
                is_begun, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        scope.setdefault("state", {})
        try:
            problem = await self._refused(scope)
            if problem is not None:
                await problems.response(problem)(scope, receive, sending)
            else:
                await self._app(scope, _limited(receive, MOST_FILE if _is_file(scope) else MOST_BODY), sending)
        except ClientDisconnect:
            # Gone before its body was whole: nobody is left to answer, and no fault of ours.
            status = _LEFT
        except Exception as error:
            _log.error("http.failed", route=_route(scope), exc_info=error)
            await self._fail(Problem(500, "The request could not be carried out."), scope, receive, sending, is_begun)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    async def _fail(self, problem: Problem, scope: Scope, receive: Receive, send: Send, is_begun: bool) -> None:
        # Once an answer has begun there is no other way to say that it is not whole than to end the connection without its end.
        if not is_begun:
            await problems.response(problem)(scope, receive, send)

    async def _refused(self, scope: Scope) -> Problem | None:
        """Why the request goes no further; sets the caller in the scope's state where it may."""
        headers = Headers(scope=scope)
        if problem := _body_problem(scope, headers):
            return problem
        path = scope["path"]
        address = scope["client"][0] if scope.get("client") else ""
        if not path.startswith("/v1/"):
            wait_s = 0.0 if path in _PROBES else self._public.take(address)
            return _slower(wait_s) if wait_s else None
        if path.startswith(CARRIERS_PATH):
            # A carrier has no key: its signature is looked at where the path is served.
            wait_s = self._carriers.take(address)
            return _slower(wait_s) if wait_s else None
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        try:
            caller = await self._authenticator.caller(authorization)
        except (Unavailable, KeyUnavailable):
            return problems.unavailable()
        if caller is None:
            if wait_s := self._strangers.take(address):
                return _slower(wait_s)
            detail = "Send Authorization: Bearer hw_..., with a key that is not revoked."
            return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="hushwire"'})
        if caller.is_ended and not path.startswith(_AFTER_THE_END):
            return Problem(410, "The organisation was erased: only its erasure's progress and proofs are left.")
        buckets = self._checks if path == CHECK_PATH else self._requests
        if wait_s := buckets.take(str(caller.key_id)):
            return _slower(wait_s)
        scope["state"]["caller"] = caller
        return None

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route, caller = _route(scope), scope["state"].get("caller")
        self._metrics.note(scope["method"], route, status, seconds)
        if route not in _PROBES:
            fields: dict[str, Any] = {"method": _method(scope), "route": route, "status": status, "ms": round(seconds * 1000, 1)}
            if isinstance(caller, Caller):
                fields |= {"key_id": str(caller.key_id), "org_id": str(caller.org_id)}
            # Checks come by the hundred and change nothing.
            (_log.debug if route == CHECK_PATH and status == 200 else _log.info)("http.request", **fields)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


def _route(scope: MutableMapping[str, Any]) -> str:
    found = getattr(scope.get("route"), "path", None)
    return found if isinstance(found, str) else "none"


def _is_file(scope: Scope) -> bool:
    """Whether the body is a file rather than JSON."""
    return scope["method"] == "PUT" and _FILES.fullmatch(scope["path"]) is not None


def _body_problem(scope: Scope, headers: Headers) -> Problem | None:
    method, is_file = scope["method"], _is_file(scope)
    length = headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdigit()):
        return Problem(400, "Content-Length is not a number.")
    if length is not None and int(length[:20]) > (MOST_FILE if is_file else MOST_BODY):
        return Problem(413, "The file is larger than 16 MiB." if is_file else "The body is larger than 1 MiB.")
    has_body = (length not in (None, "0")) or "transfer-encoding" in headers
    if has_body and method in ("POST", "PUT", "PATCH"):
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not is_file and media_type != "application/json":
            return Problem(415, "Send the body as application/json.")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            return Problem(415, "Send the body without a Content-Encoding.")
    return None


def _limited(receive: Receive, most: int) -> Callable[[], Awaitable[Message]]:
    """The body in bounds: at most `most` bytes, whole within `BODY_WITHIN_S` of its first reading."""
    size, is_whole, until = 0, False, 0.0

    async def receiving() -> Message:
        nonlocal size, is_whole, until
        if is_whole:
            return await receive()
        until = until or asyncio.get_running_loop().time() + BODY_WITHIN_S
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > most:
                raise HTTPException(413)
        return message

    return receiving


def _slower(wait_s: float) -> Problem:
    return Problem(429, "The limit of requests is used up for now.", headers={"Retry-After": str(max(1, math.ceil(wait_s)))})
