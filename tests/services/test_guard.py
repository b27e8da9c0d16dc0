"""Guessing, scanning and bans on a running gateway: who is met with silence, who never is, and who can't be locked out."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from hushwire.api.metrics import Metrics
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.services.bans import Bans, Why
from hushwire.sip.digest import Credentials, authorization, parse_challenge
from hushwire.sip.flow import Transport
from hushwire.vault.keyring import Keyring
from tests.databases import Databases
from tests.polling import until
from tests.services.running import HOST, ROOT, World, need_program, running, start_gateway

pytestmark = need_program
LIMITS = {"HUSHWIRE_LIMITS__FAILURES": "4", "HUSHWIRE_LIMITS__NEVER_BAN": "[]", "HUSHWIRE_LIMITS__FAILURES_WITHIN_S": "3600"}


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, environ=LIMITS) as made:
        yield made


_OPENED: list[asyncio.DatagramTransport] = []


@pytest.fixture(autouse=True)
async def closing() -> AsyncIterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()
    await asyncio.sleep(0)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[str] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data.decode())


@dataclass
class Source:
    """Somebody at an address of the loopback network, who registers as who they like; nothing is sent twice."""

    wire: asyncio.DatagramTransport
    socket: _Socket
    host: str
    count: int = 0
    nonces: list[str] = field(default_factory=list)

    @classmethod
    async def open(cls, world: World, host: str) -> Self:
        wire, socket = await asyncio.get_running_loop().create_datagram_endpoint(
            _Socket, local_addr=(host, 0), remote_addr=("127.0.0.1", world.port)
        )
        _OPENED.append(wire)
        return cls(wire, socket, host)

    def ask(self, user: str, challenge: str | None = None, password: str = "wrong", more: str = "", host: str = HOST) -> None:
        self.count += 1
        if challenge is not None:
            parsed = parse_challenge(challenge)
            assert parsed is not None
            answer = authorization(
                parsed, Credentials(user, password), method="REGISTER", uri=f"sip:{host}", body=b"", cnonce="c", nc=self.count
            )
            more += f"Authorization: {answer}\r\n"
        port = self.wire.get_extra_info("sockname")[1]
        self.wire.sendto(
            (
                f"REGISTER sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP {self.host}:{port};branch=z9hG4bK{self.host}{port}n{self.count};rport\r\n"
                f"From: <sip:{user}@{host}>;tag=1\r\nTo: <sip:{user}@{host}>\r\n"
                f"Call-ID: {self.host}{port}\r\nCSeq: {self.count} REGISTER\r\n"
                f"Contact: <sip:{user}@{self.host}:{port}>\r\nExpires: 60\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
            ).encode()
        )

    async def answered(self, **asked: str | None) -> tuple[int, str | None]:
        """Ask and wait: status and challenge."""
        self.ask(**{"user": "anna", **asked})  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            text = await self.socket.received.get()
        found = re.search(r"WWW-Authenticate: (.*SHA-256.*)\r\n", text)
        return int(text.split(" ", 2)[1]), found[1] if found else None

    async def fail(self, count: int, user: str = "anna") -> None:
        """Guess wrong, and be told so each time."""
        _, challenge = await self.answered()
        for _ in range(count):
            status, challenge = await self.answered(user=user, challenge=challenge)
            assert status == 401

    async def is_met_with_silence(self, world: World) -> None:
        """Another source's answer comes after we asked: ours would have been there before."""
        self.ask("anna")
        other = await Source.open(world, "127.0.0.99")
        assert (await other.answered())[0] == 401
        assert self.socket.received.empty()


async def test_who_guesses_is_met_with_silence_and_the_victim_registers_from_elsewhere(world: World) -> None:
    guesser = await Source.open(world, "127.0.0.2")
    await guesser.fail(4)
    row = await world.row("bans", reason="guessing")
    assert b"127.0.0.2" not in row["source_sealed"] + row["source_index"]
    await guesser.is_met_with_silence(world)
    victim = await Source.open(world, "127.0.0.3")
    _, challenge = await victim.answered()
    assert (await victim.answered(challenge=challenge, password="annas-password"))[0] == 200
    # Banned is who is banned, whatever password comes.
    guesser.ask("anna", challenge, "annas-password")
    await guesser.is_met_with_silence(world)


