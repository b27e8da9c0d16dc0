"""What a REGISTER does to an agent's bindings (RFC 3261 section 10.3): pure, the caller keeps the rows.

With what RFC 5626 (outbound: instance and reg-id), RFC 3327 (Path) and RFC 5627 (GRUU) add to it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.gruu import Gruus
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri, parse_name_addr, parse_sip_uri, quote

MOST_PATHS: Final = 8


@frozen(repr=False)
class Binding:
    """One device of an agent. `expires_at` is in the seconds of `register`'s `now`.

    `instance` is `+sip.instance` (RFC 5626), `path` the Path values in order (RFC 3327), `flow` where the REGISTER came from.
    """

    contact: SipUri
    call_id: str
    cseq: int
    expires_at: float
    q: float = 1.0
    instance: str | None = None
    reg_id: int | None = None
    path: tuple[str, ...] = ()
    user_agent: str | None = None
    flow: Flow | None = None

    def same_device(self, other: "Binding") -> bool:
        """Whether the other binding replaces this one: the same instance and reg-id, or the same contact URI (RFC 5626 section 6)."""
        if self.instance is not None and other.instance is not None and (self.reg_id or other.reg_id):
            return self.instance == other.instance and self.reg_id == other.reg_id
        return self.contact.matches(other.contact)

    def __repr__(self) -> str:
        return f"Binding({SHOWN})"


@frozen
class Bounds:
    """Registration lifetimes in seconds and the number of devices of one agent."""

    default_s: int = 600
    min_s: int = 30
    max_s: int = 3600
    max_bindings: int = 10


@frozen
class Registered:
    """Answer 200 with `headers`. `bindings` is the whole new set; `stored` were added or refreshed, `removed` left it.

    `replaced` tells for each of `stored` which binding it takes the place of, None where it is new.
    """

    bindings: tuple[Binding, ...]
    stored: tuple[Binding, ...]
    removed: tuple[Binding, ...]
    headers: tuple[Line, ...]
    replaced: tuple[Binding | None, ...] = ()


@frozen
class RegisterRefused:
    """Answer `status` with `headers`; the bindings stay as they are."""

    status: int
    headers: tuple[Line, ...] = ()


RegisterOutcome = Registered | RegisterRefused


def register(request: Request, flow: Flow | None, bindings: Sequence[Binding], now: float, bounds: Bounds | None = None) -> RegisterOutcome:
    """What an authenticated REGISTER does to the bindings of its address of record (RFC 3261 section 10.3, steps 6 to 8).

    All contacts of the request change together or not at all. Bindings past their time are left out and reported as removed.
    """
    limits = bounds or Bounds()
    live = [binding for binding in bindings if binding.expires_at > now]
    lapsed = [binding for binding in bindings if binding.expires_at <= now]
    try:
        if request.is_contact_star:
            return _remove_all(request, live, lapsed, now)
        # RFC 3327 section 5.3 would have a phone refused that does not know of the proxy in its way; it is the operator's own proxy.
        if len(request.headers.listed("Path")) > MOST_PATHS:
            return RegisterRefused(400)
        wishes = [_wish(request, flow, contact, now, limits) for contact in request.contacts]
    except ParseError as error:
        return RegisterRefused(error.status or 400)
    stored: list[Binding] = []
    replaced: list[Binding | None] = []
    removed: list[Binding] = list(lapsed)
    for wish in wishes:
        if wish is None:
            # "Interval Too Brief": the client learns the least that we take (RFC 3261 section 10.3, step 7).
            return RegisterRefused(423, (("Min-Expires", str(limits.min_s)),))
        before: Binding | None = None
        for known in [binding for binding in live if binding.same_device(wish)]:
            if known.call_id == wish.call_id and known.cseq >= wish.cseq:
                # An old request that comes late must not undo a newer one: 500, and all stays (step 7).
                return RegisterRefused(500)
            live = [binding for binding in live if binding is not known]
            if any(binding is known for binding in stored):
                stored, replaced = _without(known, stored, replaced)
            else:
                before = known
            if wish.expires_at <= now:
                removed.append(known)
        if wish.expires_at > now:
            live.append(wish)
            stored.append(wish)
            replaced.append(before)
    if len(live) > limits.max_bindings:
        return RegisterRefused(403)
    if any(binding.reg_id is not None and binding.path and not _is_outbound(binding.path[-1]) for binding in stored):
        # RFC 5626 section 6: the proxy next to the device must be one that keeps flows (`ob` on the bottom Path).
        return RegisterRefused(439)
    return Registered(tuple(live), tuple(stored), tuple(removed), answer(request, live, stored, now), tuple(replaced))


def wants_gruu(request: Request) -> bool:
    """Whether the device is to be told its own addresses (RFC 5627 section 4.1)."""
    return "gruu" in (request.headers.get("Supported") or "").lower() and "gruu" in request.supported


def answer(
    request: Request, live: Sequence[Binding], stored: Sequence[Binding], now: float, gruus: Callable[[Binding], Gruus | None] | None = None
) -> tuple[Line, ...]:
    """The header lines of a 200: all bindings with what is left of their time; with `gruus`, the devices' own addresses too."""
    lines = [contact_line(binding, now, None if gruus is None or binding.instance is None else gruus(binding)) for binding in live]
    if request.headers.count("Path") and "path" in request.supported:
        lines += [("Path", value) for value in request.headers.listed("Path")]
    if any(binding.reg_id is not None for binding in stored) and "outbound" in request.supported:
        # RFC 5626 section 6: so the device learns that its flows are kept.
        lines.append(("Require", "outbound"))
    return tuple(lines)


