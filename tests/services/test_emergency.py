"""Emergency calls: to the carrier that takes them, with where the caller is, unrecorded, told of; and refused in words where none does."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_string
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree

import pytest

from hushwire.app.doctor_emergency import told
from hushwire.core.clock import Clock
from hushwire.core.errors import ConfigError
from hushwire.core.ids import CallId, OrgId, TrunkId
from hushwire.core.personal import Personal
from hushwire.services.clocks import Clocks
from hushwire.services.emergencies import EmergencyAlarms, in_order, location, location_error
from hushwire.services.notices import Notices
from hushwire.services.trunk import Trunk
from hushwire.sip import effects as sip
from hushwire.sip.geolocation import pidf_lo
from hushwire.sip.headers import Headers
from hushwire.sip.message import Response
from hushwire.sip.uri import parse_sip_uri
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.redteam.phones import Socket
from tests.services.running import ROOT, World, need_program, running, specs

ADDRESS = (("country", "DE"), ("A3", "Köln"), ("RD", "Am Dom; 1"), ("PC", "50667"))


def trunk(name: str, **more: object) -> Trunk:
    made = Trunk(TrunkId(UUID(int=1)), name, parse_sip_uri("sip:192.0.2.1"), "never", None, frozenset(), "auto")
    return replace(made, **more)  # type: ignore[arg-type]


def test_marked_carriers_come_first_then_those_of_the_country_and_never_one_that_takes_none() -> None:
    plain, german, french = trunk("plain"), trunk("german", country="DE"), trunk("french", country="FR")
    marked, abroad, never = trunk("marked", emergency=True), trunk("abroad", emergency=True, country="FR"), trunk("never", emergency=False)
    found = in_order([never, french, abroad, plain, german, marked], "DE")
    assert [one.name for one in found] == ["marked", "plain", "german", "abroad"]
    assert in_order([never, french], "DE") == []


def test_the_address_goes_in_the_carriers_own_header_and_can_end_neither_it_nor_a_part_of_it() -> None:
    carrier = trunk("carrier", location_header="X-Location")
    assert location(carrier, Personal(ADDRESS)) == (("X-Location", "country=DE;A3=K%C3%B6ln;RD=Am%20Dom%3B%201;PC=50667"),)
    assert location(carrier, None) == location(trunk("other"), Personal(ADDRESS)) == ()


def test_the_doctor_says_beforehand_who_could_call_nobody() -> None:
    assert "marked" in told([("DE", True), (None, None)])
    assert "ask the carrier" in told([(None, None)])
    for carriers in ([], [(None, False)], [("DE", None), ("FR", False)]):
        with pytest.raises(ConfigError):
            told(carriers)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def provisioned(world: World, *, record_emergency: bool = False, others: tuple[int, ...] = (), **more: object) -> None:
    before, trunks = world.organisation.rules.version, world.gateway.directory.trunks
    desired = specs(world.carrier.local_port, record_emergency=record_emergency)
    spec = desired.orgs[0]
    anna = replace(spec.agents[0], address=ADDRESS)
    marked = replace(desired.trunks[0], **more)  # type: ignore[arg-type]
    more_ways = tuple(replace(marked, name=f"other-{port}", uri=f"sip:127.0.0.1:{port}", priority=9) for port in others)
    await world.provisioning.apply(replace(desired, trunks=(marked, *more_ways), orgs=(replace(spec, agents=(anna, *spec.agents[1:])),)))
    await until(lambda: world.organisation.rules.version > before and world.gateway.directory.trunks != trunks)


async def alarms(world: World) -> EmergencyAlarms:
    main = await world.databases.connect("main", "worker", max_size=1)
    keyring = Keyring(await world.databases.connect("keyring", "worker", max_size=1), ROOT.role_keys(opener=False))
    clock: Clock = world.provisioning.clock
    random = world.provisioning.random
    return EmergencyAlarms(Notices(main, keyring, Clocks(clock, random), clock, random))


@need_program
async def test_an_emergency_call_carries_the_address_is_not_recorded_and_is_told_of_once(world: World) -> None:
    await provisioned(world, emergency=True, location_header="X-Location")
    anna = await world.peer("anna")
    anna.invite("112")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith("sip:112@")
    assert incoming.request.headers.get("X-Location") == "country=DE;A3=K%C3%B6ln;RD=Am%20Dom%3B%201;PC=50667"
    world.carrier.accept(incoming)
    accepted = await anna.expect(sip.Accepted)
    row = await world.row("calls", state="active", verdict="emergency")
    assert row["recording_id"] is None
    live = world.gateway.calling.find(CallId(row["id"]))
    assert live is not None
    assert await world.gateway.calling.recorder.start(live) == "emergency calls are not recorded here"
    service = await alarms(world)
    assert await service.tell() == 1
    assert await service.tell() == 0
    notice = await world.row("notices", kind="emergency-call")
    assert notice["subject_id"] == row["id"]
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended")


CIVIC = ["country", "A1", "A2", "A3", "A4", "A5", "A6", "PRM", "PRD", "RD", "STS", "POD", "POM", "RDSEC", "RDBR", "RDSUBBR", "HNO", "HNS"]
CIVIC += ["LMK", "LOC", "FLR", "NAM", "PC", "BLD", "UNIT", "ROOM", "SEAT", "PLC", "PCN", "POBOX", "ADDCODE"]
"""As the schema of RFC 5139, section 4, wants them one after the other."""
SPACES = {
    "p": "urn:ietf:params:xml:ns:pidf",
    "gp": "urn:ietf:params:xml:ns:pidf:geopriv10",
    "gbp": "urn:ietf:params:xml:ns:pidf:geopriv10:basicPolicy",
    "ca": "urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr",
}


@need_program
async def test_a_carrier_that_asks_for_it_reads_the_address_beside_the_session_description_as_rfc_6442_has_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = await Socket().bind()
    await provisioned(world, emergency=True, geolocation=True, uri=f"sip:127.0.0.1:{carrier.port}")
    anna = await world.peer("anna")
    anna.invite("112")
    assert (await anna.expect(sip.Rejected)).status == 486
    [invite] = {text for text in carrier.seen if text.startswith("INVITE sip:112@")}
    head, _, body = invite.partition("\r\n\r\n")
    fields = message_from_string(head.partition("\r\n")[2])
    said = message_from_string(f"Content-Type: {fields['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n{body}")
    assert (said.get_content_type(), int(fields["Content-Length"])) == ("multipart/mixed", len(body.encode()))
    sdp, location = said.get_payload()  # type: ignore[misc]
    assert (sdp.get_content_type(), location.get_content_type()) == ("application/sdp", "application/pidf+xml")  # type: ignore[union-attr]
    assert str(sdp.get_payload()).startswith("v=0\r\n")  # type: ignore[union-attr]
    reference = location["Content-ID"].strip("<>")  # type: ignore[index, union-attr]
    assert (fields["Geolocation"], fields["Geolocation-Routing"]) == (f"<cid:{reference}>", "yes")
    presence = ElementTree.fromstring(str(location.get_payload()).encode())  # type: ignore[union-attr]
    assert presence.tag == f"{{{SPACES['p']}}}presence"
    assert presence.get("entity", "").startswith("sip:+493023125000@")
    geopriv = presence.find("p:tuple/p:status/gp:geopriv", SPACES)
    assert geopriv is not None
    assert [child.tag for child in geopriv] == [f"{{{SPACES['gp']}}}{name}" for name in ("location-info", "usage-rules", "method")]
    civic = geopriv.find("gp:location-info/ca:civicAddress", SPACES)
    assert civic is not None
    found = [(part.tag.removeprefix(f"{{{SPACES['ca']}}}"), part.text) for part in civic]
    assert sorted(found) == sorted(ADDRESS)
    assert [name for name, _ in found] == sorted((name for name, _ in ADDRESS), key=CIVIC.index)
    kept = geopriv.findtext("gp:usage-rules/gbp:retention-expiry", "", SPACES)
    assert timedelta(hours=23) < datetime.fromisoformat(kept) - datetime.now(UTC) <= timedelta(hours=24)
    assert "Köln" not in caplog.text
    stored = next(row["address_sealed"] for row in await world.rows("agents") if row["address_sealed"] is not None)
    assert "Köln".encode() not in stored
    carrier.close()


class Forgetful(Socket):
    """A carrier that nothing reaches which has more than one part: what UDP does to long packets in many networks."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if b"multipart/mixed" not in data:
            super().datagram_received(data, addr)
        else:
            self.seen.append(data.decode())


