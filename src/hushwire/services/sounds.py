"""What is played in calls: music for who is held, the announcement of a recording, a beep while it runs, ringing, spoken words.

What should be heard follows from the call as it stands (`settle`); what is heard is remembered under the names that the media process
repeats when it has ended. A sound that can't be played never harms its call: who needs it played to the end is told that it was not.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.core.errors import Unavailable
from hushwire.media.encoding import UnusableSound
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaEvent, MediaRefused
from hushwire.media.sounds import EncodedSound, Played, PlayEnd, PlayOrder, SoundCodec
from hushwire.media.wire import Status
from hushwire.policy.model import Emergency
from hushwire.sdp.offer_answer import LegMedia
from hushwire.services.live import LiveCall
from hushwire.services.snapshot import Organisation
from hushwire.services.sound_library import PlayableSound, SoundKind, SoundLibrary
from hushwire.services.sound_settings import AnnounceAt, Hearers

PATIENCE_S: Final = 10.0
"""How long after its own length a sound may take to end: a leg that can't be sent to yet is waited for."""
EARLY_PATIENCE_S: Final = 4.0
"""The same before the answer, where all who call wait for those whose early media does not work."""
EARLY_LONGEST_S: Final = 60.0
"""No longer announcement is played before the answer: callers give up on who does not ring (RFC 3261 section 13.3.1.1)."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Playing:
    """One sound that is being played to one leg. `ended` is set once, whatever ends it."""

    bridge_id: UUID
    leg: int
    playback: int
    sound: PlayableSound
    payload_type: int
    ended: asyncio.Future[Played]
    event_id: int | None = None
    is_early: bool = False
    """Played before the answer."""

    @property
    def was_heard(self) -> bool:
        """Whether all of it was sent."""
        if not self.ended.done():
            return False
        played = self.ended.result()
        return played.end is PlayEnd.FINISHED and played.sent_ms >= self.sound.encoded.duration_ms


@dataclass(slots=True)
class CallSounds:
    """What a call's legs are played now, by its purpose; `working` is held while that is changed."""

    music: dict[int, Playing] = field(default_factory=dict)
    beeps: dict[int, Playing] = field(default_factory=dict)
    ringing: Playing | None = None
    company: Playing | None = None
    """What a party hears that waits for who takes the other's place."""
    announced_legs: set[int] = field(default_factory=set)
    """Who hears an announcement now: music waits for its end, or it would have been said to nobody."""
    working: asyncio.Lock = field(default_factory=asyncio.Lock)


OnAnnounced = Callable[[LiveCall, Playing], None]
"""Told of each leg that heard an announcement to its end; it acknowledges the media process's event once that is written down."""


