"""Presence documents (RFC 3863, RFC 4480): whether somebody can be reached, and whether they are on the phone."""

from typing import Final
from xml.sax.saxutils import quoteattr

CONTENT_TYPE: Final = "application/pidf+xml"
# PJSIP knows `busy` alone of these activities, and shows the note.
_ON_PHONE: Final = (
    '<dm:person id="person"><rpid:activities><rpid:on-the-phone/><rpid:busy/></rpid:activities>'
    "<dm:note>On the phone</dm:note></dm:person>\r\n"
)


def presence_document(entity: str, *, is_open: bool, is_on_phone: bool) -> bytes:
    """The document. `entity` is the URI of whose presence it is."""
    basic = "open" if is_open else "closed"
    person = _ON_PHONE if is_on_phone else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf"'
        ' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"'
        f' entity={quoteattr(entity)}>\r\n<tuple id="phone"><status><basic>{basic}</basic></status></tuple>\r\n{person}</presence>\r\n'
    ).encode()
