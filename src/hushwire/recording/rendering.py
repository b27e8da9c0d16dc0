"""Frames of a sealed recording to blocks of stereo samples: agent left, other party right; and the same samples from the middle on.

Further legs (who barged in, members of a conference) are heard on both sides, added to what is there.

Rendering has a memory (where each leg's line lies, what waits for its turn), so the middle of a file can't be rendered from its middle
alone. On its way through a file a `Renderer` passes checkpoints, one at the first frame that begins `CHECKPOINT_S` or more after the
last one. There it exchanges decoders that remember (`Timeline.renew`), always, and its state fits on a page: whoever kept it
(`Checkpoint`) goes on from there and gets the samples that the way from the start would have given, to the bit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from hushwire.recording.containers import Stereo
from hushwire.recording.decoders import Samples
from hushwire.recording.entries import TICKS_PER_S, Entry, EntryKind, leg_formats
from hushwire.recording.history import LegHistory
from hushwire.recording.hwr import Frame, Order, Place
from hushwire.recording.timeline import Timeline, needed

LAG_S: Final = 10
"""How far sound may arrive after its time (a network that stalled) and still be put in its place."""

CHECKPOINT_S: Final = 20
RENDERING: Final = 1
"""Raised whenever the same file gives other samples than before: what was kept under an older number is made anew."""

_BLOCK_S: Final = 1


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that was left out on purpose: recording was paused. It plays as silence."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state before one frame. `clean_from`: samples from there on are untouched by what came before, and not yet rendered.

    `replay`: the frame that holds the first packet that the state names; `ordinal` and `replay_ordinal` count the entries before either.
    """

    sequence: int
    ordinal: int
    replay: Place
    replay_ordinal: int
    now: int
    rendered_at: int
    clean_from: int
    legs: tuple[Mapping[str, Any], ...]