class Sounds:
    """Plays to the legs of this gateway's calls."""

    def __init__(self, link: MediaLink, library: SoundLibrary, on_announced: OnAnnounced) -> None:
        self._link = link
        self.library = library
        self._on_announced = on_announced
        self._playing: dict[tuple[UUID, int], Playing] = {}
        self._of_call: dict[UUID, CallSounds] = {}
        self._kept: set[tuple[UUID, int]] = set()
        self._next = 1

    # What a call needs.

    async def settle(self, live: LiveCall) -> None:
        """Bring music and beeps to what the call, as it stands now, asks for. May be called at any time."""
        wants = live.route.org.sounds
        if not wants.music_on_hold and wants.beep is Hearers.OFF:
            return
        sounds = self._of_call.setdefault(live.id, CallSounds())
        async with sounds.working:
            held = [(leg, media) for leg, media in self._held_legs(live) if leg not in sounds.announced_legs]
            await self._bring(live, sounds.music, held, SoundKind.MUSIC)
            await self._bring(live, sounds.beeps, self._beeped_legs(live), SoundKind.BEEP, interval_ms=1000 * wants.beep_every_s)
        if live.is_ended:
            self._of_call.pop(live.id, None)

    def needs_announcement(self, live: LiveCall) -> bool:
        """Whether a recording of this call has to be announced. An emergency call is not held up."""
        return live.route.org.sounds.announcement is not Hearers.OFF and not isinstance(live.route.verdict, Emergency)

    def lacks_announcement(self, live: LiveCall) -> bool:
        """Whether somebody who is to hear the announcement has not heard it yet."""
        return self.needs_announcement(live) and not live.heard_early.issuperset(self._hearers(live))

    def announces_first(self, live: LiveCall) -> bool:
        """Whether who calls is to hear the announcement before anybody is rung."""
        wants, caller = live.route.org.sounds, live.route.plan.caller.leg
        is_wanted = wants.announce_at is AnnounceAt.BEFORE and caller in wants.announcement.legs and self.needs_announcement(live)
        return is_wanted and live.recording_key is not None and self.library.has(SoundKind.ANNOUNCEMENT, live.route.org.slug)

    async def announce_early(self, live: LiveCall) -> None:
        """Play the announcement to who calls, before anybody is rung; `live.heard_early` says whether it was heard.

        A packet that was sent is not one that was heard: a phone that takes no early media, or never got our answer, is silent itself
        until it is answered. Only who sent media or reports of its own by the end of the announcement counts as having heard it; all
        others hear it at answer.
        """
        leg = live.route.plan.caller.leg
        media = _media(live, leg)
        one = None if media is None else await self._begin_early(live, leg, media)
        if one is None:
            return
        await self.wait(one, EARLY_PATIENCE_S)
        if one.was_heard and not live.is_ended and await self._takes_part(live, leg):
            live.heard_early.add(leg)
            self._on_announced(live, one)
            return
        self.release(one)
        if not live.is_ended:
            _log.info("announcement.left_to_answer", call_id=str(live.id), was_sent=one.was_heard)

    async def _begin_early(self, live: LiveCall, leg: int, media: LegMedia) -> Playing | None:
        kind = SoundKind.ANNOUNCEMENT
        one = await self.play(live.bridge_id, leg, media, kind, live.route.org, keeps_event=True, longest_s=EARLY_LONGEST_S)
        if one is not None:
            one.is_early = True
        return one

    async def _takes_part(self, live: LiveCall, leg: int) -> bool:
        """Whether a leg's party has sent anything yet that only who has our answer sends."""
        try:
            report = await self._link.client.bridge(live.id)
        except (MediaRefused, Unavailable):
            return False
        return any(one.leg == leg and (one.silent_ms is not None or one.rtcp_received) for one in report.legs)

    async def announce(self, live: LiveCall, heard: Collection[int] = ()) -> bool:
        """Play the announcement to whoever is to hear it, but those legs that `heard` it; True once all of them heard it to its end."""
        legs = [leg for leg in self._hearers(live) if leg not in heard]
        if not legs and heard:
            return True
        sounds = self._of_call.setdefault(live.id, CallSounds())
        async with sounds.working:
            sounds.announced_legs.update(legs)
        try:
            return await self._announced(live, legs)
        finally:
            sounds.announced_legs.clear()
            await self.settle(live)
            if live.is_ended:
                self._of_call.pop(live.id, None)

    async def _announced(self, live: LiveCall, legs: list[int]) -> bool:
        playing = []
        for leg in legs:
            media = _media(live, leg)
            kind, org = SoundKind.ANNOUNCEMENT, live.route.org
            one = None if media is None else await self.play(live.bridge_id, leg, media, kind, org, keeps_event=True)
            if one is None:
                break
            playing.append(one)
        if not playing or len(playing) < len(legs):
            _log.error("announcement.not_played", call_id=str(live.id), why="there is nothing to play, or nobody to play it to")
            await asyncio.gather(*(self.stop(one) for one in playing))
            return False
        await asyncio.gather(*(self.wait(one) for one in playing))
        for one in playing:
            if one.was_heard:
                self._on_announced(live, one)
            else:
                self.release(one)
        if not all(one.was_heard for one in playing):
            if not live.is_ended:
                _log.error("announcement.not_played", call_id=str(live.id), why="it was not heard to its end")
            return False
        return True

    def ring(self, live: LiveCall, media: LegMedia) -> Coroutine[Any, Any, None]:
        """Let the caller hear ringing from now on, until `stop_ringing`."""
        return self._ring(live, media, self._of_call.setdefault(live.id, CallSounds()))

    async def _ring(self, live: LiveCall, media: LegMedia, sounds: CallSounds) -> None:
        async with sounds.working:
            if sounds.ringing is None and not live.is_ended and live.answered_at is None:
                leg = live.route.plan.caller.leg
                sounds.ringing = await self.play(live.bridge_id, leg, media, SoundKind.RINGBACK, live.route.org, times=0)

    def knows(self, call_id: UUID) -> bool:
        """Whether anything was played in a call, or is about to be."""
        return call_id in self._of_call

    async def stop_ringing(self, live: LiveCall) -> None:
        """The other side answers, or is heard itself."""
        sounds = self._of_call.get(live.id)
        if sounds is None:
            return
        async with sounds.working:
            ringing, sounds.ringing = sounds.ringing, None
            if ringing is not None:
                await self.stop(ringing)

    async def keep_company(self, live: LiveCall, side: Side, kind: SoundKind) -> None:
        """Let a party that waits for who takes the other's place hear ringing or music, until `leave_alone`."""
        sounds = self._of_call.setdefault(live.id, CallSounds())
        async with sounds.working:
            end = live.call.end(side)
            if live.is_ended or live.call.state is not State.WAITING or end is None or end.agreed is None:
                return
            before, sounds.company = sounds.company, None
            if before is not None:
                await self.stop(before)
            sounds.company = await self.play(live.bridge_id, end.terms.leg, end.agreed, kind, live.route.org, times=0)

    async def leave_alone(self, live: LiveCall) -> None:
        """Somebody is there to talk with."""
        sounds = self._of_call.get(live.id)
        if sounds is None:
            return
        async with sounds.working:
            company, sounds.company = sounds.company, None
            if company is not None:
                await self.stop(company)

    def forget(self, bridge_id: UUID) -> None:
        """The bridge is closed: nothing is played there any more."""
        self._of_call.pop(bridge_id, None)
        for key in [key for key in self._playing if key[0] == bridge_id]:
            one = self._playing.pop(key)
            self._finish(one, Played(one.playback, PlayEnd.LEG_CLOSED, 0))

    # One sound.

    async def play(
        self,
        bridge_id: UUID,
        leg: int,
        media: LegMedia,
        kind: SoundKind,
        org: Organisation,
        *,
        times: int = 1,
        interval_ms: int = 0,
        reason: str = "",
        keeps_event: bool = False,
        longest_s: float | None = None,
    ) -> Playing | None:
        """Begin to play; None, and a line in the log, where that can't be, or where the sound is longer than `longest_s`.

        With `keeps_event` the caller acknowledges PLAY_ENDED (`Playing.event_id`).
        """
        codec = SoundCodec.named(media.codecs[0].name) if media.codecs else None
        if codec is None:
            _log.warning("sound.not_played", bridge_id=str(bridge_id), kind=kind.value, why="the leg's codec is none that sounds come in")
            return None
        try:
            sound = await self.library.get(kind, org.slug, codec, country=org.rules.home_country, reason=reason)
        except UnusableSound as error:
            _log.error("sound.unusable", bridge_id=str(bridge_id), kind=kind.value, why=str(error))
            return None
        if sound is None:
            _log.warning("sound.not_played", bridge_id=str(bridge_id), kind=kind.value, why="there is neither file nor voice for it")
            return None
        if longest_s is not None and sound.encoded.duration_ms > longest_s * 1000:
            _log.warning("sound.not_played", bridge_id=str(bridge_id), kind=kind.value, why=f"it is longer than {longest_s:.0f} s")
            return None
        payload_type, is_beep = media.codecs[0].payload_type, kind is SoundKind.BEEP
        return await self._play(
            bridge_id,
            leg,
            sound,
            payload_type,
            is_beep=is_beep,
            named=kind.value,
            times=times,
            interval_ms=interval_ms,
            keeps_event=keeps_event,
        )

    async def _play(
        self,
        bridge_id: UUID,
        leg: int,
        sound: PlayableSound,
        payload_type: int,
        *,
        is_beep: bool,
        named: str,
        times: int = 1,
        interval_ms: int = 0,
        keeps_event: bool = False,
    ) -> Playing | None:
        one = Playing(bridge_id, leg, self._next, sound, payload_type, asyncio.get_running_loop().create_future())
        self._next = self._next % 0xFFFF_FFFF + 1
        order = PlayOrder(one.playback, sound.encoded.id, payload_type, times, 0, interval_ms, is_beep=is_beep)
        self._playing[bridge_id, one.playback] = one
        if keeps_event:
            self._kept.add((bridge_id, one.playback))
        try:
            await self._begin(bridge_id, leg, order, sound.encoded)
        except (MediaRefused, Unavailable) as error:
            self._playing.pop((bridge_id, one.playback), None)
            self._kept.discard((bridge_id, one.playback))
            _log.warning("sound.not_played", bridge_id=str(bridge_id), kind=named, why=str(error))
            return None
        return one

    async def play_once(
        self, bridge_id: UUID, leg: int, media: LegMedia, sound: EncodedSound, *, digest: bytes | None = None, keeps_event: bool = False
    ) -> Playing | None:
        """Begin to play something that is no sound of the library, in the leg's codec; None, and a line in the log, where that can't be.

        `digest` names it in evidence. With `keeps_event` the caller acknowledges PLAY_ENDED, as in `play`.
        """
        playable = PlayableSound(sound, digest or sound.id)
        payload_type = media.codecs[0].payload_type
        return await self._play(bridge_id, leg, playable, payload_type, is_beep=False, named="message", keeps_event=keeps_event)

    async def wait(self, one: Playing, patience_s: float = PATIENCE_S) -> None:
        """Return once it has ended; one that does not end in time is stopped."""
        try:
            async with asyncio.timeout(one.sound.encoded.duration_ms / 1000 + patience_s):
                await asyncio.shield(one.ended)
        except TimeoutError:
            await self.stop(one)

    async def stop(self, one: Playing) -> None:
        """End it now; nothing where it has ended already."""
        if one.ended.done():
            return
        try:
            await self._link.client.stop_play(one.bridge_id, one.leg, one.playback)
        except (MediaRefused, Unavailable) as error:
            if not isinstance(error, MediaRefused):
                _log.warning("sound.not_stopped", bridge_id=str(one.bridge_id), why=str(error))
            self._playing.pop((one.bridge_id, one.playback), None)
            self._finish(one, Played(one.playback, PlayEnd.STOPPED, 0))

    def ended(self, event: MediaEvent) -> bool:
        """Take a PLAY_ENDED; False where its acknowledgement can't wait for anything."""
        if event.played is None:
            return False
        key = (event.bridge_id, event.played.playback)
        one = self._playing.pop(key, None)
        is_kept = key in self._kept
        self._kept.discard(key)
        if one is None:
            return False
        one.event_id = event.id if is_kept else None
        self._finish(one, event.played)
        return is_kept

    # Details.

    @staticmethod
    def _hearers(live: LiveCall) -> list[int]:
        wanted = live.route.org.sounds.announcement.legs
        if live.joining is not None:  # in a conference each is the other party of all others
            return [live.joining.leg] if wanted else []
        return [leg for leg in wanted if leg in live.route.plan.legs]

    async def _begin(self, bridge_id: UUID, leg: int, order: PlayOrder, sound: EncodedSound) -> None:
        """The media process may have the sound already, from this gateway or one before it; it may have forgotten it again."""
        try:
            await self._link.client.play(bridge_id, leg, order)
        except MediaRefused as error:
            if error.status is not Status.STATE:
                raise
            await self._link.client.load_sound(sound)
            await self._link.client.play(bridge_id, leg, order)

    async def _bring(
        self, live: LiveCall, playing: dict[int, Playing], wanted: Iterable[tuple[int, LegMedia]], kind: SoundKind, *, interval_ms: int = 0
    ) -> None:
        legs = dict(wanted)
        for leg, one in list(playing.items()):
            media = legs.get(leg)
            is_right = media is not None and media.codecs and media.codecs[0].payload_type == one.payload_type
            is_right = is_right and media is not None and SoundCodec.named(media.codecs[0].name) is one.sound.encoded.codec
            if not is_right or one.ended.done():
                del playing[leg]
                await self.stop(one)
        for leg, media in legs.items():
            if leg not in playing:
                one = await self.play(live.bridge_id, leg, media, kind, live.route.org, times=0, interval_ms=interval_ms)  # type: ignore[assignment]
                if one is not None:
                    playing[leg] = one

    def _held_legs(self, live: LiveCall) -> list[tuple[int, LegMedia]]:
        """Who waits for a party that holds."""
        if live.is_ended or not live.route.org.sounds.music_on_hold:
            return []
        found = []
        for side in Side:
            here, there = live.call.end(side), live.call.media(side.other)
            if here is not None and here.agreed is not None and there is not None and there.is_held and here.agreed.direction.sends:
                found.append((here.terms.leg, here.agreed))
        return found

    def _beeped_legs(self, live: LiveCall) -> list[tuple[int, LegMedia]]:
        run = live.recording
        if live.is_ended or run is None or not run.is_running or run.is_paused or live.is_sensitive:
            return []
        if live.call.plan.answered_by is not None:
            return []  # who leaves a message knows that it is recorded
        legs = [(leg, _media(live, leg)) for leg in live.route.org.sounds.beep.legs]
        return [(leg, media) for leg, media in legs if media is not None and media.direction.sends]

    def release(self, one: Playing) -> None:
        """Nobody needs to know any more how it ended; the media process may forget it."""
        if one.event_id is not None:
            event_id, one.event_id = one.event_id, None
            try:
                self._link.acknowledge(event_id)
            except Unavailable:
                _log.debug("media.not_acknowledged", bridge_id=str(one.bridge_id))  # it comes again

    @staticmethod
    def _finish(one: Playing, played: Played) -> None:
        if not one.ended.done():
            one.ended.set_result(played)


def _media(live: LiveCall, leg: int) -> LegMedia | None:
    """What is agreed with the party of a leg."""
    for side in Side:
        end = live.call.end(side)
        if end is not None and end.terms.leg == leg:
            return end.agreed
    return None
