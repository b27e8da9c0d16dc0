"""Which legs share a UDP port (docs/media-ports.md): decided before any SDP is made, from what is known of the party then.

A leg is on a shared port only where its packets can be told from others': by ICE, by keys that come in SDP, or, for a carrier, by the
address that it announces, once it was seen to send from the addresses that it announces. What turns out otherwise is remembered here.
"""

import ipaddress
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from hushwire.calls.effects import LegStatement
from hushwire.calls.model import Terms
from hushwire.core.ids import AgentId, TrunkId
from hushwire.core.personal import Personal
from hushwire.media.ports import IpAddress, LegOpening, PortTrouble, PortWish
from hushwire.sdp.model import Keying, Srtp
from hushwire.services.live import LiveCall
from hushwire.services.snapshot import Agent
from hushwire.services.trunk import Trunk

SEEN_ENOUGH: Final = 3
"""So many calls with media from distinct announced addresses, and a trunk's legs share ports."""


@dataclass(slots=True)
class _Seen:
    """What a trunk's media was seen to do since this gateway started."""

    addresses: set[tuple[IpAddress, int]] = field(default_factory=set)
    is_unfit: bool = False


class PortChoice:
    """One gateway's choice, and its memory. `agent_ports` is what agents that are set to `auto` do: `auto`, `shared` or `own`."""

    def __init__(self, agent_ports: str = "auto") -> None:
        self._agent_ports = agent_ports
        self._trunks: dict[TrunkId, _Seen] = {}
        self._unmuxed: set[AgentId] = set()

    def openings(self, live: LiveCall, offer: bytes) -> tuple[LegOpening, ...]:
        """How each leg of a new call is to be opened. `offer` is the caller's, or empty."""
        plan = live.route.plan
        terms: dict[int, list[Terms]] = {plan.caller.leg: [plan.caller]}
        for target in plan.targets:
            terms.setdefault(target.terms.leg, []).append(target.terms)
        can_mux = {plan.caller.leg: not offer or b"a=rtcp-mux" in offer}
        return tuple(self._opening(live, leg, terms.get(leg, []), can_mux=can_mux.get(leg, True)) for leg in plan.legs)

    def heard(self, live: LiveCall, leg: int, source: Personal[tuple[IpAddress, int]]) -> None:
        """A leg's media comes from here: evidence for its trunk."""
        trunk, stated = live.route.trunk_at(leg), live.stated.get(leg)
        if trunk is None or stated is None:
            return
        seen = self._trunks.setdefault(trunk.id, _Seen())
        address = source.reveal()
        with suppress(ValueError):
            announced = (ipaddress.ip_address(stated.media.address), stated.media.port)
            if announced != address:
                seen.addresses.clear()  # from behind a NAT, or from elsewhere: what it announces finds nobody
            elif stated.media.rtcp_mux:
                seen.addresses.add(address)

    def troubled(self, live: LiveCall, leg: int, trouble: PortTrouble | None) -> None:
        """A leg could not stay on its shared port; its trunk's legs get ports of their own from now on."""
        trunk = live.route.trunk_at(leg)
        if trunk is not None:
            self._trunks.setdefault(trunk.id, _Seen()).is_unfit = True

    def answered(self, live: LiveCall) -> None:
        """Remember who can't take RTCP on the port of RTP: their next calls have the pair that they need."""
        for leg in (0, 1):
            agent, stated = live.route.agent_at(leg), live.stated.get(leg)
            if agent is None or stated is None:
                continue
            if stated.media.rtcp_mux:
                self._unmuxed.discard(agent.id)
            else:
                self._unmuxed.add(agent.id)

    def needs_own(self, live: LiveCall, leg: LegStatement) -> bool:
        """Whether a leg on a shared port has turned out to need RTCP on a port of its own, where nobody set it to share all the same."""
        if leg.leg not in live.shared_legs or leg.media.rtcp_mux or leg.media.is_held:
            return False
        agent, trunk = live.route.agent_at(leg.leg), live.route.trunk_at(leg.leg)
        setting = self._setting(agent) if agent is not None else "auto" if trunk is None else trunk.media_ports
        return setting != "shared"

    def _setting(self, agent: Agent) -> str:
        return self._agent_ports if agent.media_ports == "auto" else agent.media_ports

    def _opening(self, live: LiveCall, leg: int, terms: list[Terms], *, can_mux: bool) -> LegOpening:
        agent = live.route.agent_at(leg)
        if agent is None:
            return LegOpening(leg, self._for_trunk(live.route.trunk_at(leg)) if can_mux else PortWish.OWN)
        if not terms:
            return LegOpening(leg)  # whose phone it will be is not known yet
        setting = self._setting(agent)
        wishes = {_for_agent(one) for one in terms}
        if setting == "own":
            return LegOpening(leg)
        if setting == "auto" and (not can_mux or agent.id in self._unmuxed):
            return LegOpening(leg)
        addresses = {one.signalling_address for one in terms}
        ip = _numeric(addresses.pop()) if len(addresses) == 1 else None
        if wishes == {PortWish.BY_ICE}:
            return LegOpening(leg, PortWish.BY_ICE)
        if wishes == {PortWish.BY_KEY} and ip is not None:
            return LegOpening(leg, PortWish.BY_KEY, Personal(ip))
        # Devices at several addresses ring at once, or may turn out to be plain: by their packets nobody could say whose they are. Where
        # the operator vouches for it they are found by what they announce.
        is_vouched_for = setting == "shared" and PortWish.BY_ICE not in wishes
        return LegOpening(leg, PortWish.BY_ADDRESS if is_vouched_for else PortWish.OWN)

    def _for_trunk(self, trunk: Trunk | None) -> PortWish:
        if trunk is None or trunk.media_ports == "own":
            return PortWish.OWN
        if trunk.media_ports == "shared":
            return PortWish.BY_ADDRESS
        seen = self._trunks.get(trunk.id)
        is_fit = seen is not None and not seen.is_unfit and len(seen.addresses) >= SEEN_ENOUGH
        return PortWish.BY_ADDRESS if is_fit else PortWish.OWN


def _for_agent(terms: Terms) -> PortWish:
    if terms.keyings == (Keying.WEBRTC,):
        return PortWish.BY_ICE
    # What may turn out to be plain, or to be keyed by a handshake alone, can't be told from others behind the same address.
    has_keys_in_sdp = terms.srtp is Srtp.REQUIRED and bool(terms.keyings) and terms.keyings[0] in (Keying.SDES, Keying.BEST_EFFORT)
    return PortWish.BY_KEY if has_keys_in_sdp else PortWish.OWN


def _numeric(address: str | None) -> IpAddress | None:
    try:
        return None if address is None else ipaddress.ip_address(address)
    except ValueError:
        return None
