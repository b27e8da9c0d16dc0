"""Offers as stacks that we did not write make them, and our end of a leg that can do everything."""

from hushwire.sdp.dtls import Fingerprint, LocalDtls
from hushwire.sdp.ice import IceCredentials
from hushwire.sdp.model import LocalMedia
from hushwire.sdp.offer_answer import Suite

OURS = Fingerprint("sha-256", bytes(range(32)))
DIGEST = "59:D3:97:16:CD:A7:BA:02:70:9A:A9:AD:C6:23:30:BB:18:C7:7B:E5:97:2B:AA:29:81:B8:02:67:51:BB:20:DA"

# Chromium 156: an audio track on an RTCPeerConnection.
CHROMIUM = f"""\
v=0
o=- 637075188040674824 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS d6b167b5-0293-4898-a91b-fd01bc779ba6
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:528965278 1 udp 2113937151 e747dba1-f625-427a-a42f-ea5d80719d37.local 52325 typ host generation 0 network-cost 999
a=candidate:3571556222 1 udp 2113942271 c28994f5-4f42-4159-bb47-6c7a2b292f32.local 59670 typ host generation 0 network-cost 999
a=ice-ufrag:iShk
a=ice-pwd:tzaJ6NPyLYnkBapU3sMjrG4B
a=ice-options:trickle
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=sendrecv
a=msid:d6b167b5-0293-4898-a91b-fd01bc779ba6 57e5160e-73ce-48cf-bbc6-150b018592fc
a=rtcp-mux
a=rtcp-rsize
a=rtcp-xr:rcvr-rtt=all
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:2061728073 cname:6rJlEM+rFKsQGvz0
a=ssrc:2061728073 msid:d6b167b5-0293-4898-a91b-fd01bc779ba6 57e5160e-73ce-48cf-bbc6-150b018592fc
"""

# The same page with video before the sound and a data channel behind it (most codecs left out).
CHROMIUM_ALL = f"""\
v=0
o=- 7578107243564702267 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=ice-ufrag:7s/q
a=ice-pwd:/Tv3A9eBJAbrDb/WHIfq4Xwj
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:0
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
m=audio 9 UDP/TLS/RTP/SAVPF 111 0 110
c=IN IP4 0.0.0.0
a=ice-ufrag:7s/q
a=ice-pwd:/Tv3A9eBJAbrDb/WHIfq4Xwj
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:1
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtpmap:110 telephone-event/48000
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:7s/q
a=ice-pwd:/Tv3A9eBJAbrDb/WHIfq4Xwj
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:2
a=sctp-port:5000
"""

# baresip with mediaenc=dtls_srtp, no ICE.
SIP_DTLS = f"""\
v=0
o=- 3907513132 1 IN IP4 192.0.2.99
s=-
c=IN IP4 192.0.2.99
t=0 0
m=audio 4000 UDP/TLS/RTP/SAVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=rtcp-mux
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=sendrecv
"""


def wire(text: str) -> bytes:
    """With the line ends of the wire."""
    return text.replace("\n", "\r\n").encode()


def able(**options: object) -> LocalMedia:
    """Our end of a leg that may be protected in any way."""
    given: dict[str, object] = {
        "address": "192.0.2.1",
        "port": 20000,
        "rtcp_port": 20001,
        "keys": {suite: bytes([at + 1]) * suite.key_bytes for at, suite in enumerate(Suite)},
        "session_id": 77,
        "version": 1,
        "dtls": LocalDtls(OURS),
        "ice": IceCredentials("OURS", "ourpasswordourpassword"),
    }
    return LocalMedia(**(given | options))  # type: ignore[arg-type]
