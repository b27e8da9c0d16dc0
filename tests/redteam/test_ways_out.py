"""Every way out is tried with every trick. The proof is the carrier's own socket: nothing came; and with an allowed number, it did."""

import pytest

from tests.polling import until
from tests.redteam.campaigns import Stack, Way, tricks
from tests.redteam.house import CODES, House, emptied, tried, until_reached, until_refused
from tests.redteam.tricks import ALLOWED, NUMBERS, Trick
from tests.redteam.ways import HOST, SALES, whole

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def test_an_invite_gets_out_by_none_of_them(house: House) -> None:
    anna = await house.phone("anna")

    async def call(text: str) -> None:
        status, dialog = await anna.invite(whole(text))
        assert status >= 400
        assert dialog is None

    await tried(house, tricks(Way.INVITE, Stack.RAW), call)


async def test_what_stands_beside_the_request_uri_changes_nothing(house: House) -> None:
    anna = await house.phone("anna")
    denied, allowed = f"sip:+5371234567@{HOST}", f"sip:{ALLOWED}@{HOST}"
    there = f"127.0.0.1:{house.deployment.carrier_port}"
    names = ("P-Preferred-Identity", "P-Asserted-Identity", "Referred-By", "P-Called-Party-ID", "Alert-Info", "Contact", "Reply-To")
    lines = (
        f"Route: <sip:{there};lr>\r\n", f"Route: <sip:+5371234567@{there}>\r\n", f"Record-Route: <sip:{there};lr>\r\n", "Privacy: none\r\n",
        f"Diversion: <{denied}>;reason=unconditional\r\n",
        f"History-Info: <{denied}>;index=1\r\n", *(f"{name}: <{denied}>\r\n" for name in names),
    )  # fmt: skip
    for more in lines:
        house.carrier.seen.clear()
        assert (await anna.invite(denied, to=allowed, more=more))[0] in (400, 403), more
        assert not house.carrier.seen, more
        status, _ = await anna.invite(allowed, to=denied, more=more)
        assert status == 400 or house.invited(), more
        assert not [text for text in house.carrier.seen if "5371234567" in text], more


async def test_a_blind_transfer_gets_out_by_none_of_them(house: House) -> None:
    async with house.talk() as (_, _, ben, dialog):

        async def refer(text: str) -> None:
            if await ben.within(dialog, "REFER", f"Refer-To: <{whole(text)}>\r\n") == 202:
                assert await ben.transferred() >= 400

        await tried(house, tricks(Way.BLIND, Stack.RAW), refer)


async def test_who_began_the_call_transfers_it_out_by_none_of_them(house: House) -> None:
    async with house.talk() as (anna, dialog, _, _):

        async def refer(text: str) -> None:
            if await anna.within(dialog, "REFER", f'Refer-To: "Mum" <{whole(text)}>\r\nReferred-By: <sip:{ALLOWED}@{HOST}>\r\n') == 202:
                assert await anna.transferred() >= 400

        await tried(house, tricks(Way.BLIND, Stack.RAW)[::3], refer)


async def test_what_a_refer_to_carries_besides_the_number_changes_nothing(house: House) -> None:
    denied, there = f"sip:+5371234567@{HOST}", f"127.0.0.1:{house.deployment.carrier_port}"
    async with house.talk() as (anna, _, ben, dialog):
        other = next(iter(anna.dialogs.values()))
        tags = [part.partition(";tag=")[2].split(";")[0] for part in (other.here, other.there)]
        own = f"{other.call_id}%3Bto-tag%3D{tags[1]}%3Bfrom-tag%3D{tags[0]}"
        nobody = "nobody%3Bto-tag%3D1%3Bfrom-tag%3D2"
        values = (
            f"<{denied}?Replaces={own}>", f"<{denied}?Replaces={nobody}>", f"<{denied}?Replaces=%0D%0A>",
            f"<sip:{ALLOWED}@{HOST}?Replaces={nobody}>", f"<{denied}?Route=%3Csip:{there};lr%3E>", f"<{denied}?Contact=%3Csip:{there}%3E>",
            f"<{denied};method=BYE>", f"<sip:+5371234567@{there}>", f"<sip:{ALLOWED}@{there}>", f"<{denied}>;method=INVITE", denied,
            f"<{denied}>, <sip:{ALLOWED}@{HOST}>", f"<sip:{ALLOWED}@{HOST}>, <{denied}>", f'"<sip:{ALLOWED}@{HOST}>" <{denied}>',
            f"<{denied}?From=%3Csip:{ALLOWED}@{HOST}%3E>",
        )  # fmt: skip
        for value in values:
            house.carrier.seen.clear()
            if await ben.within(dialog, "REFER", f"Refer-To: {value}\r\n") == 202:
                assert await ben.transferred() >= 400
            assert not house.carrier.seen, value
        assert await ben.within(dialog, "REFER", f"Refer-To: <sip:{ALLOWED}@{HOST}>\r\n") == 202
        await ben.transferred()
        assert house.invited(), "the call could be transferred all the time"


