"""Our end of one party's media: what we offer and answer, with keys, ports and versions of our own.

The callee is offered only what the caller offered, under the caller's own payload types, and the caller is answered with what the callee
chose. Where a party numbers them otherwise all the same, the media process maps (`payload_map`). A callee that refuses that is offered
all other codecs too, and a caller that has none of what the callee chose is answered with its own: then the media process transcodes.
"""

import base64
from collections.abc import Iterable
from typing import Any, Final

import orjson

from hushwire.calls.kept import KeptEnd
from hushwire.calls.model import Ports, Terms
from hushwire.core.clock import Random
from hushwire.core.values import replace
from hushwire.sdp.codecs import events_beside, is_noise, noise_beside
from hushwire.sdp.dtls import Fingerprint, LocalDtls, Setup
from hushwire.sdp.ice import IceCredentials
from hushwire.sdp.offer_answer import (
    AUDIO_CODECS,
    Answered,
    Codec,
    Direction,
    Keying,
    LegMedia,
    LocalMedia,
    Refusal,
    Srtp,
    Suite,
    accept_answer,
    answer_offer,
    offer_of,
    understood,
)
from hushwire.sdp.session import SdpError, Session, parse_session
from hushwire.sip.routing import may_name, numeric

_SDES: Final = frozenset({Keying.SDES, Keying.BEST_EFFORT})
_KEY_SIZES: Final = tuple((suite, suite.key_bytes) for suite in Suite)
_KEYS_BYTES: Final = sum(size for _, size in _KEY_SIZES)
_DTLS: Final = frozenset({Keying.DTLS, Keying.WEBRTC})


def fresh_keys(random: Random) -> dict[Suite, bytes]:
    """A master key and salt of our own for each suite."""
    drawn, keys, at = random.token_bytes(_KEYS_BYTES), {}, 0
    for suite, size in _KEY_SIZES:
        keys[suite] = drawn[at : at + size]
        at += size
    return keys


def fresh_credentials(random: Random) -> IceCredentials:
    """Ours for the checks of one leg: 48 and 192 bits of chance (RFC 8445 section 5.3 asks for 24 and 128)."""
    return IceCredentials(*(base64.b64encode(random.token_bytes(count)).decode() for count in (6, 24)))


