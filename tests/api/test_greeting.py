"""/v1/agents/{id}/greeting: an agent's own greeting, told and erased as the recording that it is."""

from datetime import UTC, datetime
from uuid import UUID

from hushwire.services.greetings import GreetingsToErase
from hushwire.store import greetings
from tests.api.serving import Office, office, problem, shown
from tests.api.test_listening import recorded

__all__ = ["office"]


async def made(office: Office, owner: UUID) -> UUID:
    """A greeting that callers hear, as the gateway leaves it."""
    recording = await recorded(office)
    async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
        await greetings.begin(connection, office.house.org, recording, owner, datetime.now(UTC))  # type: ignore[arg-type]
        assert await greetings.keep(connection, owner, recording)  # type: ignore[arg-type]
    return recording


async def test_a_greeting_is_told_of_and_erased_by_the_one_path(office: Office) -> None:
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    first = await made(office, anna)
    second = await made(office, anna)
    async with office.client() as api, office.client("owner", "globex") as foreign:
        problem(await api.get(f"/v1/agents/{ben}/greeting"), 404)
        problem(await foreign.get(f"/v1/agents/{anna}/greeting"), 404)
        problem(await foreign.delete(f"/v1/agents/{anna}/greeting"), 404)
        found = shown(await api.get(f"/v1/agents/{anna}/greeting"))
        assert found["recording_id"] == str(second)
        assert found["duration_ms"] > 0
        assert await office.rows("SELECT state FROM voicemail_greetings WHERE recording_id = $1", first) == [{"state": "over"}]
        assert shown(await api.get("/v1/voicemail"))["items"] == []
        assert shown(await api.delete(f"/v1/agents/{anna}/greeting"))["recording_id"] == str(second)
        problem(await api.get(f"/v1/agents/{anna}/greeting"), 404)
        problem(await api.delete(f"/v1/agents/{anna}/greeting"), 404)
        await (await office.house.upkeep()).carry_on()
        assert await office.rows("SELECT 1 FROM voicemail_greetings WHERE recording_id = $1", second) == []


async def test_a_replaced_greeting_that_a_hold_keeps_is_heard_by_nobody_and_goes_with_the_holds_release(office: Office) -> None:
    anna = await office.add_agent("anna")
    first = await made(office, anna)
    clock, worker = office.house.clock, await office.house.main("worker")
    erasing = GreetingsToErase(worker, await office.house.erasures("worker"), clock)
    async with office.client() as api:
        wanted = {"scope": "recording", "id": str(first), "reason": "litigation", "authority": "a court"}
        placed = await api.post("/v1/privacy/holds", json=wanted)
        assert placed.status_code == 201, placed.text
        await made(office, anna)
        assert await erasing.erase_all() == 0
        assert await office.rows("SELECT state FROM voicemail_greetings WHERE recording_id = $1", first) == [{"state": "held"}]
        assert await erasing.erase_all() == 0
        shown(await api.post(f"/v1/privacy/holds/{placed.json()['id']}/release"))
        await (await office.house.upkeep()).carry_on()
        assert await office.rows("SELECT state FROM recordings WHERE id = $1", first) == [{"state": "erased"}]
