"""One registrar with all that stands before it, on a clock and a chance of the test's own; without sockets, and its database is away.

Two of them that are told the same must say the same, whichever of them takes the short way.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from hushwire.core.ids import AgentId, NodeId, OrgId
from hushwire.core.personal import Personal
from hushwire.policy.judge import decide
from hushwire.policy.rules import Rules
from hushwire.sdp.model import Keying, Srtp
from hushwire.services.bindings import Bindings, Place
from hushwire.services.directory import Directory
from hushwire.services.guard import Guard
from hushwire.services.identity import Authenticator
from hushwire.services.neighbours import Neighbours
from hushwire.services.registration import Registrations
from hushwire.services.short_way import ShortWay
from hushwire.services.snapshot import Agent, Organisation
from hushwire.sip.digest import Algorithm, Challenger, digest_response, ha1
from hushwire.sip.effects import Event, RequestReceived, Send
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.parse import parse
from hushwire.sip.useragent import UserAgent, UserAgentConfig
from hushwire.transport.endpoint import EndpointConfig, SipEndpoint
from hushwire.transport.scanners import Silence
from hushwire.vault.keyring import OrgKeys

DOMAIN = "voice.example.org"
HOST = f"acme.{DOMAIN}"
ORG_ID = OrgId(UUID(int=1))
NAMES = ("anna", "ben", "sue")
IDS = {name: AgentId(UUID(int=10 + number)) for number, name in enumerate(NAMES)}
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_TO_TAG = re.compile(rb"(\r\nTo: [^\r\n]*;tag=)[0-9a-f]{12}\r")


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.at)


class Chance:
    """The same bytes each time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int, /) -> bytes:
        return self._random.randbytes(count)


class _Away:
    """A database that nobody reaches."""

    def organisation(self, _org_id: object) -> Any:
        raise OSError("away")


class _Columns:
    def seal(self, *_args: object, **_place: object) -> bytes:
        return b"sealed"


def agent(name: str, password: str | None = None, **more: Any) -> Agent:
    """One of acme's, with the usual password or another one."""
    kept = {}
    for algorithm in Algorithm:
        for form, login in (("username", name), ("username@slug", f"{name}@acme")):
            kept[f"{algorithm.value}/{form}"] = ha1(algorithm, login, DOMAIN, password or f"{name}s-password")
    return Agent(IDS[name], ORG_ID, Personal(name), "agent", None, None, kept, **{"is_suspended": False, **more})


def organisation(agents: dict[str, Agent], version: int = 1) -> Organisation:
    """A snapshot with rules of its own."""
    keys = OrgKeys(ORG_ID, cast(Any, _Columns()), bytes(32))
    return Organisation(
        ORG_ID, "acme", "eu", "none", next(iter(Srtp)), next(iter(Keying)), False, False, 1, Rules(version, "DE", frozenset({"DE"})), keys,
        {one.id: one for one in agents.values()}, agents, {},
    )  # fmt: skip


