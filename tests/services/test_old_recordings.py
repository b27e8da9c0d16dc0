"""Recordings from before all their parties were noted are found by each party's number once the worker has looked at them."""

from datetime import timedelta
from uuid import UUID, uuid4

from hushwire.services.old_recordings import index_parties
from tests.databases import Databases
from tests.store.rows import NOW, add_call, add_org, add_recording

CALLER, DIVERTED_TO, CONSULTED, LATER = b"caller", b"diverted", b"consulted", b"later"


async def test_each_segment_is_given_whom_its_call_was_diverted_to_and_who_had_come_by_transfer(
    databases: Databases,
) -> None:
    owner, worker = await databases.connect("main"), await databases.connect("main", "worker")
    org, node = await add_org(owner, "acme"), uuid4()

    async def at(table: str, row: UUID, **columns: object) -> None:
        async with owner.organisation(org) as connection:
            for name, value in columns.items():
                await connection.execute(f"UPDATE {table} SET {name} = $2 WHERE id = $1", row, value)

    def after(seconds: float) -> object:
        return NOW + timedelta(seconds=seconds)

    async with owner.organisation(org) as connection:
        host, consulted, other = [await add_call(connection, org, node) for _ in range(3)]
        segments = [await add_recording(connection, org, node, host) for _ in range(4)]
        erased = await add_recording(connection, org, node, host, state="erased")
        alone = await add_recording(connection, org, node, other)
        await connection.execute("UPDATE orgs SET parties_indexed = false")
    await at("calls", host, remote_index=CALLER, diverted_to_index=DIVERTED_TO)
    # One party came with segment 1 and left with segment 3, another came with that one.
    await at("calls", consulted, remote_index=CONSULTED, transferred_to=host, ended_at=after(61), leg_ended_at=after(178))
    await at("calls", other, remote_index=LATER, transferred_to=host, ended_at=after(181))
    for number, segment in enumerate(segments):
        await at("recordings", segment, segment=number, started_at=after(60 * number), remote_index=CALLER)
    await at("recordings", alone, started_at=NOW, remote_index=LATER)

    async def found() -> dict[UUID, set[bytes]]:
        async with owner.organisation(org) as connection:
            rows = await connection.fetch("SELECT id, further_indexes FROM recordings")
        return {row["id"]: set(row["further_indexes"] or ()) for row in rows}

    assert await index_parties(worker, batch=2) == 4
    wanted = [{DIVERTED_TO}, {DIVERTED_TO, CONSULTED}, {DIVERTED_TO, CONSULTED}, {DIVERTED_TO, LATER}]
    assert await found() == dict(zip(segments, wanted, strict=True)) | {erased: set(), alone: set()}
    assert await index_parties(worker) == 0, "it was done"
    async with owner.organisation(org) as connection:
        await connection.execute("UPDATE orgs SET parties_indexed = false")
    assert await index_parties(worker) == 0, "and nothing is noted twice"
    assert await found() == dict(zip(segments, wanted, strict=True)) | {erased: set(), alone: set()}


async def test_a_new_organisation_has_nothing_to_be_looked_at(databases: Databases) -> None:
    owner = await databases.connect("main")
    org = await add_org(owner, "acme")
    async with owner.organisation(org) as connection:
        assert await connection.fetchval("SELECT parties_indexed FROM orgs")
