"""Agents at their own mailboxes, by phone: the pure machine of `calls/mailbox.py` carried out.

A message comes sealed to this call alone, is played by hushwire-media out of its memory, and forgotten there as soon as it is played. Each
second it is looked whether it still may be heard: an erasure ends it. What the owner deletes goes the way of every erasure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from typing import Any, Final, assert_never
from uuid import UUID

import structlog

from hushwire.calls import events, mailbox
from hushwire.calls.mailbox import MailboxListening
from hushwire.calls.model import AnsweredBy, EndReason
from hushwire.core.errors import HushwireError, Unavailable
from hushwire.core.ids import AgentId, OrgId
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.media.sounds import EncodedSound, SoundCodec
from hushwire.services.answering import caller_media, listen_for_keys
from hushwire.services.call_tasks import CallTasks
from hushwire.services.live import LiveCall
from hushwire.services.phone_visits import Visit
from hushwire.services.snapshot import Agent
from hushwire.services.sound_library import SoundKind
from hushwire.services.sounds import Playing, Sounds
from hushwire.services.voicemail_boxes import VoicemailBoxes
from hushwire.services.voicemail_reading import WAIT_S, Asking, NotRead
from hushwire.store.database import STORE_FAILED

CHECK_EACH_S: Final = 1.0
CALLER_WAIT_S: Final = 5.0
"""So long who left a message is waited for."""
LONGEST_S: Final = 3600.0
"""No visit is longer."""
_log = structlog.get_logger(__name__)


class MailboxCalls:
    """This gateway's visits. `feed` gives a call's machine an event."""

    def __init__(
        self,
        link: MediaLink,
        sounds: Sounds,
        tasks: CallTasks,
        boxes: VoicemailBoxes,
        asking: Asking,
        feed: Callable[[LiveCall, events.Event], None],
    ) -> None:
        self._link = link
        self._sounds = sounds
        self._tasks = tasks
        self.boxes = boxes
        self._asking = asking
        self._feed = feed
        self.call_back: Callable[[LiveCall, str], Awaitable[str | None]] = _not_at_all
        """Begins a call of the visitor to whom it names; None once the visitor is in it, else why not, by a code of the catalogue."""

    def answered(self, live: LiveCall) -> None:
        """A call was answered for whose mailbox it is."""
        owner = live.route.mailbox
        if live.call.plan.answered_by is AnsweredBy.MAILBOX and owner is not None:
            visit = _Visit(self, live, owner)
            live.answering = visit
            self._tasks.spawn(visit.run(), "voicemail-visit")

    # What a visit needs.

    async def keys(self, live: LiveCall) -> None:
        """Hear the caller's keys, however it sends them."""
        await listen_for_keys(self._link, live)

    async def say(self, live: LiveCall, prompt: StrEnum) -> Playing | None:
        """Begin to say something."""
        found = caller_media(live)
        if found is None or live.is_ended:
            return None
        return await self._sounds.play(live.bridge_id, found[0], found[1], SoundKind.VOICEMAIL, live.route.org, reason=prompt.value)

    async def beep(self, live: LiveCall) -> Playing | None:
        """Begin to play the tone."""
        found = caller_media(live)
        if found is None or live.is_ended:
            return None
        return await self._sounds.play(live.bridge_id, found[0], found[1], SoundKind.BEEP, live.route.org)

    async def fetch(
        self, live: LiveCall, owner: Agent, message: UUID, *, for_caller: bool = False, wait_s: float = WAIT_S
    ) -> EncodedSound | NotRead:
        """The message, or a greeting, in the codec of the caller's phone."""
        found = caller_media(live)
        codec = None if found is None or not found[1].codecs else SoundCodec.named(found[1].codecs[0].name)
        if codec is None:
            return NotRead("codec")
        return await self._asking.read(live.route.org.id, owner.id, message, codec, for_caller=for_caller, wait_s=wait_s)

    async def play(self, live: LiveCall, sound: EncodedSound, *, digest: bytes | None = None, keeps_event: bool = False) -> Playing | None:
        """Begin to play a message or a greeting; the media process forgets it once it is over."""
        found = caller_media(live)
        if found is None or live.is_ended:
            return None
        playing = await self._sounds.play_once(live.bridge_id, found[0], found[1], sound, digest=digest, keeps_event=keeps_event)
        try:
            await self._link.client.unload_sound(sound.id)  # who plays it plays on
        except (MediaRefused, Unavailable) as error:
            _log.warning("voicemail.not_unloaded", call_id=str(live.id), why=str(error))
        return playing

    async def heard(self, playing: Playing) -> bool:
        """Return once it has ended; whether all of it was sent."""
        await self._sounds.wait(playing)
        return playing.was_heard

    async def stop(self, playing: Playing) -> None:
        """End it now."""
        await self._sounds.stop(playing)

    async def caller(self, live: LiveCall, owner: Agent, message: UUID) -> str | NotRead:
        """Who left a message, as the owner would dial it."""
        org = live.route.org
        found = await self._asking.caller(org.id, owner.id, message, CALLER_WAIT_S)
        if isinstance(found, NotRead) or not found.startswith("agent:"):
            return found
        colleague = org.by_id.get(AgentId(UUID(found.removeprefix("agent:"))))
        return NotRead("gone") if colleague is None else (colleague.extension or colleague.username).reveal()

    async def refuse(self, live: LiveCall, reason: str) -> Playing | None:
        """Begin to say why somebody is not called, where there are words for it."""
        found = caller_media(live)
        if found is None or live.is_ended or not self._sounds.library.has(SoundKind.REFUSAL, live.route.org.slug, reason):
            return None
        return await self._sounds.play(live.bridge_id, found[0], found[1], SoundKind.REFUSAL, live.route.org, reason=reason)

    def hang_up(self, live: LiveCall) -> None:
        """There is nothing more."""
        self._feed(live, events.Stopped(EndReason.MAILBOX_LEFT))


