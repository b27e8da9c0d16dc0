"""One DTLS association for SRTP keys (RFC 5764), fed with datagrams: what comes in, what goes out, and when to look again.

OpenSSL does the handshake over memory. Keys are exported only after the peer's certificate was compared with the fingerprints that
signalling brought (RFC 5763 section 5, RFC 8122 section 5); before that nothing here can be used for anything. What one peer can make us
keep and do is bounded: datagrams, bytes and certificates during the handshake, and the time that the caller gives it.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Final

from OpenSSL import SSL, crypto

from hushwire.core.values import frozen
from hushwire.media.certificates import Certificate
from hushwire.media.model import Protection, Suite
from hushwire.sdp.dtls import RemoteDtls

MTU: Final = 1200
"""Bytes of a datagram that we send at most: what passes everywhere (RFC 8261 section 5 has the same figure)."""
MAX_DATAGRAM: Final = 2048
MAX_DATAGRAMS: Final = 4000
"""Datagrams that a handshake may take. One that loses every second one takes about 40; the others are a flood under the party's address,
of which hushwire-media passes 200 a second and which must not be the party's failure."""

_LABEL: Final = b"EXTRACTOR-dtls_srtp"
# Name as OpenSSL has it -> suite, bytes of master key, bytes of master salt (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
_PROFILES: Final = {
    b"SRTP_AEAD_AES_256_GCM": (Suite.AEAD_AES_256_GCM, 32, 12),
    b"SRTP_AEAD_AES_128_GCM": (Suite.AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AES128_CM_SHA1_80": (Suite.AES_CM_128_HMAC_SHA1_80, 16, 14),
}
_HASHES: Final = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}


class Failure(StrEnum):
    """Why an association came to nothing."""

    FINGERPRINT = "fingerprint"  # the certificate is not the one that signalling announced
    NO_PROFILE = "no_profile"  # the peer does no SRTP, or none that we do
    REFUSED = "refused"  # the peer, or OpenSSL, ended the handshake
    TOO_MUCH = "too_much"  # more datagrams than any honest handshake takes
    TIMEOUT = "timeout"


@frozen
class SrtpKeys:
    """What the handshake gave: our protection for what we send, the peer's for what it sends."""

    sending: Protection
    receiving: Protection


