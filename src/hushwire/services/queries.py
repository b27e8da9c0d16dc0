"""What the API shows of calls, agents, numbers and trunks: rows with their personal columns opened, and each reading logged."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import MalformedError
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId, TrunkId
from hushwire.services.phone_numbers import spellings
from hushwire.services.voice_security import as_uuid
from hushwire.store import devices as device_rows
from hushwire.store import listing, search, trunk_states
from hushwire.store.database import Connection, Database
from hushwire.store.recordings import Place
from hushwire.store.search import CallFilter, CallRow
from hushwire.store.trunk_states import TrunkState
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import AccessLog, Why

REMOTE: Final = "calls.remote"
ALIVE_WITHIN: Final = timedelta(seconds=30)
_HIDDEN: Final = (
    "agent_id", "peer_agent_id", "trunk_id", "recording_id", "answered_at", "ended_at", "duration_ms", "sip_status", "end_reason",
    "verdict", "verdict_reason", "country", "number_class", "rules_version", "agent_leg", "peer_leg", "quality", "sealed_with",
    "remote_sealed", "local_sealed", "trunk_attempts", "device_id", "peer_device_id", "diversions", "diverted_to_sealed",
    "caller_verdict", "caller_verdict_reason", "caller_attestation", "caller_signer",
    "joined_call_id", "joined_as", "transferred_to", "transferred_as", "transferred_by", "leg_ended_at", "took_in", "masking_session_id",
    "supervised_ms",
)  # fmt: skip
"""What is not shown of a call whose processing is restricted."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallView:
    """A call with its numbers opened; they are None where there are none, or where they were erased."""

    row: CallRow
    agent: str | None = field(repr=False)
    peer_agent: str | None = field(repr=False)
    remote: str | None = field(repr=False)
    local: str | None = field(repr=False)
    diverted_to: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    """What people call the device; None for the agent's own password, and for devices that are gone."""
    peer_device: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls newest first, and where the next page begins."""

    items: list[CallView]
    next: Place | None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device that is registered now."""

    id: UUID
    node_id: NodeId
    transport: str | None
    user_agent: str | None = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent and its registered devices."""

    id: AgentId
    username: str = field(repr=False)
    role: str
    extension: str | None = field(repr=False)
    caller_id: str | None = field(repr=False)
    suspended: bool
    media_ports: str
    hides_identity: bool
    created_at: datetime
    devices: list[DeviceView]


@dataclass(frozen=True, slots=True)
class NumberView:
    """A number of the organisation and the agent that it rings."""

    id: UUID
    number: str = field(repr=False)
    agent_id: AgentId | None
    agent: str | None = field(repr=False)
    created_at: datetime
    masks: bool = False


@dataclass(frozen=True, slots=True)
class TrunkView:
    """A carrier."""

    id: TrunkId
    name: str
    uri: str
    srtp: str
    keying: str
    media_ports: str
    priority: int = 0
    weight: int = 1
    trusted: bool = False
    signs: bool = False
    verify: str = "off"
    states: tuple[TrunkState, ...] = ()


class Queries:
    """Reads of one organisation at a time. Every row whose personal columns are opened is noted in the access log."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._log = AccessLog(main, clock, random)

    # Calls.

    async def calls(self, org_id: OrgId, why: Why, wanted: CallFilter, *, after: Place | None = None, limit: int = 50) -> CallPage:
        """A page of calls."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await search.find_calls(connection, wanted, after=after, limit=limit + 1)
            names = await self._names_of(connection, keys, rows[:limit])
        more = rows[limit - 1] if len(rows) > limit else None
        return CallPage(await self._opened(keys, why, rows[:limit], names), None if more is None else Place(more.started_at, more.id))

    async def call(self, org_id: OrgId, why: Why, call_id: CallId) -> CallView | None:
        """One call."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            row = await search.get_call(connection, call_id)
            if row is None:
                return None
            names = await self._names_of(connection, keys, [row])
        return (await self._opened(keys, why, [row], names))[0]

    async def calls_of(self, org_id: OrgId, why: Why, ids: Sequence[CallId]) -> dict[CallId, CallView]:
        """These calls, as far as they exist."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await search.get_calls(connection, ids)
            names = await self._names_of(connection, keys, rows)
        return {CallId(view.row.id): view for view in await self._opened(keys, why, rows, names)}

    async def number_indexes(self, org_id: OrgId, typed: str) -> list[bytes] | None:
        """Blind indexes that a number as a person types it may have in calls and recordings; None if it is no number."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            found = await spellings(connection, typed)
        return None if found is None else [keys.index(REMOTE, spelling) for spelling in found]

    # Agents, numbers, trunks.

    async def agent_id(self, org_id: OrgId, agent: str) -> AgentId | None:
        """The agent that an id or a username names."""
        if (known := as_uuid(agent)) is not None:
            return AgentId(known)
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            return await listing.agent_named(connection, keys.index("agents.username", agent))

    async def agent_ids(self, org_id: OrgId, agents: Iterable[str]) -> dict[str, UUID]:
        """The agents that ids or usernames name, by what names them; who is not known is left out."""
        keys = await self._keyring.org_context(org_id)
        named = {name: as_uuid(name) for name in agents}
        indexes = {keys.index("agents.username", name): name for name, known in named.items() if known is None}
        async with self._main.organisation(org_id) as connection:
            found = await listing.agents_named(connection, list(indexes))
        by_name = {indexes[index]: agent_id for index, agent_id in found.items()}
        return {name: known or by_name[name] for name, known in named.items() if known is not None or name in by_name}

    async def agents(self, org_id: OrgId, why: Why, *, after: UUID | None = None, limit: int = 50) -> tuple[list[AgentView], UUID | None]:
        """A page of agents, and the id after which the next page begins."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await listing.agents(connection, after=after, limit=limit + 1)
            views = await self._agent_views(connection, keys, why, rows[:limit])
        return views, rows[limit - 1].id if len(rows) > limit else None

    async def agent(self, org_id: OrgId, why: Why, agent_id: UUID) -> AgentView | None:
        """One agent."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            row = await listing.agent(connection, agent_id)
            return None if row is None else (await self._agent_views(connection, keys, why, [row]))[0]

    async def numbers(self, org_id: OrgId, why: Why, *, after: UUID | None = None, limit: int = 50) -> tuple[list[NumberView], UUID | None]:
        """A page of the organisation's numbers, and the id after which the next page begins."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await listing.numbers(connection, after=after, limit=limit + 1)
            names = await self._usernames(connection, keys, [row.agent_id for row in rows])
            views = [
                NumberView(
                    row.id,
                    _open(keys.operational, keys.org_id, row.number_sealed, "numbers", "number_sealed", row.id),
                    row.agent_id,
                    names.get(row.agent_id) if row.agent_id else None,
                    row.created_at,
                    row.masks,
                )
                for row in rows[:limit]
            ]
            await self._log.note_in(connection, org_id, why, [f"number:{view.id}" for view in views])
        return views, rows[limit - 1].id if len(rows) > limit else None

    async def trunks(self, *, after: UUID | None = None, limit: int = 50) -> tuple[list[TrunkView], UUID | None]:
        """A page of the deployment's carriers, which every organisation shares; nothing personal."""
        async with self._main.transaction() as connection:
            rows = await listing.trunks(connection, after=after, limit=limit + 1)
            states = [state for _, state in await trunk_states.told(connection, ALIVE_WITHIN)]
        views = [
            TrunkView(
                row.id,
                row.name,
                row.uri,
                row.srtp,
                row.keying,
                row.media_ports,
                row.priority,
                row.weight,
                row.trusted,
                row.signs,
                row.verify,
                tuple(state for state in states if state.trunk_id == row.id),
            )
            for row in rows[:limit]
        ]
        return views, rows[limit - 1].id if len(rows) > limit else None

    async def usernames(self, org_id: OrgId, why: Why, ids: Iterable[UUID | None]) -> dict[UUID, str]:
        """Usernames of these agents, for rows that name agents by id."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            names = await self._usernames(connection, keys, ids)
            await self._log.note_in(connection, org_id, why, [f"agent:{agent_id}" for agent_id in names])
        return names

    async def _names_of(self, connection: Connection, keys: OrgKeys, rows: Sequence[CallRow]) -> dict[UUID, str]:
        names = await self._usernames(connection, keys, [agent for row in rows for agent in (row.agent_id, row.peer_agent_id)])
        wanted = {device for row in rows for device in (row.device_id, row.peer_device_id) if device is not None} - names.keys()
        sealed = await device_rows.names(connection, wanted) if wanted else {}
        return names | {
            device_id: _open(keys.operational, keys.org_id, value, "devices", "name_sealed", device_id)
            for device_id, value in sealed.items()
        }

    async def _opened(self, keys: OrgKeys, why: Why, rows: Sequence[CallRow], names: Mapping[UUID, str]) -> list[CallView]:
        """Outside any transaction of the main database: the keyring notes what it opens in one of its own."""
        nothing: dict[str, Any] = dict.fromkeys(_HIDDEN)
        rows = [replace(row, **nothing) if row.is_restricted else row for row in rows]
        wanted = {row.sealed_with: row.id for row in rows if row.sealed_with is not None}
        data_keys = await self._keyring.open_many(keys.org_id, "call", wanted, why, of=wanted)
        # A call whose key is gone is read all the same: names, times.
        await self._log.note(keys.org_id, why, [f"call:{row.id}" for row in rows if row.sealed_with not in data_keys])
        columns = {key_id: Columns(data_key.key) for key_id, data_key in data_keys.items()}

        def number(row: CallRow, sealed: bytes | None, column: str) -> str | None:
            key = columns.get(row.sealed_with) if row.sealed_with is not None else None
            return None if key is None or sealed is None else _open(key, keys.org_id, sealed, "calls", column, row.id)

        def device(device_id: UUID | None, agent_id: UUID | None) -> str | None:
            return None if device_id is None or device_id == agent_id else names.get(device_id)

        return [
            CallView(
                row,
                agent=names.get(row.agent_id) if row.agent_id else None,
                peer_agent=names.get(row.peer_agent_id) if row.peer_agent_id else None,
                remote=number(row, row.remote_sealed, "remote_sealed"),
                local=number(row, row.local_sealed, "local_sealed"),
                diverted_to=number(row, row.diverted_to_sealed, "diverted_to_sealed"),
                device=device(row.device_id, row.agent_id),
                peer_device=device(row.peer_device_id, row.peer_agent_id),
            )
            for row in rows
        ]

    async def _agent_views(self, connection: Connection, keys: OrgKeys, why: Why, rows: Sequence[listing.AgentRow]) -> list[AgentView]:
        devices: dict[AgentId, list[DeviceView]] = {}
        for device in await listing.devices(connection, [row.id for row in rows], self._clock.now()):
            devices.setdefault(device.agent_id, []).append(_device(keys, device))

        def opened(sealed: bytes | None, column: str, row_id: UUID) -> str | None:
            return None if sealed is None else _open(keys.operational, keys.org_id, sealed, "agents", column, row_id)

        await self._log.note_in(connection, keys.org_id, why, [f"agent:{row.id}" for row in rows])
        return [
            AgentView(
                row.id,
                opened(row.username_sealed, "username_sealed", row.id) or "",
                row.role,
                opened(row.extension_sealed, "extension_sealed", row.id),
                opened(row.caller_id_sealed, "caller_id_sealed", row.id),
                row.suspended,
                row.media_ports,
                row.hides_identity,
                row.created_at,
                devices.get(row.id, []),
            )
            for row in rows
        ]

    async def _usernames(self, connection: Connection, keys: OrgKeys, ids: Iterable[UUID | None]) -> dict[UUID, str]:
        wanted = {agent_id for agent_id in ids if agent_id is not None}
        sealed = await listing.usernames(connection, wanted) if wanted else {}
        return {
            agent_id: _open(keys.operational, keys.org_id, value, "agents", "username_sealed", agent_id)
            for agent_id, value in sealed.items()
        }


def _open(columns: Columns, org_id: OrgId, sealed: bytes, table: str, column: str, row: UUID) -> str:
    return columns.open(sealed, table=table, column=column, row=row, org=org_id).decode()


def _device(keys: OrgKeys, device: listing.DeviceRow) -> DeviceView:
    said: dict[str, Any] = {}
    try:
        said = json.loads(_open(keys.operational, keys.org_id, device.contact_sealed, "registrations", "contact_sealed", device.id))
    except MalformedError:
        _log.error("registration.unreadable", registration_id=str(device.id))
    return DeviceView(device.id, device.node_id, said.get("transport"), said.get("user_agent"), device.expires_at)