def contact_line(binding: Binding, now: float, own: Gruus | None = None) -> Line:
    """What a 200 says of one binding."""
    params = f";expires={max(1, round(binding.expires_at - now))}"
    if binding.q != 1.0:
        params += f";q={binding.q:g}"
    if binding.instance is not None:
        params += f";+sip.instance={quote(binding.instance)}"
    if binding.reg_id is not None:
        params += f";reg-id={binding.reg_id}"
    if own is not None:
        params += f";pub-gruu={quote(str(own.public))};temp-gruu={quote(str(own.temporary))}"
    return "Contact", f"<{binding.contact}>{params}"


def _without(binding: Binding, stored: list[Binding], replaced: list[Binding | None]) -> tuple[list[Binding], list[Binding | None]]:
    """The lists without what a later Contact of the same request has replaced."""
    kept = [(one, before) for one, before in zip(stored, replaced, strict=True) if one is not binding]
    return [one for one, _ in kept], [before for _, before in kept]


def _remove_all(request: Request, live: list[Binding], lapsed: list[Binding], now: float) -> RegisterOutcome:
    # "*" is only allowed alone and with Expires: 0 (RFC 3261 section 10.3, step 6).
    if request.expires != 0:
        return RegisterRefused(400)
    cseq = request.cseq.number
    if any(binding.call_id == request.call_id and binding.cseq >= cseq for binding in live):
        return RegisterRefused(500)
    return Registered((), (), (*lapsed, *live), answer(request, [], (), now))


def _wish(request: Request, flow: Flow | None, contact: NameAddr, now: float, limits: Bounds) -> Binding | None:
    """The binding that one Contact asks for; None where its lifetime is too short."""
    uri = contact.uri if isinstance(contact.uri, SipUri) else parse_sip_uri(str(contact.uri))
    wanted = _seconds(contact.param("expires"))
    if wanted is None:
        wanted = _seconds(request.headers.get("Expires"))
    if wanted is None:
        wanted = limits.default_s
    if 0 < wanted < limits.min_s:
        return None
    q = _quality(contact.param("q"))
    instance, reg_id = contact.param("+sip.instance"), contact.param("reg-id")
    if instance is None or reg_id is None or not (reg_id.isascii() and reg_id.isdigit() and len(reg_id) < 10):
        reg_id = None  # without an instance a reg-id means nothing (RFC 5626 section 6)
    return Binding(
        contact=uri if uri.headers is None else replace(uri, headers=None),
        call_id=request.call_id,
        cseq=request.cseq.number,
        expires_at=now + min(wanted, limits.max_s),
        q=q,
        instance=instance,
        reg_id=None if reg_id is None else int(reg_id),
        path=tuple(request.headers.listed("Path")),
        user_agent=request.headers.get("User-Agent"),
        flow=flow,
    )


def _seconds(text: str | None) -> int | None:
    """Seconds of an expires value; a malformed one counts as absent (RFC 3261 section 10.2.1.1: treat as 3600)."""
    if text is None:
        return None
    text = text.strip()
    return min(int(text), 2**32 - 1) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _quality(text: str | None) -> float:
    if text is None:
        return 1.0
    whole, _, part = text.partition(".")
    if whole not in ("0", "1") or len(part) > 3 or (part and not (part.isascii() and part.isdigit())):
        raise ParseError("a q value is not a number from 0 to 1")
    value = float(f"{whole}.{part or '0'}")
    if value > 1.0:
        raise ParseError("a q value is not a number from 0 to 1")
    return value


def _is_outbound(path: str) -> bool:
    """Whether the proxy next to the device keeps its flow (RFC 5626 section 5.1): `ob` on the URI of the bottom Path."""
    uri = parse_name_addr(path).uri
    return isinstance(uri, SipUri) and any(name == "ob" for name, _ in uri.params)
