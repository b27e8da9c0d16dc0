"""Links to npm's `smpp` as message centre, over real sockets and on real rows (SMPP 3.4)."""

import asyncio
from pathlib import Path

import pytest

from hushwire.services.message_parties import Form
from hushwire.transport.tls import client_context, pinned_context
from tests.interop.authorities import ThrowAway
from tests.interop.message_centre import message_centre, need_centre
from tests.polling import until
from tests.recorded import House, house
from tests.services.message_texts import carrying, numbers

__all__ = ["house"]


@pytest.fixture(autouse=True)
def centre_is_there() -> None:
    need_centre()


async def test_a_message_is_submitted_with_all_that_it_says_and_its_receipt_ends_it(house: House) -> None:
    async with message_centre(policy={"receipt": "both"}) as smsc, carrying(house) as here:
        await here.provision(smsc.port)
        await here.start()
        (one,) = await here.send(
            "+4930123456", expires_at=house.clock.now().replace(microsecond=0).replace(year=house.clock.now().year + 1)
        )
        await here.is_state([one], "delivered")
        said = await smsc.event("submit")
        assert (said["from"], said["from_ton"], said["to"], said["text"], said["receipt"]) == ("493023125000", 1, "4930123456", "hello", 1)
        assert [change.state for change in here.texts.changes] == ["submitted", "delivered"]
        (name,) = await here.send("+4930123457", source="ACME", expires_at=house.clock.now().replace(year=house.clock.now().year + 9))
        await here.is_state([name], "delivered")
        assert (smsc.events("submit")[1]["from"], smsc.events("submit")[1]["from_ton"]) == ("ACME", 5)
        ucs2 = "Grüße 🐍".encode("utf-16-be")
        (other,) = await here.send("+4930123458", text=ucs2, coding=8)
        (long,) = await here.send("+4930123459", text=b"x" * 400)
        (part,) = await here.send("+4930123460", text=b"\x05\x00\x03\x07\x02\x01part", udh=True)
        (sar,) = await here.send("+4930123461", text=b"part", sar=(300, 2, 1))
        await here.is_state([other, long, part, sar], "delivered")
        by_number = {event["to"]: event for event in smsc.events("submit")}
        assert (by_number["4930123458"]["coding"], by_number["4930123458"]["text"]) == (8, "Grüße 🐍")
        assert by_number["4930123459"]["payload"] == "x" * 400
        assert (by_number["4930123460"]["esm"], by_number["4930123460"]["text"]) == (0x40, "part")
        assert by_number["4930123461"]["sar"] == [300, 2, 1]


@pytest.mark.parametrize(
    ("receipt", "response_form", "receipt_form", "answer_ids", "receipt_ids"),
    [
        ("text", "hex", "decimal", "hex", "decimal"),
        ("text", "padded", "HEX", "decimal", "hex"),
        ("tlv", "decimal", "padded", "decimal", "decimal"),
        ("both", "text", "TEXT", "caseless", "caseless"),
        ("early", "HEX", "hex", "caseless", "caseless"),
        ("text", "text", "text", "exact", "exact"),
    ],
)
async def test_receipts_are_matched_in_every_form(
    house: House, receipt: str, response_form: str, receipt_form: str, answer_ids: str, receipt_ids: str
) -> None:
    policy = {"receipt": receipt, "response_form": response_form, "receipt_form": receipt_form}
    async with message_centre(policy=policy, first_id=60000) as smsc, carrying(house) as here:
        await here.provision(smsc.port, window=50, answer_ids=answer_ids, receipt_ids=receipt_ids)
        await here.start()
        ids = await here.send(*numbers(20))
        await here.bound()

        async def are_delivered() -> bool:
            await here.carriers.upkeep()
            return set((await here.states()).values()) == {"delivered"}

        await until(are_delivered, timeout_s=20)
        report = await smsc.ask("report")
        assert (report["messages"], report["doubled"], report["refused"]) == (20, 0, 0)
        assert len([change for change in here.texts.changes if change.state == "delivered"]) == len(ids)


async def test_a_wrong_password_is_told_and_the_right_one_gets_in_as_soon_as_it_is_provisioned(house: House) -> None:
    async with message_centre() as smsc, carrying(house) as here:
        await here.provision(smsc.port, password="wrong")
        await here.start()
        await smsc.event("bind", 2)
        (carrier,) = here.carriers.carriers
        assert carrier.links[0].reason == "bind-refused ESME_RINVPASWD"
        (one,) = await here.send("+4930123456")
        assert (await here.states())[one] == "queued"
        await here.provision(smsc.port, password="secret")
        assert await here.carriers.follow() == 2
        await here.is_state([one], "submitted")


