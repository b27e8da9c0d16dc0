"""What the SIP engine says about calls, as events of their machines."""

from collections.abc import Callable
from typing import assert_never

from hushwire.calls import events
from hushwire.calls.model import Side
from hushwire.services.call_effects import CallEffects
from hushwire.services.call_journal import CallJournal
from hushwire.services.call_media import CallMedia
from hushwire.services.call_starts import SDP_TYPE, CallStarts
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.kept import Waiting
from hushwire.services.live import LiveCall
from hushwire.services.spoken_refusals import SpokenRefusals
from hushwire.services.takeovers import Takeovers
from hushwire.services.transfers import Transfers
from hushwire.services.trunk_attempts import TrunkAttempts
from hushwire.sip import effects as sip
from hushwire.sip.digits import TYPES as INFO_TYPES
from hushwire.sip.digits import parse_info
from hushwire.sip.effects import Cause, DialogKey
from hushwire.sip.message import Request, Response
from hushwire.sip.reason import carried
from hushwire.transport.endpoint import SipEndpoint


class CallSignalling:
    """Finds the call that a SIP event belongs to. `handle` gives its machine the event, at once: the caller keeps the order."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        table: CallTable,
        tasks: CallTasks,
        media: CallMedia,
        journal: CallJournal,
        starts: CallStarts,
        spoken: SpokenRefusals,
        attempts: TrunkAttempts,
        effects: CallEffects,
        transfers: Transfers,
        takeovers: Takeovers,
        handle: Callable[[LiveCall, events.Event], None],
    ) -> None:
        self._endpoint = endpoint
        self._table = table
        self._tasks = tasks
        self._media = media
        self._journal = journal
        self._starts = starts
        self._spoken = spoken
        self._attempts = attempts
        self._effects = effects
        self._transfers = transfers
        self._takeovers = takeovers
        self._handle = handle

    def take(self, event: sip.Event) -> None:
        """An event of the SIP engine that concerns calls."""
        match event:
            case sip.RequestReceived():
                if event.replaces is None:
                    self._starts.request(event.tx, event.request, event.flow)
                else:
                    self._takeovers.replacing(event, event.replaces)
            case sip.CancelReceived():
                live = self._table.by_tx.pop(event.tx, None)
                if live is not None:
                    self._starts.cancelled(live, carried(event.request) if event.request.method == "CANCEL" else ())
                else:
                    self._spoken.cancelled(event.tx)
            case sip.Progress():
                found = self._table.by_invite.get(event.invite)
                if found is not None:
                    if event.dialog is not None:
                        found[0].early[found[1]] = event.dialog
                    self._progressed(*found, event.response)
            case sip.Accepted():
                self._accepted(event)
            case sip.Rejected():
                found = self._table.by_invite.pop(event.invite, None)
                if found is not None and not self._effects.without_location(*found, event):
                    self._attempts.rejected(*found, event)
                    is_silent = event.cause in (Cause.TIMEOUT, Cause.TRANSPORT)
                    said = () if event.response is None or is_silent else carried(event.response)
                    self._deflected(*found, event)
                    self._handle(found[0], events.Rejected(found[1], event.status, is_silent, said))
            case sip.AckReceived():
                self._heard(event.dialog)
                self._in_dialog(event.dialog, lambda side: events.Acknowledged(side, _sdp(event.request)))
            case sip.DialogEnded():
                self._ended(event)
            case sip.DialogTimedOut():
                self._in_dialog(event.dialog, events.NeverAcknowledged)
            case sip.SubscriptionRefreshed() | sip.NotifyTaken() | sip.SubscriptionEnded() | sip.Notified():
                pass  # nothing here subscribes, and no subscription is taken
            case sip.RefreshDue():
                self._in_dialog(event.dialog, events.RefreshDue)
            case sip.InDialogRequest():
                self._in_dialog_request(event)
            case sip.Responded():
                asked = self._table.by_request.pop(event.request, None)
                if asked is not None:
                    body = b"" if event.response is None else _sdp(event.response)
                    self._handle(asked[0], events.Reanswered(asked[1], event.status, body, event.retry_after_s))
            case _:
                assert_never(event)

    def _in_dialog(self, dialog: DialogKey, make: Callable[[Side], events.Event]) -> None:
        live = self._table.by_dialog.get(dialog)
        side = None if live is None else live.side_of(dialog)
        if live is not None and side is not None:
            self._handle(live, make(side))

    def _heard(self, dialog: DialogKey) -> None:
        live = self._table.by_dialog.get(dialog)
        if live is not None and live.unheard and (side := live.side_of(dialog)) is not None:
            live.unheard.discard(side)

    def _ended(self, event: sip.DialogEnded) -> None:
        live = self._table.by_dialog.get(event.dialog)
        side = None if live is None else live.side_of(event.dialog)
        if live is not None and side is not None and not self._transfers.hung_up(live, side):
            self._handle(live, events.HungUp(side, carried(event.request)))

    def _in_dialog_request(self, event: sip.InDialogRequest) -> None:
        live = self._table.by_dialog.get(event.dialog)
        side = None if live is None else live.side_of(event.dialog)
        if live is None or side is None:
            self._endpoint.respond(event.tx, 481)
        elif event.request.method in ("INVITE", "UPDATE", "PRACK"):
            if event.request.body and event.request.content_type != SDP_TYPE:
                self._endpoint.respond(event.tx, 415, headers=[("Accept", SDP_TYPE)])
            else:
                live.reoffer = Waiting(event.request.to_bytes(), event.flow)
                self._handle(live, events.Reoffered(side, event.tx, event.request.body))
        elif event.request.method == "REFER":
            self._transfers.refer(live, side, event)
        elif event.request.method == "INFO":
            self._journal.changed(live)
            self._keyed(live, side, event)
        else:
            self._endpoint.respond(event.tx, 501)

    def _keyed(self, live: LiveCall, side: Side, event: sip.InDialogRequest) -> None:
        """A key by INFO: the other party hears it as its own leg takes digits."""
        keyed = parse_info(event.request.content_type, event.request.body)
        if keyed is None:
            # RFC 6086 section 4.2.2: a package or a body that is not known here.
            self._endpoint.respond(event.tx, 415, headers=[("Accept", ", ".join(INFO_TYPES))])
            return
        self._endpoint.respond(event.tx, 200)
        if live.answering is not None:
            live.answering.press(keyed.digit.reveal())
            return
        end = live.call.end(side.other)
        if end is not None and live.has_bridge:
            self._tasks.spawn(self._media.key(live, end.terms.leg, keyed), "call-digits")

    def _accepted(self, event: sip.Accepted) -> None:
        found = self._table.by_invite.pop(event.invite, None)
        if found is None or found[0].is_ended:
            self._endpoint.bye(event.dialog)
            return
        live, branch = found
        live.branch_dialogs[branch] = event.dialog
        if live.call.awaits(branch):
            live.dialogs[live.call.side_of(branch)] = event.dialog
            self._table.by_dialog[event.dialog] = live
        self._attempts.accepted(live, branch)
        self._handle(live, events.Accepted(branch, _sdp(event.response)))

    def _deflected(self, live: LiveCall, branch: int, event: sip.Rejected) -> None:
        """A phone redirects: that is a wish of its agent. A carrier's redirection is nobody's."""
        trunks = live.route.trunks
        is_phone = branch >= len(trunks) or trunks[branch] is None
        if is_phone and event.response is not None and 300 <= event.status < 400:
            live.deflected = event.response.headers.get("Contact")

    def _progressed(self, live: LiveCall, branch: int, response: Response) -> None:
        self._attempts.progressed(live, branch)
        self._transfers.progressed(live, response.status)
        is_heard = self._attempts.is_heard(live, branch, response)
        self._handle(live, events.Progressed(branch, response.status, _sdp(response), is_heard))


def _sdp(message: Request | Response) -> bytes:
    return message.body if message.content_type == SDP_TYPE else b""
