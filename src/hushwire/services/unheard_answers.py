"""Callers who may not know that their call was answered: the process before this one died in the moment in which it was to tell them.

They are told again (services/adoption.py). Who neither acknowledges that nor is heard has given up meanwhile, most likely since its
connection broke: then the call ends, so that nobody is left to talk to nobody.
"""

import asyncio
from collections.abc import Callable

import structlog

from hushwire.calls import events
from hushwire.calls.model import EndReason, Side
from hushwire.core.errors import Unavailable
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.services.call_media import SILENT_MS
from hushwire.services.call_tasks import CallTasks
from hushwire.services.live import LiveCall
from hushwire.sip.effects import DialogKey

_log = structlog.get_logger(__name__)


class UnheardAnswers:
    """`feed` gives a call's machine an event."""

    def __init__(self, link: MediaLink, tasks: CallTasks, feed: Callable[[LiveCall, events.Event], None]) -> None:
        self._link = link
        self._tasks = tasks
        self._feed = feed

    def expect(self, live: LiveCall, dialog: DialogKey, within_s: float, *, is_told: bool) -> None:
        """Look after so long whether the caller is there. `is_told`: it was asked by saying the answer again; else it was answered so long
        ago that only one who was never heard at all is gone for sure."""
        side = live.side_of(dialog)
        if side is not None:
            live.unheard.add(side)
            asyncio.get_running_loop().call_later(within_s, self._look, live, side, is_told)

    def _look(self, live: LiveCall, side: Side, is_told: bool) -> None:
        if side in live.unheard and not live.is_ended:
            self._tasks.spawn(self._end_if_gone(live, side, is_told=is_told), "call-unheard")

    async def _end_if_gone(self, live: LiveCall, side: Side, *, is_told: bool) -> None:
        end = live.call.end(side)
        if end is None or (not is_told and (end.agreed is None or not end.agreed.direction.receives)):
            return
        try:
            report = await self._link.client.bridge(live.bridge_id)
        except (MediaRefused, Unavailable):
            return  # its bridge is gone, and so will the call be
        silent_ms = next((leg.silent_ms for leg in report.legs if leg.leg == end.terms.leg), None)
        is_gone = silent_ms is None or (is_told and silent_ms >= SILENT_MS)
        if is_gone and side in live.unheard:
            _log.warning("call.answer_unheard", call_id=str(live.id))
            self._feed(live, events.Stopped(EndReason.NO_ACK))
