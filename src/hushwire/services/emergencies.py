"""Emergency calls beside the verdict: which carrier takes them, where the caller is, and that the organisation is told at once.

The address is one that an administrator stored for the agent, in the words of RFC 5139 (civic addresses). A carrier is told it as it asks:
by RFC 6442, as a document beside the session description; in a header of its own that is agreed with it,
`country=DE;PC=10115;A3=Berlin;RD=Invalidenstrasse;HNO=1`, percent-encoded UTF-8; or by both.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

import structlog

from hushwire.core.ids import CallId, OrgId
from hushwire.core.personal import Personal
from hushwire.core.rounds import for_each
from hushwire.policy.emergency import is_emergency
from hushwire.policy.model import Attempt, Channel, Emergency
from hushwire.privacy.notices import NoticeKind
from hushwire.services.live import LiveCall
from hushwire.services.notices import Notices
from hushwire.services.snapshot import Organisation
from hushwire.services.trunk import Trunk
from hushwire.services.verdicts import Judge
from hushwire.sip.effects import Cause, Rejected
from hushwire.sip.flow import Flow
from hushwire.sip.geolocation import pidf_lo
from hushwire.sip.headers import Line
from hushwire.sip.message import Request, Response
from hushwire.store import emergencies as table

FIELDS: Final = ("country", "A1", "A2", "A3", "A4", "RD", "STS", "HNO", "HNS", "BLD", "FLR", "ROOM", "NAM", "PC", "LOC")
"""Of RFC 5139, in the order in which they are told."""

KEPT: Final = timedelta(hours=24)
"""So long whoever is told where a caller is may keep it (RFC 4119, section 2.2.2: what holds where nothing is said)."""
WITHIN: Final = timedelta(days=7)
"""Of older ones nobody is told any more: a database that was upgraded holds those of all the years before."""
_log = structlog.get_logger(__name__)


def in_order(trunks: Sequence[Trunk], home_country: str) -> list[Trunk]:
    """The carriers that an emergency call may take, in the order in which it tries them: those marked for it, then all that may.

    A number such as 112 means another thing abroad, so a carrier of another country has it only where it is marked.
    """
    marked = [trunk for trunk in trunks if trunk.emergency]
    others = [trunk for trunk in trunks if trunk.emergency is None and trunk.country in (None, home_country)]
    at_home = [trunk for trunk in marked if trunk.country in (None, home_country)]
    return [*at_home, *others, *(trunk for trunk in marked if trunk not in at_home)]


def location(trunk: Trunk, address: Personal[tuple[tuple[str, str], ...]] | None) -> tuple[Line, ...]:
    """What the carrier is told of where the caller is."""
    if trunk.location_header is None or address is None:
        return ()
    return ((trunk.location_header, ";".join(f"{name}={quote(value, safe='')}" for name, value in address.reveal())),)


def where(live: LiveCall, branch: int, now: datetime) -> Personal[bytes] | None:
    """The PIDF-LO document for the carrier behind a branch of an emergency call; None: it asks for none, or no address is stored."""
    address = live.route.agent.address
    trunk = live.route.trunks[branch] if branch < len(live.route.trunks) else None
    if trunk is None or not trunk.geolocation or address is None or not address.reveal() or branch in live.unlocated:
        return None
    entity = str(live.route.plan.targets[branch].from_.uri)
    return Personal(pidf_lo(entity, address.reveal(), now + KEPT))


def fails_for_document(live: LiveCall, branch: int, event: Rejected) -> bool:
    """Whether an INVITE that carried the document may have come to nothing for it.

    Where no other way is left, also one that nobody answered: with the document it no longer fits a packet, and pieces of UDP are often
    thrown away.
    """
    return event.status in _OF_THE_BODY if event.cause is Cause.RESPONSE else event.cause is Cause.TIMEOUT and _is_last(live, branch)


def silence_s(live: LiveCall, branch: int, otherwise: float) -> float:
    """How long a carrier may say nothing to an INVITE with the document: time must be left to ask it without."""
    trunk = live.route.trunks[branch]
    return otherwise if trunk is None or not _is_last(live, branch) else min(otherwise, trunk.silent_after_s)


def location_error(response: Response | None) -> int | None:
    """The code of a carrier's `Geolocation-Error` (RFC 6442, section 4.3); its words may repeat the address."""
    found = None if response is None else re.match(r"[1-9][0-9]{2}(?![0-9])", response.headers.get("Geolocation-Error") or "", re.ASCII)
    return None if found is None else int(found[0])


def _is_last(live: LiveCall, branch: int) -> bool:
    return branch == len(live.route.plan.targets) - 1


_OF_THE_BODY: Final = frozenset((400, 413, 415, 424, 488, 500, 513, 606))
"""Answered to a body that is not understood, too long, or bad in its location (424: RFC 6442, section 4.3); 500 by what breaks on it."""


def calls_for_help(judge: Judge, org: Organisation, request: Request, flow: Flow | None) -> bool:
    """Whether the judge says of an INVITE that it is an emergency call: the organisation's own rules say which numbers those are."""
    peer = None if flow is None else flow.remote.host
    return isinstance(judge(Attempt(request.uri, Channel.INVITE, peer=peer), org.rules), Emergency)


def may_call_for_help(target: str, homes: Iterable[tuple[str, str | None]]) -> bool:
    """Whether what an INVITE asks for may be an emergency call of somebody here: what is told before anything is parsed.

    `homes`: home countries with their outside prefixes. It opens nothing: such a request is read though its source has used up its rate,
    and who sent it has to prove who it is as ever.
    """
    found = _TARGET.match(target)
    if found is None:
        return False
    number = found["number"]
    return number is None or any(
        is_emergency(number, home) or (prefix and number.startswith(prefix) and is_emergency(number[len(prefix) :], home))
        for home, prefix in homes
    )


_TARGET: Final = re.compile(r"(?:(?:sips?|tel):(?P<number>[0-9]{2,8})(?:[;@?]|\Z)|urn:service:sos(?:\.|\Z))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EmergencyAlarms:
    """Tells organisations of emergency calls, put through or refused. The worker's."""

    notices: Notices

    async def tell(self) -> int:
        """Queue a notice for each that nobody was told of; returns how many there were."""
        async with self.notices.main.transaction() as connection:
            untold = await table.untold(connection)
        return await for_each(untold, self._tell, "emergencies")

    async def _tell(self, untold: tuple[OrgId, CallId]) -> int:
        org_id, call_id = untold
        now = self.notices.clock.now()
        async with self.notices.main.organisation(org_id) as connection:
            row = await table.claim(connection, call_id, now)
            if row is None or row.started_at < now - WITHIN:
                return 1
            values = {
                "call": call_id,
                "agent": row.agent_id or "unknown",
                "at": row.started_at,
                "outcome": "refused: no carrier here takes emergency calls" if row.end_reason == NO_ROUTE else "sent to a carrier",
            }
            await self.notices.queue(connection, org_id, NoticeKind.EMERGENCY_CALL, "call", call_id, values)
        _log.warning("call.emergency", org_id=str(org_id), call_id=str(call_id))
        return 1


NO_ROUTE: Final = "no-emergency-route"
