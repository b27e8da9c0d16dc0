"""Who sent a request: digest answers and nothing else (RFC 3261 section 22). No address and no other header is believed."""

from collections.abc import Callable
from typing import Protocol

import structlog

from hushwire.core.values import frozen
from hushwire.services.directory import Directory
from hushwire.services.snapshot import Agent, Credential, Organisation
from hushwire.sip import refusals
from hushwire.sip.digest import AnswerOf, Authorization, Challenger, Outcome, parse_authorization
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.repeated import New
from hushwire.sip.uri import SipUri

log = structlog.get_logger()


@frozen
class Known:
    """The request is this agent's, from the device whose credential it bears (the agent's own password has the agent's id)."""

    org: Organisation
    agent: Agent
    credential: Credential
    is_here: bool = False
    """Of a REGISTER: whether the device receives where it seems to be, so that nobody else wrote that address on it."""


@frozen
class Unknown:
    """Answer `status` with `headers`: a challenge, or a plain refusal."""

    status: int
    headers: tuple[Line, ...] = ()


class Watcher(Protocol):
    """Who counts failures, and bounds how often one credential is used (services/guard.py)."""

    def failed(self, flow: Flow, *, is_proven: bool) -> None:
        """A wrong digest; `is_proven`: it echoes a nonce that was sent to this address."""

    def succeeded(self, flow: Flow) -> None:
        """A right digest."""

    def would_admit(self, credential: str) -> bool:
        """What `admits` would say; nothing is counted."""

    def admits(self, credential: str) -> bool:
        """Whether one more request under this proven credential may be looked at."""


CallsForHelp = Callable[[Organisation, Agent, Request, Flow | None], bool]
"""Whether an INVITE is an emergency call by the judge's word (services/emergencies.py)."""