async def test_a_phone_that_redirects_gets_out_by_none_of_them(house: House) -> None:
    anna, ben = await house.phone("anna"), await house.phone("ben")

    async def redirect(text: str) -> None:
        ben.reply = lambda _request: f"302 <{whole(text)}>"
        assert (await anna.invite(f"sip:102@{HOST}"))[0] >= 400

    await tried(house, tricks(Way.REDIRECT, Stack.RAW), redirect)


async def test_a_carrier_that_redirects_gets_nowhere_at_all(house: House) -> None:
    anna = await house.phone("anna")
    for trick in tricks(Way.CARRIER_REDIRECT, Stack.RAW):
        for text in (trick.sent, trick.twin):
            house.carrier.seen.clear()
            house.carrier.reply = lambda _request, text=text: f"302 <{whole(text)}>"  # type: ignore[misc]
            assert (await anna.invite(f"sip:+493023125999@{HOST}"))[0] >= 400
            assert {text.split()[1].split("@")[0] for text in house.invited()} == {"sip:+493023125999"}, trick.name


async def test_nothing_forbidden_can_be_set_as_where_calls_go(house: House) -> None:
    for trick in tricks(Way.FORWARD, Stack.API):
        for key in ("always", "busy", "no_answer", "unavailable"):
            assert await house.forward("ben", **{key: trick.sent.format(host=HOST)}) in (400, 422), (trick.name, key)
    assert await house.forward("ben", always=ALLOWED) == 200
    assert not house.carrier.seen


@pytest.mark.parametrize("kind", CODES)
async def test_no_code_sets_what_the_list_forbids_and_none_calls_it(house: House, kind: str) -> None:
    anna, ben = await house.phone("anna"), await house.phone("ben")
    ben.reply = lambda _request: "486 Busy Here"

    async def rings_at_home() -> bool:
        house.carrier.seen.clear()
        await anna.invite(f"sip:102@{HOST}")
        return not house.carrier.seen

    await until(rings_at_home, timeout_s=10, what="what another test set is forgotten")
    for trick in tricks(Way.FORWARD, Stack.RAW):
        status, dialog = await ben.invite(whole(CODES[kind] + trick.sent))
        assert status >= 400, trick.name
        assert dialog is None
        await anna.invite(f"sip:102@{HOST}")
        assert not house.carrier.seen, trick.name
    status, dialog = await ben.invite(whole(CODES[kind] + ALLOWED))
    assert status == 200
    assert dialog is not None
    await ben.within(dialog, "BYE")