async def test_nobody_gets_another_banned_by_sending_in_its_name(world: World) -> None:
    attacker, victim = await Source.open(world, "127.0.0.4"), await Source.open(world, "127.0.0.5")
    _, challenge = await attacker.answered()
    for _ in range(40):
        # A nonce that was sent to the attacker, a datagram that seems to be the victim's.
        assert (await victim.answered(challenge=challenge))[0] == 401
        assert (await victim.answered(challenge='Digest realm="voice.example.org", nonce="made up", qop="auth", algorithm=SHA-256'))[
            0
        ] == 401
    assert await world.rows("bans") == []
    assert not world.gateway.endpoint.banned


async def test_a_carriers_address_is_never_banned(world: World) -> None:
    same_machine = await Source.open(world, "127.0.0.1")
    await same_machine.fail(40)
    assert await world.rows("bans") == []


async def test_an_office_whose_phones_register_keeps_going_though_one_of_them_has_a_wrong_password(world: World) -> None:
    office = await Source.open(world, "127.0.0.6")
    for _ in range(10):
        await office.fail(2)
        _, challenge = await office.answered()
        assert (await office.answered(challenge=challenge, password="annas-password"))[0] == 200
    assert await world.rows("bans") == []


async def test_a_scanner_gets_no_answer_and_a_register_for_a_foreign_domain_neither(world: World) -> None:
    scanner = await Source.open(world, "127.0.0.7")
    for _ in range(10):
        scanner.ask("100", more="User-Agent: friendly-scanner\r\n")
        scanner.ask("100", host="pbx.example.net")
    assert (await scanner.answered())[0] == 401
    assert scanner.socket.received.empty()
    # By UDP that proves nothing.
    assert await world.rows("bans") == []


async def test_a_scanner_by_tcp_is_banned_at_its_second_request(world: World) -> None:
    port = world.gateway.endpoint.addresses[Transport.TCP].port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.8", 0))
    for number in range(2):
        writer.write(
            f"OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.8;branch=z9hG4bKs{number}\r\nFrom: <sip:x@{HOST}>;tag=1\r\n"
            f"To: <sip:{HOST}>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nUser-Agent: sipvicious\r\nContent-Length: 0\r\n\r\n".encode()
        )
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    await world.row("bans", reason="scanning")
    told = world.gateway.guard.told()
    assert told == {"bans": 1, "bans_pronounced": 1}
    metrics = Metrics()
    metrics.note_registrar([told, {"bans": 1, "bans_pronounced": 2}])
    assert (metrics.registry.get_sample_value("hushwire_bans"), metrics.registry.get_sample_value("hushwire_bans_pronounced")) == (1, 3)


async def test_one_credential_has_one_bucket_whatever_addresses_it_is_used_from(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path, environ={"HUSHWIRE_LIMITS__REQUESTS_PER_SECOND_PER_CREDENTIAL": "1"}) as world:
        statuses = []
        for host in ("127.0.0.10", "127.0.0.11", "127.0.0.12"):
            source = await Source.open(world, host)
            for _ in range(3):
                _, challenge = await source.answered()
                statuses.append((await source.answered(challenge=challenge, password="annas-password"))[0])
        assert statuses[:3] == [200, 200, 200]
        assert 503 in statuses
        other = await Source.open(world, "127.0.0.13")
        _, challenge = await other.answered(user="ben")
        assert (await other.answered(user="ben", challenge=challenge, password="bens-password"))[0] == 200


async def test_all_gateways_learn_of_a_ban_and_of_its_end(world: World, databases: Databases, tmp_path: Path) -> None:
    keyring_db = await databases.connect("keyring", "owner")
    operator = Bans(
        world.owner, Keyring(keyring_db, ROOT.role_keys(opener=True, buckets=tmp_path / "buckets")), SystemClock(), SystemRandom()
    )
    (tmp_path / "second").mkdir()
    second, wired, task = await start_gateway(databases, tmp_path, **LIMITS)
    try:
        guesser = await Source.open(world, "127.0.0.14")
        await guesser.fail(4)
        for gateway in (world.gateway, second):
            await until(lambda gateway=gateway: gateway.endpoint.is_banned("127.0.0.14"), timeout_s=15, what="the gateway knows")
        (ban,) = await operator.standing()
        assert (ban.source.reveal(), ban.why) == ("127.0.0.14", Why.GUESSING)
        assert await operator.remove(["127.0.0.14", "127.0.0.15"]) == 1
        for gateway in (world.gateway, second):
            await until(lambda gateway=gateway: not gateway.endpoint.is_banned("127.0.0.14"), timeout_s=15, what="the gateway forgets")
        assert (await guesser.answered())[0] == 401
        assert await operator.standing() == []
    finally:
        wired.stop.set()
        await task
