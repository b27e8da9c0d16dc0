"""What is checked of a request before anybody above hears of it: first by itself, then by the dialog that it is in.

Nothing is sent here, and nothing is known of who answers: what an inspection comes to is a value.
"""

from collections.abc import Callable, Iterable
from typing import Final

from hushwire.core.values import frozen, replace
from hushwire.sip.core import Core, Offer, Session
from hushwire.sip.effects import DialogKey, InDialogRequest, RequestReceived
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.headers import Line, parse_via
from hushwire.sip.message import Request
from hushwire.sip.refer import replaces_of
from hushwire.sip.server_tx import Key, ServerTx
from hushwire.sip.session_timer import is_too_brief, least
from hushwire.sip.subscriptions import event_name
from hushwire.sip.uri import OtherUri, SipUri

# Methods whose handling here would forward something; a spent Max-Forwards stops those, while OPTIONS and REGISTER end here anyway.
_FORWARDED: Final = frozenset(("INVITE", "MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO"))
# Methods that live in dialogs and nowhere else; NOTIFY since RFC 6665 section 4.1.3.
_IN_DIALOGS: Final = frozenset(("BYE", "INFO", "NOTIFY", "PRACK", "UPDATE"))
# Of these, and INVITE, those that need a call in the dialog.
_OF_CALLS: Final = frozenset(("BYE", "INFO", "INVITE", "PRACK", "UPDATE"))
# What the user agent does in a dialog without asking anybody.
_DONE_HERE: Final = frozenset(("BYE", "NOTIFY", "PRACK", "SUBSCRIBE"))
# Methods whose body is an offer or answer and nothing else here.
_DESCRIBING: Final = frozenset(("INVITE", "UPDATE", "PRACK"))
_SDP: Final = "application/sdp"


@frozen
class Answer:
    """What a request is answered at once, without a word to anybody above."""

    status: int
    headers: Iterable[Line] = ()


Outcome = Answer | RequestReceived | InDialogRequest | Session
"""An answer, or the event that tells the request to those above, or the dialog in which the user agent itself does what is asked."""