class End:
    """One party's media as we hold it. `agreed` is what offer and answer last agreed on.

    `fingerprint` is that of the certificate that a DTLS handshake on this leg will show; None: no DTLS here.
    """

    __slots__ = ("_keyings", "_offered", "_offered_keys", "_pending", "_random", "agreed", "local", "terms")

    def __init__(self, terms: Terms, ports: Ports, random: Random, fingerprint: Fingerprint | None = None) -> None:
        self.terms = terms
        self.agreed: LegMedia | None = None
        self._pending: Session | None = None  # our latest offer
        self._offered: tuple[bytes, Session] | None = None  # the party's latest, as read
        self._offered_keys: dict[Suite, bytes] = {}
        self._random = random
        keyings = () if terms.srtp is Srtp.NEVER else terms.keyings
        self._keyings = [keying for keying in keyings if keying in _SDES or fingerprint is not None]
        session = int.from_bytes(random.token_bytes(6), "big")
        self.local = LocalMedia(
            ports.address,
            ports.rtp,
            ports.rtcp,
            fresh_keys(random) if _SDES.intersection(keyings) else {},
            session,
            1,
            dtls=LocalDtls(fingerprint) if fingerprint is not None and _DTLS.intersection(keyings) else None,
            ice=fresh_credentials(random) if _DTLS.intersection(keyings) else None,
            codecs=spoken(AUDIO_CODECS, terms) if terms.codecs else AUDIO_CODECS,
        )

    def keep(self) -> KeptEnd:
        """All that another process needs to go on; an offer that was not answered is not of it."""
        return KeptEnd(self.terms, self.local, self.agreed, tuple(self._keyings))

    @classmethod
    def adopted(cls, kept: KeptEnd, random: Random) -> "End":
        """The end that `keep` told of."""
        end = cls.__new__(cls)
        end.terms, end.local, end.agreed = kept.terms, kept.local, kept.agreed
        end._pending, end._offered, end._offered_keys, end._random, end._keyings = None, None, {}, random, list(kept.keyings)
        return end

    def offer(self, like: LegMedia | None = None, *, direction: Direction = Direction.SENDRECV, with_others: bool = False) -> bytes:
        """Our offer: every codec, or only those of `like`, under its payload types. Its answer goes to `take_answer`.

        `with_others`: behind those of `like` all that we have, since the other party's can be transcoded.
        """
        self._offered_keys = self._keys_to_offer()
        local = self._with_offered_keys()
        if like is not None and with_others:
            local = _transcoded(local, spoken(_with_others(like.codecs), self.terms))
        elif like is not None and (codecs := spoken(like.codecs, self.terms)):
            rates = {codec.rate for codec in codecs}
            events = tuple(event for event in like.events if not self.terms.codecs or event.rate in rates)
            local = replace(local, codecs=codecs, dtmf=like.dtmf is not None, events=events)
        elif like is not None:  # it speaks none of the other party's: what it speaks is transcoded
            local = _transcoded(local, spoken(_with_others(like.codecs), self.terms))
        srtp, keying = self._protection
        self._pending = offer_of(local, srtp, direction=direction, keying=keying)
        self._next_version()
        return self._pending.to_bytes()

    def can_offer_more(self, like: LegMedia) -> bool:
        """Whether an offer `with_others` has codecs that the one before lacked."""
        return len(spoken(_with_others(like.codecs), self.terms)) > len(spoken(like.codecs, self.terms)) > 0

    def renew(self, ports: Ports) -> bytes | None:
        """Our offer of other ports and other keys for what is agreed; None where it can't be made.

        A DTLS association, and the ICE session below it, ended with the media process that its party knew.
        """
        agreed = self.agreed
        if agreed is None or agreed.dtls is not None or agreed.ice is not None:
            return None
        keys = fresh_keys(self._random) if self.local.keys else {}
        self.local = replace(self.local, address=ports.address, port=ports.rtp, rtcp_port=ports.rtcp, keys=keys)
        return self.offer(agreed, direction=agreed.direction)

    def fall_back(self) -> bool:
        """After a refusal of our first offer: offer the next kind of protection, or none where it is optional. False: nothing is left."""
        if self._keyings:
            del self._keyings[0]
            if self._keyings:
                return True
            if self.terms.srtp is Srtp.OPTIONAL:
                self.prefer_clear()
                return True
        return False

    def move(self, ports: Ports) -> None:
        """Receive there from now on; the party learns of it by the next description of ours.

        Who chooses its way to us by ICE is told to choose anew (RFC 8839 section 4.4.1.1): the pair that it has works, so it would stay.
        """
        self.local = replace(self.local, address=ports.address, port=ports.rtp, rtcp_port=ports.rtcp)
        if self.agreed is not None and self.agreed.ice is not None:
            self.local = replace(self.local, ice=fresh_credentials(self._random))

    def prefer_clear(self) -> None:
        """Offer plain RTP to a party whose protection is optional."""
        self.terms = replace(self.terms, srtp=Srtp.NEVER)

    def take_answer(self, body: bytes) -> Refusal | None:
        """Take the answer to our latest offer; what was agreed before stays where it can't be used."""
        media = accept_answer(self._pending or b"", body, self._with_offered_keys())
        if isinstance(media, Refusal):
            return media
        if self._answers_with is Srtp.REQUIRED and not media.is_protected:
            return Refusal.SRTP_REQUIRED  # an answer to a best-effort offer may be clear, but not once the leg was protected
        self._agree(media)
        return None

    def read(self, offer: bytes) -> LegMedia | Refusal:
        """What the party's offer makes possible, before we answer."""
        codecs = spoken(AUDIO_CODECS, self.terms)
        local = self.local if codecs == self.local.codecs else replace(self.local, codecs=codecs)
        return understood(self._read(offer), local, self._answers_with)

    def answer(self, offer: bytes, like: LegMedia | None = None, *, direction: Direction = Direction.SENDRECV) -> bytes | Refusal:
        """Our answer, with the codecs of the other party (`like`) in that party's order, or with all where it has none of them; agreed from
        now on."""
        wanted: dict[str, Any] = {}
        prefer: list[str] = []
        if like is not None:
            prefer = [codec.name for codec in like.codecs]
            wanted = {"codecs": spoken(like.codecs, self.terms) or self.local.codecs, "dtmf": like.dtmf is not None}
            # Silence that one party says in words is passed on to who understands them; where speech is transcoded each has its own.
            wanted["noise"] = any(is_noise(codec) for codec in like.events)
        read, self._offered = self._read(offer), None
        outcome = answer_offer(read, replace(self.local, **wanted), self._answers_with, direction=direction, prefer=prefer)
        if outcome is Refusal.NO_COMMON_CODEC and like is not None:
            wanted, prefer = {}, []
            outcome = answer_offer(read, self.local, self._answers_with, direction=direction)
        if isinstance(outcome, Answered) and self._is_restarted(outcome.media):
            # RFC 8839 section 4.4.3.1.1: who restarts is answered with new credentials.
            self.local = replace(self.local, ice=fresh_credentials(self._random))
            outcome = answer_offer(read, replace(self.local, **wanted), self._answers_with, direction=direction, prefer=prefer)
        if isinstance(outcome, Refusal):
            return outcome
        self._agree(outcome.media)
        self._next_version()
        return outcome.body

    def _read(self, offer: bytes) -> bytes | Session:
        """The offer as it is understood, which is asked before the callee is rung and when it has answered; as it came, if it is none."""
        known = self._offered
        if known is None or known[0] != offer:
            try:
                known = self._offered = (offer, parse_session(offer))
            except SdpError:
                return offer
        return known[1]

    @property
    def _protection(self) -> tuple[Srtp, Keying]:
        """What our next offer asks for. What is protected once stays so, by the same means; so does what is clear."""
        if self.agreed is None:
            if self._keyings:
                return self.terms.srtp, self._keyings[0]
            return Srtp.REQUIRED if self.terms.srtp is Srtp.REQUIRED else Srtp.NEVER, Keying.SDES
        if self.agreed.dtls is not None:
            return Srtp.REQUIRED, Keying.DTLS if self.agreed.ice is None else Keying.WEBRTC
        is_best_effort = Keying.BEST_EFFORT in self._keyings
        return (
            Srtp.NEVER if self.agreed.send_crypto is None else Srtp.REQUIRED,
            Keying.BEST_EFFORT if is_best_effort else Keying.SDES,
        )

    def _keys_to_offer(self) -> dict[Suite, bytes]:
        """A key for each suite; of a leg that has agreed on one, that one's alone. Phones answer a re-INVITE with the best that is offered
        and then go on sending under the old suite (baresip)."""
        suite = None if self.agreed is None or self.agreed.send_crypto is None else self.agreed.send_crypto.suite
        return {known: key for known, key in self.local.keys.items() if suite in (None, known)}

    def _with_offered_keys(self) -> LocalMedia:
        return self.local if self._offered_keys == self.local.keys else replace(self.local, keys=self._offered_keys)

    @property
    def _answers_with(self) -> Srtp:
        """What is protected once stays so: a later offer in the clear is refused, one that begins to protect is welcome."""
        is_protected = self.agreed is not None and self.agreed.is_protected
        return Srtp.REQUIRED if self.terms.srtp is Srtp.OPTIONAL and is_protected else self.terms.srtp

    def _is_restarted(self, offered: LegMedia) -> bool:
        before = None if self.agreed is None else self.agreed.ice
        return before is not None and offered.ice is not None and offered.ice.remote != before.remote and offered.ice.local == before.local

    def _agree(self, media: LegMedia) -> None:
        self.agreed = self._guarded(media)
        if self.local.dtls is not None:
            role = None if media.dtls is None else Setup.ACTIVE if media.dtls.is_client else Setup.PASSIVE
            if role is not self.local.dtls.role:
                self.local = replace(self.local, dtls=replace(self.local.dtls, role=role))

    def _next_version(self) -> None:
        # RFC 3264 section 8: each new description has a version one higher.
        self.local = replace(self.local, version=self.local.version + 1)

    def _guarded(self, media: LegMedia) -> LegMedia:
        """Nobody makes us send to an address that it may not name: then we send where its media comes from, once it does.

        With ICE no address is taken from a description at all.
        """
        peer = self.terms.signalling_address
        if media.ice is None:
            if media.address in ("0.0.0.0", "::"):
                return media
            if numeric(media.address) is not None and (peer is None or may_name(peer, media.address)):
                return media
        return replace(media, address="::" if ":" in media.address else "0.0.0.0", port=0, rtcp_port=0)


