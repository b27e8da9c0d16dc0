"""What an agent's media must be, and which codecs its ringing and announcements have."""

from typing import Final

from hushwire.calls.model import Terms
from hushwire.sdp.offer_answer import Keying, Srtp
from hushwire.services.snapshot import Organisation
from hushwire.services.sound_settings import AnnounceAt, Ringback
from hushwire.sip.flow import Transport
from hushwire.sip.routing import numeric

_MU_LAW: Final = frozenset({"US", "CA", "PR", "JP", "TW", "HK"})


def agent_terms(org: Organisation, transport: Transport, address: str, leg: int) -> Terms:
    """What an agent's media must be, and how it may be protected: by keys in SDP only where these do not travel in the clear.

    A handshake (DTLS) needs no secret of the signalling, so it serves everywhere. Browsers, who come by WebSocket, know nothing else.
    """
    if transport in (Transport.WS, Transport.WSS):
        return Terms(leg, Srtp.REQUIRED, address, (Keying.WEBRTC,))
    host = numeric(address)
    is_protected = transport.is_protected or org.allows_sdes_in_clear or (host is not None and host.is_loopback)
    return Terms(leg, org.agent_srtp, address, (org.sdes, Keying.DTLS) if is_protected else (Keying.DTLS,))


def rings_with(org: Organisation) -> tuple[str, ...]:
    """The codecs of ringing for an agent: what networks of its country speak first (ITU-T G.711), so that the answer agrees with it."""
    return _spoken_at(org) if org.sounds.ringback is Ringback.EARLY else ()


def announces_with(org: Organisation) -> tuple[str, ...]:
    """The codecs of an announcement before the answer: with more than ringing has, since it must be heard where it can be."""
    return (*_spoken_at(org), "G722", "opus") if org.sounds.announce_at is AnnounceAt.BEFORE else ()


def _spoken_at(org: Organisation) -> tuple[str, ...]:
    return ("PCMU", "PCMA") if org.rules.home_country in _MU_LAW else ("PCMA", "PCMU")