def located(text: str) -> bool:
    return "Content-Type: multipart/mixed" in text


@need_program
async def test_a_carrier_that_does_not_take_the_document_is_asked_again_at_once_without_it_and_the_next_one_only_after_that(
    world: World,
) -> None:
    first, second = await Socket().bind(), await Socket().bind()
    await provisioned(world, emergency=True, geolocation=True, uri=f"sip:127.0.0.1:{first.port}", others=(second.port,))
    anna = await world.peer("anna")
    for refusal in ("415 Unsupported Media Type", "424 Bad Location Information", "488 Not Acceptable Here", "400 Bad Request", "500 Oops"):
        first.reply = lambda text, refusal=refusal: refusal if located(text) else "486 Busy Here"  # type: ignore[misc]
        first.seen.clear()
        second.seen.clear()
        anna.invite("112")
        assert (await anna.expect(sip.Rejected)).status == 486
        invites = list(dict.fromkeys(text for text in first.seen if text.startswith("INVITE ")))
        assert [located(text) for text in invites] == [True, False], refusal
        assert "Geolocation" not in invites[1]
        assert "Köln" not in invites[1]
        assert any(text.startswith("INVITE ") for text in second.seen), "what one way answers ends no call for help"
    first.close()
    second.close()


@need_program
async def test_a_call_for_help_whose_document_is_lost_on_the_way_is_made_without_it(world: World) -> None:
    carrier = await Forgetful(reply=lambda _: "200").bind()
    await provisioned(world, emergency=True, geolocation=True, uri=f"sip:127.0.0.1:{carrier.port}", silent_after_s=1)
    anna = await world.peer("anna")
    anna.invite("112")
    accepted = await anna.expect(sip.Accepted)
    assert any(located(text) for text in carrier.seen)
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended")
    carrier.close()


