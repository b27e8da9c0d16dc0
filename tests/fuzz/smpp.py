"""The fuzz target of SMPP: `python -m tests.fuzz.sip --target smpp`.

The first byte says where the rest goes: PDUs read and written again, torn streams, a session that takes PDUs while time passes, receipts.
"""

import struct

from hushwire.sms.smpp.bodies import BODIES, DataSm, DeliverSm, SubmitSm, Unknown
from hushwire.sms.smpp.errors import PduError
from hushwire.sms.smpp.fields import Address, Tlv
from hushwire.sms.smpp.pdu import Framing, Pdu, decode, encode
from hushwire.sms.smpp.receipts import canonical, receipt_of
from hushwire.sms.smpp.session import Accepted, Closed, Delivered, Refused, Send, Session, Settings, State, Unanswered

COMMANDS = sorted(BODIES)


def fuzz_smpp(data: bytes) -> None:
    if len(data) < 2:
        return
    kind, second, rest = data[0] % 4, data[1], data[2:]
    if kind == 0:
        pdu(struct.pack(">IIII", 16 + len(rest), COMMANDS[second % len(COMMANDS)], second & 1, 7) + rest)
    elif kind == 1:
        stream(rest, 1 + second)
    elif kind == 2:
        session(rest, second)
    else:
        receipt(rest, second)


def pdu(data: bytes) -> None:
    try:
        found = decode(data)
    except PduError:
        return
    assert decode(encode(found)) == found, "written, it reads otherwise"
    shown = repr(found)
    for name in ("password", "short_message", "text=", "value="):
        assert name not in shown, "a personal or secret field is shown"
    if isinstance(found.body, Unknown) or len(data) == 16:
        return
    assert encode(found) == data, "written, it is not the same to the octet"


def stream(data: bytes, size: int) -> None:
    def read(parts: list[bytes]) -> list[str]:
        framing = Framing(2048)
        return [repr(item) + (str(item) if isinstance(item, PduError) else "") for part in parts for item in framing.feed(part)]

    whole = read([data])
    torn = read([data[at : at + size] for at in range(0, len(data), size)])
    fatal = next((at for at, item in enumerate(whole) if "out of bounds" in item), len(whole))
    assert whole[: fatal + 1] == torn[: fatal + 1], "a stream reads otherwise when it is torn"


def session(data: bytes, how: int) -> None:
    """Whatever a centre says: each message that was submitted has one end, apart from a late answer, and nothing is left at the end."""
    mode = ("transmitter", "receiver", "transceiver")[how % 3]
    held = Session(Settings("esme", "secret", mode=mode, window=4, most_unacknowledged=3))  # type: ignore[arg-type]
    now, refs, ended, late = 0.0, 0, [], []
    events = held.start(now)
    if how & 4:
        events += held.receive(
            encode(
                Pdu(BODIES[COMMANDS[0] | 0x80000000 if mode == "receiver" else (0x80000002 if mode == "transmitter" else 0x80000009)](), 1)
            ),
            now,
        )
    message = SubmitSm(destination=Address(1, 1, "4930123"), short_message=b"hello")
    pieces = [data[at : at + 40] for at in range(0, min(len(data), 800), 40)]
    for number, piece in enumerate([*pieces, b""]):
        while held.free(now):
            events += held.submit(refs, message, now)
            refs += 1
        command = COMMANDS[piece[0] % len(COMMANDS)] if piece else 0
        if piece and not how & 8:
            body, piece = piece[3:], piece.ljust(3, b"\0")
            events += held.receive(struct.pack(">IIII", 16 + len(body), command, piece[1], piece[2]) + body, now)
        else:
            events += held.receive(piece, now)
        now += 1.0 + (how >> 4)
        at = held.deadline()
        if at is not None and at <= now:
            events += held.fire(now)
        for event in events:
            match event:
                case Accepted() | Refused():
                    (late if event.is_late else ended).append(event.ref)
                case Unanswered():
                    ended.append(event.ref)
                case Delivered():
                    assert mode != "transmitter", "a transmitter was delivered something"
                    for answer in held.acknowledge(event.sequence, 0 if number % 2 else 0x64):
                        assert isinstance(answer, Send)
                        assert decode(answer.data).sequence == event.sequence, "another delivery is acknowledged"
                case Send():
                    decode(event.data)
        events = []
        assert held.unanswered <= 4, "the window is exceeded"
    for event in [*held.unbind(now), *held.lost("lost")]:
        if isinstance(event, Unanswered):
            ended.append(event.ref)
    assert held.state is State.CLOSED
    assert held.deadline() is None, "a timer is left"
    assert sorted(ended) == list(range(refs)), "a message has no end, or two"  # type: ignore[type-var]
    assert not held.receive(data, now), "a closed session says something"
    assert not [event for event in held.lost("again") if isinstance(event, Closed)], "it ends twice"


def receipt(data: bytes, how: int) -> None:
    tlvs = (Tlv(0x1E, data[:8]), Tlv(0x427, data[8:9]), Tlv(0x423, data[9:12])) if how & 1 else ()
    kind = DeliverSm if how & 2 or len(data) > 254 else DataSm
    text = {"short_message": data[:254]} if kind is DeliverSm else {}
    if kind is DataSm:
        tlvs = (*tlvs, Tlv(0x424, data))
    body = kind(esm_class=4 if how & 4 else how & 0x24, data_coding=8 if how & 8 else 0, tlvs=tlvs, **text)  # type: ignore[arg-type]
    found = receipt_of(body, is_told_by_text=bool(how & 16))
    if found is None:
        return
    assert found.error is None or (len(found.error) <= 24 and found.error.isascii() and " " not in found.error), "a centre's text got in"
    for form in ("exact", "caseless", "hex", "decimal"):
        same = canonical(found.message_id, form)  # type: ignore[arg-type]
        assert same == canonical(found.message_id + " ", form), "white space counts"  # type: ignore[arg-type]
