"""Colleagues' state against real gateways: lamps that follow calls, what they show of whom to whom, and on how many gateways."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hushwire.sdp.offer_answer import Srtp
from hushwire.sip import effects as sip
from hushwire.sip.flow import Transport
from hushwire.sip.message import Request
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, HOST, Peer, World, need_program, running
from tests.services.test_two_gateways import another, known
from tests.services.watcher import Watcher, state_of

pytestmark = need_program
NS = "{urn:ietf:params:xml:ns:dialog-info}"


@dataclass
class Told:
    """A dialog-info document."""

    version: int
    is_full: bool
    states: list[tuple[str, str]]
    remotes: list[str]


def read(notify: Request) -> Told:
    assert notify.headers.get("Content-Type") == "application/dialog-info+xml"
    root = ElementTree.fromstring(notify.body)
    states = [(dialog.attrib["direction"], dialog.findtext(NS + "state") or "") for dialog in root]
    remotes = [found.text or "" for found in root.iter(NS + "identity")]
    return Told(int(root.attrib["version"]), root.attrib["state"] == "full", states, remotes)


@asynccontextmanager
async def watched(databases: Databases, folder: Path, **org: Any) -> AsyncIterator[World]:
    async with running(databases, folder, **org) as world:
        yield world


@asynccontextmanager
async def watcher(port: int, user: str) -> AsyncIterator[Watcher]:
    phone = await Watcher.open(port, user)
    try:
        yield phone
    finally:
        phone.close()


async def states(phone: Watcher, *wanted: tuple[str, str]) -> list[Told]:
    """The documents up to the one that says this of the only call; states between may have been told together."""
    found = []
    while True:
        found.append(read(await phone.told()))
        if found[-1].states == list(wanted):
            return found


async def test_a_lamp_follows_a_colleagues_calls_and_shows_no_number(databases: Databases, tmp_path: Path) -> None:
    async with watched(databases, tmp_path) as world, watcher(world.port, "ben") as ben:
        anna = await world.peer("anna")
        assert (await ben.subscribe("101", "dialog")).status == 200
        first = await ben.told()
        assert (read(first), state_of(first)) == (Told(0, True, [], []), "active")
        anna.invite("03023125999")
        incoming = await world.carrier.expect(sip.RequestReceived)
        world.carrier.endpoint.respond(incoming.tx, 180)
        told = await states(ben, ("initiator", "early"))
        world.carrier.accept(incoming)
        await anna.expect(sip.Progress)
        accepted = await anna.expect(sip.Accepted)
        told += await states(ben, ("initiator", "confirmed"))
        anna.endpoint.bye(accepted.dialog)
        told += await states(ben, ("initiator", "terminated"))
        assert [document.version for document in told] == list(range(1, len(told) + 1))
        assert not any(document.is_full for document in told)
        assert not any(document.remotes for document in told)
        assert ben.notifies.empty()


async def test_with_numbers_a_lamp_shows_with_whom_unless_they_hide(databases: Databases, tmp_path: Path) -> None:
    async with watched(databases, tmp_path, presence="numbers") as world, watcher(world.port, "sue") as sue:
        anna, ben = await world.peer("anna"), await world.peer("ben")
        assert (await sue.subscribe("ben", "dialog")).status == 200
        assert read(await sue.told()).states == []
        for dialled, shown in (("102", [f"sip:101@{HOST}"]), ("*31102", [])):
            anna.invite(dialled)
            incoming = await ben.expect(sip.RequestReceived)
            assert (await states(sue, ("recipient", "early")))[-1].remotes == shown
            ben.endpoint.respond(incoming.tx, 486)
            await anna.expect(sip.Rejected)
            await states(sue, ("recipient", "terminated"))
        ben.invite("03023125999")
        incoming = await world.carrier.expect(sip.RequestReceived)
        assert (await states(sue, ("initiator", "early")))[-1].remotes == [f"sip:{FAR_NUMBER}@{HOST}"]
        world.carrier.endpoint.respond(incoming.tx, 486)
        await ben.expect(sip.Rejected)
        await states(sue, ("initiator", "terminated"))
        ben.invite("112")
        incoming = await world.carrier.expect(sip.RequestReceived)
        assert (await states(sue, ("initiator", "early")))[-1].remotes == [], "whom somebody called in need is between them"
        world.carrier.endpoint.respond(incoming.tx, 486)


async def test_where_nobody_may_watch_colleagues_are_as_if_not_there_and_oneself_is(databases: Databases, tmp_path: Path) -> None:
    async with watched(databases, tmp_path) as world, watcher(world.port, "ben") as ben:
        assert (await ben.subscribe("101", "dialog")).status == 200
        assert state_of(await ben.told()) == "active"
        async with world.owner.organisation(world.organisation.id) as connection:
            await connection.execute("UPDATE orgs SET presence = 'off' WHERE id = $1", world.organisation.id)
        last = await ben.told()
        assert (state_of(last), last.body) == ("terminated;reason=rejected", b"")
        answers = [await ben.subscribe(name, event) for name in ("101", "nobody") for event in ("dialog", "presence")]
        assert {(answer.status, answer.headers.get("Reason")) for answer in answers} == {
            (404, 'SIP;cause=404;text="There is nobody here to watch by this name"')
        }
        assert (await ben.subscribe("ben", "dialog")).status == 200
        assert world.gateway.notifier.told()["subscriptions"] == 1


async def test_presence_says_who_has_a_phone_and_who_is_on_it(databases: Databases, tmp_path: Path) -> None:
    async with watched(databases, tmp_path) as world, watcher(world.port, "ben") as ben:
        world.gateway.notifier._packages["presence"].interval_s = 0.1  # type: ignore[misc]
        assert (await ben.subscribe("anna", "presence", more="Accept: application/pidf+xml\r\n")).status == 200
        first = await ben.told()
        assert b"<basic>closed</basic>" in first.body
        anna = await world.peer("anna")
        second = await ben.told()
        assert b"<basic>open</basic>" in second.body
        assert b"on-the-phone" not in second.body
        anna.invite("03023125999")
        incoming = await world.carrier.expect(sip.RequestReceived)
        assert b"on-the-phone" in (await ben.told(20)).body
        world.carrier.endpoint.respond(incoming.tx, 486)


async def test_a_burst_of_changes_is_told_together_once_the_interval_is_over(databases: Databases, tmp_path: Path) -> None:
    async with watched(databases, tmp_path) as world, watcher(world.port, "ben") as ben:
        anna = await world.peer("anna")
        assert (await ben.subscribe("101", "dialog")).status == 200
        assert read(await ben.told()).states == []
        for _ in range(4):
            anna.invite("03023125999")
            incoming = await world.carrier.expect(sip.RequestReceived)
            world.carrier.endpoint.respond(incoming.tx, 486)
            await anna.expect(sip.Rejected)
        before = world.gateway.notifier.notified
        await until(lambda: not world.gateway.notifier._later and not world.gateway.notifier._stale, timeout_s=10, what="all is told")
        assert world.gateway.notifier.notified - before <= 2, "twelve changes within a second"


async def test_a_lamp_follows_calls_of_another_gateway(databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    async with watched(databases, tmp_path / "a") as world, another(databases, tmp_path / "b") as b:
        await until(lambda: b.neighbours.nodes and world.gateway.neighbours.nodes, timeout_s=20, what="they know one another")
        anna = await world.peer("anna")
        await known(b, "anna")
        async with watcher(b.endpoint.addresses[Transport.UDP].port, "sue") as sue:
            assert (await sue.subscribe("anna", "dialog")).status == 200
            assert read(await sue.told()).states == []
            ben = await Peer.open(world.port)
            world.peers.append(ben)
            assert await ben.register("ben") == 200
            ben.invite("101")
            incoming = await anna.expect(sip.RequestReceived)
            await states(sue, ("recipient", "early"))
            anna.accept(incoming, srtp=Srtp.REQUIRED)
            accepted = await ben.expect(sip.Accepted)
            await states(sue, ("recipient", "confirmed"))
            ben.endpoint.bye(accepted.dialog)
            last = (await states(sue, ("recipient", "terminated")))[-1]
            assert not re.search("101|102", "".join(last.remotes))
