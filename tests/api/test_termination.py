"""The end of an agreement: announced, taken back, carried out by its clocks, with everything gone at the end."""

from datetime import datetime, timedelta

from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.services.recordings import Gone
from hushwire.services.termination import Terminations
from tests.api.serving import Office, office, problem, shown
from tests.recorded import Chance

__all__ = ["office"]
PATH = "/v1/privacy/termination"


async def worker(office: Office) -> Terminations:
    house = office.house
    main, keyring = await house.main("worker"), await house.keyring("worker")
    clocks = Clocks(house.clock, Chance())
    notices = Notices(main, keyring, clocks, house.clock, Chance())
    erasures = await house.erasures("worker")
    return Terminations(main, erasures, clocks, notices, house.clock, Chance())


async def announced(office: Office, days: float = 1) -> None:
    at = (office.house.clock.now() + timedelta(days=days)).isoformat()
    async with office.client() as client:
        assert (await client.post(PATH, json={"effective_at": at, "confirm": "acme"})).status_code == 201


async def step(office: Office) -> str:
    async with office.client() as client:
        return str(shown(await client.get(PATH))["step"])


async def test_it_takes_an_owner_and_the_organisations_own_name(office: Office) -> None:
    at = (office.house.clock.now() + timedelta(days=1)).isoformat()
    async with office.client() as client:
        problem(await client.get(PATH), 404)
        problem(await client.post(PATH, json={"effective_at": at, "confirm": "globex"}), 422)
        problem(await client.post(PATH, json={"effective_at": "soon", "confirm": "acme"}), 422)
    async with office.client("admin") as client:
        problem(await client.post(PATH, json={"effective_at": at, "confirm": "acme"}), 403)
    async with office.client("auditor") as client:
        problem(await client.post(PATH, json={"effective_at": at, "confirm": "acme"}), 403)
    assert await office.rows("SELECT 1 FROM terminations") == []


async def test_until_its_day_it_can_be_taken_back_and_nothing_has_happened(office: Office) -> None:
    await announced(office)
    await (await worker(office)).carry_on()
    async with office.client() as client:
        assert shown(await client.delete(PATH))["step"] == "notice"
        problem(await client.get(PATH), 404)
        problem(await client.delete(PATH), 404)
    office.house.clock.ahead += timedelta(days=30)
    assert await (await worker(office)).carry_on() == 0
    assert await office.rows("SELECT 1 FROM clocks WHERE subject_kind = 'termination'") == []


async def test_content_goes_by_day_15_and_everything_by_day_20_each_with_a_receipt(office: Office) -> None:
    house = office.house
    recording = await house.record()
    call = await office.add_call("+493023125999")
    await announced(office)
    house.clock.ahead += timedelta(days=1)
    upkeep = await worker(office)
    await upkeep.carry_on()
    assert await step(office) == "return"
    assert await office.rows("SELECT 1 FROM notices WHERE kind = 'termination'")
    async with office.client() as client:
        assert (await client.get(f"/v1/recordings/{recording}/audio?format=wav")).status_code == 200, "the return window is open"
        problem(await client.delete(PATH), 409)
        promised = shown(await client.get(PATH))
    house.clock.ahead += timedelta(days=13)
    assert await upkeep.carry_on() == 0
    assert await house.key_exists(recording)
    house.clock.ahead += timedelta(days=1, hours=20)
    await upkeep.carry_on()
    assert house.clock.now() <= datetime.fromisoformat(promised["content_erased_by"])
    assert not await house.key_exists(recording)
    assert isinstance(await (await house.recordings()).get(house.org, recording), Gone)
    assert await step(office) == "number-data"
    assert (await office.rows("SELECT remote_sealed FROM calls WHERE id = $1", call))[0]["remote_sealed"] is not None
    house.clock.ahead += timedelta(days=5)
    await upkeep.carry_on()
    assert house.clock.now() <= datetime.fromisoformat(promised["everything_erased_by"])
    assert await step(office) == "done"
    await (await house.upkeep()).carry_on()  # the keys went at once; rows are swept by the worker
    assert (await office.rows("SELECT remote_index FROM calls WHERE id = $1", call))[0]["remote_index"] is None
    assert await upkeep.carry_on() == 0
    ended = await office.rows("SELECT kind, outcome, evidence FROM clocks WHERE subject_kind = 'termination' ORDER BY kind")
    assert [(row["kind"], row["outcome"]) for row in ended] == [("number-data", "erased"), ("termination-content", "erased")]


async def test_another_organisation_keeps_what_is_its_own(office: Office) -> None:
    theirs = await office.add_call("+493023125999", org=office.other)
    await announced(office, days=0)
    for _ in range(3):
        office.house.clock.ahead += timedelta(days=10)
        await (await worker(office)).carry_on()
    assert await step(office) == "done"
    assert (await office.rows("SELECT remote_sealed FROM calls WHERE id = $1", theirs, org=office.other))[0]["remote_sealed"] is not None
    async with office.client(slug="globex") as client:
        problem(await client.get(PATH), 404)


async def test_content_that_is_not_unreadable_yet_is_not_called_erased_however_often_it_is_looked_at(office: Office) -> None:
    house = office.house
    recording = await house.record(state="live", digest=False)
    await announced(office, days=0)
    upkeep = await worker(office)
    await upkeep.carry_on()
    house.clock.ahead += timedelta(days=14, hours=20)
    await house.beat()
    for _ in range(3):
        await upkeep.carry_on()
        assert await house.key_exists(recording), "its gateway still writes it"
        assert await step(office) == "erase-content"
        assert await office.rows("SELECT 1 FROM terminations WHERE content_erased_at IS NOT NULL") == []
    (operation,) = await office.rows("SELECT id, unreadable_at FROM erasure_operations")
    assert operation["unreadable_at"] is None
    await house.later(minutes=10)
    await (await house.upkeep()).carry_on()
    await upkeep.carry_on()
    assert not await house.key_exists(recording)
    (clock,) = await office.rows("SELECT evidence FROM clocks WHERE kind = 'termination-content'")
    assert str(operation["id"]) in str(clock["evidence"])
    async with office.client() as client:
        receipt = (await client.get(f"/v1/privacy/receipts/{operation['id']}")).json()
    assert receipt["counts"] == {"recording": 1}
