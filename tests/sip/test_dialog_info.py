"""Documents of RFC 4235, RFC 3863 and RFC 3842: what an XML parser makes of them, and what is left of a hostile name."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from hushwire.sip.dialog_info import DialogInfo, DialogState, changes, dialog_info
from hushwire.sip.effects import DialogKey
from hushwire.sip.message_summary import MessageCounts, message_summary
from hushwire.sip.pidf import presence_document

ENTITY = "sip:ben@acme.example.org"
NS = "{urn:ietf:params:xml:ns:dialog-info}"
RINGING = DialogInfo("a", DialogState.EARLY, is_initiator=False, remote="sip:+493023125999@acme.example.org")
TALKING = DialogInfo("b", DialogState.CONFIRMED, is_initiator=True)


def test_a_document_names_each_call_its_state_and_who_is_at_its_other_end_if_that_is_told() -> None:
    root = ElementTree.fromstring(dialog_info(ENTITY, 7, [RINGING, TALKING], is_full=True))
    assert root.tag == NS + "dialog-info"
    assert root.attrib == {"version": "7", "state": "full", "entity": ENTITY}
    ringing, talking = root
    assert (ringing.attrib, ringing.findtext(NS + "state")) == ({"id": "a", "direction": "recipient"}, "early")
    assert ringing.findtext(f"{NS}remote/{NS}identity") == RINGING.remote
    assert (talking.attrib, talking.findtext(NS + "state")) == ({"id": "b", "direction": "initiator"}, "confirmed")
    assert talking.find(NS + "remote") is None


def test_a_call_that_may_be_picked_up_says_by_what() -> None:
    named = replace(RINGING, named=DialogKey("call", "near", "far"))
    (dialog,) = ElementTree.fromstring(dialog_info(ENTITY, 0, [named], is_full=True))
    assert [dialog.attrib[name] for name in ("call-id", "local-tag", "remote-tag")] == ["call", "near", "far"]


def test_changes_are_what_is_new_what_is_otherwise_and_what_is_over() -> None:
    answered = replace(RINGING, state=DialogState.CONFIRMED)
    assert changes((), (RINGING,)) == (RINGING,)
    assert changes((RINGING, TALKING), (answered, TALKING)) == (answered,)
    assert changes((RINGING, TALKING), (TALKING,)) == (replace(RINGING, state=DialogState.TERMINATED),)
    assert changes((RINGING,), (RINGING,)) == ()


def test_no_name_breaks_out_of_its_place() -> None:
    hostile = 'sip:"><dialog id="x">&]]>@h'
    for document in (
        dialog_info(hostile, 0, [replace(RINGING, remote=hostile)], is_full=False),
        presence_document(hostile, is_open=True, is_on_phone=False),
    ):
        root = ElementTree.fromstring(document)
        assert root.attrib["entity"] == hostile
    assert len(ElementTree.fromstring(dialog_info(hostile, 0, [replace(RINGING, remote=hostile)], is_full=False))) == 1


def test_presence_says_open_or_closed_and_on_the_phone() -> None:
    root = ElementTree.fromstring(presence_document(ENTITY, is_open=True, is_on_phone=True))
    assert root.findtext(".//{urn:ietf:params:xml:ns:pidf}basic") == "open"
    assert root.find(".//{urn:ietf:params:xml:ns:pidf:rpid}on-the-phone") is not None
    root = ElementTree.fromstring(presence_document(ENTITY, is_open=False, is_on_phone=False))
    assert root.findtext(".//{urn:ietf:params:xml:ns:pidf}basic") == "closed"
    assert root.find(".//{urn:ietf:params:xml:ns:pidf:rpid}on-the-phone") is None


def test_messages_wait_while_some_were_not_heard() -> None:
    assert message_summary(MessageCounts(2, 8, 0, 2), "sip:ben@h") == (
        b"Messages-Waiting: yes\r\nMessage-Account: sip:ben@h\r\nVoice-Message: 2/8 (0/2)\r\n"
    )
    assert message_summary(MessageCounts(0, 8), "sip:ben@h").startswith(b"Messages-Waiting: no\r\n")
