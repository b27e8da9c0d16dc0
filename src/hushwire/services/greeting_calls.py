"""Agents who make their own greeting by phone: the pure machine of `calls/greeting.py` carried out.

A greeting is recorded as any message is, heard as any message is, and is a draft until its owner keeps it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, assert_never
from uuid import UUID

import structlog

from hushwire.calls import greeting
from hushwire.calls.greeting import GreetingMaking
from hushwire.calls.model import AnsweredBy
from hushwire.core.errors import HushwireError, Unavailable
from hushwire.core.ids import OrgId
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.services.answering import record_caller
from hushwire.services.call_tasks import CallTasks
from hushwire.services.greetings import Greetings
from hushwire.services.live import LiveCall
from hushwire.services.mailbox_calls import MailboxCalls
from hushwire.services.phone_visits import Visit
from hushwire.services.recorder import Recorder
from hushwire.services.snapshot import Agent
from hushwire.services.voicemail_reading import NotRead
from hushwire.store.database import STORE_FAILED

LONGEST_S: Final = 900.0
"""No visit is longer."""
_log = structlog.get_logger(__name__)


class GreetingCalls:
    """This gateway's visits."""

    def __init__(self, link: MediaLink, calls: MailboxCalls, recorder: Recorder, tasks: CallTasks, greetings: Greetings) -> None:
        self._link = link
        self.calls = calls
        self._recorder = recorder
        self._tasks = tasks
        self.greetings = greetings

    def answered(self, live: LiveCall) -> None:
        """A call was answered for who makes its greeting."""
        owner = live.route.mailbox
        if live.call.plan.answered_by is AnsweredBy.GREETING and owner is not None:
            visit = _Visit(self, live, owner)
            live.answering = visit
            self._tasks.spawn(visit.run(), "greeting-visit")

    # What a visit needs.

    async def record(self, live: LiveCall) -> bool:
        """Record the owner from now on."""
        try:
            return await record_caller(self._link, self._recorder, live)
        except (MediaRefused, Unavailable) as error:
            _log.error("greeting.not_recorded", call_id=str(live.id), why=str(error))
            return False

    async def stop(self, live: LiveCall) -> UUID | None:
        """End the recording; its id once its row is complete, None where nobody can say what became of it."""
        run = live.recording
        if run is None:
            return None
        try:
            said = await self._recorder.stop(live)
        except (MediaRefused, Unavailable) as error:
            _log.error("greeting.not_ended", call_id=str(live.id), why=str(error))
            return None
        return run.id if said == "ok" else None


class _Visit(Visit[greeting.Event, greeting.Effect]):
    """One visit."""

    name = "greeting"
    longest_s = LONGEST_S

    def __init__(self, calls: GreetingCalls, live: LiveCall, owner: Agent) -> None:
        self._own = calls
        self._calls = calls.calls
        self._machine = GreetingMaking()
        super().__init__(live, self._machine.handle, calls.calls.stop, calls.calls.hang_up)
        self._owner = owner
        self._recorded: list[UUID] = []

    @property
    def _org(self) -> OrgId:
        return self._live.route.org.id

    def pressed(self, digit: str) -> greeting.Event:
        """The event of a key."""
        return greeting.Pressed(digit)

    async def begin(self) -> list[greeting.Effect]:
        """What to do first."""
        await self._calls.keys(self._live)
        return self._machine.begin() if self._live.recording is None else self._machine.resume()

    async def left(self) -> None:
        """Drafts go, but those that were kept, which are none any more."""
        for draft in self._recorded:
            await self._is_done(self._own.greetings.discard(self._org, self._owner.id, draft))

    async def do(self, step: greeting.Effect) -> None:
        """Carry out what the machine wants."""
        match step:
            case greeting.Look():
                self._events.put_nowait(greeting.Found(await self._used()))
            case greeting.Say(prompt):
                await self._begin(self._say(prompt))
            case greeting.Play(wanted):
                await self._begin(self._play(wanted))
            case greeting.Record():
                await self._quiet()
                self._events.put_nowait(greeting.Recording(await self._own.record(self._live)))
            case greeting.Beep(longest_s):
                await self._begin(self._beep(longest_s))
            case greeting.Stop():
                await self._quiet()
                draft = await self._own.stop(self._live)
                self._recorded += [] if draft is None else [draft]
                self._events.put_nowait(greeting.Recorded(draft))
            case greeting.Keep(draft):
                self._events.put_nowait(greeting.Changed(await self._kept(draft)))
            case greeting.Discard(draft):
                await self._quiet()
                await self._is_done(self._own.greetings.discard(self._org, self._owner.id, draft))
            case greeting.Remove():
                await self._quiet()
                self._events.put_nowait(greeting.Changed(await self._is_done(self._own.greetings.remove(self._org, self._owner.id))))
            case greeting.Wait(seconds):
                await self._begin(self._after(seconds, greeting.WaitIsOver()))
            case greeting.HangUp():
                await self._quiet()
                self._calls.hang_up(self._live)
            case _:
                assert_never(step)

    async def _used(self) -> UUID | None:
        try:
            found = await self._own.greetings.used(self._org, self._owner.id)
        except STORE_FAILED as error:
            _log.error("greeting.not_found", call_id=str(self._live.id), error=type(error).__name__)
            return None
        return None if found is None else found.id

    async def _kept(self, draft: UUID) -> bool:
        try:
            return await self._own.greetings.keep(self._org, self._owner.id, draft)
        except STORE_FAILED as error:
            _log.error("greeting.not_kept", call_id=str(self._live.id), error=type(error).__name__)
            return False

    async def _is_done(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except STORE_FAILED as error:
            _log.error("greeting.not_noted", call_id=str(self._live.id), error=type(error).__name__)
            return False
        return True

    async def _say(self, prompt: greeting.Prompt) -> None:
        self._playing = await self._calls.say(self._live, prompt)
        if self._playing is not None:
            await self._calls.heard(self._playing)
        self._events.put_nowait(greeting.Ended())

    async def _beep(self, longest_s: float) -> None:
        self._playing = await self._calls.beep(self._live)
        await asyncio.sleep(longest_s)
        self._events.put_nowait(greeting.TimeIsUp())

    async def _play(self, wanted: UUID) -> None:
        try:
            sound = await self._calls.fetch(self._live, self._owner, wanted)
        except (HushwireError, *STORE_FAILED) as error:
            sound = NotRead(type(error).__name__)
        if isinstance(sound, NotRead):
            _log.warning("greeting.not_read", call_id=str(self._live.id), recording_id=str(wanted), why=sound.reason)
            self._playing = await self._calls.say(self._live, greeting.Prompt.UNPLAYABLE)
        else:
            self._playing = await self._calls.play(self._live, sound)
        if self._playing is not None:
            await self._calls.heard(self._playing)
        self._events.put_nowait(greeting.Ended())