async def test_a_throttling_centre_gets_everything_once_and_in_the_end(house: House) -> None:
    async with message_centre(policy={"answer": 0x58, "every": 7, "receipt": "tlv"}) as smsc, carrying(house) as here:
        await here.provision(smsc.port, window=5)
        await here.start()
        ids = await here.send(*numbers(12))
        await until(lambda: smsc.events("submit"))
        await asyncio.sleep(0)
        smsc.policy(answer=0x14, every=5)
        await here.is_state(ids, "delivered", timeout_s=25)
        report = await smsc.ask("report")
        assert (report["distinct"], report["doubled"]) == (12, 0)
        assert report["messages"] > 12, "nothing was throttled"
        assert here.carriers.carriers[0].counts.deferred == report["messages"] - 12


async def test_a_link_that_breaks_mid_window_doubles_nothing_and_what_it_left_open_is_resolved_by_receipts(house: House) -> None:
    async with message_centre(policy={"drop_at": 8, "receipt": "none"}) as smsc, carrying(house) as here:
        await here.provision(smsc.port, window=10, unknown_after_s=30, when_unknown="resend")
        await here.start()
        ids = await here.send(*numbers(30))
        await until(lambda: sum(event["good"] for event in smsc.events("bind")) == 2)

        async def is_sent() -> bool:
            states = list((await here.states()).values())
            return "queued" not in states and "sending" not in states

        await until(is_sent)
        states = await here.states()
        unknown = [one for one in ids if states[one] == "unknown"]
        assert 1 <= len(unknown) <= 10
        taken = (await smsc.ask("taken"))["numbers"]
        assert set(taken.values()) == {1}, "something was sent twice"
        accepted = [one for one in unknown if here.texts.messages[one].destination.reveal()[1:] in taken]
        assert accepted, "the message whose connection broke was accepted"
        for number, one in enumerate(accepted):
            to = here.texts.messages[one].destination.reveal()[1:]
            text = f"id:{9000 + number} sub:001 dlvrd:001 submit date:2611260801 done date:2611260802 stat:DELIVRD err:000 text:"
            pdu = {"source_addr": to, "source_addr_ton": 1, "destination_addr": "493023125000", "esm_class": 4, "short_message": text}
            smsc.do("deliver", pdu=pdu)
        await here.is_state(accepted, "delivered")
        lost = [one for one in unknown if one not in accepted]
        assert lost, "nothing was on its way when the connection broke"
        await here.pass_time(31)
        await here.is_state(lost, "submitted")
        taken = (await smsc.ask("taken"))["numbers"]
        assert (len(taken), set(taken.values())) == (30, {1})


async def test_a_centre_that_answers_nothing_leaves_messages_unknown_and_the_rule_ends_them(house: House) -> None:
    async with message_centre(policy={"answer": "none"}) as smsc, carrying(house) as here:
        await here.provision(smsc.port, window=3, answer_within_s=1, unknown_after_s=60)
        await here.start()
        ids = await here.send(*numbers(3))
        await here.is_state(ids, "unknown")
        assert len(smsc.events("submit")) == 3
        await here.pass_time(61)
        await here.is_state(ids, "failed")
        assert here.errors(ids[0]) == ["unanswered", "unknown"]
        smsc.policy(deaf=True)
        await until(lambda: smsc.events("closed"), timeout_s=20, what="the deaf centre is left")


async def test_garbage_is_answered_or_ends_the_link_and_the_next_one_works(house: House) -> None:
    async with message_centre() as smsc, carrying(house) as here:
        await here.provision(smsc.port)
        await here.start()
        await here.bound()
        smsc.do("raw", hex="00000014000001010000000000000007deadbeef" + "00000012000000050000000000000008ffff")
        (one,) = await here.send("+4930123456")
        await here.is_state([one], "submitted")
        smsc.do("raw", hex="ff" * 64)
        await smsc.event("closed")
        await smsc.event("bind", 2)
        (two,) = await here.send("+4930123457")
        await here.is_state([two], "submitted")


async def test_a_received_message_is_acknowledged_only_once_it_is_committed_and_comes_again_where_it_was_not(house: House) -> None:
    async with message_centre() as smsc, carrying(house) as here:
        await here.provision(smsc.port)
        await here.start()
        await here.bound()
        here.texts.may_commit.clear()
        pdu = {"source_addr": "491701234567", "source_addr_ton": 1, "destination_addr": "493023125000", "short_message": "stop"}
        smsc.do("deliver", pdu=pdu)
        smsc.do("deliver", pdu=pdu)
        await asyncio.sleep(0.2)
        assert not smsc.events("delivered")
        here.texts.is_away = True
        here.texts.may_commit.set()
        await smsc.event("delivered", 2)
        assert {event["status"] for event in smsc.events("delivered")} == {0x64}
        here.texts.is_away = False
        smsc.do("deliver", pdu=pdu)
        assert (await smsc.event("delivered", 3))["status"] == 0
        (text,) = here.texts.received
        assert (text.source.reveal(), text.destination.reveal(), text.payload.reveal()) == ("491701234567", "493023125000", b"stop")
        assert (text.source_form, text.destination_form, text.country) == (Form.INTERNATIONAL, Form.UNTYPED, None)


