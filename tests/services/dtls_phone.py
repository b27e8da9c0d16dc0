"""The media of a softphone that protects by DTLS: a UDP socket, a handshake, and libsrtp behind it."""

import asyncio
import datetime
import struct

import pylibsrtp

from hushwire.media.certificates import Certificate, make_certificate
from hushwire.media.dtls import MAX_DATAGRAMS, DtlsAssociation, SrtpKeys
from hushwire.media.model import Suite
from hushwire.sdp.dtls import LocalDtls
from hushwire.sdp.model import LegMedia, LocalMedia
from hushwire.sdp.offer_answer import PCMU
from tests.polling import until

PROFILES = {
    Suite.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    Suite.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    Suite.AES_CM_128_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


def certificate() -> Certificate:
    """A fresh one."""
    return make_certificate(datetime.datetime.now(datetime.UTC))


def is_rtp(data: bytes) -> bool:
    """Whether it is media: neither STUN nor DTLS (RFC 7983), nor RTCP (RFC 5761 section 4)."""
    return len(data) > 12 and 128 <= data[0] <= 191 and not 192 <= data[1] <= 223


def packet(number: int, payload: bytes, ssrc: int = 7) -> bytes:
    """A PCMU packet."""
    return struct.pack(">BBHII", 0x80, 0, number & 0xFFFF, 160 * number & 0xFFFFFFFF, ssrc) + payload


OPEN: list["DtlsPhone | PlainParty"] = []
"""What `close_all` has to close."""


def close_all() -> None:
    """Close the sockets of a test."""
    while OPEN:
        OPEN.pop().close()


class DtlsPhone(asyncio.DatagramProtocol):
    """`local` goes into SDP. Once SDP is agreed, `meet` runs the handshake; then `send` and `heard` are protected.

    `shows` is the certificate of the handshake: the announced one unless a test swaps it.
    """

    def __init__(self, shows: Certificate | None = None) -> None:
        self.announced = certificate()
        self.shows = shows or self.announced
        self.heard: list[bytes] = []
        self.raw: list[bytes] = []
        self.association: DtlsAssociation | None = None
        self._to = ("127.0.0.1", 0)
        self._out: pylibsrtp.Session | None = None
        self._in: pylibsrtp.Session | None = None
        self._pumping: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, shows: Certificate | None = None) -> "DtlsPhone":
        made = cls(shows)
        made._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", 0))
        OPEN.append(made)
        return made

    @property
    def local(self) -> LocalMedia:
        """Our end for SDP."""
        port = int(self._transport.get_extra_info("sockname")[1])
        return LocalMedia("127.0.0.1", port, port, {}, 1, 1, codecs=(PCMU,), dtls=LocalDtls(self.announced.fingerprint))

    def meet(self, agreed: LegMedia, shows: Certificate | None = None, most: int = MAX_DATAGRAMS) -> None:
        """Begin the handshake that SDP agreed on."""
        assert agreed.dtls is not None
        self._to = (agreed.address, agreed.port)
        self._out = self._in = None
        self.association = DtlsAssociation(shows or self.shows, agreed.dtls, most)
        self._give(self.association.start())
        if self._pumping is not None:
            self._pumping.cancel()
        self._pumping = asyncio.create_task(self._pump(self.association))

    async def keyed(self) -> SrtpKeys:
        """The keys, once the handshake is done."""
        association = self.association
        assert association is not None
        await until(lambda: association.keys is not None or association.failure is not None, timeout_s=15, what="the handshake is over")
        assert association.keys is not None, association.failure
        return association.keys

    def send(self, data: bytes) -> None:
        """One RTP packet, protected."""
        assert self._out is not None
        self._transport.sendto(self._out.protect(data), self._to)

    def send_raw(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        """Bytes as they are."""
        self._transport.sendto(data, to or self._to)

    def close(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.raw.append(data)
        if 20 <= data[0] <= 63 and self.association is not None:
            self._give(self.association.receive(data))
            self._take_keys()
        elif self._in is not None and is_rtp(data):
            try:
                self.heard.append(self._in.unprotect(data)[12:])
            except pylibsrtp.Error:
                self.heard.append(b"not protected by what was agreed")

    def _take_keys(self) -> None:
        keys = None if self.association is None else self.association.keys
        if keys is None or self._out is not None:
            return
        profile = PROFILES[keys.sending.suite]
        outbound, inbound = pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND
        self._out = pylibsrtp.Session(pylibsrtp.Policy(key=keys.sending.key, ssrc_type=outbound, srtp_profile=profile))
        self._in = pylibsrtp.Session(pylibsrtp.Policy(key=keys.receiving.key, ssrc_type=inbound, srtp_profile=profile))

    def _give(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self._transport.sendto(datagram, self._to)

    async def _pump(self, association: DtlsAssociation) -> None:
        while association.failure is None:
            wait = association.timeout_s
            await asyncio.sleep(0.05 if wait is None else max(wait, 0.01))
            if association.timeout_s == 0:
                self._give(association.handle_timer())


class PlainParty(asyncio.DatagramProtocol):
    """The media of a party that protects nothing."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._to = ("127.0.0.1", 0)

    @classmethod
    async def open(cls) -> "PlainParty":
        made = cls()
        made._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", 0))
        OPEN.append(made)
        return made

    @property
    def local(self) -> LocalMedia:
        port = int(self._transport.get_extra_info("sockname")[1])
        return LocalMedia("127.0.0.1", port, port, {}, 1, 1, codecs=(PCMU,))

    def meet(self, agreed: LegMedia) -> None:
        self._to = (agreed.address, agreed.port)

    def send(self, data: bytes) -> None:
        self._transport.sendto(data, self._to)

    def close(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if is_rtp(data):
            self.heard.append(data[12:])
