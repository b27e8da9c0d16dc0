"""Signatures of what webhooks are told, in the form of the Standard Webhooks specification, which libraries of most languages check.

What is signed is `id.timestamp.body`: HMAC-SHA-256 (`v1,`, secret `whsec_...`) or Ed25519 (`v1a,`, public key `whpk_...`). Several
signatures stand beside each other, parted by a blank, while a secret is replaced. Pure.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Signs = Literal["hmac-sha256", "ed25519"]
SECRET_BYTES: Final = 32
WINDOW_S: Final = 300
"""A statement that is older than this, or this early, is believed no more."""
_HMAC: Final = "whsec_"
_PUBLIC: Final = "whpk_"


def shown_secret(secret: bytes) -> str:
    """A secret as its owner's program takes it."""
    return _HMAC + base64.b64encode(secret).decode()


def read_secret(text: str) -> bytes | None:
    """A secret that was given in that form, of 24 to 64 bytes; None for anything else."""
    try:
        found = base64.b64decode(text.removeprefix(_HMAC), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if text.startswith(_HMAC) and 24 <= len(found) <= 64 else None


def public_key(secret: bytes) -> str:
    """What verifies signatures of an Ed25519 secret."""
    return _PUBLIC + base64.b64encode(Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()).decode()


def headers(message_id: str, at_s: int, body: bytes, signs: Signs, secrets: Sequence[bytes]) -> list[tuple[str, str]]:
    """The headers that say which message it is, when it was signed (Unix seconds) and by whom."""
    said = _said(message_id, str(at_s), body)
    if signs == "hmac-sha256":
        signatures = [f"v1,{_b64(hmac.digest(secret, said, 'sha256'))}" for secret in secrets]
    else:
        signatures = [f"v1a,{_b64(Ed25519PrivateKey.from_private_bytes(secret).sign(said))}" for secret in secrets]
    return [("webhook-id", message_id), ("webhook-timestamp", str(at_s)), ("webhook-signature", " ".join(signatures))]


def is_signed(message_id: str, timestamp: str, signature: str, body: bytes, secret: bytes, now_s: float) -> bool:
    """Whether somebody who knows the secret signed this message within `WINDOW_S` of now (HMAC-SHA-256)."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12) or abs(now_s - int(timestamp)) > WINDOW_S:
        return False
    expected = hmac.new(secret, _said(message_id, timestamp, body), hashlib.sha256).digest()
    given = [_read(one.removeprefix("v1,")) for one in signature.split(" ")[:8] if one.startswith("v1,")]
    return any(hmac.compare_digest(expected, one) for one in given)


def _said(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("utf-8", "surrogateescape") + body


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