def _transcoded(local: LocalMedia, codecs: tuple[Codec, ...]) -> LocalMedia:
    """What we offer where the media process decodes: with comfort noise, which it understands and makes."""
    return replace(local, codecs=codecs, events=(*events_beside(codecs), *noise_beside(codecs)))


def _with_others(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """These, then those of ours that are not among them, under payload types that are free."""
    taken = {codec.payload_type for codec in codecs}
    known = {(codec.name, codec.rate) for codec in codecs}
    others = []
    for codec in AUDIO_CODECS:
        if (codec.name, codec.rate) in known:
            continue
        number = codec.payload_type if codec.payload_type not in taken else next(n for n in range(96, 128) if n not in taken)
        taken.add(number)
        others.append(replace(codec, payload_type=number))
    return (*codecs, *others)


def payload_map(here: LegMedia, there: LegMedia) -> tuple[tuple[int, int], ...]:
    """(type received here, type to send there) for each codec that both sides number differently."""
    theirs = {(codec.name, codec.rate): codec.payload_type for codec in reversed(_all(there))}
    pairs = ((codec.payload_type, theirs.get((codec.name, codec.rate))) for codec in _all(here))
    return tuple([(mine, other) for mine, other in pairs if other is not None and other != mine])


def spoken(codecs: tuple[Codec, ...], terms: Terms) -> tuple[Codec, ...]:
    """Those of `codecs` that may be spoken with a party: all, or the ones that its terms name, in that order."""
    if not terms.codecs:
        return codecs
    wanted = [name.lower() for name in terms.codecs]
    known = [codec for codec in codecs if codec.name.lower() in wanted]
    return tuple(sorted(known, key=lambda codec: wanted.index(codec.name.lower())))


def shared(one: LegMedia, other: LegMedia) -> bool:
    """Whether both know a common audio codec."""
    return bool({codec.name for codec in one.codecs} & {codec.name for codec in other.codecs})


def recording_format(legs: Iterable[LegMedia | None]) -> bytes:
    """The format entry of a recording: for each leg what its payload types mean."""
    tables = [{} if leg is None else {str(codec.payload_type): f"{codec.name}/{codec.rate}" for codec in _all(leg)} for leg in legs]
    return orjson.dumps({"legs": tables})


def _all(media: LegMedia) -> tuple[Codec, ...]:
    return media.codecs + media.events
