"""An agent's forwarding as administrators read and set it. What it names is judged when it is set, and again whenever a call goes there."""

from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId
from hushwire.policy.model import Allow, Channel, Deny, Emergency, Malformed
from hushwire.privacy import audit
from hushwire.services.contacts import Unfit
from hushwire.services.forwarding import LONGEST_RING_S, SHORTEST_RING_S, VOICEMAIL, Forwarding, from_json, is_destination
from hushwire.services.voice_security import NoAgent, VoiceSecurity
from hushwire.store import agents as table
from hushwire.store import listing
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.unseal import AccessLog, Why

PLACE: Final = {"table": "agents", "column": "forwarding_sealed"}


class AgentForwarding:
    """The settings of one organisation's agents. Gateways hear of a change by the organisation's version, within a second."""

    def __init__(self, main: Database, keyring: Keyring, voice_security: VoiceSecurity, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._voice_security = voice_security
        self._clock = clock
        self._log = AccessLog(main, clock, random)

    async def get(self, org_id: OrgId, agent_id: UUID, why: Why) -> Forwarding | None:
        """As it stands; None where there is no such agent. The reading is noted."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            found = await table.forwarding(connection, agent_id)
            if found is None:
                return None
            await self._log.note_in(connection, org_id, why, [f"agent:{agent_id}"])
        return opened(keys, agent_id, found.sealed)

    async def put(self, org_id: OrgId, agent_id: UUID, wanted: Forwarding, *, actor: str) -> Forwarding | Unfit | None:
        """Set all of it; None where there is no such agent."""
        keys = await self._keyring.org_context(org_id)
        unfit = await self._unfit(org_id, keys, agent_id, wanted)
        if unfit is not None:
            return unfit
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if await table.forwarding(connection, agent_id) is None:
                return None
            await table.set_forwarding(connection, agent_id, sealed(keys, agent_id, wanted), now)
            fields = {"fields": "forwarding"}
            await audit.append(connection, org_id, now, actor, audit.Action.AGENT_RECTIFIED, f"agent:{agent_id}", fields)
        return wanted

    async def _unfit(self, org_id: OrgId, keys: OrgKeys, agent_id: UUID, wanted: Forwarding) -> Unfit | None:
        seconds = wanted.no_answer_after_s
        if seconds is not None and not SHORTEST_RING_S <= seconds <= LONGEST_RING_S:
            return Unfit("no_answer_after_s", f"must be {SHORTEST_RING_S} to {LONGEST_RING_S} seconds")
        for name, destination in wanted.destinations().items():
            if destination == VOICEMAIL:
                continue
            if not is_destination(destination):
                return Unfit(name, "must be an extension, a user name or a number")
            async with self._main.organisation(org_id) as connection:
                own = await listing.agent_reached(
                    connection, keys.index("agents.extension", destination), keys.index("agents.username", destination)
                )
                is_group = await table.is_group(connection, destination)
            if is_group:
                continue
            if own == agent_id:
                return Unfit(name, "is the agent itself")
            if own is not None:
                continue
            match await self._voice_security.check(org_id, destination, Channel.FORWARD, agent=str(agent_id)):
                case Allow():
                    continue
                case Emergency():
                    return Unfit(name, "calls are not forwarded to an emergency number")
                case Deny() | Malformed() as verdict:
                    return Unfit(name, verdict.explanation)
                case NoAgent():
                    return None  # `put` says so
                case _:
                    return Unfit(name, "must be an extension, a user name or a number")
        return None


def sealed(keys: OrgKeys, agent_id: UUID, wanted: Forwarding) -> bytes | None:
    """For the row; None where all is as it is by default."""
    said = wanted.to_json()
    return None if said is None else keys.operational.seal(said, row=agent_id, org=keys.org_id, **PLACE)


def opened(keys: OrgKeys, agent_id: UUID, value: bytes | None) -> Forwarding:
    """What `sealed` closed."""
    return from_json(None if value is None else keys.operational.open(value, row=agent_id, org=keys.org_id, **PLACE).decode())