class Ways:
    """A registrar; `has_short_way`: asked of it first. What it sends is gathered in `sent`."""

    def __init__(self, *, has_short_way: bool, per_credential_s: float = 20.0) -> None:
        self.clock = Clock()
        self.sent: list[Send] = []
        self.told: list[object] = []
        self.is_draining = False
        self.directory = Directory(
            cast(Any, _Away()), cast(Any, None), self.clock, domain=DOMAIN, default_org=None, addresses=["127.0.0.1"], ports=[5060]
        )
        self.provide(organisation({name: agent(name) for name in NAMES}))
        config = EndpointConfig((), rate_per_s=50.0, burst=100.0)
        self.endpoint = SipEndpoint(config, self.clock, Chance(1), self._on_sip)
        self.endpoint._ua = UserAgent(UserAgentConfig(max_transactions=500), Chance(2))
        self.endpoint._send = self.sent.append  # type: ignore[method-assign]
        self.endpoint._set_alarm = lambda _at: None  # type: ignore[method-assign]
        self.guard = Guard(
            cast(Any, None), self.endpoint.banned, self.clock, failures=4, within_s=60.0, ban_s=3600.0, per_credential_s=per_credential_s
        )
        self.challenger = Challenger(bytes(32), DOMAIN, Chance(3))
        self.authenticator = Authenticator(self.directory, self.challenger, self.clock.monotonic, self.guard)
        node = NodeId(UUID(int=7))
        self.bindings = Bindings(cast(Any, _Away()), self.directory, Neighbours(node, lambda _text: b""), self.clock, Chance(4), node)
        self.registrations = Registrations(
            self.bindings,
            self.directory,
            self.authenticator,
            lambda attempt, rules: decide(attempt, rules, self.clock.now()),
            self.clock,
            on_moved=lambda old, new: self.told.append((old, new)),
        )
        self.registrations.on_shared = lambda agent_id, credential_id: self.told.append((agent_id, credential_id))
        self.silence = Silence(DOMAIN)
        self.endpoint.ignores = self._ignores
        self.short_way = ShortWay(
            self.endpoint.ua,
            self.registrations,
            self.authenticator,
            self.clock,
            Chance(5),
            config.product,
            is_open=lambda: not self.is_draining,
            is_silent=lambda request: self.silence.is_scanner(request) or self.silence.is_foreign(request),
        )
        if has_short_way:
            self.endpoint.short_way = self.short_way.answer

    def provide(self, org: Organisation) -> None:
        """What the directory knows from now on."""
        self.directory._orgs = {org.id: org}
        self.directory._slugs = {org.slug: org.id}
        self.directory._agents = dict(org.by_id)

    @property
    def org(self) -> Organisation:
        return self.directory._orgs[ORG_ID]

    def change(self, name: str, **changes: Any) -> None:
        """Another agent in place of one, under the same rules."""
        agents = {**self.org.by_username, name: agent(name, **changes)}
        self.provide(replace(organisation(agents), rules=self.org.rules))

    async def hear(self, data: bytes, flow: Flow) -> list[bytes]:
        """What is sent for one message, as it comes from the network; a To tag of chance is left out."""
        before, endpoint = len(self.sent), self.endpoint
        if flow.transport is Transport.UDP:
            if endpoint.admits_datagram(data, flow.remote.host):
                endpoint.received_datagram(data, flow)
        elif endpoint.is_banned(flow.remote.host) or not endpoint.admits_message(flow.remote.host, data):
            pass
        elif not data.startswith(b"REGISTER ") or not endpoint.went_short_way(data, flow):
            try:
                endpoint.received(parse(data, is_stream=True), flow)
            except ParseError as error:
                endpoint.received(error, flow)
        await self.registrations.settled()
        return [_TO_TAG.sub(rb"\1\r", send.data) for send in self.sent[before:]]

    def wait(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        self.clock.at += seconds
        self.endpoint._ring()
        self.registrations.obey_directory()

    def state(self) -> dict[str, object]:
        """All that a REGISTER may change."""
        server = self.endpoint.ua._server
        answered = server.answered._known.values()
        places = [place for held in self.bindings._places.values() for place in held.values() if isinstance(place, Place)]
        return {
            "places": self.bindings._places,
            "of places": [(one.is_here, one.is_asked, one.said and (one.said.words, one.said.lasts_s, one.said.further)) for one in places],
            "waiting": {id_: (one.places, one.refreshed, one.ended, one.events) for id_, one in self.bindings._waiting.items() if one},
            "by flow": self.bindings._by_flow,
            "nonces": [(nonce, seen.highest, seen.mask, seen.issued) for nonce, seen in self.challenger._seen.items()],
            "answered": [(one.key, one.expires_at, one.hop, _TO_TAG.sub(rb"\1\r", one.data), one.merge_key) for one in answered],
            "transactions": set(server.transactions),
            "merged": server._merged,
            "sources": self.endpoint._limiter._buckets,
            "credentials": self.guard._credentials._buckets,
            "strikes": self.guard._strikes._levels,
            "bans": self.endpoint.banned.until,
            "sharing": (self.registrations._sharing._told, self.registrations._sharing._last, self.registrations.shared),
            "connected": self.registrations._connected,
            "left": dict(self.registrations._left),
            "told": self.told,
            "hops": [send.hop for send in self.sent],
            "fallbacks": [send.fallback for send in self.sent],
        }  # fmt: skip

    def _on_sip(self, event: Event) -> None:
        if not isinstance(event, RequestReceived):
            return
        tx = event.tx
        if self.is_draining and event.request.expires != 0:
            self.endpoint.respond(tx, 503, headers=[("Retry-After", "5")])
        else:
            self.registrations.handle(
                event.request, event.flow, lambda status, headers: self.endpoint.respond(tx, status, headers=headers) and None
            )

    def _ignores(self, request: Any, flow: Flow) -> bool:
        if self.silence.is_scanner(request):
            self.guard.scanned(flow)
            return True
        return self.silence.is_foreign(request)


@dataclass
class Phone:
    """What a phone knows and writes. `lines` are between CSeq and Authorization."""

    name: str = "anna"
    port: int = 40000
    address: str = "192.0.2.1"
    transport: Transport = Transport.UDP
    call_id: str = "phone@one"
    algorithm: Algorithm = Algorithm.SHA256
    password: str | None = None
    login: str | None = None
    contact: str | None = None
    lines: list[str] = field(default_factory=lambda: ["Max-Forwards: 70", "User-Agent: phone", "Expires: 600"])
    cseq: int = 0
    nonce: str = ""
    uses: int = 0
    from_tag: str = "a7f"
    via_params: str = ";rport"
    branches: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @property
    def flow(self) -> Flow:
        return Flow(self.transport, self.port, Address("127.0.0.1", 5060), Address(self.address, self.port))

    def authorization(self, uri: str, cnonce: str, /, **other: Any) -> str:
        """The value for this nonce and count; `other` replaces what is said, not what is computed."""
        login = self.login or self.name
        secret = ha1(self.algorithm, login, DOMAIN, self.password or f"{self.name}s-password")
        nc = f"{self.uses:08x}"
        right = digest_response(self.algorithm, secret, self.nonce, "REGISTER", uri, qop="auth", nc=nc, cnonce=cnonce)
        said = {"username": login, "realm": DOMAIN, "nonce": self.nonce, "uri": uri, "response": right, "cnonce": cnonce, "nc": nc, **other}
        return (
            f'Digest username="{said["username"]}", realm="{said["realm"]}", nonce="{said["nonce"]}", uri="{said["uri"]}",'
            f' response="{said["response"]}", algorithm={self.algorithm.value}, cnonce="{said["cnonce"]}", qop=auth, nc={said["nc"]}'
        )

    def register(self, *, cnonce: str = "0a4f113b", branch: str | None = None, **other: Any) -> bytes:
        """The next REGISTER; with a challenge, its answer."""
        self.cseq += 1
        self.uses += 1
        branch = branch if branch is not None else f"z9hG4bK{self.port}x{next(self.branches)}"
        here = f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
        contact = self.contact or f"<sip:{self.name}@{here};transport={self.transport.value}>"
        lines = [
            f"REGISTER sip:{HOST} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.value.upper()} {here};branch={branch}{self.via_params}",
            f"From: <sip:{self.name}@{HOST}>;tag={self.from_tag}",
            f"To: <sip:{self.name}@{HOST}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            f"Contact: {contact}",
            *self.lines,
            *([f"Authorization: {self.authorization(f'sip:{HOST}', cnonce, **other)}"] if self.nonce else []),
            "Content-Length: 0",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def learn(self, answers: list[bytes]) -> None:
        """Keep the nonce of a challenge, of which SHA-256's and MD5's are the same."""
        for answer in answers:
            found = re.search(rb'nonce="([^"]+)"', answer)
            if answer.startswith(b"SIP/2.0 401") and found is not None:
                self.nonce, self.uses = found[1].decode(), 0


def status_of(answers: list[bytes]) -> int | None:
    """Of the only one; None where there is none."""
    return int(answers[0].split()[1]) if answers else None


async def registered(phone: Phone, *worlds: Ways) -> None:
    """Challenge and all."""
    for _ in range(2):
        data = phone.register()
        for world in worlds:
            answers = await world.hear(data, phone.flow)
        phone.learn(answers)
    assert status_of(answers) == 200
