"""The one verdict function: every way out asks it, and what it allows is all that may leave.

`decide` is pure. `Judge` remembers its answers: bounded, keyed by the rules themselves, so that no changed rule is answered from
what was remembered under another, and no longer than an answer stays right by the clock.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final

from hushwire.policy import emergency, hosts, levels, numbers
from hushwire.policy.destination import Device, Digits, Service, Unread, read
from hushwire.policy.model import (
    AllowContact,
    Attempt,
    Channel,
    Deny,
    Emergency,
    Malformed,
    Reason,
    Verdict,
)
from hushwire.policy.rules import ExceptionKind, Rules
from hushwire.policy.territories import named

_LONGEST_REMEMBERED: Final = 256


def decide(attempt: Attempt, rules: Rules, now: datetime) -> Verdict:
    """The verdict on one attempt under one snapshot of rules, at an aware moment. Never raises, whatever the destination's text is.

    Order: what can be read at all; emergency numbers; the number; its territories; its class; terms and hours; risk packs.
    """
    reading = read(attempt.destination, attempt.channel, rules.own_hosts)
    if isinstance(reading, Unread):
        explanation = reading.reason.explanation
        return Malformed(reading.reason, explanation) if reading.is_malformed else Deny(reading.reason, explanation)
    if isinstance(reading, Device):
        return _contact(reading, attempt, rules)
    if isinstance(reading, Service):
        return _service(reading, rules)
    return _dialled(reading, attempt, rules, now)


class Judge:
    """`decide` with a memory of at most `size` answers, the least recently asked forgotten first."""

    def __init__(self, size: int = 8192) -> None:
        self._size = size
        self._known: OrderedDict[tuple[Rules, str, Channel, str | None], tuple[Verdict, datetime | None, datetime | None]] = OrderedDict()

    def decide(self, attempt: Attempt, rules: Rules, now: datetime) -> Verdict:
        """As `decide`."""
        key = (rules, attempt.destination, attempt.channel, attempt.peer)
        known = self._known.get(key)
        if known is not None:
            verdict, begin, end = known
            if begin is None or end is None or begin <= now < end:
                self._known.move_to_end(key)
                return verdict
        verdict = decide(attempt, rules, now)
        if len(attempt.destination) <= _LONGEST_REMEMBERED:
            self._known[key] = (verdict, *(rules.settled(now) if rules.is_timed else (None, None)))
            self._known.move_to_end(key)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        return verdict

    def __len__(self) -> int:
        return len(self._known)


def _dialled(reading: Digits, attempt: Attempt, rules: Rules, now: datetime) -> Verdict:
    home, way = rules.home_country, attempt.channel.way
    if not reading.is_global and (short := _emergency_number(reading.exact, rules)) is not None:
        return _emergency(short, home)
    if reading.lacks_context:
        return Malformed(Reason.CONTEXT_MISSING, Reason.CONTEXT_MISSING.explanation)
    if "*" in reading.digits or "#" in reading.digits:
        return _deny(Reason.FEATURE_CODE)
    if reading.is_global:
        found = numbers.international(reading.digits, home)
    elif reading.context is not None:
        found = numbers.international(reading.context + reading.digits, home)
    else:
        found = numbers.dialled(reading.digits, home, rules.outside_prefix)
    if isinstance(found, numbers.Found):
        return levels.judged(found, rules, way, now)
    if found.number is not None and (excepted := levels.exception(found.number, ExceptionKind.UNASSIGNED, rules, now)) is not None:
        return levels.judged(levels.unassigned(found.number, excepted), rules, way, now, excepted)
    if not reading.is_global and reading.context is None and (code := _short_code(reading.digits, rules)) is not None:
        return levels.short_code(code, rules, way, now)
    return _deny(found.reason)


def _short_code(digits: str, rules: Rules) -> str | None:
    """The listed short code that was dialled, exactly or behind exactly the outside prefix."""
    if digits in rules.short_codes:
        return digits
    prefix = rules.outside_prefix
    code = digits[len(prefix) :] if prefix and digits.startswith(prefix) else ""
    return code if code in rules.short_codes else None


def _emergency_number(exact: str, rules: Rules) -> str | None:
    """The emergency number that was dialled, exactly or behind exactly the outside prefix."""
    if emergency.is_emergency(exact, rules.home_country):
        return exact
    prefix = rules.outside_prefix
    if prefix and exact.startswith(prefix) and emergency.is_emergency(exact[len(prefix) :], rules.home_country):
        return exact[len(prefix) :]
    return None


def _emergency(number: str, home: str) -> Emergency:
    return Emergency(number, home, f"{number} is an emergency number for callers in {named(home)}: it is always put through.")


def _service(service: Service, rules: Rules) -> Verdict:
    if service.name in emergency.RESCUE_SERVICES:
        return _emergency(emergency.main_number(rules.home_country), rules.home_country)
    return _deny(Reason.SERVICE)


def _contact(device: Device, attempt: Attempt, rules: Rules) -> Verdict:
    """A registered Contact is where calls to the agent are sent: to a device, never to a number or back into our own house."""
    uri = device.uri
    host_reach = hosts.reach(uri.host)
    if hosts.is_own_for_contact(uri.host, uri.port, rules.own_hosts):
        return Deny(Reason.CONTACT, "The contact names this gateway itself, so calls would come back to it.")
    if host_reach is hosts.Reach.NOWHERE:
        return Deny(Reason.CONTACT, "The contact's host is no address of a device.")
    if host_reach is not hosts.Reach.ELSEWHERE and host_reach is not hosts.reach_of_peer(attempt.peer):
        return Deny(Reason.CONTACT, "The contact names a loopback or link-local address, and the registration did not come from one.")
    if uri.user is not None and (_is_number(uri.user_unescaped or "", rules) or (uri.param("user") or "").lower() == "phone"):
        return Deny(Reason.CONTACT, "The contact names a telephone number: a registration can't forward calls.")
    return AllowContact("The contact names a device of the agent's own.")


def _is_number(user: str, rules: Rules) -> bool:
    """True if a gateway at the contact's host would dial the user part; short digits are device and extension names."""
    subject = user.partition(";")[0].translate(str.maketrans("", "", "-.()*#"))
    if subject.startswith("+"):
        return True
    return subject.isdigit() and (len(subject) >= 7 or emergency.is_emergency(subject, rules.home_country))


def _deny(reason: Reason) -> Deny:
    return Deny(reason, reason.explanation)
