"""Where a call goes: the agent's own world first (extensions, echo), then the verdict, and only what it allows reaches a trunk."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from hushwire.calls.failures import reason_header
from hushwire.calls.model import CallDirection, Plan, Target, Terms
from hushwire.core.errors import LocalError
from hushwire.core.personal import Personal
from hushwire.policy import hosts, numbers
from hushwire.policy.model import Allow, AllowContact, Attempt, Channel, Deny, Emergency, Malformed, Reason
from hushwire.privacy.consent import Places
from hushwire.sdp.offer_answer import Keying, Srtp
from hushwire.services.directory import Agent, Directory, Organisation, Trunk
from hushwire.services.registration import Device
from hushwire.services.sound_settings import Ringback
from hushwire.services.verdicts import Judge, denied, verdict_for
from hushwire.sip import flow as flows
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Hop, Transport
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.routing import numeric
from hushwire.sip.uri import NameAddr, SipUri, TelUri, escape_user, parse_name_addr, parse_sip_uri

ECHO: Final = frozenset({"*43", "echo"})
_GLOBAL: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)
_SHORT: Final = re.compile(r"[0-9]{2,6}", re.ASCII)
_MU_LAW: Final = frozenset({"US", "CA", "PR", "JP", "TW", "HK"})
RING_AGENT_S: Final = 60.0
RING_TRUNK_S: Final = 120.0
Devices = Callable[[Agent], Sequence[Device]]


@dataclass(frozen=True, slots=True)
class Route:
    """A call that may be made. `remote` and `local` are the numbers or names for the row; `verdict` is None for calls that stay inside."""

    plan: Plan
    org: Organisation
    agent: Agent
    peer_agent: Agent | None = None
    trunk: Trunk | None = None
    remote: Personal[str] | None = None
    local: Personal[str] | None = None
    verdict: Allow | Emergency | None = None
    places: Places = ()
    """Where the other party may be, for the law on recording."""

    device_id: UUID | None = None
    """Whose credential the caller showed; None where a carrier calls."""

    @property
    def may_go_unrecorded(self) -> bool:
        """Whether the call goes on where it can't be recorded: as the organisation decided; an emergency call always."""
        return self.org.calls_without_recording or isinstance(self.verdict, Emergency)


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that is not made: answered at once. With `verdict` it was refused by the rules."""

    status: int
    reason: str
    end_reason: str
    direction: CallDirection
    org: Organisation
    agent: Agent | None
    trunk: Trunk | None = None
    remote: Personal[str] | None = None
    verdict: Deny | Malformed | None = None


class Router:
    """Decides for each INVITE from outside dialogs. Nothing here sends or waits."""

    def __init__(self, directory: Directory, devices: Devices, judge: Judge) -> None:
        self._directory = directory
        self._devices = devices
        self._judge = judge

    # From agents.

    def from_agent(self, org: Organisation, agent: Agent, request: Request, flow: Flow) -> Route | Refused:
        """Where an authenticated agent's INVITE goes, under the rules of this moment."""
        terms = agent_terms(org, flow.transport, flow.remote.host, leg=0)
        user = _own_user(request, org)
        verdict = verdict_for(self._judge, org, agent, Attempt(request.uri, Channel.INVITE, peer=flow.remote.host))
        if user is not None and not isinstance(verdict, Emergency):
            if user in ECHO:
                return Route(Plan(CallDirection.ECHO, terms, (), RING_AGENT_S, False), org, agent, remote=Personal("echo"))
            callee = org.by_extension.get(user) or org.by_username.get(user)
            if callee is not None:
                return self._internal(org, agent, callee, terms)
        match verdict:
            case Allow() | Emergency():
                if isinstance(verdict, Allow) and _lacks_consent(org, Personal(verdict.number), (verdict.country,)):
                    return _refused(org, agent, denied(verdict, Reason.RECORDING_CONSENT), request)
                return self._outbound(org, agent, terms, verdict)
            case Deny() | Malformed():
                return _refused(org, agent, verdict, request)
            case AllowContact():
                raise LocalError("the verdict on an INVITE was one on a Contact")

    def _outbound(self, org: Organisation, agent: Agent, terms: Terms, verdict: Allow | Emergency) -> Route | Refused:
        # An emergency call goes whatever stands between the customer and a carrier.
        usable = (trunk for trunk in self._directory.trunks if org.may_use(trunk) or isinstance(verdict, Emergency))
        trunk = next(usable, None)
        remote = Personal(verdict.number)
        if trunk is None:
            return Refused(
                503, reason_header(503, "No trunk"), "trunk-failed", CallDirection.OUTBOUND, org, agent, remote=remote, verdict=None
            )
        target = trunk_target(trunk, verdict, agent.caller_id, self._directory.domain)
        places = (verdict.country,)
        plan = Plan(
            CallDirection.OUTBOUND,
            terms,
            (target,),
            RING_TRUNK_S,
            _is_recorded(org, remote, places),
            _rings_with(org),
            org.sounds.music_on_hold,
        )
        return Route(plan, org, agent, trunk=trunk, remote=remote, local=agent.caller_id, verdict=verdict, places=places)

    def _internal(self, org: Organisation, agent: Agent, callee: Agent, terms: Terms) -> Route | Refused:
        host = f"{org.slug}.{self._directory.domain}"
        shown = (agent.extension or agent.username).reveal()
        from_ = NameAddr(SipUri(host, escape_user(shown)), agent.username.reveal())
        targets = () if callee.is_suspended else self._agent_targets(org, callee, from_, leg=1)
        remote = callee.extension or callee.username
        if not targets:
            words = reason_header(480, "No device can be reached")
            return Refused(480, words, "unavailable", CallDirection.INTERNAL, org, agent, remote=remote)
        if _lacks_consent(org, None, ()):
            reason = Reason.RECORDING_CONSENT
            return Refused(reason.sip_status, reason.sip_reason, "no-recording", CallDirection.INTERNAL, org, agent, remote=remote)
        plan = Plan(
            CallDirection.INTERNAL, terms, targets, RING_AGENT_S, _is_recorded(org, None, ()), _rings_with(org), org.sounds.music_on_hold
        )
        return Route(plan, org, agent, peer_agent=callee, remote=remote, local=agent.extension)

    def is_barred(self, route: Route, answered: int | None = None) -> bool:
        """Whether an agent of the call was suspended or removed since it was routed, or the device that it is made from revoked.

        `answered` is the target that took it, if one did. An emergency call is nobody's to end but theirs.
        """
        if isinstance(route.verdict, Emergency):
            return False
        newest = [self._directory.agent(agent.id) for agent in (route.agent, route.peer_agent) if agent is not None]
        if any(agent is None or agent.is_suspended for agent in newest):
            return True
        if route.agent is not None and route.device_id is not None and self._directory.is_revoked(route.agent.id, route.device_id):
            return True
        called = route.peer_agent or route.agent
        device_id = None if answered is None else route.plan.targets[answered].device_id
        return called is not None and device_id is not None and self._directory.is_revoked(called.id, device_id)

    def may_record(self, route: Route) -> bool:
        """Whether the call may be recorded, by what is known now: its far side may have objected since the call was routed."""
        org = self._directory.organisation(route.org.id) or route.org
        return org.may_record(route.places) and not _is_unrecorded(org, route.remote)

    # From trunks.

    def trunk_of(self, flow: Flow, request: Request) -> Trunk | None:
        """The carrier that sent this, by its address alone; None for everybody else.

        A trunk without declared addresses sends from its URI's own address and port; one that connects to us (TCP, TLS) does so from
        any port, and has to be declared.
        """
        return next((trunk for trunk in self._directory.trunks if sends_from(trunk, flow)), None)

    def from_trunk(self, trunk: Trunk, request: Request, flow: Flow) -> Route | Refused | None:
        """Where a carrier's INVITE goes; None where the number is not ours."""
        number = _called(request)
        assigned = None if number is None else self._directory.find_number(number)
        org = None if assigned is None else self._directory.organisation(assigned.org_id)
        if assigned is None or org is None:
            return None
        agent = None if assigned.agent_id is None else org.by_id.get(assigned.agent_id)
        remote = _caller(request)
        words = reason_header(480, "Nobody can be reached")
        if agent is None or agent.is_suspended:
            return Refused(480, words, "unavailable", CallDirection.INBOUND, org, agent, trunk, remote)
        shown = remote.reveal() if remote is not None else "anonymous"
        from_ = NameAddr(SipUri(self._directory.domain, escape_user(shown)))
        targets = self._agent_targets(org, agent, from_, leg=0)
        if not targets:
            return Refused(480, words, "unavailable", CallDirection.INBOUND, org, agent, trunk, remote)
        places = _places(org, remote)
        if _lacks_consent(org, remote, places):
            reason = Reason.RECORDING_CONSENT
            return Refused(
                reason.sip_status, reason.sip_reason, "no-recording", CallDirection.INBOUND, org, agent, trunk=trunk, remote=remote
            )
        terms = Terms(1, Srtp(trunk.srtp), flow.remote.host, (trunk.keying,))
        plan = Plan(CallDirection.INBOUND, terms, targets, RING_AGENT_S, _is_recorded(org, remote, places), (), org.sounds.music_on_hold)
        return Route(plan, org, agent, trunk=trunk, remote=remote, local=assigned.number, places=places)

    # Targets.

    def _agent_targets(self, org: Organisation, agent: Agent, from_: NameAddr, leg: int) -> tuple[Target, ...]:
        host = f"{org.slug}.{self._directory.domain}"
        to = NameAddr(SipUri(host, escape_user(agent.username.reveal())))
        targets = []
        for device in self._devices(agent):
            if any(leads_to(trunk, device.hop) for trunk in self._directory.trunks):
                # Whoever registered from a carrier's address would have it dial the Contact, which no verdict was asked about.
                continue
            address = device.hop.remote.host if isinstance(device.hop, Flow) else device.hop.host
            terms = agent_terms(org, device.transport, address, leg)
            targets.append(Target(device.hop, str(device.contact), from_, to, terms, device_id=device.credential_id))
        return tuple(targets)


