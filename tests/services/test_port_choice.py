"""Which legs share ports, decided before any SDP is made."""

from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from hushwire.calls.model import CallDirection, Plan, Terms
from hushwire.core.personal import Personal
from hushwire.media.ports import PortTrouble, PortWish
from hushwire.sdp.offer_answer import Keying, Srtp
from hushwire.services.port_choice import SEEN_ENOUGH, PortChoice
from hushwire.services.route import Route
from tests.calls.drive import target

MUX = b"m=audio 4000 RTP/SAVP 0\r\na=rtcp-mux\r\n"
SDES = Terms(0, Srtp.REQUIRED, "192.0.2.7", (Keying.SDES, Keying.DTLS))


def call(terms: Terms = SDES, media_ports: str = "auto", trunk_id: Any = None, agent_id: Any = None, agent_ports: str = "auto") -> Any:
    """An outbound call as the choice sees it."""
    plan = Plan(CallDirection.OUTBOUND, terms, (target(),), 60.0, True)
    trunk = SimpleNamespace(id=trunk_id or uuid4(), media_ports=media_ports)
    agent: Any = SimpleNamespace(id=agent_id or uuid4(), media_ports=agent_ports)
    route = Route(plan, org=cast(Any, None), agent=agent, trunk=cast(Any, trunk))
    return SimpleNamespace(route=route, stated={}, shared_legs={0, 1})


def wishes(choice: PortChoice, live: Any, offer: bytes = MUX) -> list[PortWish]:
    return [opening.ports for opening in choice.openings(live, offer)]


@pytest.mark.parametrize(
    ("terms", "wish"),
    [
        (SDES, PortWish.BY_KEY),
        (Terms(0, Srtp.REQUIRED, "192.0.2.7", (Keying.WEBRTC,)), PortWish.BY_ICE),
        (Terms(0, Srtp.REQUIRED, "192.0.2.7", (Keying.DTLS,)), PortWish.OWN),
        (Terms(0, Srtp.OPTIONAL, "192.0.2.7", (Keying.SDES,)), PortWish.OWN),
        (Terms(0, Srtp.NEVER, "192.0.2.7"), PortWish.OWN),
        (Terms(0, Srtp.REQUIRED, None), PortWish.OWN),
    ],
)
def test_an_agents_leg_shares_a_port_where_its_packets_can_be_proven(terms: Terms, wish: PortWish) -> None:
    assert wishes(PortChoice(), call(terms))[0] is wish


def test_who_takes_no_rtcp_on_the_port_of_rtp_has_a_pair_at_once_or_from_the_next_call_on() -> None:
    choice, agent = PortChoice(), uuid4()
    assert wishes(choice, call(), b"m=audio 4000 RTP/SAVP 0\r\n")[0] is PortWish.OWN
    live = call(agent_id=agent)
    assert wishes(choice, live)[0] is PortWish.BY_KEY
    live.stated[0] = SimpleNamespace(media=SimpleNamespace(rtcp_mux=False))
    choice.answered(live)
    assert wishes(choice, call(agent_id=agent))[0] is PortWish.OWN


def heard(choice: PortChoice, trunk: Any, port: int, source_port: int | None = None, rtcp_mux: bool = True) -> None:
    live = call(trunk_id=trunk)
    live.stated[1] = SimpleNamespace(media=SimpleNamespace(address="192.0.2.9", port=port, rtcp_mux=rtcp_mux))
    choice.heard(live, 1, Personal((ip_address("192.0.2.9"), source_port or port)))


def test_a_trunks_legs_share_once_it_was_seen_to_send_from_distinct_announced_addresses() -> None:
    choice, trunk = PortChoice(), uuid4()
    for n in range(SEEN_ENOUGH):
        assert wishes(choice, call(trunk_id=trunk))[1] is PortWish.OWN
        heard(choice, trunk, 5000 + 2 * n)
    assert wishes(choice, call(trunk_id=trunk))[1] is PortWish.BY_ADDRESS
    choice.troubled(call(trunk_id=trunk), 1, PortTrouble.UNHEARD)
    assert wishes(choice, call(trunk_id=trunk))[1] is PortWish.OWN


