"""Delivery receipts: which message, what became of it; as optional parameters, and as text (SMPP 3.4 appendix B).

    id:IIIIIIIIII sub:SSS dlvrd:DDD submit date:YYMMDDhhmm done date:YYMMDDhhmm stat:DDDDDDD err:E text:...

Carriers vary the text: fields in other cases and orders, left out or added, words for states. And they write the same id in other ways in
receipts than in answers: hexadecimal there and decimal here, with leading zeros, in other cases. Which ways is a setting (`IdForm`), since
"10" is two different messages.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

from hushwire.core.values import frozen
from hushwire.sms.smpp.bodies import DataSm, DeliverSm
from hushwire.sms.smpp.codes import DELIVERY_RECEIPT, INTERMEDIATE_NOTIFICATION, TYPE_MASK, MessageState, Tag

IdForm = Literal["exact", "caseless", "hex", "decimal"]
LONGEST_TEXT: Final = 1024
"""Of a receipt no more is read: what it quotes of the message stands at its end, and concerns nobody."""

_FIELDS: Final = re.compile(r"\b(id|stat|err)\s*:\s*([^\s:]+)", re.IGNORECASE | re.ASCII)
_LOOKS_LIKE_ONE: Final = re.compile(r"\A\s*id\s*:\s*\S+.*?\bstat\s*:\s*[A-Z]", re.IGNORECASE | re.ASCII | re.DOTALL)
_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")  # a centre's own has 64 characters at most (section 5.2.23)
_UCS2: Final = 8


class Fate(StrEnum):
    """What became of a message."""

    PENDING = "pending"  # the centre still tries
    DELIVERED = "delivered"
    EXPIRED = "expired"
    FAILED = "failed"


_FATES: Final[Mapping[int, Fate]] = {
    MessageState.ENROUTE: Fate.PENDING,
    MessageState.DELIVERED: Fate.DELIVERED,
    MessageState.EXPIRED: Fate.EXPIRED,
    MessageState.DELETED: Fate.FAILED,
    MessageState.UNDELIVERABLE: Fate.FAILED,
    MessageState.ACCEPTED: Fate.PENDING,
    MessageState.UNKNOWN: Fate.PENDING,
    MessageState.REJECTED: Fate.FAILED,
}
# The beginnings of appendix B's words: some carriers cut them, some write them out.
_WORDS: Final[tuple[tuple[str, MessageState], ...]] = (
    ("DELIV", MessageState.DELIVERED),
    ("EXPIR", MessageState.EXPIRED),
    ("DELET", MessageState.DELETED),
    ("UNDEL", MessageState.UNDELIVERABLE),
    ("FAIL", MessageState.UNDELIVERABLE),
    ("ACCE", MessageState.ACCEPTED),
    ("ENROU", MessageState.ENROUTE),
    ("BUFFER", MessageState.ENROUTE),
    ("UNKN", MessageState.UNKNOWN),
    ("REJ", MessageState.REJECTED),
)


@frozen
class Receipt:
    """One receipt. `message_id` as it stands there; `error` a short code of the network's or the centre's, None where it says none."""

    message_id: str
    fate: Fate
    error: str | None


def receipt_of(body: DeliverSm | DataSm, *, is_told_by_text: bool = False) -> Receipt | None:
    """The receipt that `body` is; None for anything else, and for a receipt that says nothing of use.

    `is_told_by_text`: of a carrier that does not mark receipts in esm_class; then a text that looks like one is one, whoever wrote it.
    """
    kind = body.esm_class & TYPE_MASK
    if kind not in (DELIVERY_RECEIPT, INTERMEDIATE_NOTIFICATION) and not is_told_by_text:
        return None
    text = _text(body)
    is_marked = kind in (DELIVERY_RECEIPT, INTERMEDIATE_NOTIFICATION)
    if not is_marked and not _LOOKS_LIKE_ONE.match(text):
        return None
    said: dict[str, str] = {}
    for name, value in _FIELDS.findall(text):
        said.setdefault(name.lower(), value)
    named = body.tlv(Tag.RECEIPTED_MESSAGE_ID)
    message_id = said.get("id", "") if named is None else named.rstrip(b"\0").decode("latin-1")
    state = _state(body.tlv(Tag.MESSAGE_STATE), said.get("stat", ""))
    if _ID.fullmatch(message_id.strip()) is None or state is None:
        return None
    fate = Fate.PENDING if kind == INTERMEDIATE_NOTIFICATION and _FATES[state] is not Fate.DELIVERED else _FATES[state]
    error = _network_error(body.tlv(Tag.NETWORK_ERROR_CODE)) or _code(said.get("err", ""))
    return Receipt(message_id, fate, None if fate is Fate.DELIVERED else error or MessageState(state).name.lower())


def is_receipt(body: DeliverSm | DataSm) -> bool:
    """Whether `body` says of itself that it is a receipt or a notification: then it is no message, readable or not."""
    return body.esm_class & TYPE_MASK in (DELIVERY_RECEIPT, INTERMEDIATE_NOTIFICATION)


def canonical(message_id: str, form: IdForm) -> str:
    """`message_id`, written in `form`, in the one way in which ids are compared.

    A number that its carrier writes as hex in one place and as decimal in another comes out alike; what is no number is compared as text.
    """
    text = message_id.strip()
    if form == "exact":
        return "t" + text
    if form in ("hex", "decimal"):
        digits = text[2:] if form == "hex" and text[:2].lower() == "0x" else text
        pattern = r"[0-9A-Fa-f]{1,64}" if form == "hex" else r"[0-9]{1,64}"
        if re.fullmatch(pattern, digits, re.ASCII):
            return f"n{int(digits, 16 if form == 'hex' else 10)}"
    return "c" + text.lower()


def _text(body: DeliverSm | DataSm) -> str:
    payload = body.payload
    if body.data_coding == _UCS2:
        return payload[: 2 * LONGEST_TEXT].decode("utf-16-be", "replace")
    return payload[:LONGEST_TEXT].decode("latin-1")


def _state(value: bytes | None, word: str) -> MessageState | None:
    if value is not None and len(value) == 1 and value[0] in _FATES:
        return MessageState(value[0])
    upper = word.upper()
    return next((state for beginning, state in _WORDS if upper.startswith(beginning)), None)


def _network_error(value: bytes | None) -> str | None:
    """Network type and code (section 5.3.2.31)."""
    if value is None or len(value) != 3 or not any(value[1:]):
        return None
    return f"network-{value[0]}-{int.from_bytes(value[1:], 'big')}"


def _code(value: str) -> str | None:
    """Three digits or letters as a rule; zeros mean that there was none. Whatever else stands there is not taken over."""
    return f"err-{value.lower()}" if re.fullmatch(r"[0-9A-Za-z]{1,8}", value, re.ASCII) and value.strip("0") else None
