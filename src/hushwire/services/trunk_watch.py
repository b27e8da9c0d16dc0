"""Asking carriers how they are: OPTIONS along each way to each trunk that wants it, at its interval, and never all at one moment."""

import asyncio
from typing import Final

import structlog

from hushwire.core.clock import Random
from hushwire.services.directory import Directory
from hushwire.services.followers import Followers
from hushwire.services.own_requests import OwnRequests
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.sip import flow as flows
from hushwire.sip.effects import Cause
from hushwire.sip.uri import NameAddr, SipUri

SILENCE_S: Final = 4.0
SOON_S: Final = 5.0
"""After a failure that alone does not mean that a way is down, and after an answer that alone does not mean that it is up again."""
_FAILING: Final = frozenset({408, 503})
_log = structlog.get_logger(__name__)
_Key = tuple[Trunk, flows.Target]


def jittered(seconds: float, random: Random) -> float:
    """These seconds, a tenth more or less by chance: what began together does not stay together."""
    return seconds * (0.9 + 0.2 * int.from_bytes(random.token_bytes(4), "big") / 2**32)


class TrunkWatch:
    """One gateway's. `changed` is to be called when trunks or the ways to them are others."""

    def __init__(self, requests: OwnRequests, directory: Directory, states: TrunkStates, random: Random) -> None:
        self._requests = requests
        self._directory = directory
        self._states = states
        self._random = random
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Look anew at what there is to watch."""
        self._changed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        followers = Followers("trunk-options", self._watch)
        try:
            while True:
                self._changed.clear()
                watched = [trunk for trunk in self._directory.trunks if trunk.options_every_s]
                followers.follow((trunk, way) for trunk in watched for way in self._states.ways(trunk))
                await self._changed.wait()
        finally:
            await followers.close()

    async def _watch(self, watched: _Key) -> None:
        trunk, way = watched
        await asyncio.sleep(jittered(min(1.0, trunk.options_every_s / 10), self._random))
        while True:
            is_answered = await self._ask(trunk, way)
            # What points the other way than what is known is looked at again soon.
            is_settled = is_answered is not self._states.health(trunk, way).is_down
            every_s = trunk.options_every_s if is_settled else min(SOON_S, trunk.options_every_s)
            await asyncio.sleep(jittered(every_s, self._random))

    async def _ask(self, trunk: Trunk, way: flows.Target) -> bool:
        name = NameAddr(SipUri(self._directory.domain, "hushwire"))
        event = await self._requests.ask(
            "OPTIONS",
            hop=way,
            uri=trunk.uri,
            from_=name,
            to=NameAddr(SipUri(trunk.uri.host, None, trunk.uri.port)),
            silence_s=SILENCE_S,
            headers=(("Accept", "application/sdp"),),
        )
        health = self._states.health(trunk, way)
        if event.cause is Cause.RESPONSE and event.status not in _FAILING:
            # Whatever it says, it is there: 401, 404, 405 and 501 are answers too.
            if health.answered(trunk.up_after):
                _log.info("trunk.up", trunk=trunk.name)
            return True
        reason = {Cause.TIMEOUT: "silent", Cause.TRANSPORT: "unreachable"}.get(event.cause, str(event.status))
        if health.failed(trunk.down_after, reason):
            _log.error("trunk.down", trunk=trunk.name, reason=reason, mend="its calls go by the other trunks; it is asked on")
        return False