def test_one_address_for_all_calls_or_another_than_announced_or_no_muxed_rtcp_is_no_evidence() -> None:
    for ports, sources, rtcp_mux in (((5000,) * 9, None, True), (range(5000, 5018, 2), 6000, True), (range(5000, 5018, 2), None, False)):
        choice, trunk = PortChoice(), uuid4()
        for port in ports:
            heard(choice, trunk, port, sources, rtcp_mux)
        assert wishes(choice, call(trunk_id=trunk))[1] is PortWish.OWN


def test_a_trunk_that_is_set_to_own_or_shared_is_so_from_its_first_call() -> None:
    assert wishes(PortChoice(), call(media_ports="own"))[1] is PortWish.OWN
    assert wishes(PortChoice(), call(media_ports="shared"))[1] is PortWish.BY_ADDRESS


NO_MUX = b"m=audio 4000 RTP/SAVP 0\r\n"
DTLS = Terms(0, Srtp.REQUIRED, "192.0.2.7", (Keying.DTLS,))
PLAIN = Terms(0, Srtp.NEVER, "192.0.2.7")


@pytest.mark.parametrize(
    ("terms", "offer", "wish"),
    [
        (SDES, MUX, PortWish.BY_KEY),
        (SDES, NO_MUX, PortWish.BY_KEY),
        (Terms(0, Srtp.REQUIRED, None, (Keying.SDES,)), MUX, PortWish.BY_ADDRESS),
        (Terms(0, Srtp.REQUIRED, "192.0.2.7", (Keying.WEBRTC,)), MUX, PortWish.BY_ICE),
        (DTLS, MUX, PortWish.BY_ADDRESS),
        (PLAIN, MUX, PortWish.BY_ADDRESS),
    ],
)
def test_an_agent_that_is_set_to_share_does_so_wherever_its_packets_can_be_found(terms: Terms, offer: bytes, wish: PortWish) -> None:
    assert wishes(PortChoice(), call(terms, agent_ports="shared"), offer)[0] is wish
    assert wishes(PortChoice("shared"), call(terms), offer)[0] is wish


@pytest.mark.parametrize("terms", [SDES, DTLS, PLAIN, Terms(0, Srtp.REQUIRED, "192.0.2.7", (Keying.WEBRTC,))])
def test_an_agent_that_is_set_to_own_never_shares_and_an_agents_word_goes_before_the_deployments(terms: Terms) -> None:
    assert wishes(PortChoice(), call(terms, agent_ports="own"))[0] is PortWish.OWN
    assert wishes(PortChoice("own"), call(terms))[0] is PortWish.OWN
    assert wishes(PortChoice("shared"), call(terms, agent_ports="own"))[0] is PortWish.OWN
    assert wishes(PortChoice("own"), call(SDES, agent_ports="shared"))[0] is PortWish.BY_KEY


def test_a_leg_without_muxed_rtcp_needs_its_own_ports_unless_it_is_set_to_share_or_has_them() -> None:
    leg = SimpleNamespace(leg=0, media=SimpleNamespace(rtcp_mux=False, is_held=False))
    assert PortChoice().needs_own(call(), leg)  # type: ignore[arg-type]
    assert not PortChoice().needs_own(call(agent_ports="shared"), leg)  # type: ignore[arg-type]
    assert not PortChoice("shared").needs_own(call(), leg)  # type: ignore[arg-type]
    live = call()
    live.shared_legs = set()
    assert not PortChoice().needs_own(live, leg)  # type: ignore[arg-type]
    muxed = SimpleNamespace(leg=0, media=SimpleNamespace(rtcp_mux=True, is_held=False))
    assert not PortChoice().needs_own(call(), muxed)  # type: ignore[arg-type]
    trunk = SimpleNamespace(leg=1, media=SimpleNamespace(rtcp_mux=False, is_held=False))
    assert PortChoice().needs_own(call(), trunk)  # type: ignore[arg-type]
    assert not PortChoice().needs_own(call(media_ports="shared"), trunk)  # type: ignore[arg-type]
