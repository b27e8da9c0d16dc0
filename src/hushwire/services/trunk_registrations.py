"""Our registrations at carriers that want them (RFC 3261 section 10.2): made, refreshed, and made again after failures.

A carrier that does not take our registration is down: it would not send us calls, and most likely takes none. What it says stands: how
long a registration lives, how long the next try must wait (Retry-After), and by which route calls go out (Service-Route, RFC 3608).
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import TrunkId
from hushwire.services.directory import Directory
from hushwire.services.followers import Followers
from hushwire.services.own_requests import OwnRequests
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_watch import jittered
from hushwire.sip import flow as flows
from hushwire.sip.effects import Cause, Responded
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Response
from hushwire.sip.uri import NameAddr, SipUri, escape_user, parse_name_addr
from hushwire.transport.endpoint import SipEndpoint

SILENCE_S: Final = 8.0
FIRST_RETRY_S: Final = 5.0
LONGEST_RETRY_S: Final = 300.0
LONGEST_LIFE_S: Final = 86_400
MARGIN_S: Final = 30.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Kept:
    """One registration: the same Call-ID for ever, and a CSeq that only rises (RFC 3261 section 10.2.4)."""

    call_id: str
    cseq: int = 1
    asks_s: int = 0
    until: float = float("-inf")
    failures: int = 0
    way: flows.Target | None = None


class TrunkRegistrations:
    """One gateway's. `changed` is to be called when trunks or the ways to them are others."""

    def __init__(
        self, endpoint: SipEndpoint, requests: OwnRequests, directory: Directory, states: TrunkStates, clock: Clock, random: Random
    ) -> None:
        self._endpoint = endpoint
        self._requests = requests
        self._directory = directory
        self._states = states
        self._clock = clock
        self._random = random
        self._changed = asyncio.Event()
        self._until: dict[TrunkId, datetime] = {}

    def until(self, trunk: Trunk) -> datetime | None:
        """Until when our registration there stands; None: there is none."""
        found = self._until.get(trunk.id)
        return found if found is not None and found > self._clock.now() else None

    def changed(self) -> None:
        """There are other trunks."""
        self._changed.set()

    async def run(self) -> None:
        """Register until cancelled. What a carrier holds of us then runs out by itself: another process of ours may be taking over."""
        followers = Followers("trunk-registration", self._keep)
        try:
            while True:
                self._changed.clear()
                wanted = [trunk for trunk in self._directory.trunks if trunk.register_every_s and trunk.credentials is not None]
                for gone in followers.follow(wanted):
                    self._until.pop(gone.id, None)
                await self._changed.wait()
        finally:
            await followers.close()

    async def _keep(self, trunk: Trunk) -> None:
        kept = _Kept(self._random.token_bytes(16).hex(), asks_s=trunk.register_every_s)
        self._states.unregistered(trunk, "registering")
        while True:
            event = await self._register(trunk, kept)
            await asyncio.sleep(jittered(self._noted(trunk, kept, event), self._random))

    async def _register(self, trunk: Trunk, kept: _Kept) -> Responded | None:
        """Ask along the ways, best first, until one says something; None where there is none."""
        event: Responded | None = None
        for way in self._states.ways(trunk):
            kept.way = way
            event = await self._ask(trunk, way, kept)
            if event.status == 423 and event.response is not None and (least := _seconds(event.response, "Min-Expires")) is not None:
                # RFC 3261 section 10.2.8: "may retry the registration after making the expiration interval equal to or greater".
                kept.asks_s = min(max(least, kept.asks_s), LONGEST_LIFE_S)
                event = await self._ask(trunk, way, kept)
            if event.cause is Cause.RESPONSE and event.status != 503:
                break
        return event

    def _contact(self, trunk: Trunk, way: flows.Target) -> NameAddr:
        return self._endpoint.contact(way, escape_user("" if trunk.credentials is None else trunk.credentials.username))

    async def _ask(self, trunk: Trunk, way: flows.Target, kept: _Kept) -> Responded:
        contact = self._contact(trunk, way)
        name = NameAddr(SipUri(trunk.uri.host, contact.sip_uri.user))
        kept.cseq += 10  # answers to challenges count in between
        return await self._requests.ask(
            "REGISTER",
            hop=way,
            uri=trunk.uri,
            from_=name,
            to=name,
            headers=(("Expires", str(kept.asks_s)), ("Supported", "path")),
            contact=contact,
            credentials=trunk.credentials,
            call_id=kept.call_id,
            cseq=kept.cseq,
            silence_s=SILENCE_S,
        )

    def _noted(self, trunk: Trunk, kept: _Kept, event: Responded | None) -> float:
        """Take what came; the seconds until the next try."""
        now = self._clock.monotonic()
        if event is not None and event.response is not None and 200 <= event.status < 300 and kept.way is not None:
            lives_s = granted_s(event.response, self._contact(trunk, kept.way).sip_uri, kept.asks_s)
            kept.failures, kept.until = 0, now + lives_s
            self._until[trunk.id] = self._clock.now() + timedelta(seconds=lives_s)
            self._states.registered(trunk, service_route(event.response))
            # In time, also where the first try fails and the next has to wait.
            return max(lives_s - max(MARGIN_S, lives_s / 5), lives_s / 2)
        kept.failures += 1
        reason = _reason(event)
        asked_s = None if event is None or event.response is None else _seconds(event.response, "Retry-After")
        wait_s: float = min(FIRST_RETRY_S * 2.0 ** min(kept.failures - 1, 10), LONGEST_RETRY_S)
        if asked_s is not None:
            wait_s = min(max(float(asked_s), wait_s), LONGEST_RETRY_S)
        if now < kept.until:
            # It stands a while yet; its end is not slept over.
            _log.warning("trunk.registration_not_refreshed", trunk=trunk.name, reason=reason)
            return min(wait_s, max(1.0, kept.until - now))
        self._until.pop(trunk.id, None)
        self._states.unregistered(trunk, reason)
        return wait_s


def service_route(response: Response) -> tuple[Line, ...]:
    """Route lines for what goes out by this registration, in order; nothing where one of them can't be read (RFC 3608 section 6.1)."""
    try:
        routes = [parse_name_addr(value) for value in response.headers.listed("Service-Route")]
        if not all(route.sip_uri.is_loose for route in routes):
            return ()
    except ParseError:
        return ()
    return tuple(("Route", str(route)) for route in routes)


def granted_s(response: Response, contact: SipUri, asked_s: int) -> int:
    """For how long we are registered: as the carrier says beside our own contact, else in Expires, else as asked (RFC 3261 section 10.2.4).

    Contacts of others under the same address of record are none of our business.
    """
    for value in response.headers.listed("Contact"):
        try:
            told = parse_name_addr(value)
        except ParseError:
            continue
        uri, text = told.uri, told.param("expires") or ""
        is_ours = isinstance(uri, SipUri) and (uri.user, uri.host, uri.port) == (contact.user, contact.host, contact.port)
        if is_ours and text.isascii() and text.isdigit() and len(text) <= 9:
            return int(text) or asked_s
    return _seconds(response, "Expires") or asked_s


def _seconds(response: Response, name: str) -> int | None:
    text = (response.headers.get(name) or "").split(";")[0].split("(")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _reason(event: Responded | None) -> str:
    if event is None:
        return "unresolved"
    return {Cause.TIMEOUT: "silent", Cause.TRANSPORT: "unreachable"}.get(event.cause, str(event.status))
