"""The ways by which calls leave for the telephone network: what the judge let out, by which carriers, in which order."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.model import CallDirection, Plan, Target, Terms
from hushwire.core.errors import LocalError
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.policy import trunk_number
from hushwire.policy.model import Allow, AllowContact, Attempt, Channel, Deny, Emergency, Malformed, Reason, Verdict
from hushwire.services import caller_id, emergencies
from hushwire.services.agent_terms import announces_with, rings_with
from hushwire.services.directory import Directory
from hushwire.services.emergencies import NO_ROUTE
from hushwire.services.recording_law import is_emergency_recorded, is_recorded, lacks_consent
from hushwire.services.ringing import RING_TRUNK_S
from hushwire.services.route import Refused, Route, refused_by
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_targets import carries, is_short, trunk_target, written_for
from hushwire.services.verdicts import Verdicts, denied
from hushwire.sip import refusals
from hushwire.sip.diversion import Diverted

MOST_WAYS: Final = 6
"""So many ways to a carrier are tried for one call."""
PROGRESS_S: Final = 16.0
"""How long a carrier may say 100 and no more while there is another way."""
SILENT_LAST_S: Final = 16.0
"""How long the last of the ways may be silent."""
log = structlog.get_logger(__name__)


class WaysOut:
    """Finds them under the rules and the carriers' states of this moment."""

    def __init__(self, directory: Directory, verdicts: Verdicts, states: TrunkStates) -> None:
        self._directory = directory
        self._verdicts = verdicts
        self._states = states

    def on_verdict(
        self,
        org: Organisation,
        agent: Agent,
        terms: Terms,
        verdict: Verdict,
        dialled: str,
        *,
        hides: bool,
        device_id: UUID | None = None,
    ) -> Route | Refused:
        """The way that a call of an agent goes on this verdict, the caller's terms being these; Refused where it says so.

        `hides`: the caller's number is to be shown to nobody; whoever calls for help shows it all the same. `device_id`: whose credential
        the caller showed.
        """
        match verdict:
            case Allow():
                if lacks_consent(org, (Personal(verdict.number),), (verdict.country,)):
                    return refused_by(denied(verdict, Reason.RECORDING_CONSENT), org, agent, dialled)
                return self._outbound(org, agent, terms, verdict, device_id, hides=hides)
            case Emergency():
                return self._outbound(org, agent, terms, verdict, device_id, hides=False)
            case Deny() | Malformed():
                return refused_by(verdict, org, agent, dialled)
            case AllowContact():
                raise LocalError("the verdict on a call was one on a Contact")

    def ways_out(
        self,
        org: Organisation,
        agent: Agent,
        verdict: Allow | Emergency,
        *,
        hides: bool = False,
        shown: Personal[str] | None = None,
        diverted: Diverted | None = None,
    ) -> tuple[list[Trunk], list[Target]]:
        """The ways by which this call may leave, in the order in which they are tried, and the trunk of each.

        `shown`: the number that it shows; None: the agent's. `diverted`: the agent does not call, but diverts a call there.
        """
        trunks: list[Trunk] = []
        targets: list[Target] = []
        ranked = self._states.in_order(self._directory.trunks)
        for trunk in emergencies.in_order(ranked, verdict.country) if isinstance(verdict, Emergency) else ranked:
            # An emergency call goes whatever stands between the customer and a carrier.
            if isinstance(verdict, Allow) and not (org.may_use(trunk) and carries(trunk, verdict) and not self._states.is_full(trunk)):
                continue
            if not self._may_leave(org, agent, trunk, verdict):
                continue
            for way in self._states.ways(trunk):
                trunks.append(trunk)
                target = trunk_target(trunk, verdict, shown or agent.caller_id, self._directory.domain, way, hides=hides)
                told = emergencies.location(trunk, agent.address) if isinstance(verdict, Emergency) else ()
                if diverted is not None:
                    told = caller_id.diverted_out(trunk, diverted, agent.caller_id, self._directory.domain, target.to.sip_uri, hides=hides)
                route = self._states.route(trunk)
                if route or told:
                    target = replace(target, headers=(*route, *target.headers, *told))
                targets.append(target)
        trunks, targets = trunks[:MOST_WAYS], targets[:MOST_WAYS]
        # Nothing comes after the last one: it has more time to say something.
        for position, target in enumerate(targets):
            is_last = position == len(targets) - 1
            targets[position] = replace(target, silence_s=SILENT_LAST_S) if is_last else replace(target, progress_s=PROGRESS_S)
        return trunks, targets

    def _outbound(
        self, org: Organisation, agent: Agent, terms: Terms, verdict: Allow | Emergency, device_id: UUID | None, *, hides: bool
    ) -> Route | Refused:
        remote = Personal(verdict.number)
        trunks, targets = self.ways_out(org, agent, verdict, hides=hides)
        if not targets:
            code = NO_ROUTE if isinstance(verdict, Emergency) else "trunk-failed"
            return Refused(503, refusals.header(code), code, CallDirection.OUTBOUND, org, agent, remote=remote, verdict=None)
        recorded = is_emergency_recorded(org) if isinstance(verdict, Emergency) else is_recorded(org, remote, (verdict.country,))
        return route_out(
            org,
            agent,
            terms,
            verdict,
            trunks,
            targets,
            recorded=recorded,
            remote=remote,
            local=agent.caller_id,
            device_id=device_id,
            hides=hides,
        )

    def _may_leave(self, org: Organisation, agent: Agent, trunk: Trunk, verdict: Allow | Emergency) -> bool:
        """Whether what the trunk would read in its own number format is what was judged, and is judged so once more."""
        text = written_for(trunk, verdict)
        if text is None:
            log.warning("trunk.can_not_write_number", trunk=trunk.name, country=verdict.country)
            return False
        if isinstance(verdict, Emergency):
            return text == verdict.number
        read = text if is_short(verdict) else trunk_number.read(text, trunk.number_format, trunk.country) or ""
        again = self._verdicts.on(org, agent, Attempt(read, Channel.INVITE))
        return isinstance(again, Allow) and again.number == verdict.number


def route_out(
    org: Organisation,
    agent: Agent,
    terms: Terms,
    verdict: Allow | Emergency,
    trunks: Sequence[Trunk],
    targets: Sequence[Target],
    *,
    recorded: bool,
    remote: Personal[str],
    local: Personal[str] | None,
    device_id: UUID | None = None,
    hides: bool = False,
) -> Route:
    """A call of an agent's to the telephone network by these ways, one after the other; `remote` and `local` as its row names them."""
    plan = Plan(
        CallDirection.OUTBOUND,
        terms,
        tuple(targets),
        RING_TRUNK_S,
        recorded,
        rings_with(org),
        announces_with(org),
        org.sounds.music_on_hold,
        is_serial=True,
        is_emergency=isinstance(verdict, Emergency),
    )
    return Route(
        plan,
        org,
        agent,
        trunk=trunks[0],
        trunks=tuple(trunks),
        remote=remote,
        local=local,
        verdict=verdict,
        places=(verdict.country,),
        device_id=device_id,
        hides=hides,
    )
