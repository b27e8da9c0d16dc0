"""Whose a certificate is (RFC 5922 section 7), told from what OpenSSL reads, and on a real connection."""

from pathlib import Path
from typing import Any

import pytest

from hushwire.sip.effects import Cause, Responded
from hushwire.sip.flow import Target, Transport
from hushwire.transport.tls import client_context, server_context, stands_for
from tests.sip.world import ANNA, BOB
from tests.transport.stage import certificates, stage


def certificate(*names: tuple[str, str], common: str = "carrier.example") -> dict[str, Any]:
    return {"subject": ((("commonName", common),),), "subjectAltName": names}


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        ([("DNS", "carrier.example")], "carrier.example", True),
        ([("DNS", "Carrier.Example.")], "carrier.example", True),
        ([("DNS", "sip.carrier.example")], "carrier.example", False),
        ([("DNS", "*.carrier.example")], "sip.carrier.example", False),
        ([("DNS", "carrier.example.evil.example")], "carrier.example", False),
        ([("URI", "sip:carrier.example")], "carrier.example", True),
        ([("URI", "sip:carrier.example"), ("DNS", "host7.carrier.example")], "host7.carrier.example", False),
        ([("URI", "sip:anna@carrier.example")], "carrier.example", False),
        ([("URI", "https://carrier.example")], "carrier.example", False),
        ([("URI", "https://carrier.example"), ("DNS", "carrier.example")], "carrier.example", True),
        ([("IP Address", "192.0.2.1")], "192.0.2.1", True),
        ([("DNS", "192.0.2.1")], "192.0.2.1", False),
        ([("IP Address", "2001:DB8:0:0:0:0:0:1")], "2001:db8::1", True),
        ([], "carrier.example", False),
    ],
)
def test_a_certificate_stands_for_its_domains_and_for_nothing_like_them(names: list[tuple[str, str]], host: str, fits: bool) -> None:
    assert stands_for(certificate(*names), host) is fits


@pytest.mark.parametrize(("name", "status"), [(None, 200), ("localhost", 200), ("carrier.example", 503)])
async def test_nothing_is_said_to_a_server_whose_certificate_is_another_ones(name: str | None, status: int, tmp_path: Path) -> None:
    ca, chain, key = certificates(tmp_path)
    async with stage(Transport.TLS, server_tls=server_context(chain, key)) as carrier, stage(client_tls=client_context(ca)) as made:
        hop = Target(Transport.TLS, "127.0.0.1", carrier.port(Transport.TLS), name)
        made.endpoint.send("MESSAGE", hop=hop, uri=BOB.sip_uri, from_=ANNA, to=BOB)
        event = await made.next(Responded)
        assert isinstance(event, Responded)
        assert event.status == status
        assert event.cause is (Cause.RESPONSE if status == 200 else Cause.TRANSPORT)
        assert carrier.events.empty() is (status != 200)