async def _not_at_all(_live: LiveCall, _to: str) -> str | None:
    return "closing"


class _Visit(Visit[mailbox.Event, mailbox.Effect]):
    """One visit."""

    name = "voicemail"
    longest_s = LONGEST_S

    def __init__(self, calls: MailboxCalls, live: LiveCall, owner: Agent) -> None:
        self._calls = calls
        self._machine = MailboxListening()
        super().__init__(live, self._machine.handle, calls.stop, calls.hang_up)
        self._owner = owner

    @property
    def _org(self) -> OrgId:
        return self._live.route.org.id

    def pressed(self, digit: str) -> mailbox.Event:
        """The event of a key."""
        return mailbox.Pressed(digit)

    async def begin(self) -> list[mailbox.Effect]:
        """What to do first."""
        await self._calls.keys(self._live)
        return self._machine.begin()

    async def do(self, step: mailbox.Effect) -> None:
        """Carry out what the machine wants."""
        match step:
            case mailbox.Look():
                self._events.put_nowait(await self._found())
            case mailbox.Say(prompt):
                await self._begin(self._say(prompt))
            case mailbox.Play(message):
                await self._begin(self._play(message))
            case mailbox.Wait(seconds):
                await self._begin(self._after(seconds, mailbox.WaitIsOver()))
            case mailbox.MarkHeard(message):
                await self._tolerant(self._calls.boxes.mark_heard(self._org, message))
            case mailbox.Erase(message):
                await self._quiet()
                await self._tolerant(self._calls.boxes.ask_erasure(self._org, self._owner.id, message))
            case mailbox.CallBack(message):
                await self._quiet()
                await self._call_back(message)
            case mailbox.HangUp():
                await self._quiet()
                self._calls.hang_up(self._live)
            case _:
                assert_never(step)

    async def _found(self) -> mailbox.Found:
        try:
            messages, new = await self._calls.boxes.playlist(self._org, self._owner.id)
        except STORE_FAILED as error:
            _log.error("voicemail.not_found", call_id=str(self._live.id), error=type(error).__name__)
            return mailbox.Found((), 0)
        return mailbox.Found(messages, new)

    async def _tolerant(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except STORE_FAILED as error:
            _log.error("voicemail.not_noted", call_id=str(self._live.id), error=type(error).__name__)

    async def _say(self, prompt: mailbox.Prompt) -> None:
        self._playing = await self._calls.say(self._live, prompt)
        was_heard = self._playing is not None and await self._calls.heard(self._playing)
        self._events.put_nowait(mailbox.Ended(was_heard))

    async def _play(self, message: UUID) -> None:
        try:
            sound = await self._calls.fetch(self._live, self._owner, message)
        except (HushwireError, *STORE_FAILED) as error:
            sound = NotRead(type(error).__name__)
        if isinstance(sound, NotRead):
            _log.warning("voicemail.not_read", call_id=str(self._live.id), recording_id=str(message), why=sound.reason)
            self._events.put_nowait(mailbox.Unplayable())
            return
        self._playing = playing = await self._calls.play(self._live, sound)
        if playing is None:
            self._events.put_nowait(mailbox.Unplayable())
            return
        ending = asyncio.ensure_future(self._calls.heard(playing))
        try:
            while not ending.done():
                await asyncio.wait((ending,), timeout=CHECK_EACH_S)
                if not ending.done() and not await self._may_be_heard(message):
                    _log.info("voicemail.ended_by_erasure", call_id=str(self._live.id), recording_id=str(message))
                    await self._calls.stop(playing)
                    self._events.put_nowait(mailbox.Gone())
                    return
        finally:
            ending.cancel()
        self._events.put_nowait(mailbox.Ended(ending.result()))

    async def _call_back(self, message: UUID) -> None:
        try:
            found = await self._calls.caller(self._live, self._owner, message)
        except (HushwireError, *STORE_FAILED) as error:
            found = NotRead(type(error).__name__)
        if isinstance(found, NotRead):
            _log.info("voicemail.not_called_back", call_id=str(self._live.id), why=found.reason)
            await self._heard(await self._calls.say(self._live, mailbox.Prompt.NOT_CALLED))
        else:
            why = await self._calls.call_back(self._live, found)
            if why is None:
                return
            if not await self._heard(await self._calls.refuse(self._live, why)):
                await self._heard(await self._calls.say(self._live, mailbox.Prompt.NOT_CALLED))
        self._events.put_nowait(mailbox.NotCalledBack())

    async def _heard(self, playing: Playing | None) -> bool:
        return playing is not None and await self._calls.heard(playing)

    async def _may_be_heard(self, message: UUID) -> bool:
        try:
            return await self._calls.boxes.is_there(self._org, self._owner.id, message)
        except STORE_FAILED:
            return False  # nobody can say whether it was erased: as by the API, nothing is given out then
