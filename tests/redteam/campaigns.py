"""Which tricks are played on which way out by which stack: the one table that the tests take them from, and that says how many there are.

A test plays all of a field of the table, or it does not play the field at all: `test_campaigns.py` looks for who takes which one, and
holds the sums against what was promised and against docs/voice-security.md.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from tests.redteam.tricks import CALLERS, KEYS, NUMBERS, URIS, Trick


class Way(StrEnum):
    """How a call or text may leave the house."""

    INVITE = "INVITE"
    BLIND = "REFER, blind"
    ATTENDED = "REFER, attended"
    REDIRECT = "3xx of a phone"
    CARRIER_REDIRECT = "3xx of a carrier"
    FORWARD = "forwarding"
    GROUP = "ring group"
    CALLBACK = "voicemail call-back"
    CLICK = "click-to-call"
    KEYS = "keys in a call"
    PICKUP = "pickup"
    CONFERENCE = "conference"
    SMS = "SMS"
    MESSAGE = "MESSAGE"


class Stack(StrEnum):
    """What plays the trick. In process: a gateway is asked for it as the key would ask, without a socket of the trick's own."""

    RAW = "raw sockets"
    PJSIP = "PJSUA2"
    SIPP = "SIPp"
    API = "API"
    INSIDE = "in process"


SIP: Final = frozenset(Way) - {Way.CLICK, Way.SMS}
"""Ways whose tricks SIP carries."""

# What these stacks' own grammar takes: the rest is the raw sockets' part.
_PLAIN: Final = tuple(trick for trick in NUMBERS if not set(trick.sent) & set("%,;: ABCDEFGHIJKLMNOPQRSTUVWXYZ{"))
_EVEN, _ODD = _PLAIN[::2], _PLAIN[1::2]
_PARAMETERS: Final = tuple(trick for trick in NUMBERS if ";" in trick.sent and "%" not in trick.sent)
_AFTER_A_CODE: Final = tuple(trick for trick in NUMBERS[::3] if "phone-context" not in trick.sent)

CAMPAIGNS: Final[Mapping[tuple[Way, Stack], tuple[Trick, ...]]] = {
    (Way.INVITE, Stack.RAW): (*NUMBERS, *URIS),
    (Way.INVITE, Stack.PJSIP): _EVEN,
    (Way.INVITE, Stack.SIPP): (*_ODD, *_PARAMETERS),
    (Way.BLIND, Stack.RAW): (*NUMBERS, *URIS),
    (Way.BLIND, Stack.PJSIP): _EVEN,
    (Way.BLIND, Stack.SIPP): (*_ODD, *_PARAMETERS[:5]),
    (Way.ATTENDED, Stack.RAW): _EVEN,
    (Way.ATTENDED, Stack.PJSIP): _ODD,
    (Way.REDIRECT, Stack.RAW): (*NUMBERS, *URIS),
    (Way.REDIRECT, Stack.PJSIP): (*_EVEN, *_PARAMETERS),
    (Way.REDIRECT, Stack.SIPP): _ODD,
    (Way.CARRIER_REDIRECT, Stack.RAW): (*NUMBERS[::2], *URIS),
    (Way.CARRIER_REDIRECT, Stack.PJSIP): _EVEN,
    (Way.CARRIER_REDIRECT, Stack.SIPP): _ODD,
    (Way.FORWARD, Stack.API): NUMBERS,
    (Way.FORWARD, Stack.RAW): _AFTER_A_CODE,
    (Way.FORWARD, Stack.PJSIP): _EVEN,
    (Way.FORWARD, Stack.SIPP): _ODD[:10],
    (Way.GROUP, Stack.PJSIP): _EVEN,
    (Way.GROUP, Stack.SIPP): _ODD[:10],
    (Way.CALLBACK, Stack.PJSIP): CALLERS,  # whose messages it hears, and whom its key would call
    (Way.CALLBACK, Stack.INSIDE): tuple(trick for trick in (*NUMBERS, *URIS) if not trick.sent.startswith("urn:")),
    (Way.CLICK, Stack.API): (*NUMBERS[::2], *URIS),
    (Way.KEYS, Stack.RAW): KEYS,
    (Way.KEYS, Stack.PJSIP): KEYS[:10],
    (Way.PICKUP, Stack.RAW): NUMBERS[::5],
    (Way.PICKUP, Stack.PJSIP): _EVEN,
    (Way.PICKUP, Stack.SIPP): _ODD,
    (Way.CONFERENCE, Stack.API): (*NUMBERS[1::2], *URIS),
    (Way.CONFERENCE, Stack.PJSIP): _EVEN,
    (Way.SMS, Stack.API): NUMBERS,
    (Way.MESSAGE, Stack.RAW): (*NUMBERS, *URIS),
    (Way.MESSAGE, Stack.PJSIP): _EVEN,
    (Way.MESSAGE, Stack.SIPP): _ODD,
}


def tricks(way: Way, stack: Stack) -> tuple[Trick, ...]:
    """All that this stack plays on this way out."""
    return CAMPAIGNS[way, stack]


def written() -> str:
    """The table as people read it."""
    lines = ["| way out | " + " | ".join(Stack) + " | sum |", "|---" * (len(Stack) + 2) + "|"]
    for way in Way:
        counts = [len(CAMPAIGNS.get((way, stack), ())) for stack in Stack]
        lines.append(f"| {way} | " + " | ".join(str(count or "") for count in counts) + f" | {sum(counts)} |")
    return "\n".join(lines) + "\n"
