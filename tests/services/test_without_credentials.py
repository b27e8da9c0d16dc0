"""Requests of nobody: SUBSCRIBE, NOTIFY, MESSAGE, PUBLISH, INFO and REFER without a password, out of and within dialogs. Each is refused,
and nothing is kept, told or called."""

from pathlib import Path

import pytest

from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from tests.databases import Databases
from tests.services.running import FAR_NUMBER, HOST, World, need_program, running
from tests.services.test_presence import watcher
from tests.services.watcher import Watcher, state_of

pytestmark = need_program
REFER_TO = f"Refer-To: <sip:{FAR_NUMBER}@{HOST}>\r\n"
ASSERTED = f"P-Asserted-Identity: <sip:anna@{HOST}>\r\nReferred-By: <sip:anna@{HOST}>\r\n"
STATE = "Subscription-State: active;expires=600\r\n"
REQUESTS = [
    ("SUBSCRIBE", "Event: message-summary\r\nExpires: 600\r\n", {401}),
    ("SUBSCRIBE", "Event: dialog\r\nExpires: 0\r\n", {401}),
    ("SUBSCRIBE", "Event: weather\r\n", {401}),
    ("NOTIFY", f"Event: message-summary\r\n{STATE}", {405, 481}),
    ("NOTIFY", f"Event: refer\r\n{STATE}", {405, 481}),
    ("MESSAGE", "", {401, 405}),
    ("PUBLISH", "Event: presence\r\nExpires: 600\r\n", {401, 405}),
    ("INFO", "Content-Type: application/dtmf-relay\r\n", {401, 405, 481}),
    ("REFER", REFER_TO, {401, 405}),
]


def kept(world: World) -> tuple[int, int, int, dict[DialogKey, object]]:
    gateway = world.gateway
    told = gateway.notifier.told()
    return told["subscriptions"], told["notified"], len(list(gateway.calling.live)), dict(gateway.endpoint.ua._core.sessions)


async def test_nobody_gets_anything_outside_dialogs_whoever_they_say_they_are(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "anna") as registered:
        assert await registered.register() == 200, "the address of a registered phone is no password either"
        for method, more, statuses in REQUESTS:
            for to in ("anna", "101", "nobody", FAR_NUMBER):
                answer = await registered.ask(method, f"sip:{to}@{HOST}", more + ASSERTED, with_password=False)
                assert answer.status in statuses, (method, to)
                assert answer.status != 405 or method not in (answer.headers.get("Allow") or "")
            guessed = await registered.ask(method, f"sip:anna@{HOST}", more, to_tag="guessed", with_password=False)
            assert guessed.status in {405, 481}, method
        assert kept(world) == (0, 0, 0, {})
        assert registered.notifies.empty()
        assert world.carrier.events.empty()


async def test_a_wrong_password_and_another_ones_get_a_challenge_and_nothing_else(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world:
        for user, password in (("anna", "wrong"), ("nobody", "wrong"), ("ben", "annas-password")):
            phone = await Watcher.open(world.port, user, password)
            answer = await phone.subscribe("anna", "dialog")
            phone.close()
            assert (answer.status, "stale" in str(answer.headers.get("WWW-Authenticate"))) == (401, False)
        assert kept(world) == (0, 0, 0, {})


async def test_what_is_not_offered_is_not_offered_to_agents_either_and_options_says_what_is(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "anna") as anna:
        answer = await anna.ask("PUBLISH", f"sip:102@{HOST}", "Event: presence\r\nExpires: 600\r\n")
        assert (answer.status, "PUBLISH" in (answer.headers.get("Allow") or "PUBLISH")) == (405, False)
        answer = await anna.ask("MESSAGE", f"sip:102@{HOST}")
        assert (answer.status, answer.headers.get("Accept")) == (415, "text/plain"), "a text has words"
        answer = await anna.ask("OPTIONS", f"sip:{HOST}", with_password=False)
        assert (answer.status, answer.headers.get("Allow-Events")) == (200, "dialog, message-summary, presence")
        assert "SUBSCRIBE" in (answer.headers.get("Allow") or "")
        assert kept(world) == (0, 0, 0, {})


@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY", "MESSAGE"])
async def test_a_carrier_gets_no_subscription_by_the_dialog_of_a_call(databases: Databases, tmp_path: Path, method: str) -> None:
    async with running(databases, tmp_path) as world:
        anna = await world.peer("anna")
        anna.invite("03023125999")
        dialog, _ = world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
        accepted = await anna.expect(sip.Accepted)
        await world.carrier.expect(sip.AckReceived)
        lines = [("Event", "dialog"), ("Expires", "600"), ("Subscription-State", "active")]
        assert world.carrier.endpoint.request(dialog, method, headers=lines) is not None
        answer = await world.carrier.expect(sip.Responded)
        assert answer.status in {405, 481, 489, 501}
        assert kept(world)[:2] == (0, 0)
        anna.endpoint.bye(accepted.dialog)
        await world.carrier.expect(sip.DialogEnded)


async def test_who_knows_a_subscriptions_call_id_alone_changes_nothing_of_it(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world, watcher(world.port, "ben") as ben, watcher(world.port, "eve") as eve:
        taken = await ben.subscribe("101", "dialog")
        assert state_of(await ben.told()) == "active"
        for to_tag, from_tag in (("guessed", taken.from_tag), (taken.to_tag, "guessed"), (taken.from_tag, taken.to_tag)):
            forged = await eve.ask(
                "SUBSCRIBE", f"sip:101@{HOST}", "Event: dialog\r\nExpires: 0\r\n",
                call_id=taken.call_id, to_tag=to_tag, from_tag=from_tag, with_password=False,
            )  # fmt: skip
            assert forged.status == 481
        assert kept(world)[0] == 1
        assert ben.notifies.empty()
        assert eve.notifies.empty()
