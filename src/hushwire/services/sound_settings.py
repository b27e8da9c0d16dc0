"""What an organisation wants to be played in its calls; as provisioned, and as rows keep it."""

from dataclasses import dataclass
from enum import StrEnum

AGENT_LEG = 0
PEER_LEG = 1


class Hearers(StrEnum):
    """Who is to hear something."""

    OFF = "off"
    AGENT = "agent"
    PEER = "peer"
    BOTH = "both"

    @property
    def legs(self) -> tuple[int, ...]:
        """Their legs in the media process."""
        return {"off": (), "agent": (AGENT_LEG,), "peer": (PEER_LEG,), "both": (AGENT_LEG, PEER_LEG)}[self.value]


class RecordFrom(StrEnum):
    """When the recording of an announced call begins."""

    ANNOUNCEMENT = "announcement"  # once it was played to its end
    ANSWER = "answer"


class AnnounceAt(StrEnum):
    """When who calls hears the announcement. Who is called hears it at answer in any case."""

    ANSWER = "answer"
    BEFORE = "before"  # as early media, before anybody is rung


class Ringback(StrEnum):
    """Who makes the tone that an agent hears while the other side rings."""

    PHONE = "phone"  # the agent's own, on 180
    EARLY = "early"  # hushwire, as early media


@dataclass(frozen=True, slots=True)
class SoundSettings:
    """The settings; as they are where nothing was provisioned, nothing is played."""

    ringback: Ringback = Ringback.PHONE
    music_on_hold: bool = False
    announcement: Hearers = Hearers.OFF
    announce_at: AnnounceAt = AnnounceAt.ANSWER
    record_from: RecordFrom = RecordFrom.ANNOUNCEMENT
    spoken_refusals: bool = False
    beep: Hearers = Hearers.OFF
    beep_every_s: int = 15
