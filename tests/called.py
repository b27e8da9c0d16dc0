"""Calls with their recordings as a gateway leaves them: numbers sealed under the call's own key, a sealed file in the spool."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from hushwire.core.ids import RecordingId
from hushwire.recording.entries import Entry
from hushwire.vault.seal import Columns
from tests.recorded import House
from tests.store.rows import add_agent as insert_agent
from tests.store.rows import insert


@dataclass(frozen=True, slots=True)
class Called:
    """The ids of a call, of its data key, and of its recording."""

    call: UUID
    key: UUID
    recording: RecordingId


async def called(
    house: House,
    number: str,
    *,
    at: datetime | None = None,
    recorded_at: datetime | None = None,
    state: str = "closed",
    agent_id: UUID | None = None,
    peer_agent_id: UUID | None = None,
    content: list[list[Entry]] | None = None,
) -> Called:
    """A call with `number` on the far side, and its recording in `state`; an hour ago unless said otherwise."""
    at = at or house.clock.now() - timedelta(hours=1)
    keyring = await house.keyring("gateway")
    key = await keyring.new_data_key(house.org, "call", uuid4())
    columns, keys = Columns(key.key), await keyring.org_context(house.org)
    index = keys.index("calls.remote", number)
    call = uuid4()
    agents = {"agent_id": agent_id, "peer_agent_id": peer_agent_id}
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await insert(
            connection, "calls", id=call, org_id=house.org, node_id=house.node, direction="outbound",
            state="active" if state == "live" else "ended", started_at=at, sealed_with=key.id, remote_index=index,
            remote_sealed=columns.seal(number.encode(), table="calls", column="remote_sealed", row=call, org=house.org),
            local_sealed=columns.seal(b"+493023125000", table="calls", column="local_sealed", row=call, org=house.org), **agents,
        )  # fmt: skip
    recording = await house.record(content, state=state, started_at=recorded_at or at, call=call, remote_index=index, **agents)
    return Called(call, key.id, recording)


async def add_agent(house: House) -> UUID:
    """An agent of the organisation."""
    async with (await house.main("owner")).organisation(house.org) as connection:
        return await insert_agent(connection, house.org)
