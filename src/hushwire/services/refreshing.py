"""Refreshes: a REGISTER that says again, line by line, what the one said that its binding was made by. By far the most that phones send.

What it means was found out then, and judged, for the same agent under the same rules: the contact is read, judged and compared no more,
and nothing but the binding's count and its end changes. Whatever differs in a line, a flow, an agent or a rule goes the whole way again.
Where even the bytes are the same, it is not parsed either (services/short_way.py).
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hushwire.core.values import frozen
from hushwire.policy.rules import Rules
from hushwire.services.snapshot import Agent
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.registrar import Binding, contact_line

if TYPE_CHECKING:
    from hushwire.services.short_way import Form

_OF_EACH: Final = frozenset({"Via", "From", "CSeq", "Max-Forwards", "Authorization"})
"""Lines that are each request's own, and say nothing of the binding. All others are compared, whatever they are."""


@frozen(repr=False)
class Said:
    """What the REGISTER said that a binding was made by, and for whom; `before` and `behind` are what stands around its seconds in the
    200's Contact, `further` the lines that follow. `form` is how the last one was written, where the next may be written the same way."""

    words: bytes
    agent: Agent
    rules: Rules
    lasts_s: float
    before: str
    behind: str
    further: tuple[Line, ...]
    form: "Form | None" = None

    @property
    def alone(self) -> Line:
        """The Contact of the 200 for an agent that has no other binding."""
        return "Contact", f"{self.before}{max(1, round(self.lasts_s))}{self.behind}"


def words(request: Request) -> bytes:
    """A digest of what a REGISTER says: of all of its lines but those that are its own."""
    text = "\n".join([f"{name}:{value}" for name, value in request.headers.lines if name not in _OF_EACH])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def said(
    spoken: bytes, agent: Agent, rules: Rules, binding: Binding, now: float, bindings: Sequence[Binding], lines: Sequence[Line]
) -> Said:
    """What to remember of a REGISTER that made `binding`. `lines` are of its 200: a Contact for each of the `bindings`, and others."""
    _, contact = lines[next(place for place, one in enumerate(bindings) if one is binding)]
    before = f"<{binding.contact}>;expires="
    behind = contact[len(before) :].lstrip("0123456789")
    return Said(spoken, agent, rules, binding.expires_at - now, before, behind, tuple(lines[len(bindings) :]))


def contacts_of(bindings: Sequence[Binding], now: float) -> tuple[Line, ...]:
    """The Contacts of the 200 to an agent with several."""
    return tuple([contact_line(binding, now) for binding in bindings])
