"""Certificates fetched from a real https server, which may be anybody's: what is too long, too slow, elsewhere or inside does not come."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from hushwire.transport.fetching import MOST_BYTES, Fetched, Fetching, NotFetched
from hushwire.transport.lookups import Answer, Unanswered
from tests.sti import Repository, repository

LOOPBACK = ("127.0.0.0/8",)


class Names:
    """DNS, which says something else each time it is asked, where it was told so."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)

    async def addresses(self, name: str) -> Answer[str]:
        if not self.answers:
            raise Unanswered
        return Answer(self.answers.pop(0), 60)

    async def naptr(self, name: str) -> Answer[object]:
        raise Unanswered

    srv = naptr


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Repository]:
    async with repository(tmp_path) as running:
        yield running


def fetching(
    web: Repository, names: Names | None = None, networks: tuple[str, ...] = LOOPBACK, timeout_s: float = 5.0, trusts: bool = True
) -> Fetching:
    context = ssl.create_default_context(cafile=str(web.authority) if trusts else None)
    return Fetching(names or Names(), context, networks, (web.port,), timeout_s)  # type: ignore[arg-type]


async def reason(source: Fetching, url: str) -> str:
    with pytest.raises(NotFetched) as caught:
        await source.get(url)
    return caught.value.reason


async def test_a_document_comes_with_how_long_it_may_be_kept(web: Repository) -> None:
    url = web.serve("/a.pem", b"certificates", 200, ("Cache-Control", "public, max-age=120"))
    assert await fetching(web).get(url) == Fetched(b"certificates", 120)
    assert await fetching(web).get(web.serve("/b.pem", b"x")) == Fetched(b"x", None)
    assert await fetching(web).get(web.serve("/c.pem", b"x", 200, ("Cache-Control", "no-store"))) == Fetched(b"x", 0)


async def test_a_name_is_looked_up_once_and_its_certificate_must_be_that_names(web: Repository) -> None:
    web.serve("/a.pem", b"certificates")
    names = Names(("127.0.0.1",), ("10.0.0.1",))
    assert (await fetching(web, names).get(web.url("/a.pem", "cert.example.org"))).body == b"certificates"
    assert len(names.answers) == 1
    assert await reason(fetching(web, Names(("127.0.0.1",))), web.url("/a.pem", "other.example.org")) == "tls"
    assert await reason(fetching(web, trusts=False), web.url("/a.pem")) == "tls"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1", "fe80::1",
                                     "100.64.0.1", "224.0.0.1", "64:ff9b::a00:1",
                                      "64:ff9b:1::1", "2002:7f00:1::", "::127.0.0.1", "::ffff:0:7f00:1", "fec0::1"])  # fmt: skip
async def test_no_address_inside_is_connected_to_by_name_or_in_figures(web: Repository, address: str) -> None:
    web.serve("/a.pem", b"certificates")
    figures = f"[{address}]" if ":" in address else address
    assert await reason(fetching(web, networks=()), web.url("/a.pem", figures)) == "inner-address"
    assert await reason(fetching(web, Names((address,)), networks=()), web.url("/a.pem", "cert.example.org")) == "inner-address"
    assert web.asked == []


@pytest.mark.parametrize("host", [".example.com", "a..example.com", "x" * 64 + ".example.com", "a\x00b.example.com"])
async def test_nothing_comes_from_a_host_whose_name_can_not_be_asked_for(web: Repository, host: str) -> None:
    web.serve("/a.pem", b"certificates")
    assert await reason(fetching(web, Names(("127.0.0.1",))), web.url("/a.pem", host)) == "host"


@pytest.mark.parametrize("authority", ["[::1", "example.com:port", "example.com:99999999"])
async def test_nothing_comes_from_what_is_no_address(web: Repository, authority: str) -> None:
    assert await reason(fetching(web), f"https://{authority}/a.pem") == "port"


async def test_figures_in_odd_spellings_are_names_and_lead_inside_no_more_than_others(web: Repository) -> None:
    for host in ("2130706433", "0x7f000001", "127.1", "0177.0.0.1"):
        assert await reason(fetching(web, Names(("127.0.0.1",)), networks=()), web.url("/a.pem", host)) in ("inner-address", "unresolved")
    assert web.asked == []


async def test_redirects_are_not_followed_and_other_statuses_bring_nothing(web: Repository) -> None:
    inner = web.serve("/inner", b"secret")
    for status in (301, 302, 303, 307, 308):
        assert await reason(fetching(web), web.serve("/away", b"", status, ("Location", inner))) == "redirect"
    for status in (204, 403, 404, 500):
        assert await reason(fetching(web), web.serve("/none", b"", status)) == "status"
    assert "/inner" not in web.asked


async def test_a_document_that_does_not_end_or_does_not_begin_is_given_up(web: Repository) -> None:
    assert await reason(fetching(web), web.serve("/long", bytes(MOST_BYTES + 1))) == "oversized"
    assert len((await fetching(web).get(web.serve("/longest", bytes(MOST_BYTES)))).body) == MOST_BYTES
    assert await reason(fetching(web), web.serve("/headers", b"", 200, ("X-Filler", "a" * 70_000))) == "no-http"
    web.answers["/silent"] = None
    assert await reason(fetching(web, timeout_s=0.3), web.url("/silent")) == "silent"


async def test_only_the_ports_that_are_allowed_are_connected_to(web: Repository) -> None:
    assert await reason(fetching(web), "https://127.0.0.1/a.pem") == "port"
    assert await reason(fetching(web), "https://127.0.0.1:22/a.pem") == "port"
    assert await reason(fetching(web), f"http://127.0.0.1:{web.port}/a.pem") == "port"


async def test_a_name_that_nobody_knows_and_a_server_that_is_not_there_are_told_apart(web: Repository) -> None:
    assert await reason(fetching(web), web.url("/a.pem", "cert.example.org")) == "unresolved"
    assert await reason(fetching(web, Names(())), web.url("/a.pem", "cert.example.org")) == "unresolved"
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    source = Fetching(Names(), ssl.create_default_context(), LOOPBACK, (port,))  # type: ignore[arg-type]
    assert await reason(source, f"https://127.0.0.1:{port}/") == "unreachable"


async def test_interim_answers_without_an_end_are_given_up_before_the_time_is_over(web: Repository) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(OSError):
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500)
                await writer.drain()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(web.authority.parent / "web.pem", web.authority.parent / "web.key")
    server = await asyncio.start_server(odd, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(web.authority))
    source = Fetching(Names(), trusting, LOOPBACK, (port,), 20.0)  # type: ignore[arg-type]
    assert await reason(source, f"https://127.0.0.1:{port}/") == "oversized"
    server.close()


async def test_what_answers_is_not_http(web: Repository) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(web.authority.parent / "web.pem", web.authority.parent / "web.key")
    server = await asyncio.start_server(odd, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    source = Fetching(Names(), ssl.create_default_context(cafile=str(web.authority)), LOOPBACK, (port,))  # type: ignore[arg-type]
    assert await reason(source, f"https://127.0.0.1:{port}/") == "no-http"
    server.close()