def _rings_with(org: Organisation) -> tuple[str, ...]:
    """The codecs of ringing for an agent: what networks of its country speak first (ITU-T G.711), so that the answer agrees with it."""
    if org.sounds.ringback is not Ringback.EARLY:
        return ()
    return ("PCMU", "PCMA") if org.rules.home_country in _MU_LAW else ("PCMA", "PCMU")


def _is_recorded(org: Organisation, remote: Personal[str] | None, places: Places) -> bool:
    """Whether a call with this number is recorded. Who objected goes before the organisation's setting: the call is made, unrecorded."""
    return org.record == "all" and org.may_record(places) and not _is_unrecorded(org, remote)


def _lacks_consent(org: Organisation, remote: Personal[str] | None, places: Places) -> bool:
    """Whether a call must not be made, since it would have to be recorded and the law asks for a consent that nobody declares.

    Where the organisation lets calls go unrecorded they are made so; calls with who objected are made in any case.
    """
    must_be_recorded = org.record == "all" and not org.calls_without_recording
    return must_be_recorded and not org.may_record(places) and not _is_unrecorded(org, remote)


def _places(org: Organisation, remote: Personal[str] | None) -> Places:
    """Where a caller may be, by the number that the carrier shows; unknown where it is withheld or no plan knows it."""
    text = None if remote is None else remote.reveal()
    if text is None or not _GLOBAL.fullmatch(text):
        return (None,)
    found = numbers.international(text[1:], org.rules.home_country)
    return found.territories or (None,) if isinstance(found, numbers.Found) else (None,)