class Renderer:
    """One way through a file, from its beginning. `length_ms`, where known, is the exact length of what comes out.

    `on_checkpoint` is handed each checkpoint; with `histories` what happens is noted.
    """

    def __init__(
        self,
        *,
        length_ms: int | None = None,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
        with_history: bool = False,
    ) -> None:
        self._length_ms = length_ms
        self._on_checkpoint = on_checkpoint
        self._with_history = with_history
        self._order = Order()
        self._frames: list[tuple[int, Place]] = []
        self._now = 0
        self._end: int | None = None
        self._written = 0
        self._rendered_at = 0
        self._checkpoint_at = 0
        self._paused_at: int | None = None
        self.rate = 0
        """Samples a second; 0 until the first frame has told."""
        self.legs: list[Timeline] | None = None
        """Of each leg that was named so far, two at least."""
        self.histories: list[LegHistory] = []
        self.gaps: list[Gap] = []

    @classmethod
    def resumed(cls, rate: int, length_ms: int | None, kept: Checkpoint, packets: Mapping[int, tuple[int, bytes]], start: int) -> Self:
        """As if it had come from the beginning to the checkpoint, and everything before sample `start` had been taken.

        `start` begins a block (`block_of`) and is not before `clean_from`; `packets`: those that `needed` names.
        """
        made = cls(length_ms=length_ms)
        made._order = Order(kept.ordinal)
        made._now, made._rendered_at, made._checkpoint_at, made._written = kept.now, kept.rendered_at, kept.now, start
        made.rate = rate
        made.legs = [Timeline.resumed(rate, state, packets, start) for state in kept.legs]
        return made

    @property
    def position(self) -> int:
        """The sample that the next block begins with."""
        return self._written

    def frame(self, frame: Frame) -> list[Stereo]:
        """The blocks that this frame makes certain (often none). Raises RecordingError."""
        self._begin(frame)
        out: list[Stereo] = []
        for entry in self._order.checked(frame):
            self._take(entry)
            if self._now >= self._rendered_at + TICKS_PER_S // 2:
                self._rendered_at = self._now
                out += self._render(self._now - LAG_S * TICKS_PER_S)
        return out

    def finish(self) -> list[Stereo]:
        """The rest."""
        if self.legs is None:
            self._open(8000)
        assert self.legs is not None
        if self._paused_at is not None:
            self.gaps.append(Gap(_ms(self._paused_at), self.found_ms))
        for leg in self.legs:
            leg.flush()
        end = self._now if self._end is None else self._end
        if self._length_ms is not None:
            end = self._length_ms * TICKS_PER_S // 1000
        return self._render(end, to_the_end=True)

    @property
    def found_ms(self) -> int:
        """The length that the file itself tells so far."""
        return _ms(self._now if self._end is None else self._end)

    def _begin(self, frame: Frame) -> None:
        if self._on_checkpoint is not None:
            self._frames.append((self._order.count, Place(frame.sequence, frame.offset)))
        if self.legs is None or self._now < self._checkpoint_at + CHECKPOINT_S * TICKS_PER_S:
            return
        self._checkpoint_at = self._now
        for leg in self.legs:
            leg.renew()
        if self._on_checkpoint is not None:
            self._on_checkpoint(self._checkpoint(frame))

    def _checkpoint(self, frame: Frame) -> Checkpoint:
        assert self.legs is not None
        states = tuple(leg.state() for leg in self.legs)
        earliest = min((ordinal for state in states for ordinal in needed(state)), default=self._order.count)
        # Frames before the one that holds it are asked for no more: packets are named in the order of the file.
        while len(self._frames) > 1 and self._frames[1][0] <= earliest:
            del self._frames[0]
        return Checkpoint(
            sequence=frame.sequence,
            ordinal=self._order.count,
            replay=self._frames[0][1],
            replay_ordinal=self._frames[0][0],
            now=self._now,
            rendered_at=self._rendered_at,
            clean_from=max(self._written, *(leg.reach for leg in self.legs)),
            legs=states,
        )

    def _take(self, entry: Entry) -> None:
        self._now = max(self._now, entry.time)
        match entry.kind:
            case EntryKind.RTP:
                assert self.legs is not None
                self._admit(entry.leg + 1)
                self.legs[entry.leg].add(entry.time, entry.data, self._order.count - 1)
            case EntryKind.FORMAT:
                formats = leg_formats(entry)
                if self.legs is None:
                    self._open(rate_of(formats))
                assert self.legs is not None
                self._admit(len(formats))
                for leg, meaning in zip(self.legs, formats, strict=False):  # those that are not named any more have left
                    leg.set_formats(meaning)
            case EntryKind.PAUSE:
                self._paused_at = entry.time if self._paused_at is None else self._paused_at
                for history in self.histories:
                    history.pause(entry.time * self.rate / TICKS_PER_S)
            case EntryKind.RESUME:
                if self._paused_at is not None:
                    self.gaps.append(Gap(_ms(self._paused_at), _ms(entry.time)))
                self._paused_at = None
                for history in self.histories:
                    history.resume(entry.time * self.rate / TICKS_PER_S)
            case EntryKind.END:
                self._end = entry.time
            case EntryKind.ANCHOR:
                pass

    def _open(self, rate: int) -> None:
        self.rate = rate
        self.legs = []
        self._admit(2)

    def _admit(self, count: int) -> None:
        """Have lines for so many legs; a new one begins where the others are."""
        assert self.legs is not None
        while len(self.legs) < count:
            history = LegHistory(self.rate) if self._with_history else None
            if history is not None:
                self.histories.append(history)
                if self._paused_at is not None:
                    history.pause(self._paused_at * self.rate / TICKS_PER_S)
            self.legs.append(Timeline(self.rate, history, self._written))

    def _render(self, until: int, *, to_the_end: bool = False) -> list[Stereo]:
        if self.legs is None:
            return []
        if not to_the_end:
            for leg in self.legs:
                leg.advance(self._now)
            if self._length_ms is not None:
                until = min(until, self._length_ms * TICKS_PER_S // 1000)
        block = block_of(self.rate)
        due = until * self.rate // TICKS_PER_S - self._written
        out = []
        while due >= block or (to_the_end and due > 0):
            count = min(due, block)
            out.append(_mixed([leg.take(count) for leg in self.legs]))
            self._written += count
            due -= count
        return out


def _mixed(legs: list[Samples]) -> Stereo:
    stereo = np.stack(legs[:2], axis=1)
    if len(legs) == 2:
        return stereo
    both = np.stack(legs[2:], axis=1).sum(axis=1, dtype=np.int32)
    mixed: Stereo = np.clip(stereo + both[:, None], -32768, 32767).astype(np.int16)
    return mixed


def rate_of(formats: Sequence[Mapping[int, str]]) -> int:
    """Samples a second of a recording that begins with these formats."""
    return 16000 if any(name.upper().startswith(("G722/", "OPUS/")) for leg in formats for name in leg.values()) else 8000


def block_of(rate: int) -> int:
    """Samples of a block: blocks begin at multiples of it."""
    return _BLOCK_S * rate


def _ms(ticks: int) -> int:
    return ticks * 1000 // TICKS_PER_S
