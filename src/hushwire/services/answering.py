"""What of ours is on the phone with somebody: it plays, listens, and is told of keys and of the call's end.

A machine of `calls` decides, and whoever runs it carries out; events wait for each other in a queue.
"""

import asyncio
from typing import Final, Protocol, runtime_checkable

import structlog

from hushwire.core.errors import Unavailable
from hushwire.media.link import MediaLink
from hushwire.media.model import LegStatistics, MediaRefused
from hushwire.sdp.offer_answer import LegMedia
from hushwire.services.live import LiveCall
from hushwire.services.recorder import Recorder

LOOK_S: Final = 0.5
_log = structlog.get_logger(__name__)


@runtime_checkable
class Answering(Protocol):
    """One such conversation, as the call sees it."""

    def press(self, digit: str) -> None:
        """The caller pressed a key."""

    def over(self) -> None:
        """The call ended."""


def caller_media(live: LiveCall) -> tuple[int, LegMedia] | None:
    """The caller's leg, and what is agreed with it."""
    leg = live.route.plan.caller.leg
    media = live.call.legs().get(leg)
    return None if media is None else (leg, media)


async def listen_for_keys(link: MediaLink, live: LiveCall) -> None:
    """Where the caller sends no telephone-events its keys are looked for in its sound."""
    found = caller_media(live)
    if found is None or found[1].dtmf is not None:
        return
    try:
        await link.client.detect_tones(live.id, found[0], on=True)
    except (MediaRefused, Unavailable) as error:
        _log.warning("voicemail.keys_not_heard", call_id=str(live.id), why=str(error))


async def record_caller(link: MediaLink, recorder: Recorder, live: LiveCall) -> bool:
    """Record the caller and nobody else from now on; False where that can't be. Raises MediaRefused and Unavailable."""
    leg = live.route.plan.caller.leg
    # A phone that was rung before may still send: nobody hears it, and it is no part of what is recorded.
    await link.client.set_hears(live.id, leg, ())
    await link.client.set_recorded(live.id, (leg,))
    return await recorder.take_message(live)


async def caller_statistics(link: MediaLink, live: LiveCall) -> LegStatistics | None:
    """What the media process counts of the caller's leg now."""
    try:
        report = await link.client.bridge(live.id)
    except (MediaRefused, Unavailable):
        return None
    return next((leg for leg in report.legs if leg.leg == live.route.plan.caller.leg), None)


async def pause(seconds: float, until: asyncio.Event) -> None:
    """Wait, but no longer than until this is set."""
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        return