def _refused(org: Organisation, agent: Agent, verdict: Deny | Malformed, request: Request) -> Refused:
    """What the rules refused, with the number that they read, else what was dialled."""
    number = verdict.number if isinstance(verdict, Deny) else None
    remote, reason = Personal(number or _dialled(request)), verdict.reason
    return Refused(reason.sip_status, reason.sip_reason, "refused", CallDirection.OUTBOUND, org, agent, remote=remote, verdict=verdict)


def _is_unrecorded(org: Organisation, remote: Personal[str] | None) -> bool:
    """Whether this number is never recorded: its owner objected, or is a minor. One look-up, however many there are."""
    return bool(org.unrecorded) and remote is not None and org.keys.index("calls.remote", remote.reveal()) in org.unrecorded


def agent_terms(org: Organisation, transport: Transport, address: str, leg: int) -> Terms:
    """What an agent's media must be, and how it may be protected: by keys in SDP only where these do not travel in the clear.

    A handshake (DTLS) needs no secret of the signalling, so it serves everywhere. Browsers, who come by WebSocket, know nothing else.
    """
    if transport in (Transport.WS, Transport.WSS):
        return Terms(leg, Srtp.REQUIRED, address, (Keying.WEBRTC,))
    host = numeric(address)
    is_protected = transport.is_protected or org.allows_sdes_in_clear or (host is not None and host.is_loopback)
    return Terms(leg, org.agent_srtp, address, (org.sdes, Keying.DTLS) if is_protected else (Keying.DTLS,))


def trunk_target(trunk: Trunk, allowed: Allow | Emergency, caller_id: Personal[str] | None, domain: str) -> Target:
    """The only way to a trunk: it takes a verdict that allows, and the INVITE names that verdict's number and nothing else.

    Raises LocalError if what would be sent is not byte for byte the judged number at the trunk's own host.
    """
    wanted = _GLOBAL if isinstance(allowed, Allow) else _SHORT
    if not wanted.fullmatch(allowed.number):
        raise LocalError("the verdict's number is not one that may leave")
    params = tuple(pair for pair in trunk.uri.params if pair[0] == "transport")
    uri = str(replace(trunk.uri, user=allowed.number, password=None, params=params, headers=None))
    sent = parse_sip_uri(uri)
    if sent.user != allowed.number or sent.host != trunk.uri.host or sent.port != trunk.uri.port:
        raise LocalError("the trunk's Request-URI is not the judged number")
    transport = Transport.TLS if trunk.uri.secure else Transport(trunk.uri.transport or "udp")
    host = trunk.uri.host.strip("[]")
    hop = flows.Target(transport, host, trunk.uri.port or transport.default_port)
    headers: tuple[Line, ...] = ()
    if caller_id is None:
        from_ = NameAddr(SipUri("anonymous.invalid", "anonymous"), "Anonymous")
    else:
        from_ = NameAddr(SipUri(domain, escape_user(caller_id.reveal())))
        headers = (("P-Asserted-Identity", f"<{from_.uri}>"),)
    to = NameAddr(SipUri(trunk.uri.host, allowed.number, trunk.uri.port))
    terms = Terms(1, Srtp(trunk.srtp), host if numeric(host) is not None else None, (trunk.keying,))
    return Target(hop, uri, from_, to, terms, headers, trunk.credentials)