def test_of_what_a_carrier_says_against_a_location_only_its_number_is_told() -> None:
    def said(value: str) -> int | None:
        return location_error(Response(424, "Bad Location Information", Headers([("Geolocation-Error", value)])))

    assert said('300;code="Am Dom 1 is nowhere"') == 300
    assert said("Am Dom 1") is said("3001") is location_error(None) is None


def test_whatever_an_address_holds_the_document_is_one_and_says_it() -> None:
    odd = (("A3", 'Köln <&>"]]>'), ("NAM", "\x00a\ud800\ufffe\U0001f690"), ("country", "DE"))
    read = ElementTree.fromstring(pidf_lo('sip:"<x>@example.org', odd, datetime(2026, 12, 1, tzinfo=UTC)))
    assert [(part.tag.rpartition("}")[2], part.text) for part in read.iterfind(".//ca:civicAddress/*", SPACES)] == [
        ("country", "DE"),
        ("A3", 'Köln <&>"]]>'),
        ("NAM", "a\U0001f690"),
    ]


@need_program
async def test_nobody_is_told_of_one_that_is_more_than_a_week_old(world: World) -> None:
    await provisioned(world, emergency=False)
    anna = await world.peer("anna")
    anna.invite("112")
    assert (await anna.expect(sip.Rejected)).status == 503
    await world.row("calls", verdict="emergency")
    async with (await world.databases.connect("main", "owner", max_size=1)).organisation(OrgId(world.organisation.id)) as connection:
        await connection.execute("UPDATE calls SET started_at = started_at - interval '8 days'")
    service = await alarms(world)
    assert [await service.tell(), await service.tell()] == [1, 0]
    assert await world.rows("notices") == []


@need_program
async def test_where_the_law_of_the_home_country_says_so_it_is_recorded(world: World) -> None:
    await provisioned(world, record_emergency=True, emergency=True)
    anna = await world.peer("anna")
    anna.invite("112")
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    accepted = await anna.expect(sip.Accepted)
    await world.row("recordings", state="live")
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended")


@need_program
async def test_where_no_carrier_takes_it_the_call_is_refused_in_words_and_told_of(world: World) -> None:
    await provisioned(world, emergency=False)
    anna = await world.peer("anna")
    anna.invite("112")
    rejected = await anna.expect(sip.Rejected)
    assert rejected.status == 503
    assert rejected.response is not None
    assert rejected.response.headers.get("Reason") == 'SIP;cause=503;text="No carrier here takes emergency calls: call from another phone"'
    assert world.carrier.events.empty()
    await world.row("calls", verdict="emergency", end_reason="no-emergency-route")
    assert await (await alarms(world)).tell() == 1
