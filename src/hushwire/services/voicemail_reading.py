"""A message on its way to its owner's phone: opened by the worker, whom alone keys obey, and read by the gateway that asked, once.

The gateway makes a key pair for each question; the worker opens the message by the same path as the API (the access log says who hears it
and what for), codes it for the phone, and seals it to that key. No disk holds it in clear, and no key that opens the row outlives the call.
"""

import asyncio
import io
import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import HushwireError
from hushwire.core.ids import AgentId, OrgId, RecordingId, uuid7
from hushwire.media import encoding
from hushwire.media.encoding import UnusableSound
from hushwire.media.sounds import EncodedSound, SoundCodec
from hushwire.recording.containers import AudioFormat
from hushwire.recording.failures import RecordingError
from hushwire.services.queries import Queries
from hushwire.services.recordings import Audio, PlaybackEnded, Recordings
from hushwire.services.sealed_readings import Answerer, Asker
from hushwire.store import voicemail
from hushwire.store import voicemail_readings as table
from hushwire.store.database import STORE_FAILED, Database
from hushwire.store.voicemail_readings import Answer, Question
from hushwire.vault.handing_over import Receiver, seal_to
from hushwire.vault.seal import context
from hushwire.vault.unseal import Why

WAIT_S: Final = 20.0
CALLER: Final = "caller"
"""Asked for in the place of a codec: who left the message."""
_OUTSIDE: Final = re.compile(r"\+[1-9][0-9]{3,14}|0[0-9]{3,14}", re.ASCII)
"""A number of the public network, international or as carriers write it at home: what else a caller shows is said within the house."""
LONGEST_S: Final = 600
"""So much of a message is read at most."""
_CHANNEL: Final = "hushwire_voicemail_read"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotRead:
    """Why a message can't be heard now, in a word."""

    reason: str


class Asking:
    """The gateway's share."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._asker: Asker[Question, Answer] = Asker(main, table, _CHANNEL)
        self._clock = clock
        self._random = random

    async def read(
        self,
        org_id: OrgId,
        agent_id: AgentId,
        message: UUID,
        codec: SoundCodec,
        *,
        for_caller: bool = False,
        wait_s: float = WAIT_S,
    ) -> EncodedSound | NotRead:
        """A message, or a greeting, to be played to its owner; `for_caller`: a greeting, to who calls it."""
        found = await self._asked(org_id, agent_id, message, codec.value, for_caller=for_caller, wait_s=wait_s)
        return found if isinstance(found, NotRead) else EncodedSound.from_data(codec, found)

    async def caller(self, org_id: OrgId, agent_id: AgentId, message: UUID, wait_s: float) -> str | NotRead:
        """Who left a message, for its owner to call back: a number, or `agent:` and the id of a colleague."""
        found = await self._asked(org_id, agent_id, message, CALLER, for_caller=False, wait_s=wait_s)
        return found if isinstance(found, NotRead) else found.decode()

    async def _asked(
        self, org_id: OrgId, agent_id: AgentId, message: UUID, what: str, *, for_caller: bool, wait_s: float
    ) -> bytes | NotRead:
        now = self._clock.now()
        receiver, question_id = Receiver(), uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        question = Question(question_id, org_id, agent_id, RecordingId(message), what, receiver.public, now, for_caller)
        answer = await self._asker.answer(question, wait_s)
        if answer is None:
            return NotRead("no-answer")
        if answer.sealed is None:
            return NotRead(answer.refusal or "unknown")
        return receiver.open(answer.sealed, _place(question))


class Answering:
    """The worker's share."""

    def __init__(self, main: Database, recordings: Recordings, queries: Queries, clock: Clock) -> None:
        self._main = main
        self._queries = queries
        self._recordings = recordings
        self.answer_all = Answerer(main, table, self._answer, clock, "voicemail-readings").answer_all

    async def _answer(self, question: Question) -> Answer:
        try:
            return await self._given(question)
        except (HushwireError, *STORE_FAILED) as error:
            _log.error("voicemail.not_read", recording_id=str(question.recording_id), error=type(error).__name__)
            return Answer(None, "failed")

    async def _given(self, question: Question) -> Answer:
        # A greeting is played to callers by ourselves; all else its owner hears.
        why = Why("system:answering-machine" if question.for_caller else f"agent:{question.agent_id}", purposes.VOICEMAIL)
        if question.codec == CALLER:
            return await self._caller(question, why)
        found = await self._recordings.open_audio(question.org_id, question.recording_id, AudioFormat.WAV, why)
        if not isinstance(found, Audio):
            return Answer(None, type(found).__name__.lower())
        try:
            wav = b"".join([chunk async for chunk in found.chunks])
            sound = await asyncio.to_thread(_coded, wav, SoundCodec(question.codec))
        except (PlaybackEnded, RecordingError, UnusableSound) as error:
            return Answer(None, type(error).__name__.lower())
        return Answer(seal_to(question.public_key, sound.data, _place(question)), None)

    async def _caller(self, question: Question, why: Why) -> Answer:
        """Who may be called back: not who withheld the number, and not a number that nobody vouches for where its carrier was asked."""
        async with self._main.organisation(question.org_id) as connection:
            message = await voicemail.get(connection, question.recording_id)
        if message is None or message.is_restricted:
            return Answer(None, "restricted" if message is not None else "gone")
        view = (await self._queries.calls_of(question.org_id, why, [message.call_id])).get(message.call_id)
        if view is None or view.row.is_restricted:
            return Answer(None, "restricted")
        row, remote = view.row, view.remote
        if row.direction == "internal":
            remote = None if row.agent_id is None else f"agent:{row.agent_id}"
        elif row.caller_verdict not in (None, "passed"):
            return Answer(None, "unverified")
        elif remote is not None and _OUTSIDE.fullmatch(remote) is None:
            return Answer(None, "no-number")  # who calls from outside is not taken for a colleague, nor for an emergency number
        if row.caller_hidden or row.masking_session_id is not None or remote is None:
            return Answer(None, "withheld")
        return Answer(seal_to(question.public_key, remote.encode(), _place(question)), None)


def _coded(wav: bytes, codec: SoundCodec) -> EncodedSound:
    samples = encoding.read("the message", io.BytesIO(wav))[: LONGEST_S * encoding.MASTER_RATE]
    return encoding.encode(encoding.levelled(samples), codec)


def _place(question: Question) -> bytes:
    return context("voicemail-reading", question.id, question.org_id, question.recording_id, question.codec)
