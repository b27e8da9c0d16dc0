"""Message waiting against a real gateway: phones that subscribe, phones that don't, and who may not."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from hushwire.core.ids import AgentId, OrgId
from hushwire.sip import refusals
from hushwire.sip.message_summary import MessageCounts, message_summary
from hushwire.store import mailboxes
from tests.databases import Databases
from tests.polling import until
from tests.services.running import HOST, World, need_program, running
from tests.services.watcher import Watcher, state_of

pytestmark = need_program
MWI = "message-summary"


class Counted:
    """Mailboxes whose messages were counted by hand."""

    def __init__(self) -> None:
        self.by_agent: dict[AgentId, MessageCounts] = {}

    async def counts(self, org_id: OrgId, agent_ids: Iterable[AgentId]) -> Mapping[AgentId, MessageCounts]:
        return {agent_id: self.by_agent[agent_id] for agent_id in agent_ids if agent_id in self.by_agent}


class Waiting:
    def __init__(self, world: World) -> None:
        self.world = world
        self.mailboxes = Counted()
        world.gateway.waiting.mailboxes = self.mailboxes
        self.phones: list[Watcher] = []

    async def phone(self, user: str, password: str | None = None) -> Watcher:
        phone = await Watcher.open(self.world.port, user, password)
        self.phones.append(phone)
        return phone

    async def now_hold(self, user: str, counts: MessageCounts) -> None:
        agent_id = self.world.organisation.by_username[user].id
        self.mailboxes.by_agent[agent_id] = counts
        async with self.world.owner.organisation(self.world.organisation.id) as connection:
            await mailboxes.tell(connection, agent_id)


@asynccontextmanager
async def waiting(databases: Databases, folder: Path, **environ: str):  # type: ignore[no-untyped-def]
    async with running(databases, folder, environ=environ) as world:
        made = Waiting(world)
        try:
            yield made
        finally:
            for phone in made.phones:
                phone.close()


def body(counts: MessageCounts, user: str = "anna") -> bytes:
    return message_summary(counts, f"sip:{user}@{HOST}")


async def test_a_phone_is_told_its_messages_at_once_and_whenever_they_change(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        await at.now_hold("anna", MessageCounts(2, 8, 0, 2))
        anna = await at.phone("anna")
        taken = await anna.subscribe("anna", MWI)
        assert (taken.status, taken.headers.get("Expires")) == (200, "600")
        first = await anna.told()
        assert first.body == body(MessageCounts(2, 8, 0, 2))
        assert (first.headers.get("Event"), state_of(first)) == (MWI, "active")
        assert first.headers.get("Content-Type") == "application/simple-message-summary"
        await at.now_hold("anna", MessageCounts(0, 10))
        assert b"Messages-Waiting: no" in (await anna.told()).body
        assert (await anna.again(taken, "anna", MWI, 900)).headers.get("Expires") == "900"
        assert (await anna.told()).body == body(MessageCounts(0, 10)), "who refreshes is told all"
        assert (await anna.again(taken, "anna", MWI, 0)).status == 200
        last = await anna.told()
        assert (last.body, state_of(last)) == (body(MessageCounts(0, 10)), "terminated;reason=timeout")
        await at.now_hold("anna", MessageCounts(5))
        await asyncio.sleep(0)
        assert (await anna.again(taken, "anna", MWI)).status == 481
        assert at.world.gateway.notifier.told()["subscriptions"] == 0
        assert anna.notifies.empty()


async def test_expires_0_fetches_the_messages_once(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        await at.now_hold("anna", MessageCounts(1))
        anna = await at.phone("anna")
        assert (await anna.subscribe("101", MWI, 0)).status == 200
        only = await anna.told()
        assert (only.body, state_of(only)) == (body(MessageCounts(1)), "terminated;reason=timeout")
        assert at.world.gateway.notifier.told()["subscriptions"] == 0


async def test_what_may_not_be_watched_is_answered_as_what_is_not_there(databases: Databases, tmp_path: Path) -> None:
    """A colleague's mailbox, nobody's, another organisation's and another host's: the same words, and nothing is kept."""
    async with waiting(databases, tmp_path) as at:
        anna = await at.phone("anna")
        names = ["ben", "102", "nobody", f"sip:anna@other.{HOST.partition('.')[2]}", "sip:anna@192.0.2.1"]
        answers = [await anna.subscribe(name, MWI) for name in names]
        assert {(answer.status, answer.reason, answer.headers.get("Reason")) for answer in answers} == {
            (404, "Not Found", 'SIP;cause=404;text="There is nobody here to watch by this name"')
        }
        assert at.world.gateway.notifier.told() == {"subscriptions": 0, "notified": 0}
        assert at.world.gateway.endpoint.ua._core.sessions == {}


REFUSED = {
    "another package": ("weather", "", None, 489, ("Allow-Events", MWI)),
    "another document": (MWI, "Accept: application/pidf+xml\r\n", None, 406, ("Accept", "application/simple-message-summary")),
    "thousands of documents": (MWI, "Accept: " + ", ".join(f"application/x{n}" for n in range(3000)) + "\r\n", None, 400, None),
    "lists of people": (MWI, "Require: eventlist\r\n", None, 420, ("Unsupported", "eventlist")),
    "a contact inside": (MWI, "", "<sip:anna@169.254.169.254>", 403, None),
    "a contact that is a number": (MWI, "", "<tel:+4930123456>", 403, None),
    "two contacts": (MWI, "", "<sip:anna@127.0.0.1>, <sip:anna@127.0.0.1:5070>", 400, None),
    "all contacts": (MWI, "", "*", 400, None),
    "two events": (MWI, f"Event: {MWI}\r\n", None, 489, ("Allow-Events", MWI)),
    "too short a time": (MWI, "", None, 423, ("Min-Expires", "60")),
}


async def test_a_subscribe_that_can_not_be_served_is_refused_and_nothing_is_kept(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        anna = await at.phone("anna")
        for name, (event, more, contact, status, header) in REFUSED.items():
            answer = await anna.subscribe("anna", event, 59 if status == 423 else 600, more, contact=contact)
            assert answer.status == status, name
            assert header is None or header[1] in (answer.headers.get(header[0]) or ""), name
        assert at.world.gateway.notifier.told() == {"subscriptions": 0, "notified": 0}
        assert at.world.gateway.endpoint.ua._core.sessions == {}


async def test_one_credential_has_no_more_subscriptions_than_it_may(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path, HUSHWIRE_LIMITS__SUBSCRIPTIONS_PER_CREDENTIAL="2") as at:
        anna, ben = await at.phone("anna"), await at.phone("ben")
        answers = [await anna.subscribe("anna", MWI) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 503]
        assert answers[2].headers.get("Retry-After") == "60"
        assert (await ben.subscribe("ben", MWI)).status == 200
        assert (await anna.again(answers[0], "anna", MWI, 0)).status == 200
        assert (await anna.subscribe("anna", MWI)).status == 200


async def test_one_organisation_has_no_more_subscriptions_than_it_may(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path, HUSHWIRE_LIMITS__SUBSCRIPTIONS_PER_ORG="2") as at:
        anna, ben = await at.phone("anna"), await at.phone("ben")
        first = await anna.subscribe("anna", MWI)
        assert (first.status, (await ben.subscribe("ben", MWI)).status) == (200, 200)
        refused = await ben.subscribe("ben", MWI)
        assert (refused.status, refused.headers.get("Retry-After")) == (503, "60")
        assert refused.headers.get("Reason") == refusals.header("too-many-in-org")
        assert (await anna.again(first, "anna", MWI, 0)).status == 200
        await until(lambda: at.world.gateway.notifier.told()["subscriptions"] == 1, what="the last word was said")
        assert (await ben.subscribe("ben", MWI)).status == 200


async def test_a_subscriber_that_refuses_or_is_silent_is_forgotten(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        anna = await at.phone("anna")
        anna.answers = lambda _request: 481
        assert (await anna.subscribe("anna", MWI)).status == 200
        await until(lambda: at.world.gateway.notifier.told()["subscriptions"] == 0, timeout_s=10, what="the subscription is forgotten")
        assert at.world.gateway.endpoint.ua._core.sessions == {}


async def test_a_subscription_ends_with_the_registration_of_its_device(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        anna = await at.phone("anna")
        assert await anna.register() == 200
        assert (await anna.subscribe("anna", MWI)).status == 200
        assert state_of(await anna.told()) == "active"
        assert await anna.register(0) == 200
        last = await anna.told()
        assert (state_of(last), last.body) == ("terminated;reason=timeout", b"")
        assert at.world.gateway.notifier.told()["subscriptions"] == 0


async def test_who_is_suspended_is_told_no_more_and_nothing_at_the_end(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        anna = await at.phone("anna")
        taken = await anna.subscribe("anna", MWI)
        assert state_of(await anna.told()) == "active"
        async with at.world.owner.organisation(at.world.organisation.id) as connection:
            await connection.execute("UPDATE agents SET suspended = true WHERE id = $1", at.world.organisation.by_username["anna"].id)
        last = await anna.told()
        assert (state_of(last), last.body) == ("terminated;reason=rejected", b"")
        assert (await anna.again(taken, "anna", MWI)).status == 481
        assert (await anna.subscribe("anna", MWI)).status == 403


async def test_a_phone_that_does_not_subscribe_is_told_all_the_same_until_it_takes_none(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        await at.now_hold("anna", MessageCounts(1))
        anna, ben = await at.phone("anna"), await at.phone("ben")
        assert (await anna.register(), await ben.register()) == (200, 200)
        first = await anna.told()
        assert (first.body, first.to_tag, state_of(first)) == (body(MessageCounts(1)), "", "terminated;reason=noresource")
        anna.answers = lambda _request: 489
        await at.now_hold("anna", MessageCounts(3))
        assert (await anna.told()).body == body(MessageCounts(3))
        await until(lambda: at.world.gateway.waiting._deaf, what="the refusal is noted")
        await at.now_hold("anna", MessageCounts(4))
        await until(lambda: MessageCounts(4) in at.world.gateway.waiting._counts.values(), what="the change is seen")
        assert anna.notifies.empty()
        assert ben.notifies.empty(), "who has no mailbox is not bothered"


async def test_a_phone_that_subscribes_is_not_told_twice(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        await at.now_hold("anna", MessageCounts(1))
        anna = await at.phone("anna")
        assert await anna.register() == 200
        assert (await anna.subscribe("anna", MWI)).status == 200
        assert (await anna.told()).to_tag
        await at.now_hold("anna", MessageCounts(2))
        assert (await anna.told()).to_tag
        await until(lambda: not at.world.gateway.waiting._new, timeout_s=10, what="the new registration was looked at")
        assert anna.notifies.empty()