def sends_from(trunk: Trunk, flow: Flow) -> bool:
    """Whether a message that came by this flow is the trunk's."""
    if not trunk.is_declared:
        default = Transport.TLS if trunk.uri.secure else Transport(trunk.uri.transport or "udp")
        port = trunk.uri.port or default.default_port
        return flow.remote.host in trunk.addresses and flow.remote.port == port
    return any(_covers(entry, flow) for entry in trunk.addresses)


def leads_to(trunk: Trunk, hop: Hop) -> bool:
    """Whether what is sent by this hop reaches the trunk."""
    if isinstance(hop, Flow):
        return sends_from(trunk, hop) or _is_at(trunk, hop.remote.host, hop.remote.port)
    by = Flow(hop.transport, 0, Address(hop.host, hop.port), Address(hop.host, hop.port))
    return sends_from(trunk, by) or _is_at(trunk, hop.host, hop.port)


def _is_at(trunk: Trunk, host: str, port: int) -> bool:
    default = Transport.TLS if trunk.uri.secure else Transport(trunk.uri.transport or "udp")
    here, there = numeric(host), numeric(trunk.uri.host)
    return here is not None and here == there and port == (trunk.uri.port or default.default_port)


def _covers(entry: str, flow: Flow) -> bool:
    """One entry of a trunk's `addresses`: an address, a network, or an address with a port."""
    host, port = entry, None
    if entry.startswith("["):
        host, _, tail = entry[1:].partition("]")
        port = tail.removeprefix(":") or None
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    try:
        network = ipaddress.ip_network(host, strict=False)
        return ipaddress.ip_address(flow.remote.host) in network and (port is None or int(port) == flow.remote.port)
    except ValueError:
        return False


def _own_user(request: Request, org: Organisation) -> str | None:
    """The dial string of a Request-URI that names this gateway; None for other hosts and forms."""
    try:
        uri = request.request_uri
        if not isinstance(uri, SipUri) or uri.password is not None or uri.headers is not None:
            return None
        if not hosts.is_own(uri.host, uri.port, org.rules.own_hosts):
            return None
        return uri.user_unescaped
    except ParseError:
        return None


def _dialled(request: Request) -> str:
    """What the row of a refusal shows: the user part as dialled, else the whole URI."""
    try:
        uri = request.request_uri
    except ParseError:
        return request.uri[:256]
    if isinstance(uri, SipUri):
        return (uri.user or uri.host)[:256]
    return uri.number[:256] if isinstance(uri, TelUri) else str(uri)[:256]


def _called(request: Request) -> str | None:
    """The called number as +E.164: carriers write it with +, with 00, or bare."""
    try:
        uri = request.request_uri
        text = uri.user_unescaped if isinstance(uri, SipUri) else uri.digits if isinstance(uri, TelUri) else None
    except ParseError:
        return None
    return _e164(text)


def _caller(request: Request) -> Personal[str] | None:
    """Who calls, as the carrier asserts it (RFC 3325: a trusted peer), else as From says; None for withheld numbers."""
    names = [request.from_]
    asserted = request.headers.get("P-Asserted-Identity")
    if asserted is not None:
        # An assertion that can't be read asserts nothing: From stays.
        with suppress(ParseError):
            names.insert(0, parse_name_addr(asserted.partition(",")[0]))
    for name in names:
        uri = name.uri
        try:
            text = uri.user_unescaped if isinstance(uri, SipUri) else uri.digits if isinstance(uri, TelUri) else None
        except ParseError:
            continue
        if text and text.lower() != "anonymous" and len(text) <= 128 and text.isprintable():
            return Personal(_e164(text) or text)
    return None


def _e164(text: str | None) -> str | None:
    digits = (text or "").partition(";")[0]
    if digits.startswith("+"):
        digits = digits[1:]
    elif digits.startswith("00"):
        digits = digits[2:]
    return f"+{digits}" if digits.isascii() and digits.isdigit() and 4 <= len(digits) <= 15 and digits[0] != "0" else None
