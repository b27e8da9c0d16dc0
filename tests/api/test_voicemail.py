"""/v1/voicemail: messages listed, marked, played and erased as the recordings that they are."""

from datetime import UTC, datetime
from uuid import UUID

from hushwire.store import voicemail
from tests.api.serving import Office, office, problem, shown
from tests.api.test_listening import recorded

__all__ = ["office"]
NUMBER = "+493023125777"


async def left(office: Office, owner: UUID, *, number: str | None = NUMBER) -> tuple[UUID, UUID]:
    """A message in somebody's mailbox, as the gateway leaves it; its id and the call's."""
    call = await office.add_call(number, direction="inbound", agent_id=owner)
    recording = await recorded(office)
    async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE recordings SET call_id = $2, agent_id = $3 WHERE id = $1", recording, call, owner)
        await voicemail.begin(connection, office.house.org, recording, owner, datetime.now(UTC))  # type: ignore[arg-type]
        await voicemail.finish(connection, recording, 4000, is_empty=False)
    return recording, call


async def test_messages_are_listed_with_who_left_them_marked_and_played(office: Office) -> None:
    anna, ben = await office.add_agent("anna"), await office.add_agent("ben")
    first, call = await left(office, anna)
    second, _ = await left(office, ben, number=None)
    async with office.client() as api:
        items = shown(await api.get("/v1/voicemail"))["items"]
        assert [item["id"] for item in items] == [str(second), str(first)]
        assert items[0] | {"agent": "ben", "caller": None, "is_read": False} == items[0]
        (only,) = shown(await api.get("/v1/voicemail?agent=anna"))["items"]
        assert only | {"id": str(first), "agent": "anna", "caller": NUMBER, "call_id": str(call), "speech_ms": 4000} == only
        assert only["duration_ms"] > 0
        marked = shown(await api.patch(f"/v1/voicemail/{first}", json={"is_read": True}))
        assert marked["is_read"]
        again = shown(await api.patch(f"/v1/voicemail/{first}", json={"is_read": True}))
        assert again["read_at"] == marked["read_at"], "when it was first heard"
        assert [item["id"] for item in shown(await api.get("/v1/voicemail?unread=true"))["items"]] == [str(second)]
        assert [item["id"] for item in shown(await api.get("/v1/voicemail?unread=false"))["items"]] == [str(first)]
        assert not shown(await api.patch(f"/v1/voicemail/{first}", json={"is_read": False}))["is_read"]
        page = shown(await api.get("/v1/voicemail?limit=1"))
        rest = shown(await api.get(f"/v1/voicemail?limit=1&cursor={page['next']}"))
        assert [item["id"] for item in page["items"] + rest["items"]] == [str(second), str(first)]
        assert rest["next"] is None
        heard = await api.get(f"/v1/voicemail/{first}/audio?format=wav")
        assert heard.status_code == 200
        assert heard.content == (await api.get(f"/v1/recordings/{first}/audio?format=wav")).content
        purposes = await office.rows("SELECT DISTINCT object FROM access_log WHERE object = $1", f"recording:{first}")
        assert len(purposes) == 1


async def test_a_message_is_erased_by_the_one_path_and_counts_no_more(office: Office) -> None:
    anna = await office.add_agent("anna")
    message, _ = await left(office, anna)
    async with office.client() as api:
        receipt = await api.delete(f"/v1/voicemail/{message}")
        assert shown(receipt)["recording_id"] == str(message)
        problem(await api.get(f"/v1/voicemail/{message}"), 410)
        problem(await api.get(f"/v1/voicemail/{message}/audio"), 410)
        problem(await api.patch(f"/v1/voicemail/{message}", json={"is_read": True}), 410)
        assert shown(await api.get("/v1/voicemail"))["items"] == []
        assert (await api.delete(f"/v1/voicemail/{message}")).content == receipt.content
        await (await office.house.upkeep()).carry_on()
        assert await office.rows("SELECT 1 FROM voicemail_messages") == []
        assert (await api.delete(f"/v1/voicemail/{message}")).content == receipt.content
        async with (await office.house.main("gateway")).organisation(office.house.org) as connection:
            assert await voicemail.counts(connection, [anna]) == {}  # type: ignore[list-item]


async def test_a_recording_that_is_no_message_is_none_here_and_neither_is_a_neighbours(office: Office) -> None:
    message, _ = await left(office, await office.add_agent("anna"))
    other = await recorded(office)
    async with office.client() as api, office.client("owner", "globex") as foreign, office.client("agent") as agent:
        for client, found in ((api, other), (foreign, message)):
            problem(await client.get(f"/v1/voicemail/{found}"), 404)
            problem(await client.get(f"/v1/voicemail/{found}/audio"), 404)
            problem(await client.patch(f"/v1/voicemail/{found}", json={"is_read": True}), 404)
            problem(await client.delete(f"/v1/voicemail/{found}"), 404)
        assert shown(await foreign.get("/v1/voicemail"))["items"] == []
        for path in ("/v1/voicemail", f"/v1/voicemail/{message}"):
            problem(await agent.get(path), 403)
        assert len(shown(await api.get("/v1/voicemail"))["items"]) == 1
        problem(await api.patch(f"/v1/voicemail/{message}", json={"is_read": "yes"}), 422)
