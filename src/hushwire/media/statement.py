"""What is said of a leg, as fields of SET_LEG, and the digest by which a later controller knows it again."""

import hashlib

from hushwire.media.model import LegSettings
from hushwire.media.wire import Field, Tag, u8, u16, u32


def settings_digest(settings: LegSettings) -> bytes:
    """SETTINGS_DIGEST of GET_BRIDGE for a leg that was stated so: equal only if nothing differs, keys included (PROTOCOL.md)."""
    digest = hashlib.sha256()
    for tag, value in sorted(leg_fields(settings), key=lambda field: field[0]):
        digest.update(u16(tag) + u16(len(value)) + value)
    return digest.digest()


def leg_fields(settings: LegSettings) -> list[Field]:
    """The fields of SET_LEG but BRIDGE and LEG."""
    fields: list[Field] = [
        (Tag.REMOTE_IP, settings.remote_ip.reveal().packed),
        (Tag.REMOTE_PORT, u16(settings.remote_port)),
        (Tag.RTCP_MUX, u8(settings.rtcp_mux)),
        (Tag.LEARN, u8(settings.learn)),
        (Tag.SEND, u8(settings.send)),
        (Tag.RECEIVE, u8(settings.receive)),
        (Tag.MEDIA_TIMEOUT_MS, u32(settings.media_timeout_ms)),
        (Tag.CLOCK_RATE, u32(settings.clock_rate)),
        (Tag.ANSWERED, u8(settings.answered)),
    ]
    if settings.remote_rtcp_port is not None:
        fields.append((Tag.REMOTE_RTCP_PORT, u16(settings.remote_rtcp_port)))
    if settings.sending is not None:
        fields += [(Tag.SEND_SUITE, u8(settings.sending.suite)), (Tag.SEND_KEY, settings.sending.key)]
    if settings.receiving is not None:
        fields += [(Tag.RECV_SUITE, u8(settings.receiving.suite)), (Tag.RECV_KEY, settings.receiving.key)]
    if settings.signalling_ip is not None:
        fields.append((Tag.SIGNALLING_IP, settings.signalling_ip.reveal().packed))
    if settings.ice is not None:
        fields += [
            (Tag.ICE_LOCAL_UFRAG, settings.ice.local_ufrag.encode("ascii")),
            (Tag.ICE_LOCAL_PASSWORD, settings.ice.local_password.encode("ascii")),
            (Tag.ICE_REMOTE_UFRAG, settings.ice.remote_ufrag.encode("ascii")),
        ]
    if settings.is_dtls:
        fields.append((Tag.KEYING, u8(1)))
    fields += [(Tag.CODEC, codec.to_bytes()) for codec in settings.codecs]
    if settings.payload_types:
        fields.append((Tag.PAYLOAD_TYPES, bytes(number for pair in settings.payload_types for number in pair)))
    return fields
