"""Our certificates for DTLS: made in memory, never on disk, replaced each day. Who we are is not in them: SDP's fingerprint says it."""

import datetime
import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from hushwire.core.clock import Clock
from hushwire.core.values import frozen
from hushwire.sdp.dtls import Fingerprint

LIFE: Final = datetime.timedelta(days=1)
"""After so long the next call gets a new certificate; calls that began with the old one keep it."""
_VALID: Final = datetime.timedelta(days=30)
_DTLS_1_2: Final = 0xFEFD
# Forward secrecy and authenticated encryption only (RFC 8827 section 6.5). The peer's own certificate may be RSA or ECDSA.
_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
PROFILES: Final = b"SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
"""What we would protect media with, best first (RFC 5764 section 4.1.2, RFC 7714 section 14.2)."""


@frozen(repr=False)
class Certificate:
    """A key pair that handshakes show. `fingerprint` goes into SDP; `context` is OpenSSL's for both roles."""

    fingerprint: Fingerprint
    context: SSL.Context
    made_at: datetime.datetime

    def __repr__(self) -> str:
        return "Certificate(<key>)"


class Certificates:
    """The certificate of this process for calls that begin now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._current: Certificate | None = None

    @property
    def current(self) -> Certificate:
        """Not older than LIFE. Making one takes about half a millisecond."""
        now = self._clock.now()
        if self._current is None or now - self._current.made_at >= LIFE:
            self._current = make_certificate(now)
        return self._current


def make_certificate(now: datetime.datetime) -> Certificate:
    """A fresh ECDSA P-256 key with a certificate signed by itself, which names nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WebRTC")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day back: a peer whose clock is behind would not take it else.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    digest = hashlib.sha256(built.public_bytes(serialization.Encoding.DER)).digest()
    return Certificate(Fingerprint("sha-256", digest), _context(key, built), now)


def _context(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(_CIPHERS)
    # A resumed session or a second handshake would be one whose certificate nobody compares.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_QUERY_MTU)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_tlsext_use_srtp(PROFILES)
    # hushwire-media has answered the first hello with a cookie of its own and checked it, where no ICE check proves the address.
    context.set_cookie_generate_callback(lambda _: b"")
    context.set_cookie_verify_callback(lambda *_: True)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _expected)
    context.use_privatekey(key)
    context.use_certificate(certificate)
    return context


def _expected(connection: SSL.Connection, shown: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
    """OpenSSL asks for each certificate of the peer's chain: no authority counts, only the fingerprint, and only that of the first."""
    proves = connection.get_app_data()
    return depth > 0 or bool(proves(shown))
