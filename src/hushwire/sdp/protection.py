"""How one section's media is protected, as its answer settles it: in the clear, by SDES keys (RFC 4568), or by DTLS (RFC 5763, RFC 5764).

A leg never falls back behind anybody's back: what was offered protected is answered protected or refused, and a section of
UDP/TLS/RTP without a fingerprint that can be checked is no protected section at all.
"""

from typing import Final

from hushwire.core.values import frozen
from hushwire.sdp import dtls
from hushwire.sdp.bundle import Transport
from hushwire.sdp.crypto import Crypto, Suite, parse_crypto
from hushwire.sdp.dtls import LocalDtls, RemoteDtls, Setup
from hushwire.sdp.ice import check_candidates, ice_lines, parse_credentials
from hushwire.sdp.model import AgreedIce, LocalMedia, Refusal, Srtp
from hushwire.sdp.session import Attribute, Media, SdpError

PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
SAVP: Final = ("RTP/SAVP", "RTP/SAVPF")
TLS: Final = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
SECURE: Final = SAVP + TLS


@frozen
class Protection:
    """What is agreed: `LegMedia`'s fields of the same names, and the `lines` that an answer of ours says it with."""

    send_crypto: Crypto | None = None
    recv_crypto: Crypto | None = None
    dtls: RemoteDtls | None = None
    ice: AgreedIce | None = None
    lines: tuple[Attribute, ...] = ()

    @property
    def is_protected(self) -> bool:
        """Whether it protects anything."""
        return self.send_crypto is not None or self.dtls is not None


def answer_protection(transport: Transport, media: Media, local: LocalMedia, srtp: Srtp, *, with_mux: bool) -> Protection | Refusal:
    """How we answer an offered section. Raises SdpError for what is malformed."""
    if media.protocol in TLS:
        if srtp is Srtp.NEVER:
            return Refusal.SRTP_NOT_ALLOWED
        return Refusal.NO_COMMON_CRYPTO if local.dtls is None else _answer_dtls(transport, local, local.dtls, with_mux=with_mux)
    if srtp is Srtp.NEVER:
        return Refusal.SRTP_NOT_ALLOWED if media.protocol in SAVP else Protection()
    # Phones whose SRTP is "optional" offer RTP/AVP with crypto lines (pjsua, Linphone, Yealink) and understand them in the answer.
    theirs = _choose_crypto(media, local)
    if theirs is not None:
        # The answer carries the tag of the line that it accepts, with a key of its own (RFC 4568 section 5.1.2).
        mine = Crypto(theirs.tag, theirs.suite, local.keys[theirs.suite])
        return Protection(mine, theirs, lines=(("crypto", mine.to_attribute()),))
    if media.protocol in SAVP:
        # Before RFC 5764 had names for it, RTP/SAVPF with a fingerprint meant DTLS; some stacks still say so.
        if local.dtls is not None and transport.has("fingerprint"):
            return _answer_dtls(transport, local, local.dtls, with_mux=with_mux)
        return Refusal.NO_COMMON_CRYPTO
    return Refusal.SRTP_REQUIRED if srtp is Srtp.REQUIRED else Protection()


def _answer_dtls(transport: Transport, local: LocalMedia, mine: LocalDtls, *, with_mux: bool) -> Protection | Refusal:
    fingerprints = dtls.strongest(transport.values("fingerprint"))
    if not fingerprints:
        return Refusal.NO_FINGERPRINT
    if mine.fingerprint in fingerprints:
        return Refusal.NO_COMMON_CRYPTO  # our own description reflected
    role = dtls.answer_role(dtls.parse_setup(transport.values("setup")), mine.role)
    remote = RemoteDtls(fingerprints, role is Setup.ACTIVE, dtls.parse_tls_id(transport.values("tls-id")))
    ice = _ice(transport, local) if with_mux else None
    lines = dtls.dtls_lines(mine, role)
    if ice is not None:
        lines += ice_lines(ice.local, local.address, local.port)
    return Protection(dtls=remote, ice=ice, lines=tuple(lines))