class DtlsAssociation:
    """Our end of one association. After each call send what it returned, then look at `keys`, `failure` and `timeout_s`.

    It fails after `most` datagrams of the peer without keys.
    """

    def __init__(self, certificate: Certificate, remote: RemoteDtls, most: int = MAX_DATAGRAMS) -> None:
        self._remote = remote
        self._most = most
        self._taken = 0
        self._is_proven = False
        self._is_fresh = True
        self.keys: SrtpKeys | None = None
        self.failure: Failure | None = None
        self.is_closed = False
        """The peer said that it ends the association (close_notify). Signalling ends calls, not this."""
        self._connection = SSL.Connection(certificate.context)
        self._connection.set_app_data(self._proves)
        self._connection.set_ciphertext_mtu(MTU)
        if remote.is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    @classmethod
    def finished(cls, certificate: Certificate, remote: RemoteDtls, keys: SrtpKeys) -> "DtlsAssociation":
        """One whose handshake was done in another process: only its keys are left, and nothing of the peer is listened to any more."""
        made = cls(certificate, remote)
        made.keys, made.is_closed = keys, True
        return made

    def start(self) -> list[bytes]:
        """The ClientHello, where it is ours to send."""
        return self._go_on() if self._remote.is_client else []

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take one datagram of the peer; what to send now."""
        if self.failure is not None or self.is_closed or not 0 < len(datagram) <= MAX_DATAGRAM:
            return []
        if self.keys is None:
            self._taken += 1
            if self._taken > self._most:
                return self._fail(Failure.TOO_MUCH)
        self._connection.bio_write(datagram)
        if self._is_fresh and not self._remote.is_client and client_hello_random(datagram) is not None:
            self._is_fresh = False
            if has_cookie(datagram):
                # The second hello of its handshake: without this OpenSSL would wait for the first.
                with suppress(SSL.Error):
                    self._connection.DTLSv1_listen()
        return self._go_on() if self.keys is None else self._listen()

    def handle_timer(self) -> list[bytes]:
        """To be called after `timeout_s`; our last flight again, where the peer has not answered it (RFC 6347 section 4.2.4)."""
        if self.failure is not None or self.is_closed:
            return []
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            return self._fail(Failure.TIMEOUT)
        return list(self._flight())

    @property
    def timeout_s(self) -> float | None:
        """Seconds until `handle_timer` is due; None: there is nothing to wait for."""
        return None if self.failure is not None or self.is_closed else self._connection.DTLSv1_get_timeout()

    def give_up(self) -> None:
        """The caller's patience is at its end."""
        if self.keys is None and self.failure is None:
            self.failure = Failure.TIMEOUT

    def _go_on(self) -> list[bytes]:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return list(self._flight())
        except SSL.Error:
            return self._fail(Failure.REFUSED)
        # OpenSSL asked `_proves` during the handshake; a handshake that got here without asking is not believed.
        shown = self._connection.get_peer_certificate()
        if not self._is_proven or shown is None or not self._proves(shown):
            return self._fail(Failure.FINGERPRINT)
        profile = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if profile is None:
            return self._fail(Failure.NO_PROFILE)
        self.keys = self._export(*profile)
        return list(self._flight())

    def _listen(self) -> list[bytes]:
        """After the handshake: our last flight again where the peer missed it, and the end of the association. Data means nothing here."""
        try:
            while self._connection.recv(MAX_DATAGRAM):
                pass
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.is_closed = True
        return list(self._flight())

    def _fail(self, why: Failure) -> list[bytes]:
        self.failure = self.failure or why
        self.keys = None
        with suppress(SSL.Error):
            self._connection.shutdown()
        return list(self._flight())  # the alert that tells the peer

    def _proves(self, shown: crypto.X509) -> bool:
        """Whether this certificate is one that signalling announced."""
        # As it came: whether the certificate makes sense beyond that is nobody's question here.
        raw = crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)
        self._is_proven = any(
            hmac.compare_digest(hashlib.new(_HASHES[item.hash_name], raw).digest(), item.digest) for item in self._remote.fingerprints
        )
        if not self._is_proven:
            self.failure = Failure.FINGERPRINT
        return self._is_proven

    def _export(self, suite: Suite, key: int, salt: int) -> SrtpKeys:
        """RFC 5764 section 4.2: client key, server key, client salt, server salt."""
        data = self._connection.export_keying_material(_LABEL, 2 * (key + salt))
        client = Protection(suite, data[:key] + data[2 * key : 2 * key + salt])
        server = Protection(suite, data[key : 2 * key] + data[2 * key + salt :])
        return SrtpKeys(client, server) if self._remote.is_client else SrtpKeys(server, client)

    def _flight(self) -> Iterator[bytes]:
        """What OpenSSL has to send, whole records put together into datagrams."""
        try:
            data = self._connection.bio_read(65536)
        except SSL.Error:
            return
        begin = end = 0
        while end < len(data):
            # RFC 6347 section 4.1: the length is the record header's last two of 13 bytes.
            after = end + 13 + int.from_bytes(data[end + 11 : end + 13], "big")
            if after - begin > MTU and end > begin:
                yield data[begin:end]
                begin = end
            end = after
        yield data[begin:]


def client_hello_random(datagram: bytes) -> bytes | None:
    """The random of a ClientHello that begins in this datagram (RFC 6347 section 4.2); None for everything else.

    Record header: type, version, epoch and sequence number, length (13 bytes); then type, length, message number, fragment (12 bytes).
    The message number is 0 for a first hello, 1 for one that bears a cookie.
    """
    is_hello = len(datagram) >= 59 and datagram[0] == 22 and datagram[3:5] == b"\0\0" and datagram[13] == 1
    is_first = is_hello and datagram[19:22] == bytes(3)
    return datagram[27:59] if is_first else None


def has_cookie(datagram: bytes) -> bool:
    """Whether this is a ClientHello that answers a HelloVerifyRequest (RFC 6347 section 4.2.1)."""
    if client_hello_random(datagram) is None or len(datagram) < 60:
        return False
    at = 60 + datagram[59]
    return len(datagram) > at and datagram[at] > 0


def is_open_alert(datagram: bytes) -> bool:
    """Whether this begins with an alert that nothing protects: anybody could have said it (RFC 6347 section 4.1.2.7)."""
    return len(datagram) >= 13 and datagram[0] == 21 and datagram[3:5] == b"\0\0"
