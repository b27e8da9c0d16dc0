"""An agent's own greeting, as its answering machine plays it: opened by the worker for one call, and forgotten as it is played.

Nobody waits long for it: where it can't be had in time, for whatever reason, the machine says what is configured.
"""

import asyncio
import hashlib
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.errors import HushwireError
from hushwire.services.greetings import Greetings
from hushwire.services.live import LiveCall
from hushwire.services.mailbox_calls import CHECK_EACH_S, MailboxCalls
from hushwire.services.snapshot import Agent
from hushwire.services.sounds import Playing
from hushwire.services.voicemail_reading import NotRead
from hushwire.store.database import STORE_FAILED

WAIT_S: Final = 2.0
"""So long a caller waits for the greeting."""
_log = structlog.get_logger(__name__)


class OwnGreetings:
    """What answering machines know of greetings that agents made themselves."""

    def __init__(self, calls: MailboxCalls, greetings: Greetings) -> None:
        self._calls = calls
        self._greetings = greetings

    async def begin(self, live: LiveCall, owner: Agent) -> tuple[UUID, Playing] | None:
        """Begin to play it to who calls; None where there is none, or it can't be had in time."""
        org_id, used = live.route.org.id, None
        try:
            async with asyncio.timeout(2 * WAIT_S):  # a database that hangs
                used = await self._greetings.used(org_id, owner.id)
                if used is None:
                    return None
                sound = await self._calls.fetch(live, owner, used.id, for_caller=True, wait_s=WAIT_S)
        except (HushwireError, TimeoutError, *STORE_FAILED) as error:
            sound = NotRead(type(error).__name__)
        if used is None or isinstance(sound, NotRead):
            _log.warning(
                "greeting.not_read", call_id=str(live.id), agent=str(owner.id), why=sound.reason if isinstance(sound, NotRead) else ""
            )
            return None
        digest = hashlib.sha256(f"greeting {used.id}".encode()).digest()
        playing = await self._calls.play(live, sound, digest=digest, keeps_event=True)
        return None if playing is None else (used.id, playing)

    async def heard(self, live: LiveCall, owner: Agent, greeting: UUID, playing: Playing) -> bool:
        """Return once it has ended; False where it was ended since it may not be heard any more."""
        ending = asyncio.ensure_future(self._calls.heard(playing))
        try:
            while not ending.done():
                await asyncio.wait((ending,), timeout=CHECK_EACH_S)
                if not ending.done() and not await self._may_be_heard(live, owner, greeting):
                    _log.info("greeting.ended_by_erasure", call_id=str(live.id), recording_id=str(greeting))
                    await self._calls.stop(playing)
                    return False
        finally:
            ending.cancel()
        return True

    async def _may_be_heard(self, live: LiveCall, owner: Agent, greeting: UUID) -> bool:
        try:
            return await self._greetings.may_be_heard(live.route.org.id, owner.id, greeting, by_callers=True)
        except STORE_FAILED:
            return False  # nobody can say whether it was erased