class Authenticator:
    """Checks agents' requests against the directory, on one realm."""

    def __init__(
        self,
        directory: Directory,
        challenger: Challenger,
        monotonic: Callable[[], float],
        watcher: Watcher | None = None,
        calls_for_help: CallsForHelp = lambda _org, _agent, _request, _flow: False,
    ) -> None:
        self._watcher = watcher
        self._calls_for_help = calls_for_help
        self._directory = directory
        self._challenger = challenger
        self._monotonic = monotonic

    def identify(self, request: Request, flow: Flow | None = None) -> Known | Unknown:
        """The agent whose password made the answer; else the challenge to send.

        Unknown users, wrong passwords and agents without credentials can't be told apart by answer or work done. An INVITE under a
        locked credential is let through to who can tell an emergency call from others. A suspended agent's, and one beyond what a
        credential may ask, is let through where it is an emergency call: by its digest, which nobody has but a device of ours.
        """
        now = self._monotonic()
        source = "" if flow is None else flow.remote.host
        try:
            answer = answer_of(request)
        except ParseError as error:
            # RFC 3261 section 22.4: credentials that can't be read are met with a fresh challenge, unless they break the grammar.
            return Unknown(400) if error.status == 400 else self._challenge(now, source)
        if answer is None:
            return self._challenge(now, source)
        found = self._directory.find_credential(answer.username, host_of(request))
        kept = None if found is None else found[2].ha1.get(ha1_name_of(answer))
        outcome = self._challenger.check(answer, kept, method=request.method, uri=request.uri, now=now)
        if outcome in (Outcome.STALE, Outcome.REPLAY):
            if outcome is Outcome.REPLAY:
                log.warning("agent.nonce_replayed", method=request.method)
            return self._challenge(now, source, stale=True)
        if outcome is Outcome.BAD or found is None:
            log.info("agent.not_authenticated", method=request.method)
            if self._watcher is not None and flow is not None:
                self._watcher.failed(flow, is_proven=self._challenger.is_issued_to(answer.nonce, source, now))
            return self._challenge(now, source)
        org, agent, credential = found
        if self._watcher is not None and flow is not None:
            self._watcher.succeeded(flow)
            if not self._watcher.admits(str(credential.id)) and not self._is_for_help(org, agent, request, flow):
                log.warning("agent.too_many_requests", agent=str(agent.id), method=request.method)
                return Unknown(503, (("Retry-After", "2"),))
        if credential.is_locked and request.method != "INVITE":
            log.info("agent.locked", agent=str(agent.id), method=request.method)
            return Unknown(403, (("Reason", refusals.header("credential-locked")),))
        if agent.is_suspended and not self._is_for_help(org, agent, request, flow):
            log.info("agent.suspended", agent=str(agent.id))
            return Unknown(403, (("Reason", refusals.header("suspended")),))
        if request.method != "REGISTER" or flow is None:
            return Known(org, agent, credential)
        is_here = flow.transport.is_reliable or self._challenger.is_issued_to(answer.nonce, source, now)
        return Known(org, agent, credential, is_here)

    def ask_again(self, flow: Flow) -> Unknown:
        """The challenge for who showed its password, and whose nonce alone will not do: no user is asked.

        It is too old, or it was not sent to where the device seems to be.
        """
        return self._challenge(self._monotonic(), flow.remote.host, stale=True)

    def recognise(self, answer: AnswerOf, ha1_name: str, new: New, host: str) -> Known | None:
        """Who sent a REGISTER that repeats one which `identify` knew, as far as that can be told without changing anything.

        None for everybody of whom `identify` would say anything else, but for the nonce, which `use` looks at.
        `ha1_name` says what the answer is made with, `host` is that of the address of record. `is_here` is not looked for.
        """
        found = self._directory.find_credential(answer.username, host)
        if found is None:
            return None
        org, agent, credential = found
        ha1 = credential.ha1.get(ha1_name)
        if ha1 is None or credential.is_locked or agent.is_suspended:
            return None
        if self._watcher is not None and not self._watcher.would_admit(str(credential.id)):
            return None
        return Known(org, agent, credential) if answer.is_right(new.response, ha1, new.nonce, new.uses, new.cnonce) else None

    def use(self, known: Known, new: New, flow: Flow) -> Outcome:
        """OK where the nonce's count is new in what `recognise` knew: it is used up then, and what `identify` counts is counted.

        Where it is not, nothing has changed: `identify` finds the same.
        """
        outcome = self._challenger.use(new.nonce.decode(), int(new.uses, 16), self._monotonic())
        if outcome is Outcome.OK and self._watcher is not None:
            self._watcher.succeeded(flow)
            self._watcher.admits(str(known.credential.id))
        return outcome

    def _is_for_help(self, org: Organisation, agent: Agent, request: Request, flow: Flow | None) -> bool:
        return request.method == "INVITE" and self._calls_for_help(org, agent, request, flow)

    def _challenge(self, now: float, source: str, *, stale: bool = False) -> Unknown:
        values = self._challenger.challenge(now, stale=stale, source=source)
        return Unknown(401, tuple(("WWW-Authenticate", value) for value in values))


def answer_of(request: Request) -> Authorization | None:
    """What a request says to a challenge; None where it says nothing. Raises ParseError."""
    for value in request.headers.all("Authorization"):
        if value.lstrip(" \t")[:7].lower() == "digest ":
            return parse_authorization(value)
    return None


def ha1_name_of(answer: Authorization) -> str:
    """Which of a credential's H(A1) an answer is made with: one for each algorithm, and for each way to write the user's name."""
    return f"{answer.algorithm.value}/{'username@slug' if '@' in answer.username else 'username'}"


def host_of(request: Request) -> str:
    """The domain under which a bare user name is looked up: the address of record of a REGISTER, the caller's own otherwise."""
    name = request.to if request.method == "REGISTER" else request.from_
    return name.uri.host if isinstance(name.uri, SipUri) else ""


def is_own_address(request: Request, known: Known, domain: str) -> bool:
    """Whether the REGISTER's address of record is the authenticated agent's (RFC 3261 section 10.3, step 4)."""
    uri = request.to.uri
    if not isinstance(uri, SipUri):
        return False
    user, host = uri.user_unescaped, uri.host.lower().rstrip(".")
    slug, dot, rest = host.partition(".")
    if dot and rest == domain and slug != known.org.slug:
        return False
    return user in (known.agent.username.reveal(), f"{known.agent.username.reveal()}@{known.org.slug}")
