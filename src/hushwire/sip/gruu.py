"""Globally routable user agent URIs (RFC 5627): addresses that reach one device of an agent, and no other. Pure.

A public GRUU is the address of record with the instance as `gr`. A temporary one says nothing of the person: its user part is a sealed
token that no two of them share, so that two calls can't be told to come from one device.
"""

import base64
import binascii
import re
from typing import Final

from hushwire.core.values import frozen
from hushwire.sip.uri import SipUri, escape_user

_TEMPORARY: Final = "tgruu."
_INSTANCE: Final = re.compile(r"<([A-Za-z0-9:._\-]{1,200})>", re.ASCII)


@frozen(repr=False)
class Gruus:
    """What one device is told of its addresses."""

    public: SipUri
    temporary: SipUri


def public(username: str, host: str, instance: str) -> SipUri | None:
    """The address of record with `gr`; None for an instance that is no URN (RFC 5626 section 4.1)."""
    found = _INSTANCE.fullmatch(instance)
    return None if found is None else SipUri(host, escape_user(username), params=(("gr", found.group(1)),))


def temporary(sealed: bytes, host: str) -> SipUri:
    """The address that stands for what was sealed."""
    return SipUri(host, _TEMPORARY + base64.b32encode(sealed).decode().rstrip("=").lower(), params=(("gr", None),))


def sealed_of(user: str) -> bytes | None:
    """What a temporary GRUU's user part carries; None for other user parts."""
    if not user.startswith(_TEMPORARY):
        return None
    text = user.removeprefix(_TEMPORARY).upper()
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        return None


def instance_of(uri: SipUri) -> str | None:
    """The `+sip.instance` that a public GRUU names; None where it names none."""
    value = next((value for name, value in uri.params if name == "gr"), None)
    return None if value is None else f"<{value}>"
