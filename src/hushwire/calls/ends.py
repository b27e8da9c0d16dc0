"""Our end of one party's media: what we offer and answer, with keys, ports and versions of our own.

No transcoding: the callee is offered only what the caller offered, under the caller's own payload types, and the caller is answered with
what the callee chose. Where a party numbers them otherwise all the same, the media process maps (`payload_map`).
"""

from collections.abc import Iterable
from dataclasses import replace

import orjson

from hushwire.calls.model import Ports, Terms
from hushwire.core.clock import Random
from hushwire.sdp.offer_answer import (
    AUDIO_CODECS,
    TELEPHONE_EVENT,
    Answered,
    Codec,
    Direction,
    LegMedia,
    LocalMedia,
    Refusal,
    Srtp,
    Suite,
    accept_answer,
    answer_offer,
    build_offer,
)
from hushwire.sip.routing import may_name, numeric

KEY_BYTES = {
    Suite.AES_256_CM_HMAC_SHA1_80: 46,
    Suite.AES_CM_128_HMAC_SHA1_80: 30,
    Suite.AES_CM_128_HMAC_SHA1_32: 30,
}


def fresh_keys(random: Random) -> dict[Suite, bytes]:
    """A master key and salt of our own for each suite."""
    data = random.token_bytes(sum(KEY_BYTES.values()))
    keys, at = {}, 0
    for suite, length in KEY_BYTES.items():
        keys[suite] = data[at : at + length]
        at += length
    return keys


class End:
    """One party's media as we hold it. `agreed` is what offer and answer last agreed on."""

    __slots__ = ("_pending", "agreed", "local", "terms")

    def __init__(self, terms: Terms, ports: Ports, random: Random) -> None:
        self.terms = terms
        self.agreed: LegMedia | None = None
        self._pending = b""
        keys = {} if terms.srtp is Srtp.NEVER else fresh_keys(random)
        session = int.from_bytes(random.token_bytes(6), "big")
        self.local = LocalMedia(ports.address, ports.rtp, ports.rtcp, keys, session, 1)

    def offer(self, like: LegMedia | None = None, *, direction: Direction = Direction.SENDRECV) -> bytes:
        """Our offer: every codec, or only those of `like`, under its payload types. Its answer goes to `take_answer`."""
        local = self.local
        if like is not None:
            codecs = tuple(Codec(codec.payload_type, codec.name, codec.rate) for codec in like.codecs)
            dtmf_type = TELEPHONE_EVENT.payload_type if like.dtmf is None else like.dtmf.payload_type
            local = replace(local, codecs=codecs, dtmf=like.dtmf is not None, dtmf_payload_type=dtmf_type)
        # What is protected once stays so; a first offer of an OPTIONAL party is protected too.
        srtp = self.terms.srtp
        if srtp is Srtp.OPTIONAL and self.agreed is not None:
            srtp = Srtp.NEVER if self.agreed.send_crypto is None else Srtp.REQUIRED
        self._pending = build_offer(local, srtp, direction=direction)
        self._next_version()
        return self._pending

    def prefer_clear(self) -> None:
        """Offer plain RTP to a party whose protection is optional."""
        self.terms = replace(self.terms, srtp=Srtp.NEVER)

    def take_answer(self, body: bytes) -> Refusal | None:
        """Take the answer to our latest offer; what was agreed before stays where it can't be used."""
        media = accept_answer(self._pending, body, self.local)
        if isinstance(media, Refusal):
            return media
        self.agreed = self._guarded(media)
        return None

    def read(self, offer: bytes) -> LegMedia | Refusal:
        """What the party's offer makes possible, before we answer."""
        outcome = answer_offer(offer, replace(self.local, codecs=AUDIO_CODECS), self._answers_with)
        return outcome if isinstance(outcome, Refusal) else outcome.media

    def answer(self, offer: bytes, like: LegMedia | None = None, *, direction: Direction = Direction.SENDRECV) -> bytes | Refusal:
        """Our answer, with the codecs of the other party (`like`) only, in that party's order; agreed from now on."""
        local = self.local
        prefer: list[str] = []
        if like is not None:
            prefer = [codec.name for codec in like.codecs]
            local = replace(local, codecs=tuple(codec for codec in AUDIO_CODECS if codec.name in prefer), dtmf=like.dtmf is not None)
        outcome = answer_offer(offer, local, self._answers_with, direction=direction, prefer=prefer)
        if isinstance(outcome, Answered):
            self.agreed = self._guarded(outcome.media)
            self._next_version()
            return outcome.body
        return outcome

    @property
    def _answers_with(self) -> Srtp:
        """What is protected once stays so: a later offer in the clear is refused, one that begins to protect is welcome."""
        is_protected = self.agreed is not None and self.agreed.send_crypto is not None
        return Srtp.REQUIRED if self.terms.srtp is Srtp.OPTIONAL and is_protected else self.terms.srtp

    def _next_version(self) -> None:
        # RFC 3264 section 8: each new description has a version one higher.
        self.local = replace(self.local, version=self.local.version + 1)

    def _guarded(self, media: LegMedia) -> LegMedia:
        """Nobody makes us send to an address that it may not name: then we send where its media comes from, once it does."""
        peer = self.terms.signalling_address
        if media.address in ("0.0.0.0", "::"):
            return media
        if numeric(media.address) is not None and (peer is None or may_name(peer, media.address)):
            return media
        return replace(media, address="::" if ":" in media.address else "0.0.0.0", port=0, rtcp_port=0)


def payload_map(here: LegMedia, there: LegMedia) -> tuple[tuple[int, int], ...]:
    """(type received here, type to send there) for each codec that both sides number differently."""
    theirs = {codec.name: codec.payload_type for codec in _all(there)}
    return tuple(
        (codec.payload_type, theirs[codec.name])
        for codec in _all(here)
        if codec.name in theirs and theirs[codec.name] != codec.payload_type
    )


def shared(one: LegMedia, other: LegMedia) -> bool:
    """Whether both know a common audio codec."""
    return bool({codec.name for codec in one.codecs} & {codec.name for codec in other.codecs})


def recording_format(legs: Iterable[LegMedia | None]) -> bytes:
    """The format entry of a recording: for each leg what its payload types mean."""
    tables = [{} if leg is None else {str(codec.payload_type): f"{codec.name}/{codec.rate}" for codec in _all(leg)} for leg in legs]
    return orjson.dumps({"legs": tables})


def _all(media: LegMedia) -> tuple[Codec, ...]:
    return media.codecs if media.dtmf is None else (*media.codecs, media.dtmf)