class Inspection:
    """Inspects requests that began a transaction, other than CANCEL.

    `is_ours` says whether a request of ours with this branch and method is under way. `merged` are the requests outside dialogs whose
    transactions last, by From tag, Call-ID and CSeq: those that come are put in here, and whoever ends a transaction takes its own out.
    """

    __slots__ = ("_core", "_is_ours", "_merged")

    def __init__(self, core: Core, is_ours: Callable[[str | None, str], bool], merged: set[Key]) -> None:
        self._core = core
        self._is_ours = is_ours
        self._merged = merged

    def inspect(self, tx: ServerTx, request: Request, flow: Flow) -> Outcome:
        """What becomes of a request; its transaction then knows its dialog, or what others are recognised by that came by other paths.

        The order of RFC 3261 section 8.2: method, destination, loops, Require, content; then dialog or user above.
        Raises ParseError for what says nothing, or too much.
        """
        core, method = self._core, request.method
        if method not in core.config.allow:
            return Answer(405)
        uri = request.request_uri
        if isinstance(uri, OtherUri) and not (uri.scheme.lower() == "urn" and method == "INVITE"):
            # An INVITE may go to a service's URN (RFC 5031): an emergency call must not fail over how it is written.
            return Answer(416)
        if isinstance(uri, SipUri) and uri.headers is not None:
            # "Headers MUST NOT be present in a Request-URI" (section 19.1.1, table 1): somebody else would read them as headers.
            raise ParseError("the Request-URI has headers")
        session = None
        if request.to_tag:
            session = core.sessions.get(DialogKey(request.call_id, request.to_tag, request.from_tag))
            if session is None and method != "REGISTER":
                # Call-ID alone is no key: a forged BYE or re-INVITE ends here.
                return Answer(481)
        else:
            # "If the request has no tag in the To header field, the UAS core MUST check the request against ongoing transactions":
            # the same From tag, Call-ID and CSeq by another branch came by another path (section 8.2.2.2).
            merge_key = (request.from_tag, request.call_id, str(request.cseq))
            if merge_key in self._merged:
                return Answer(482)
            self._merged.add(merge_key)
            tx.merge_key = merge_key
            if self._is_looped(request):
                # What we sent ourselves and still wait for came back to us (section 16.3, step 4).
                return Answer(482)
        hops = request.max_forwards
        if hops is not None and hops > 255:
            raise ParseError("Max-Forwards is not a number in its range")
        if hops == 0 and method in _FORWARDED:
            return Answer(483)
        index = request.headers.index
        if "require" in index or "proxy-require" in index:
            wanted = (request.require | request.headers.tokens("Proxy-Require")) - frozenset(core.config.supported)
            if wanted:
                return Answer(420, [("Unsupported", ", ".join(sorted(wanted)))])
        if "content-encoding" in index and index["content-encoding"][0].lower() != "identity":
            return Answer(415, [("Accept-Encoding", "identity")])
        if method in ("INVITE", "UPDATE") and ("min-se" in index or "session-expires" in index):
            _ = least(request)
            if is_too_brief(request, core.config.min_se_s):
                return Answer(422, [("Min-SE", str(core.config.min_se_s))])
        if method in _DESCRIBING:
            if request.body and request.content_type != _SDP:
                return Answer(415, [("Accept", _SDP)])
            if method == "INVITE" and not _takes_sdp(request):
                # RFC 4475 section 3.3.15: our answer could not be said in any format that the caller takes.
                return Answer(406)
        # Looked at now, so that nothing raises when the answer is due.
        contacts = request.contacts
        if "record-route" in index or "route" in index:
            _ = request.record_routes, request.routes
        if method == "INVITE" and len(contacts) != 1:
            raise ParseError("an INVITE needs exactly one Contact")
        if method == "REFER" and len(request.headers.listed("Refer-To")) != 1:
            raise ParseError("a REFER needs exactly one Refer-To")
        if method == "SUBSCRIBE":
            _ = event_name(request), request.expires
        if session is not None:
            return self._in_dialog(tx, session, request, flow)
        if method in _IN_DIALOGS:
            return Answer(481)
        if method == "OPTIONS" and core.config.answers_options:
            return Answer(200, self._abilities())
        if method == "INVITE" and not core.has_room:
            return Answer(503, [("Retry-After", "10")])
        if method == "INVITE" and "replaces" in index and "replaces" in core.config.supported:
            return self._replacing(tx, request, flow)
        return RequestReceived(tx.id, request, flow)

    def _replacing(self, tx: ServerTx, request: Request, flow: Flow) -> Outcome:
        """An INVITE with Replaces (RFC 3891 section 3): its dialog is there and may be replaced, or it is refused here."""
        core, named = self._core, replaces_of(request)
        dialog = None if named is None else core.aliases.get(named.dialog, named.dialog)
        replaced = None if dialog is None else core.call(dialog)
        if named is not None and replaced is None and core.config.tells_unknown_replaces:
            return RequestReceived(tx.id, request, flow, named.dialog)
        if named is None or replaced is None or (replaced.dialog.is_early and not replaced.dialog.is_caller):
            # "If the dialog is early and was not initiated by this UA, it returns 481."
            return Answer(481)
        if named.is_early_only and not replaced.dialog.is_early:
            return Answer(486)
        return RequestReceived(tx.id, request, flow, dialog)

    def _in_dialog(self, tx: ServerTx, session: Session, request: Request, flow: Flow) -> Outcome:
        dialog, number, method = session.dialog, request.cseq.number, request.method
        if dialog.hop.transport.is_protected and not flow.transport.is_protected:
            # The dialog would go on in the clear, with the media keys of the next offer or answer.
            return Answer(403)
        if not session.has_call and method in _OF_CALLS:
            return Answer(481)
        tx.session = session
        if dialog.remote_cseq is not None and number <= dialog.remote_cseq:
            # "If the remote sequence number is not empty, but the sequence number of the request is lower than the remote sequence
            # number, the request is out of order and MUST be rejected with a 500" (section 12.2.2). Equal ones are somebody's replay.
            return Answer(500)
        session.dialog = replace(dialog, remote_cseq=number, hop=flow if isinstance(dialog.hop, Flow) else dialog.hop)
        if method in _DONE_HERE:
            return session
        if method == "INVITE":
            if session.answering is not None or session.updating is not None:
                # Section 14.2: a second INVITE before our final response to the first.
                return Answer(500, [self._soon()])
            if session.inviting or session.unacked_cseq is not None or session.offer is Offer.OURS:
                return Answer(491)
            session.answering = tx.id
            session.offer = Offer.THEIRS if request.body else None
        elif method == "UPDATE":
            # RFC 3311 section 5.2: whose offer waits decides; one without an offer only refreshes, and is answered here.
            if session.updating is not None or (request.body and session.offer is Offer.THEIRS):
                return Answer(500, [self._soon()])
            if request.body and (session.offer is Offer.OURS or session.inviting):
                return Answer(491)
            if not request.body:
                return Answer(200)
            session.updating = tx.id
            session.offer = Offer.THEIRS
        return InDialogRequest(dialog.key, tx.id, request, flow)

    def _is_looped(self, request: Request) -> bool:
        """Whether a Via below the top one is that of a request of ours under way."""
        vias = request.headers.index["via"]
        if len(vias) == 1 and "," not in vias[0]:
            return False
        try:
            below = request.headers.listed("Via")[1:]
            return any(self._is_ours(parse_via(value).branch, request.method) for value in below)
        except ParseError:
            return False

    def _soon(self) -> Line:
        """Between 0 and 10 seconds, by chance."""
        return ("Retry-After", str(self._core.random.token_bytes(1)[0] % 11))

    def _abilities(self) -> list[Line]:
        core = self._core
        lines = [("Allow", core.allow), ("Accept", _SDP), ("Accept-Encoding", "identity"), ("Accept-Language", "en")]
        if core.supported:
            lines.append(("Supported", core.supported))
        if core.config.events:
            lines.append(("Allow-Events", ", ".join(core.config.events)))
        return lines


def _takes_sdp(request: Request) -> bool:
    """Whether Accept lets us describe a session (RFC 3261 section 20.1): absent is application/sdp, empty is nothing at all."""
    if "accept" not in request.headers.index:
        return True
    ranges = {value.partition(";")[0].replace(" ", "").lower() for value in request.headers.listed("Accept")}
    return not ranges.isdisjoint((_SDP, "application/*", "*/*"))
