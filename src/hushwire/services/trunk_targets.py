"""From a verdict to what may be sent to a carrier, and from a message's source to the carrier that sent it."""

import re
from typing import Final

from hushwire.calls.model import Target, Terms
from hushwire.core.errors import LocalError
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.policy import trunk_number
from hushwire.policy.model import Allow, Emergency, NumberClass
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.caller_id import for_trunk as caller_id_for
from hushwire.services.trunk import Trunk
from hushwire.sip import flow as flows
from hushwire.sip.flow import Address, Flow, Hop
from hushwire.sip.headers import Line
from hushwire.sip.routing import numeric
from hushwire.sip.uri import NameAddr, SipUri, parse_sip_uri

_GLOBAL: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)
_SHORT: Final = re.compile(r"[0-9]{2,6}", re.ASCII)


def trunk_terms(trunk: Trunk, address: str | None) -> Terms:
    """What a carrier's media must be. `address` is where its signalling comes from, where that is known in figures."""
    return Terms(
        1, Srtp(trunk.srtp), address if address is not None and numeric(address) is not None else None, (trunk.keying,), trunk.codecs
    )


def is_short(allowed: Allow | Emergency) -> bool:
    """Whether its number is one of the home country's own, which has no international form: an emergency number or a listed short code."""
    return isinstance(allowed, Emergency) or allowed.number_class is NumberClass.SHORT_CODE


def carries(trunk: Trunk, allowed: Allow) -> bool:
    """Whether a trunk may have this call. A short code means another thing abroad: a carrier of another country never has it."""
    if is_short(allowed):
        return trunk.country in (None, allowed.country)
    return trunk.carries(allowed.number)


def written_for(trunk: Trunk, allowed: Allow | Emergency) -> str | None:
    """The judged number as the trunk takes numbers; None where it can't take this one. Short numbers leave as they are."""
    if is_short(allowed):
        return allowed.number if _SHORT.fullmatch(allowed.number) else None
    return trunk_number.written(allowed.number, trunk.number_format, trunk.country)


def trunk_target(
    trunk: Trunk,
    allowed: Allow | Emergency,
    caller_id: Personal[str] | None,
    domain: str,
    way: flows.Target | None = None,
    *,
    hides: bool = False,
) -> Target:
    """The only way to a trunk: it takes a verdict that allows, and the INVITE names that verdict's number and nothing else.

    `way` is one of the places where the trunk is reached; None: its URI's own host and port. `hides`: the caller's number is not shown.
    Raises LocalError if what would be sent is not read there as the judged number, byte for byte, at the trunk's own host.
    """
    wanted = _SHORT if is_short(allowed) else _GLOBAL
    user = written_for(trunk, allowed) if wanted.fullmatch(allowed.number) else None
    if user is None:
        raise LocalError("the verdict's number is not one that may leave")
    uri = str(replace(trunk.base, user=user))
    _check(uri, trunk, allowed)
    if way is None:
        way = trunk.own_target
    headers: tuple[Line, ...] = (("P-Early-Media", "supported"),) if trunk.early_media else ()
    from_, told = caller_id_for(trunk, caller_id, domain, hides=hides, is_emergency=isinstance(allowed, Emergency))
    headers = (*told, *headers)
    to = NameAddr(SipUri(trunk.uri.host, user, trunk.uri.port))
    return Target(
        way,
        uri,
        from_,
        to,
        trunk_terms(trunk, way.host),
        headers,
        trunk.credentials,
        silence_s=trunk.silent_after_s,
        early_media=trunk.early_media,
    )


def _check(uri: str, trunk: Trunk, allowed: Allow | Emergency) -> None:
    """What stands in the Request-URI, read as the trunk will read it, is the number that was judged."""
    sent = parse_sip_uri(uri)
    read = sent.user if is_short(allowed) else trunk_number.read(sent.user or "", trunk.number_format, trunk.country)
    if read != allowed.number or sent.host != trunk.uri.host or sent.port != trunk.uri.port:
        raise LocalError("the trunk's Request-URI is not the judged number")


def sends_from(trunk: Trunk, flow: Flow, ways: tuple[flows.Target, ...] = ()) -> bool:
    """Whether a message that came by this flow is the trunk's. `ways` are the places that its name leads to now."""
    if trunk.is_declared:
        host, port = numeric(flow.remote.host), flow.remote.port
        return host is not None and any(host in source.network and source.port in (None, port) for source in trunk.sources)
    if flow.remote.host in trunk.addresses and flow.remote.port == trunk.port:
        return True
    return any((way.host, way.port) == (flow.remote.host, flow.remote.port) for way in ways)


def leads_to(trunk: Trunk, hop: Hop, ways: tuple[flows.Target, ...] = ()) -> bool:
    """Whether what is sent by this hop reaches the trunk."""
    if isinstance(hop, Flow):
        return sends_from(trunk, hop, ways) or _is_at(trunk, hop.remote.host, hop.remote.port)
    by = Flow(hop.transport, 0, Address(hop.host, hop.port), Address(hop.host, hop.port))
    return sends_from(trunk, by, ways) or _is_at(trunk, hop.host, hop.port)


def _is_at(trunk: Trunk, host: str, port: int) -> bool:
    here, there = numeric(host), numeric(trunk.uri.host)
    return here is not None and here == there and port == trunk.port
