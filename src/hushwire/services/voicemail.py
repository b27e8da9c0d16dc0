"""Messages that are being taken: the greeting is played, the tone, and the caller is recorded into somebody's mailbox.

A message is a recording: its key was committed to the keyring before, its row and the mailbox's are committed before the first packet is
sealed, and it ends with its call. What of it is kept is decided by how much was said (docs/voicemail.md).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, assert_never

import structlog

from hushwire.calls import events, voicemail
from hushwire.calls.model import AnsweredBy, EndReason
from hushwire.calls.voicemail import Lengths, MessageTaking
from hushwire.core.clock import Clock
from hushwire.core.errors import Unavailable
from hushwire.core.ids import AgentId
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.services.answering import LOOK_S, caller_media, caller_statistics, listen_for_keys, pause, record_caller
from hushwire.services.call_tasks import CallTasks
from hushwire.services.live import LiveCall
from hushwire.services.mailboxes import Mailboxes
from hushwire.services.own_greetings import OwnGreetings
from hushwire.services.recorder import Recorder
from hushwire.services.route import Route
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.sound_library import SoundKind
from hushwire.services.sounds import Playing, Sounds
from hushwire.store.database import STORE_FAILED

MOST_AT_ONCE: Final = 5
"""So many callers speak into one mailbox at a time."""
_log = structlog.get_logger(__name__)


class Voicemail:
    """This gateway's answering machines. `feed` gives a call's machine an event."""

    def __init__(
        self,
        link: MediaLink,
        sounds: Sounds,
        recorder: Recorder,
        tasks: CallTasks,
        mailboxes: Mailboxes,
        clock: Clock,
        feed: Callable[[LiveCall, events.Event], None],
        may_take_message: Callable[[Route], bool],
        lengths: Lengths,
        most_messages: int,
    ) -> None:
        self._may_take_message = may_take_message
        self._link = link
        self.sounds = sounds
        self._recorder = recorder
        self._tasks = tasks
        self._mailboxes = mailboxes
        self._clock = clock
        self._feed = feed
        self.lengths = lengths
        self._most = most_messages
        self.own: OwnGreetings | None = None
        """Greetings that agents made themselves; None where nobody opens them."""
        self._taking: dict[AgentId, set[LiveCall]] = {}

    def why_not(self, route: Route, owner: Agent) -> str | None:
        """Why who calls by this route can't leave the agent a message now, in a word; None where that is possible."""
        org = route.org
        if owner.is_suspended:
            return "suspended"
        if not self._may_take_message(route):
            return "objected"
        if not self.sounds.library.has(SoundKind.GREETING, org.slug, named(owner, org, self.sounds)):
            return "no-greeting"
        busy = {live for live in self._taking.get(owner.id, ()) if not live.is_ended}
        return "too-many-calls" if len(busy) >= MOST_AT_ONCE else None

    def answered(self, live: LiveCall) -> None:
        """A call was answered for somebody's mailbox."""
        owner = live.route.mailbox
        if live.call.plan.answered_by is AnsweredBy.MESSAGE and owner is not None:
            taking = _Taking(self, live, owner)
            live.answering = taking
            self._taking.setdefault(owner.id, set()).add(live)
            self._tasks.spawn(self._run(taking, owner), "voicemail-message")

    async def _run(self, taking: "_Taking", owner: Agent) -> None:
        try:
            await taking.run()
        finally:
            self._taking[owner.id].discard(taking.live)
            if not self._taking[owner.id]:
                del self._taking[owner.id]

    # What one message needs.

    async def is_full(self, live: LiveCall, owner: Agent) -> bool:
        """Whether the mailbox holds as much as it may; a database that is away does not keep anybody from speaking."""
        try:
            found = (await self._mailboxes.counts(live.route.org.id, [owner.id])).get(owner.id)
        except STORE_FAILED as error:
            _log.warning("voicemail.not_counted", call_id=str(live.id), error=type(error).__name__)
            return False
        return found is not None and found.new + found.old >= self._most

    async def say(self, live: LiveCall, kind: SoundKind, reason: str, *, keeps_event: bool = False) -> Playing | None:
        """Begin to play something to the caller."""
        found = caller_media(live)
        if found is None or live.is_ended:
            return None
        leg, media = found
        return await self.sounds.play(live.bridge_id, leg, media, kind, live.route.org, reason=reason, keeps_event=keeps_event)

    async def heard(self, playing: Playing) -> None:
        """Return once it has ended."""
        await self.sounds.wait(playing)

    async def stop(self, playing: Playing) -> None:
        """End it now."""
        await self.sounds.stop(playing)

    def note_greeting(self, live: LiveCall, playing: Playing) -> None:
        """Keep the evidence that the caller was told, or let the media process forget it."""
        if playing.was_heard:
            self._recorder.announced(live, playing)
        else:
            self.sounds.release(playing)

    async def record(self, live: LiveCall) -> bool:
        """Record the caller and nobody else from now on, and heed whether it speaks."""
        leg = live.route.plan.caller.leg
        try:
            if not await record_caller(self._link, self._recorder, live):
                return False
        except (MediaRefused, Unavailable) as error:
            _log.error("voicemail.not_recorded", call_id=str(live.id), why=str(error))
            return False
        try:
            await self._link.client.detect_speech(live.id, leg, on=True)
        except (MediaRefused, Unavailable) as error:
            _log.warning("voicemail.speech_not_heeded", call_id=str(live.id), why=str(error))
        return True

    async def keys(self, live: LiveCall) -> None:
        """Hear the caller's keys, however it sends them."""
        await listen_for_keys(self._link, live)

    async def quiet_s(self, live: LiveCall) -> float | None:
        """For how long the caller has said nothing; None where that is not known."""
        found = await caller_statistics(self._link, live)
        return None if found is None or found.speech_ms is None else found.quiet_ms / 1000

    def taken_s(self, live: LiveCall) -> float:
        """How long the call has been answered."""
        return 0.0 if live.answered is None else self._clock.monotonic() - live.answered

    def hang_up(self, live: LiveCall, *, is_kept: bool) -> None:
        """The message is complete, or there is none."""
        self._feed(live, events.Stopped(EndReason.MESSAGE_LEFT if is_kept else EndReason.NO_RECORDING))


