"""Dialogs go on in another endpoint, and what is written of an answer before anybody reads it."""

import asyncio

import pytest

from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import Accepted, AckReceived, DialogEnded, DialogKey, Event, InDialogRequest, RequestReceived, Responded
from hushwire.sip.flow import Flow, Target, Transport
from hushwire.transport.endpoint import EndpointConfig, Listen, SipEndpoint
from tests.sip.world import ANNA, BOB, OFFER
from tests.transport.stage import RealClock, RealRandom, Stage, answer_calls, stage


async def talking(caller: Stage, callee: Stage, transport: Transport) -> tuple[DialogKey, DialogKey]:
    caller.endpoint.invite(
        hop=Target(transport, "127.0.0.1", callee.port(transport)), uri="sip:bob@127.0.0.1", from_=ANNA, to=BOB, body=OFFER
    )
    accepted, acknowledged = await caller.next(Accepted), await callee.next(AckReceived)
    assert isinstance(accepted, Accepted)
    assert isinstance(acknowledged, AckReceived)
    return accepted.dialog, acknowledged.dialog


def accept_all(made: Stage, event: Event) -> None:
    if isinstance(event, InDialogRequest):
        made.endpoint.respond(event.tx, 200, body=event.request.body)


async def succeeding(before: Stage, dialog: DialogKey, transport: Transport) -> Stage:
    """A process dies; the next one binds its port and goes on with its dialog."""
    kept = before.endpoint.dialog(dialog)
    assert kept is not None
    port = before.port(transport)
    await before.endpoint.close()
    after = Stage(EndpointConfig((Listen(transport, "127.0.0.1", port),)), accept_all)
    await after.endpoint.start([kept])
    return after


@pytest.mark.parametrize("is_caller", [True, False])
async def test_over_udp_the_peer_notices_nothing_and_both_can_go_on_and_end(is_caller: bool) -> None:
    async with stage(Transport.UDP) as one, stage(Transport.UDP) as other:
        dialogs = await talking(one, other, Transport.UDP)
        (dying, mine), (peer, theirs) = ((one, dialogs[0]), (other, dialogs[1])) if is_caller else ((other, dialogs[1]), (one, dialogs[0]))
        after = await succeeding(dying, mine, Transport.UDP)
        try:
            peer.react = accept_all
            assert peer.endpoint.reinvite(theirs, body=OFFER) is not None
            answer = await peer.next(Responded)
            assert isinstance(answer, Responded)
            assert answer.status == 200
            await after.next(AckReceived)
            assert after.endpoint.reinvite(mine, body=OFFER) is not None
            answer = await after.next(Responded)
            assert isinstance(answer, Responded)
            assert answer.status == 200
            after.endpoint.bye(mine)
            await peer.next(DialogEnded)
        finally:
            await after.endpoint.close()


async def test_over_tcp_the_dialog_waits_for_its_peer_on_a_new_connection() -> None:
    async with stage(Transport.TCP) as one, stage(Transport.TCP) as other:
        mine, theirs = (await talking(one, other, Transport.TCP))[::-1]
        after = await succeeding(other, mine, Transport.TCP)
        try:
            kept = after.endpoint.dialog(mine)
            assert kept is not None
            assert isinstance(kept.hop, Flow)
            assert kept.hop.id < 0
            one.endpoint.bye(theirs)
            assert isinstance(await after.next(DialogEnded), DialogEnded)
        finally:
            await after.endpoint.close()


async def test_all_that_follows_from_a_message_is_told_and_can_be_written_before_anything_of_it_is_sent() -> None:
    order: list[str] = []
    made: list[SipEndpoint] = []

    def told(event: Event) -> None:
        order.append(type(event).__name__)
        if isinstance(event, RequestReceived):
            with made[0].held():
                dialog = made[0].respond(event.tx, 200, body=OFFER)
                order.append("answered")
            assert dialog is not None
            dialogs.append(dialog)

    dialogs: list[DialogKey] = []
    kept: list[Dialog | None] = []

    def before_send() -> None:
        order.append("written")
        kept.extend(made[0].dialog(key) for key in dialogs)

    callee = SipEndpoint(EndpointConfig((Listen(Transport.UDP, "127.0.0.1", 0),)), RealClock(), RealRandom(), told, before_send=before_send)
    made.append(callee)
    await callee.start()
    try:
        async with stage(Transport.UDP) as caller:
            target = Target(Transport.UDP, "127.0.0.1", callee.addresses[Transport.UDP].port)
            caller.endpoint.invite(hop=target, uri="sip:bob@127.0.0.1", from_=ANNA, to=BOB, body=OFFER)
            await caller.next(Accepted)
            assert order[:3] == ["RequestReceived", "answered", "written"]
            assert kept[0] is not None
    finally:
        await callee.close()


async def test_what_is_commanded_while_held_is_sent_at_the_end() -> None:
    async with stage(Transport.UDP) as caller, stage(Transport.UDP) as callee:
        seen: list[Event] = []
        callee.react = lambda made, event: (seen.append(event), answer_calls(made, event))[-1]
        with caller.endpoint.held():
            await talking_started(caller, callee)
            await asyncio.sleep(0.05)
            assert seen == []
        await caller.next(Accepted)


async def talking_started(caller: Stage, callee: Stage) -> None:
    target = Target(Transport.UDP, "127.0.0.1", callee.port(Transport.UDP))
    caller.endpoint.invite(hop=target, uri="sip:bob@127.0.0.1", from_=ANNA, to=BOB, body=OFFER)
