"""Routes that could not be followed are refused while there is no dialog yet."""

import pytest

from hushwire.sip.effects import RequestReceived
from tests.sip.world import World, events, request_text, responses


@pytest.mark.parametrize("name", ["Record-Route", "Route"])
@pytest.mark.parametrize("uri", ["tel:+4930555", "https://p1.example/"])
def test_a_route_that_is_no_sip_uri_is_refused_before_a_call_could_hang_on_it(name: str, uri: str) -> None:
    effects = World().receive(request_text(extra=f"{name}: <{uri}>\r\n"))
    assert events(effects, RequestReceived) == []
    assert responses(effects) == [400]
