"""Whose calls can be watched: agents, ring groups and parking slots, each under an id that stays.

A group's line shows a call while it rings and nobody has answered, a slot's the call that is parked there.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.services.park import SLOTS
from hushwire.services.snapshot import Agent, Organisation


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """One of them. `id` of a group or slot is used where agents' ids are; `user` is the user part of its address."""

    id: AgentId
    user: str
    agent: Agent | None = None


class Lines:
    """Finds lines. `park_code` is what is dialled before a slot's number; None where nobody parks."""

    def __init__(self, park_code: str | None) -> None:
        self._park_code = park_code

    def named(self, org: Organisation, user: str) -> Line | None:
        """The line of this extension, user name or code."""
        agent = org.agent_named(user)
        if agent is not None:
            return Line(agent.id, agent.username.reveal(), agent)
        group = org.groups.get(user)
        if group is not None:
            return Line(AgentId(group.id), user)
        code, slot = self._park_code, None
        if code is not None and user.startswith(code):
            slot = next((id_ for id_, number in slots_of(org.id).items() if number == user[len(code) :]), None)
        return None if slot is None else Line(slot, user)

    def of(self, org: Organisation, id_: AgentId) -> Line | None:
        """The line of this id."""
        agent = org.by_id.get(id_)
        if agent is not None:
            return Line(id_, agent.username.reveal(), agent)
        group = next((group for group in org.groups.values() if group.id == id_), None)
        if group is not None:
            return Line(id_, group.extension)
        number = slots_of(org.id).get(id_)
        return None if number is None or self._park_code is None else Line(id_, self._park_code + number)


@lru_cache(maxsize=1024)
def slots_of(org_id: OrgId) -> Mapping[AgentId, str]:
    """The organisation's slots by their ids."""
    return {slot_id(org_id, str(number)): str(number) for number in range(1, SLOTS + 1)}


def slot_id(org_id: OrgId, slot: str) -> AgentId:
    """The id of an organisation's slot."""
    return AgentId(UUID(bytes=hashlib.sha256(b"parking slot" + org_id.bytes + slot.encode()).digest()[:16]))
