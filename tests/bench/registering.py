"""What a REGISTER costs the gateway, and an avalanche: every phone at once after a restart.

    python tests/bench/registering.py [--phones 10000] [--tls] [--quick]

Phones are UDP or, with --tls, have a TLS connection each, which ends with the gateway and is made anew. They register with digest (SHA-256)
and a nonce that they keep, as phones do: a refresh is one request. The avalanche: all phones are registered, the gateway is killed, and at
that moment each of them registers anew, retransmitting as RFC 3261 says, while agents call. It says how long it took until 90 % were back,
and how many calls succeeded from the moment at which the first one did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from provisioned import PASSWORD, Bench, cpu_seconds, running
from signalling import CARRIER
from sipclient import AgentCall, Wire, header, response

from hushwire.app.demo.stack import DOMAIN
from tests.interop.rawsip import challenges, digest, status
from tests.interop.sipp import Sipp
from tests.ports import free_port

T1, T2, GIVE_UP_S = 0.5, 4.0, 32.0
PREPARED_S = 600.0  # a busy machine takes its time; what is measured is CPU
CALLS_PER_S = 5
HOST = f"acme.{DOMAIN}"
TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE
QUICK: tuple[dict[str, Any], ...] = (
    {"phones": 200, "rate": 100.0, "seconds": 30.0},
    {"phones": 100, "rate": 50.0, "seconds": 30.0, "tls": True},
)
WHOLE: tuple[dict[str, Any], ...] = ({}, {"phones": 2000, "rate": 200.0, "tls": True})


class Line(asyncio.Protocol):
    """One phone's TLS connection, made anew where it ended; a `Wire` to who registers over it."""

    port = 9

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[str, tuple[str, int]], None]] = {}
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._unread = None, b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
            text = head.decode(errors="replace") + "\r\n\r\n"
            if (call := self.calls.get(header(text, "Call-ID"))) is not None:
                call(text, ("", 0))

    def send(self, text: str, to: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.write(text.encode())
        elif self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect(text, to))

    async def _connect(self, text: str, to: tuple[str, int]) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.get_running_loop().create_connection(lambda: self, *to, ssl=TRUSTING)
            self.send(text, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@dataclass(slots=True)
class Phone:
    """One registered phone: its user, Call-ID, and the challenge that it keeps."""

    name: str
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    cseq: int = 0
    challenge: dict[str, str] | None = None
    count: int = 0
    back_at: float = 0.0
    line: Line | None = None

    async def register(self, wire: Wire | Line, gateway: tuple[str, int], *, patience_s: float = GIVE_UP_S) -> bool:
        """Whether it is registered: with the nonce that it has, else with a new one; it begins again where nobody answered."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            answer = await self._ask(wire, gateway, end)
            if answer is None:
                continue
            if status(answer) == 200:
                self.back_at = time.monotonic()
                return True
            if status(answer) == 401:
                self.challenge, self.count = next(c for c in challenges(answer) if c["algorithm"] == "SHA-256"), 0
            else:
                await asyncio.sleep(1.0)  # 503: the gateway is not ready yet, and says so
        return False

    async def _ask(self, wire: Wire | Line, gateway: tuple[str, int], end: float) -> str | None:
        self.cseq += 1
        transport = "udp" if isinstance(wire, Wire) else "tls"
        here, to = f"127.0.0.1:{wire.port}", f"sip:{self.name}@{HOST}"
        auth = ""
        if self.challenge is not None:
            self.count += 1
            auth = f"Authorization: {digest(self.challenge, self.name, PASSWORD, 'REGISTER', f'sip:{HOST}', count=self.count)}\r\n"
        text = (
            f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/{transport.upper()} {here};branch=z9hG4bK{secrets.token_hex(8)};rport\r\n"
            f"From: <{to}>;tag={self.call_id}\r\nTo: <{to}>\r\nCall-ID: {self.call_id}\r\n"
            f"CSeq: {self.cseq} REGISTER\r\nContact: <sip:{self.name}@{here};transport={transport}>\r\nMax-Forwards: 70\r\n"
            f"Expires: 3600\r\nUser-Agent: bench\r\n{auth}Content-Length: 0\r\n\r\n"
        )
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        number = str(self.cseq)

        def on_message(answer: str, _addr: tuple[str, int]) -> None:
            if not answered.done() and status(answer) >= 200 and header(answer, "CSeq").split()[0] == number:
                answered.set_result(answer)

        wire.calls[self.call_id] = on_message
        wait_s = T1
        while time.monotonic() < end:
            wire.send(text, gateway)
            done, _ = await asyncio.wait({answered}, timeout=wait_s)
            if done:
                return answered.result()
            wait_s = min(2 * wait_s, T2)
        return None


@dataclass(frozen=True, slots=True)
class Figures:
    """CPU of the gateway process in ms per REGISTER; seconds from the kill; shares of 1."""

    transport: str
    phones: int
    first_ms: float
    refresh_ms: float
    served_again_s: float
    back_90_s: float
    back_all_s: float
    back: float
    calls: int
    calls_succeeded: float


async def registered(phones: list[Phone], wire: Wire, gateway: tuple[str, int], rate: float) -> None:
    """All of them, so many a second."""
    loop, began = asyncio.get_running_loop(), time.monotonic()
    waiting = []
    for number, phone in enumerate(phones):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        waiting.append(loop.create_task(phone.register(phone.line or wire, gateway, patience_s=PREPARED_S)))
    if not all(await asyncio.gather(*waiting)):
        raise RuntimeError("a phone could not register")


async def costs(bench: Bench, phones: list[Phone], wire: Wire, rate: float) -> tuple[float, float]:
    """CPU ms of a first registration (challenge included) and of a second refresh, rows included: the first one is cut as well."""
    gateway, pid = bench.stack.sip("tls" if phones[0].line else "udp"), bench.stack.children()["gateway"]
    spent = []
    for _ in range(3):
        before = cpu_seconds(pid)
        await registered(phones, wire, gateway, rate)
        await asyncio.sleep(1)  # the rows are part of the price
        spent.append(1000 * (cpu_seconds(pid) - before) / len(phones))
    return spent[0], spent[-1]


async def avalanche(bench: Bench, folder: Path, phones: list[Phone], wire: Wire, seconds: float) -> tuple[float, list[float], int, int]:
    """Kill the gateway, and let every phone register at once while calls are made."""
    gateway, pid = bench.stack.sip("udp"), bench.stack.children()["gateway"]
    registrar = bench.stack.sip("tls") if phones[0].line else gateway
    made = good = 0
    served = asyncio.Event()
    served_at = 0.0

    async def watch() -> None:
        """Until the first call comes through: before, nothing could."""
        nonlocal served_at
        while not served.is_set():
            asyncio.create_task(call("agent0", is_first=True))  # noqa: RUF006 - one that gets no answer is as good as none
            await asyncio.sleep(0.5)

    async def call(name: str, *, is_first: bool = False) -> None:
        nonlocal good, served_at
        one = AgentCall(wire, gateway, name, "127.0.0.1:6000", None)
        try:
            await one.start()
            await one.end()
            good += not is_first
            if is_first and not served.is_set():
                served_at = time.monotonic()
                served.set()
        except (TimeoutError, RuntimeError):
            return

    async def calls(until: float) -> None:
        nonlocal made
        await served.wait()
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                made += 1
                group.create_task(call(f"agent{made % 20}"))
                await asyncio.sleep(1 / CALLS_PER_S)

    async with await Sipp.start(folder, CARRIER, port=bench.carrier_port, calls=100_000, timeout_s=600, echo=False, traces=False):
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        tasks = [asyncio.create_task(phone.register(phone.line or wire, registrar, patience_s=seconds)) for phone in phones]
        watching, calling = asyncio.create_task(watch()), asyncio.create_task(calls(began + seconds))
        await asyncio.gather(*tasks, calling, watching)
    return served_at - began, sorted(phone.back_at - began for phone in phones if phone.back_at > began), made, good


async def run(phones: int = 10_000, rate: float = 400.0, seconds: float = 60.0, *, tls: bool = False) -> Figures:
    """Everything, on a hushwire of its own."""
    port = free_port()
    os.environ["HUSHWIRE_SIP__LISTEN"] = json.dumps([f"udp://127.0.0.1:{port}", *([f"tls://127.0.0.1:{free_port()}"] if tls else [])])
    with tempfile.TemporaryDirectory(prefix="hushwire-bench-sipp-") as name:
        async with running(phones, free_port(), record="none", srtp="optional") as bench:
            wire = Wire(lambda text, to: wire.send(response(text, 200, "OK"), to))  # the gateway's OPTIONS
            made = [Phone(f"agent{number}", line=Line() if tls else None) for number in range(phones)]
            await wire.open()
            first, refresh = await costs(bench, made, wire, rate)
            served, back, calls, good = await avalanche(bench, Path(name), made, wire, seconds)
            wire.close()
    ninety = back[int(0.9 * phones) - 1] if len(back) >= 0.9 * phones else -1.0
    return Figures(
        "TLS" if tls else "UDP", phones, round(first, 3), round(refresh, 3), round(served, 2), round(ninety, 2),
        round(back[-1] if back else -1.0, 2), round(len(back) / phones, 4), calls, round(good / max(1, calls), 4),
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=400.0, help="first registrations and refreshes a second")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    size = QUICK[given.tls] if given.quick else {"phones": given.phones, "rate": given.rate, "tls": given.tls}
    print(json.dumps(asdict(asyncio.run(run(**size))), indent=2))
