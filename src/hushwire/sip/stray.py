"""A 2xx to an INVITE that we know nothing of any more: sent by the process before this one, or repeated beyond our memory.

Where its dialog lives it is acknowledged; else whoever answered would wait and repeat in vain, and its user sit in a call without anybody:
acknowledged and ended by BYE, both made of the response alone, a few a second and without a trace (RFC 3261 section 13.2.2.4).
"""

import re
from typing import Final

from hushwire.sip.core import BRANCH_COOKIE, Core, compose
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import DialogKey
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.message import Response

# So many at once, and so many a second after that: a forged response costs two messages to where it came from.
_MOST: Final = 20.0
_PER_S: Final = 10.0
# A branch as we make them.
_OURS: Final = re.compile(re.escape(BRANCH_COOKIE) + "[0-9a-f]{16}")


class Strays:
    """What becomes of such responses."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._left = _MOST
        self._looked_at = 0.0

    def take(self, response: Response, flow: Flow, now: float) -> None:
        """Acknowledge it, and end what nobody here is in."""
        core = self._core
        session = core.call(DialogKey(response.call_id, response.from_tag, response.to_tag))
        if session is not None and (session.ack_due is not None or session.dialog.is_early):
            return
        via = response.via
        is_of_us = _OURS.fullmatch(via.branch or "") is not None and via.sent_by == core.sent_by(flow).host_port()
        if (session is None and not is_of_us) or not response.to_tag or not self._may(now):
            return
        try:
            dialog = self._dialog(response, flow) if session is None else session.dialog
            uri, routes = dialog.request_lines()
        except ParseError:
            return
        for method in ("ACK",) if session is not None else ("ACK", "BYE"):
            request = compose(
                method,
                uri,
                via=core.via(dialog.hop, BRANCH_COOKIE + core.token()),
                from_=dialog.local,
                to=dialog.remote,
                call_id=response.call_id,
                cseq=response.cseq.number + (method == "BYE"),
                routes=routes,
            )
            core.send(dialog.hop, request.to_bytes())

    def _dialog(self, response: Response, flow: Flow) -> Dialog:
        contact = response.contact
        target = response.to.uri if contact is None else contact.uri
        return Dialog(
            DialogKey(response.call_id, response.from_tag, response.to_tag),
            response.from_,
            response.to,
            str(target),
            self._core.contact(flow),
            flow,
            tuple(reversed(response.record_routes)),
        )

    def _may(self, now: float) -> bool:
        self._left = min(_MOST, self._left + (now - self._looked_at) * _PER_S)
        self._looked_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
