"""Signed statements: flat JSON objects in canonical form (RFC 8785), signed with Ed25519 (RFC 8032) over all but the signature.

Each kind of statement has a domain of its own in front of what is signed, so none can be taken for another. Which key signed stands
in it by id only; the key itself comes from the published set (a JSON Web Key Set, RFC 8037). Values have one spelling each.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hushwire.core.errors import MalformedError
from hushwire.privacy.canonical import canonical, parse

Statement = dict[str, Any]
KeySet = Mapping[UUID, Ed25519PublicKey]


def sign(domain: bytes, fields: Statement, key_id: UUID, key: Ed25519PrivateKey) -> Statement:
    """`fields` with `key_id` and `signature`."""
    unsigned = {**fields, "key_id": str(key_id)}
    return {**unsigned, "signature": base64url(key.sign(domain + canonical(unsigned)))}


def problem(domain: bytes, statement: Statement, keys: KeySet) -> str | None:
    """Why the statement's signature counts for nothing, in one sentence; None where it fits under one of `keys`."""
    try:
        key_id: UUID = exact(statement["key_id"], UUID, str)
        signature: bytes = exact(statement["signature"], unbase64url, base64url)
        signed = domain + canonical({name: value for name, value in statement.items() if name != "signature"})
    except (KeyError, ValueError, TypeError, binascii.Error, MalformedError):
        return "it is not a signed statement"
    key = keys.get(key_id)
    if key is None:
        return "the key that signed it is not among the published ones"
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return "its signature doesn't fit: it was changed, or signed by another key"
    return None


def key_set(data: bytes) -> dict[UUID, Ed25519PublicKey]:
    """The Ed25519 keys of a JSON Web Key Set. Raises MalformedError; keys of other kinds are passed over, two of one id are refused."""
    found = parse(data)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise MalformedError("not a key set")
    known: dict[UUID, Ed25519PublicKey] = {}
    for key in found["keys"]:
        if not isinstance(key, dict) or (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519"):
            continue
        try:
            key_id = exact(key.get("kid"), UUID, str)
            public = Ed25519PublicKey.from_public_bytes(exact(key.get("x"), unbase64url, base64url))
        except (ValueError, TypeError, binascii.Error) as error:
            raise MalformedError("a key that can't be read") from error
        if key_id in known:
            raise MalformedError("two keys of one id")
        known[key_id] = public
    if not known:
        raise MalformedError("no Ed25519 key")
    return known


def exact(text: object, read: Callable[[str], Any], spell: Callable[[Any], str]) -> Any:
    """The value of a text that is spelled in the one right way. Raises ValueError or TypeError."""
    if not isinstance(text, str):
        raise TypeError("not a string")
    value = read(text)
    if spell(value) != text:
        raise ValueError("another spelling")
    return value


def read_time(text: str) -> datetime:
    """A time as `spelled_time` writes it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def spelled_time(moment: datetime) -> str:
    """UTC with microseconds: `2026-03-01T12:00:00.000120Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def base64url(raw: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """What `base64url` was given."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