async def test_of_deliveries_at_once_only_the_one_that_is_not_taken_comes_again(house: House) -> None:
    async with message_centre() as smsc, carrying(house) as here:
        await here.provision(smsc.port, country="DE", untyped_numbers="national")
        await here.start()
        await here.bound()
        here.texts.refused = {b"bad"}
        here.texts.may_commit.clear()
        pdu = {"source_addr": "01701234567", "source_addr_ton": 2, "destination_addr": "493023125000"}
        for word in ("one", "bad", "two"):
            smsc.do("deliver", pdu=pdu | {"short_message": word})
        await until(lambda: here.carriers.carriers[0].counts.received == 3, what="three deliveries")
        here.texts.may_commit.set()
        await smsc.event("delivered", 3)
        assert sorted(event["status"] for event in smsc.events("delivered")) == [0, 0, 0x64]
        assert [text.payload.reveal() for text in here.texts.received] == [b"one", b"two"]
        assert {(text.source_form, text.country, text.untyped_is_national) for text in here.texts.received} == {(Form.NATIONAL, "DE", True)}


async def test_messages_go_by_weight_over_links_that_send_and_by_the_next_priority_when_those_are_gone(house: House) -> None:
    async with message_centre() as heavy, message_centre() as light, message_centre() as spare, carrying(house) as here:
        links = [
            {"port": heavy.port, "mode": "transmitter", "weight": 3},
            {"port": heavy.port, "mode": "receiver"},
            {"port": light.port, "weight": 1},
            {"port": spare.port, "priority": 1},
        ]
        await here.provision(heavy.port, links=links, window=50)
        await here.start()
        await here.bound(4)
        await here.is_state(await here.send(*numbers(40)), "submitted")
        counts = [(await one.ask("report"))["messages"] for one in (heavy, light, spare)]
        assert sum(counts) == 40
        assert counts[2] == 0
        assert counts[:2] == [30, 10]
        assert {event["mode"] for event in heavy.events("bind")} == {"transmitter", "receiver"}
        heavy.process.kill()
        light.process.kill()
        await until(lambda: not any(link.is_sender for link in here.carriers.carriers[0].links[:3]))
        await here.is_state(await here.send(*numbers(5, 494000000000)), "submitted")
        assert (await spare.ask("report"))["messages"] == 5


async def test_links_over_tls_need_the_centres_own_certificate_or_the_one_that_is_pinned(house: House, tmp_path: Path) -> None:
    authority = ThrowAway.make(tmp_path / "ca")
    good, bad = authority.certify(address="127.0.0.1"), authority.certify(address="192.0.2.1")
    context = client_context(authority.file)
    context.check_hostname = True
    tls = [{"key": str(one.key), "cert": str(one.certificate)} for one in (good, bad)]
    async with message_centre(tls=tls[0]) as smsc, message_centre(tls=tls[1]) as other, carrying(house) as here:
        await here.provision(smsc.port, links=[{"tls": True}])
        await here.provision(other.port, name="other", links=[{"tls": True}])
        await here.start(verified=context, pinned=pinned_context())
        await here.is_state(await here.send("+4930123456"), "submitted")
        wrong = next(one for one in here.carriers.carriers if one.centre.name == "other")
        await until(lambda: wrong.links[0].reason == "certificate")
        assert not other.events("bind")
        await here.provision(other.port, name="other", links=[{"tls": True}], pins=["sha256:" + "0" * 64])
        await here.carriers.follow()
        unpinned = next(one for one in here.carriers.carriers if one.centre.name == "other")
        await until(lambda: unpinned.links[0].reason == "certificate")
        assert not other.events("bind"), "a password was shown to who is not the carrier"
        await here.provision(other.port, name="other", links=[{"tls": True}], pins=[bad.pin])
        await here.carriers.follow()
        assert (await other.event("bind"))["good"]


async def test_what_a_dead_process_was_sending_is_unknown_and_what_it_had_not_begun_is_sent(house: House) -> None:
    async with message_centre(policy={"answer": "none"}) as smsc:
        async with carrying(house) as here:
            await here.provision(smsc.port, window=4, answer_within_s=60)
            await here.start()
            ids = await here.send(*numbers(10))
            await smsc.event("submit", 4)
            for one in here.carriers._working.values():  # kill -9: nothing is written any more
                one.carrier._write = None  # type: ignore[assignment,method-assign]
            smsc.do("drop")
            first = here.carriers
            smsc.policy(answer="ok")
            await here.start()
            states = await here.states()
            assert sorted(states.values()) == ["queued"] * 6 + ["unknown"] * 4
            await here.is_state([one for one in ids if states[one] == "queued"], "submitted")
            await first.stop()
            here.failures.clear()
        report = await smsc.ask("report")
        assert (report["messages"], report["distinct"]) == (10, 6)
