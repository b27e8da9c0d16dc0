"""Where a caller is, told to a carrier by value: a PIDF-LO document beside the session description (RFC 6442, RFC 4119, RFC 5139).

The document stands in a part of its own in a multipart body; `Geolocation` refers to it, and `Geolocation-Routing` lets who routes the
call read it (RFC 6442, section 4.2). Only the INVITE that begins the call has it: what is said later in the dialog is plain SDP.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from hushwire.sip.headers import Line

PIDF: Final = "application/pidf+xml"
CIVIC: Final = (
    "country", "A1", "A2", "A3", "A4", "A5", "A6", "PRM", "PRD", "RD", "STS", "POD", "POM", "RDSEC", "RDBR", "RDSUBBR", "HNO", "HNS", "LMK",
    "LOC", "FLR", "NAM", "PC", "BLD", "UNIT", "ROOM", "SEAT", "PLC", "PCN", "POBOX", "ADDCODE",
)  # fmt: skip
"""The elements of `civicAddress`, in the order in which the schema wants them (RFC 5139, section 4)."""

_NO_XML: Final = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLACE: Final = {name: place for place, name in enumerate(CIVIC)}


def pidf_lo(entity: str, civic: Sequence[tuple[str, str]], keep_until: datetime) -> bytes:
    """The document: whose address it is (a URI), its parts by the names of RFC 5139, and until when a receiver may keep it (aware).

    The address is one that somebody stored (`Manual`), and may be passed on: whoever comes to help is told by the carrier.
    Raises KeyError for a name that is none.
    """
    parts = "".join(f"<ca:{name}>{_text(value)}</ca:{name}>" for name, value in sorted(civic, key=lambda part: _PLACE[part[0]]))
    until = keep_until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf"'
        ' xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" xmlns:gbp="urn:ietf:params:xml:ns:pidf:geopriv10:basicPolicy"'
        ' xmlns:ca="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr"'
        f" entity={quoteattr(entity)}>\r\n"
        '<tuple id="caller"><status><gp:geopriv>'
        f"<gp:location-info><ca:civicAddress>{parts}</ca:civicAddress></gp:location-info>"
        "<gp:usage-rules><gbp:retransmission-allowed>true</gbp:retransmission-allowed>"
        f"<gbp:retention-expiry>{until}</gbp:retention-expiry></gp:usage-rules>"
        "<gp:method>Manual</gp:method>"
        "</gp:geopriv></status></tuple>\r\n</presence>\r\n"
    ).encode()


def beside(sdp: bytes, document: bytes, name: str, domain: str) -> tuple[bytes, str, tuple[Line, ...]]:
    """Body, Content-Type and headers of an INVITE that carries both. `name`: what no other part is called in this domain.

    The boundary is made of what it divides, so that neither part can hold it by its author's wish.
    """
    reference = f"{hashlib.sha256(name.encode()).hexdigest()[:32]}@{domain}"
    boundary = hashlib.sha256(reference.encode() + sdp + document).hexdigest()[:32]
    body = b"".join(
        (
            f"--{boundary}\r\nContent-Type: application/sdp\r\n\r\n".encode(),
            sdp,
            f"\r\n--{boundary}\r\nContent-Type: {PIDF}\r\nContent-ID: <{reference}>\r\n"
            "Content-Disposition: by-reference;handling=optional\r\n\r\n".encode(),
            document,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    headers = (("Geolocation", f"<cid:{reference}>"), ("Geolocation-Routing", "yes"), ("MIME-Version", "1.0"))
    return body, f"multipart/mixed;boundary={boundary}", headers


def _text(value: str) -> str:
    """A value as XML text. What XML has no place for (XML 1.0, section 2.2) is left out."""
    return escape(_NO_XML.sub("", value))
