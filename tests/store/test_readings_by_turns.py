"""What workers see of the questions that gateways ask: by turns over organisations."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hushwire.core.ids import AgentId, OrgId, RecordingId
from hushwire.store import text_deliveries, voicemail_readings
from hushwire.store.database import Connection
from tests.recorded import House, house
from tests.store.rows import add_agent, add_call, add_recording

__all__ = ["house"]
NOW = datetime.now(UTC)


async def asked(connection: Connection, org: OrgId, count: int, at: datetime, node: UUID) -> tuple[list[UUID], list[UUID]]:
    agent = AgentId(await add_agent(connection, org))
    recording = RecordingId(await add_recording(connection, org, node, await add_call(connection, org, node)))
    texts, voicemail = [[uuid4() for _ in range(count)] for _ in range(2)]
    for n, (text, message) in enumerate(zip(texts, voicemail, strict=True)):
        then = at + timedelta(milliseconds=n)
        await text_deliveries.ask(connection, text_deliveries.Question(text, org, agent, (uuid4(),), bytes(32), then))
        question = voicemail_readings.Question(message, org, agent, recording, "opus", bytes(32), then)
        await voicemail_readings.ask(connection, question)
    return texts, voicemail


async def test_a_hundred_questions_of_one_organisation_hide_none_of_another(house: House) -> None:
    main, worker, globex = await house.main("owner"), await house.main("worker"), await house.another("globex")
    async with main.organisation(house.org) as connection:
        crowd = await asked(connection, house.org, 110, NOW - timedelta(seconds=5), house.node)
    async with main.organisation(globex) as connection:
        late = await asked(connection, globex, 2, NOW, house.node)
    async with worker.transaction() as connection:
        found = await text_deliveries.waiting(connection), await voicemail_readings.waiting(connection)
    for seen, of_crowd, of_late in zip(found, crowd, late, strict=True):
        assert [question for _, question in seen[:4]] == [of_crowd[0], of_late[0], of_crowd[1], of_late[1]]
        assert [question for org, question in seen if org == house.org] == of_crowd[:98]