KINDS = {
    "always": (ALLOWED, "486 Busy Here"), "busy": (ALLOWED, "486 Busy Here"), "unavailable": (ALLOWED, "503 Service Unavailable"),
    "no_answer": (ALLOWED, None), "declined": (ALLOWED, "603 Decline"), "not to be disturbed": (ALLOWED, "480 Do Not Disturb"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["an agent", "a group"])
async def test_what_was_allowed_when_it_was_set_is_judged_again_when_a_call_comes(house: House, kind: str, who: str) -> None:
    wanted, reply = KINDS[kind]
    key = {"declined": "busy", "not to be disturbed": "busy"}.get(kind, kind)
    anna, ben = await house.phone("anna"), await house.phone("ben")
    ben.reply = lambda _request: reply
    settings: dict[str, object] = {key: wanted, "no_answer_after_s": 5} if kind == "no_answer" else {key: wanted}
    if kind == "not to be disturbed":
        settings["do_not_disturb"] = True
    assert await house.forward("ben", **settings) == 200
    if who == "an agent" and kind != "no_answer":
        await until_reached(house, anna, "102")
    await house.allow("DE")
    await until_refused(house, anna, f"sip:{ALLOWED}@{HOST}")
    house.carrier.seen.clear()
    target = "102" if who == "an agent" else SALES
    if reply is None and (kind == "no_answer" or who == "a group"):
        await anna.rung_for(f"sip:{target}@{HOST}", 6.5 if kind == "no_answer" and who == "an agent" else 0.5)
    else:
        await anna.invite(f"sip:{target}@{HOST}")
    assert not house.carrier.seen


@pytest.mark.parametrize("code", ["*69", "*88", "*98", "*31", "*82", "*43", "*97"])
async def test_no_other_code_is_a_way_out_for_what_follows_it(house: House, code: str) -> None:
    anna = await house.phone("anna")
    for trick in NUMBERS[::5]:
        house.carrier.seen.clear()
        _, dialog = await anna.invite(whole(code + trick.sent))
        if dialog is not None:
            await anna.within(dialog, "BYE")
        assert not house.carrier.seen, trick.name
    await anna.invite(f"sip:*31{ALLOWED}@{HOST}")
    assert house.invited(), "what hides the caller's number calls an allowed one"


async def test_no_code_that_picks_calls_up_gets_out_and_it_does_pick_them_up(house: House) -> None:
    anna, ben, carl = [await house.phone(user) for user in ("anna", "ben", "carl")]
    for trick in tricks(Way.PICKUP, Stack.RAW):
        for text in (trick.sent, trick.twin):
            assert (await anna.invite(whole("**" + text)))[1] is None, trick.name
            emptied(house, trick)
    carl.reply = lambda _request: None

    async def pick_up() -> int:
        return (await anna.invite(f"sip:**103@{HOST}"))[0]

    await house.picked_up(ben, carl, pick_up)


async def test_an_attended_transfer_gets_out_by_none_of_them_whichever_dialog_it_names(house: House) -> None:
    """Refused where she asks first, she names another dialog that is hers, with the number that was refused."""
    anna, ben, carl = [await house.phone(user) for user in ("anna", "ben", "carl")]
    ben.reply = carl.reply = lambda _request: "200"

    async def consult(text: str) -> None:
        _, dialog = await anna.invite(f"sip:102@{HOST}")
        status, asked = await anna.invite(whole(text))
        assert dialog is not None
        if asked is not None:
            assert await anna.within(dialog, "REFER", f"Refer-To: <{whole(text)}?Replaces={asked.as_replaced()}>\r\n") == 202
            assert await anna.transferred() == 200
            return
        assert status >= 400
        _, other = await anna.invite(f"sip:103@{HOST}")
        assert other is not None
        for named in (other, dialog):
            if await anna.within(dialog, "REFER", f"Refer-To: <{whole(text)}?Replaces={named.as_replaced()}>\r\n") == 202:
                await anna.transferred()
            emptied(house, Trick("attended", text))
        for call in (other, dialog):
            await anna.within(call, "BYE")

    house.carrier.reply = lambda _request: "200"
    await tried(house, tricks(Way.ATTENDED, Stack.RAW), consult)


async def test_no_registration_is_a_way_out(house: House) -> None:
    anna, ben = await house.phone("anna"), await house.phone("ben")
    there = f"127.0.0.1:{house.deployment.carrier_port}"
    contacts = (
        f"<sip:+5371234567@{there}>", f"<sip:{ALLOWED}@{there}>", f"<sip:ben@{there}>", "<tel:+5371234567>", f"<tel:{ALLOWED}>",
        f"<sip:+5371234567@{HOST}>", f"<sip:{ALLOWED}@{HOST}>", f"<sip:102@{HOST}>", f"<sip:ben@127.0.0.1:{ben.port};maddr=127.0.0.1>",
        f"<sip:ben@localhost:{house.deployment.carrier_port}>", f"<sip:ben@0x7f000001:{house.deployment.carrier_port}>",
        f"<sip:ben@2130706433:{house.deployment.carrier_port}>", "<urn:service:sos>", "<http://127.0.0.1/>",
    )  # fmt: skip
    for contact in contacts:
        await ben.register(contact)
        await anna.invite(f"sip:102@{HOST}")
        assert not house.carrier.seen, contact
    assert await ben.register() == 200
    await anna.invite(f"sip:102@{HOST}")
    assert any(text.startswith("INVITE ") for text in ben.seen), "a phone's own contact is rung"


async def test_digits_in_a_call_are_no_way_out(house: House) -> None:
    async with house.talk() as (anna, dialog, ben, others):
        for digits in ("*72005371234567#", "005371234567#", "#1005371234567", "##5371234567", "*1+5371234567"):
            for phone, call in ((anna, dialog), (ben, others)):
                for digit in digits:
                    await phone.within(call, "INFO", "Content-Type: application/dtmf-relay\r\n", f"Signal={digit}\r\nDuration=100\r\n")
        assert not house.carrier.seen
        assert await anna.within(dialog, "REFER", f"Refer-To: <sip:{ALLOWED}@{HOST}>\r\n") == 202
        await anna.transferred()
        assert house.invited(), "the call could lead out all the time"


async def test_click_to_call_gets_out_by_none_of_them_and_rings_no_phone_for_them(house: House) -> None:
    anna = await house.phone("anna")
    anna.reply = lambda _request: "200"

    async def click(text: str) -> None:
        anna.seen.clear()
        status = await house.click("anna", text.format(host=HOST))
        if status == 201:
            await until(lambda: any(text.startswith("ACK ") for text in house.carrier.seen), what="the carrier's refusal is taken")
            await until(lambda: any(text.startswith("BYE ") for text in anna.seen), what="the agent is told")
        else:
            assert status in (403, 422)
            assert not anna.seen, "a phone rang for what may not be called"

    await tried(house, tricks(Way.CLICK, Stack.API), click)


async def test_what_is_forbidden_between_click_and_answer_is_not_called(house: House) -> None:
    anna = await house.phone("anna")
    anna.reply = lambda _request: None
    assert await house.click("anna", ALLOWED) == 201
    await until(lambda: any(text.startswith("INVITE ") for text in anna.seen), what="the agent's phone rings")
    await house.allow("DE")
    await until_refused(house, anna, f"sip:{ALLOWED}@{HOST}")
    house.carrier.seen.clear()
    anna.reply = lambda _request: "200"
    anna.answer_again()
    await until(lambda: any(text.startswith("BYE ") for text in anna.seen), what="the agent is told")
    assert not house.carrier.seen
    await house.allow("DE", "GB")

    async def clicked() -> bool:
        return await house.click("anna", ALLOWED) == 201

    await until(clicked, what="the wider list")
    await until(house.invited, what="the same click is a call")


async def test_a_phone_that_was_rung_by_a_click_gets_nothing_else_out(house: House) -> None:
    anna, there = await house.phone("anna"), f"127.0.0.1:{house.deployment.carrier_port}"
    redirections = [f"302 <{whole(text)}>" for trick in NUMBERS[::4] for text in (trick.sent, trick.twin)]
    for reply in (*redirections, f"302 <sip:+5371234567@{there}>", f"302 <tel:{ALLOWED}>", "380 Alternative Service", "603 Decline"):
        anna.reply = lambda _request, reply=reply: reply  # type: ignore[misc]
        assert await house.click("anna", ALLOWED) == 201
        await until(lambda: any(text.startswith("ACK ") for text in anna.seen), what="the phone's answer is taken")
        assert not house.carrier.seen, reply
        anna.seen.clear()
    anna.reply = lambda _request: "200"
    assert await house.click("anna", ALLOWED) == 201
    await until(house.invited, what="a phone that takes the call calls out")


async def test_nobody_is_called_into_a_conference_by_any_of_them(house: House) -> None:
    anna, api = await house.phone("anna"), house.deployment.api()
    _, dialog = await anna.invite(f"sip:*8801@{HOST}")
    assert dialog is not None

    async def room() -> str:
        listed = (await api.get("/v1/calls?direction=conference&state=active"))["items"]
        return next((call["id"] for call in listed if call["joined_call_id"] is None), "")

    path = f"/v1/calls/{await until(room, what='the room')}/participants"

    async def invite(text: str) -> None:
        status = (await api.ask("POST", path, {"agent": "anna", "to": text.format(host=HOST)})).status
        if status == 201:
            await until(lambda: any(text.startswith("ACK ") for text in house.carrier.seen), what="the carrier's refusal is taken")
        else:
            assert status in (403, 422)

    await tried(house, tricks(Way.CONFERENCE, Stack.API), invite)
    house.carrier.seen.clear()
    for agent in ("ben", "carl", "nobody"):
        assert (await api.ask("POST", path, {"agent": agent, "to": ALLOWED})).status in (403, 422), "who is not in it invites nobody"
    assert not house.carrier.seen
    await anna.within(dialog, "BYE")
    assert (await api.ask("POST", path, {"agent": "anna", "to": ALLOWED})).status in (404, 422, 403)
    assert not house.carrier.seen


async def test_requests_without_a_call_are_no_way_out(house: House) -> None:
    anna = await house.phone("anna")
    for method in ("REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "UPDATE", "OPTIONS"):
        for uri in (f"sip:+5371234567@{HOST}", f"sip:{ALLOWED}@{HOST}"):
            await anna.alone(method, uri, f"Refer-To: <{uri}>\r\nEvent: presence\r\n")
            assert not house.carrier.seen, (method, uri)
