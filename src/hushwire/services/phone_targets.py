"""The phones of agents as calls ring them: where each is, and what it is told of who calls."""

from collections.abc import Callable, Sequence

from hushwire.calls.model import CallDirection, Target
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.services import caller_id
from hushwire.services.agent_terms import agent_terms
from hushwire.services.directory import Directory
from hushwire.services.registration import Device
from hushwire.services.route import Route
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_targets import leads_to
from hushwire.sip import asserted, diversion
from hushwire.sip.diversion import Diverted
from hushwire.sip.flow import Transport
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr, SipUri, escape_user

Devices = Callable[[Agent], Sequence[Device]]
DeviceFilter = Callable[[Device], bool]


class PhoneTargets:
    """Finds them as they are registered in this moment. No target of these ever leads to a carrier."""

    def __init__(self, directory: Directory, devices: Devices, states: TrunkStates) -> None:
        self._directory = directory
        self._devices = devices
        self._states = states

    def of(
        self, org: Organisation, agent: Agent, from_: NameAddr, leg: int, only: DeviceFilter | None = None, told: tuple[Line, ...] = ()
    ) -> tuple[Target, ...]:
        """An agent's phones as this leg; `only` some of them, where that is said. `from_` calls, and `told` are further headers."""
        to = NameAddr(self.address(org, agent))
        targets = []
        for device in filter(only, self._devices(agent)) if only is not None else self._devices(agent):
            if any(leads_to(trunk, device.source, self._states.named(trunk)) for trunk in self._directory.trunks):
                # Whoever registered from a carrier's address would have it dial the Contact, which no verdict was asked about.
                continue
            # A browser behind an edge proxy comes by the proxy's transport; what it is stands in its Contact (RFC 7118 section 5.2).
            is_browser = device.contact.transport in ("ws", "wss")
            terms = agent_terms(org, Transport.WS if is_browser else device.transport, device.address, leg)
            headers = (*(("Route", value) for value in device.routes), *told)
            targets.append(Target(device.hop, str(device.contact), from_, to, terms, headers, device_id=device.credential_id))
        return tuple(targets)

    def on_route(
        self, org: Organisation, agent: Agent, route: Route, diverter: Agent | None = None, diverted: Diverted | None = None
    ) -> tuple[Target, ...]:
        """The phones of an agent, rung for whoever calls by this route; with who diverted the call to them, where it was."""
        lines: tuple[Line, ...] = ()
        if diverted is not None:
            by = None if diverter is None or diverter.hides_identity else self.insider(org, diverter, hides=False)
            lines = diversion.lines(replace(diverted, by=by), self.address(org, agent))
        if route.plan.direction is not CallDirection.INBOUND:
            from_ = self.insider(org, route.agent, hides=route.hides)
            return self.of(org, agent, from_, route.callee_leg, told=lines)
        outside = caller_id.Outside(route.remote, route.remote, route.hides)
        from_, told = caller_id.from_shown(outside, self._directory.domain)
        return self.of(org, agent, from_, route.callee_leg, told=(*told, *lines))

    def own(self, org: Organisation, agent: Agent, other: Personal[str], headers: tuple[Line, ...] = ()) -> tuple[Target, ...]:
        """An agent's own phones, rung to talk with `other`, which they are shown; none whose credential is locked."""
        phones = self.of(org, agent, self.internal_name(org, other.reveal()), leg=0, told=headers)
        return tuple(one for one in phones if one.device_id is None or not self._directory.is_locked(agent.id, one.device_id))

    def insider(self, org: Organisation, agent: Agent, *, hides: bool) -> NameAddr:
        """Who calls, as colleagues see it."""
        if hides:
            return asserted.ANONYMOUS
        shown = (agent.extension or agent.username).reveal()
        return replace(self.internal_name(org, shown), display=agent.username.reveal())

    def internal_name(self, org: Organisation, text: str) -> NameAddr:
        """An extension or number as it is shown within the organisation."""
        return NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(text)))

    def address(self, org: Organisation, agent: Agent) -> SipUri:
        """The agent's address of record."""
        return SipUri(f"{org.slug}.{self._directory.domain}", escape_user(agent.username.reveal()))