def accept_protection(ours: Media, transport: Transport, media: Media, local: LocalMedia) -> Protection | Refusal:
    """What the answer to our section agreed on. Raises SdpError for what is malformed."""
    # "the transport protocol in the answer MUST match" (RFC 3264 section 6): no falling back to plain RTP behind our back.
    if (media.protocol in SECURE) != (ours.protocol in SECURE) or media.protocol not in SECURE + PLAIN:
        return Refusal.SRTP_REQUIRED if ours.protocol in SECURE else Refusal.SRTP_NOT_ALLOWED
    if (media.protocol in TLS) != (ours.protocol in TLS):
        return Refusal.NO_COMMON_CRYPTO
    if ours.protocol in TLS:
        return Refusal.NO_COMMON_CRYPTO if local.dtls is None else _accept_dtls(ours, transport, local, local.dtls)
    if not ours.has("crypto") or (media.protocol in PLAIN and not media.has("crypto")):
        return Protection()  # plain RTP; where the offer was best effort, the answer that knows nothing of it
    if ours.has("fingerprint") and local.dtls is not None and not media.has("crypto") and transport.has("fingerprint"):
        return _accept_dtls(ours, transport, local, local.dtls)
    mine = {item.tag: item for item in own_crypto(local)}
    theirs = [item for item in map(parse_crypto, media.all("crypto")) if item is not None]
    # Exactly one line, with the tag and the suite of one that we offered (RFC 4568 section 5.1.3).
    if len(media.all("crypto")) != 1 or not theirs or theirs[0].tag not in mine or mine[theirs[0].tag].suite is not theirs[0].suite:
        return Refusal.NO_COMMON_CRYPTO
    recv, send = theirs[0], mine[theirs[0].tag]
    return Refusal.NO_COMMON_CRYPTO if recv.key == send.key else Protection(send, recv)


def _accept_dtls(ours: Media, transport: Transport, local: LocalMedia, mine: LocalDtls) -> Protection | Refusal:
    fingerprints = dtls.strongest(transport.values("fingerprint"))
    if not fingerprints:
        return Refusal.NO_FINGERPRINT
    if mine.fingerprint in fingerprints:
        return Refusal.NO_COMMON_CRYPTO
    offered, answered = dtls.parse_setup([ours.first("setup")]), dtls.parse_setup(transport.values("setup"))
    role = dtls.role_from_answer(offered, answered)
    remote = RemoteDtls(fingerprints, role is Setup.ACTIVE, dtls.parse_tls_id(transport.values("tls-id")))
    ice = _ice(transport, local) if ours.has("ice-ufrag") else None
    if ice is not None and not transport.has("rtcp-mux"):
        raise SdpError("the answer wants a second component where one was offered")
    return Protection(dtls=remote, ice=ice)


def _ice(transport: Transport, local: LocalMedia) -> AgreedIce | None:
    """What checks must bear; None where there will be none: a side has no credentials, or both are lite (RFC 8445 section 6.1.1)."""
    remote = parse_credentials(transport.values("ice-ufrag"), transport.values("ice-pwd"))
    check_candidates(transport.values("candidate"))
    if remote is None or local.ice is None or transport.has("ice-lite"):
        return None
    return AgreedIce(local.ice, remote)


def own_crypto(local: LocalMedia) -> list[Crypto]:
    """Our lines in order of preference, tagged from 1: the same for offer and answer of one LocalMedia."""
    if not local.keys:
        return []
    suites = [suite for suite in Suite if suite in local.keys]
    return [Crypto(tag, suite, local.keys[suite]) for tag, suite in enumerate(suites, 1)]


def _choose_crypto(media: Media, local: LocalMedia) -> Crypto | None:
    """The offerer's first line that we can use (RFC 4568 section 5.1.2: "the most preferred"); never our own key reflected."""
    for value in media.all("crypto"):
        found = parse_crypto(value)
        if found is not None and found.suite in local.keys and found.key != local.keys[found.suite]:
            return found
    return None