def named(owner: Agent, org: Organisation, sounds: Sounds) -> str:
    """The name under which the agent has a greeting of its own; the extension's where it has neither."""
    extension = "" if owner.extension is None else owner.extension.reveal()
    return next(
        (name for name in (extension, owner.username.reveal()) if sounds.library.has_own(SoundKind.GREETING, org.slug, name)), extension
    )


class _Taking:
    """One message: the pure machine, its queue, and what runs for it."""

    def __init__(self, voicemail_: Voicemail, live: LiveCall, owner: Agent) -> None:
        self._voicemail = voicemail_
        self.live = live
        self._owner = owner
        self._machine = MessageTaking(voicemail_.lengths)
        self._events: asyncio.Queue[voicemail.Event | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._greeting: Playing | None = None
        self._cut = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def press(self, digit: str) -> None:
        """The caller pressed a key."""
        self._events.put_nowait(voicemail.Pressed(digit))

    def over(self) -> None:
        """The call ended."""
        self._ended.set()
        self._events.put_nowait(None)

    async def run(self) -> None:
        """Until the call is over."""
        live = self.live
        if live.is_ended:
            return
        try:
            await self._voicemail.keys(live)
            if live.recording is not None:
                steps = self._machine.resume(self._voicemail.taken_s(live))  # another process was taking it
            elif await self._voicemail.is_full(live, self._owner):
                await self._refuse()
                return
            else:
                steps = self._machine.begin()
            while True:
                for step in steps:
                    await self._do(step)
                event = await self._events.get()
                if event is None:
                    return
                steps = self._machine.handle(event)
        except Exception as error:
            _log.error("voicemail.internal_error", call_id=str(live.id), exc_info=error)
            self._voicemail.hang_up(live, is_kept=live.recording is not None)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _refuse(self) -> None:
        _log.warning("voicemail.full", call_id=str(self.live.id), agent=str(self._owner.id))
        playing = await self._voicemail.say(self.live, SoundKind.VOICEMAIL, "full")
        if playing is not None:
            await self._voicemail.heard(playing)
        self._voicemail.hang_up(self.live, is_kept=False)

    async def _do(self, step: voicemail.Effect) -> None:
        match step:
            case voicemail.PlayGreeting():
                self._spawn(self._greet())
            case voicemail.StopGreeting():
                self._cut.set()
                if self._greeting is not None:
                    await self._voicemail.stop(self._greeting)
            case voicemail.Record():
                is_on = await self._voicemail.record(self.live)
                self._events.put_nowait(voicemail.Recording(is_on))
            case voicemail.Beep():
                await self._voicemail.say(self.live, SoundKind.BEEP, "")
            case voicemail.Listen(longest_s):
                self._spawn(self._listen(longest_s))
            case voicemail.HangUp(is_kept):
                self._voicemail.hang_up(self.live, is_kept=is_kept)
            case _:
                assert_never(step)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="voicemail")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _greet(self) -> None:
        was_heard = False
        try:
            own = await self._greet_by_own()
            was_heard = await self._greet_as_configured() if own is None else own
        finally:
            self._events.put_nowait(voicemail.Greeted(was_heard))

    async def _greet_by_own(self) -> bool | None:
        """The greeting that the owner made; whether it was heard to its end, None where the configured one is to be heard."""
        own = self._voicemail.own
        begun = None if own is None else await own.begin(self.live, self._owner)
        if own is None or begun is None:
            return None
        greeting, self._greeting = begun
        if self._cut.is_set():
            await self._voicemail.stop(self._greeting)
        may_be_heard = await own.heard(self.live, self._owner, greeting, self._greeting)
        self._voicemail.note_greeting(self.live, self._greeting)
        return self._greeting.was_heard if may_be_heard or self._cut.is_set() else None

    async def _greet_as_configured(self) -> bool:
        if self._cut.is_set():
            return False
        name = named(self._owner, self.live.route.org, self._voicemail.sounds)
        self._greeting = playing = await self._voicemail.say(self.live, SoundKind.GREETING, name, keeps_event=True)
        if playing is None:
            return False
        if self._cut.is_set():
            await self._voicemail.stop(playing)
        await self._voicemail.heard(playing)
        self._voicemail.note_greeting(self.live, playing)
        return playing.was_heard

    async def _listen(self, longest_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + longest_s
        while (left := end - loop.time()) > 0:
            await pause(min(LOOK_S, left), self._ended)
            if self._ended.is_set():
                return
            quiet_s = await self._voicemail.quiet_s(self.live)
            if quiet_s is not None:
                self._events.put_nowait(voicemail.Quiet(quiet_s))
        self._events.put_nowait(voicemail.TimeIsUp())
