"""SIPp as the carrier: scenarios put together from few parts, one process per test, judged by SIPp's own exit status."""

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.ports import free_port, holds

SDP = """
v=0
o=carrier 1 {version} IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a={direction}
"""


def need(program: str) -> str:
    """The program's path. Where it is missing the test is skipped with that reason; in CI that is a failure."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


# Parts of a scenario that answers a call. SIPp replaces what stands in [brackets].


def receive(method: str, *, optional: bool = False, note: str = "") -> str:
    return f'<recv request="{method}"{_flag("optional", optional)}{note}/>'


def expect(status: int, *, optional: bool = False, auth: bool = False, routes: bool = False) -> str:
    return f'<recv response="{status}"{_flag("optional", optional)}{_flag("auth", auth)}{_flag("rrs", routes)}/>'


def answer(status: int, reason: str, *, sdp: str = "", extra: str = "", retransmit: bool = False) -> str:
    """A response to the request received last."""
    return _send(
        f"SIP/2.0 {status} {reason}",
        ["[last_Via:]", "[last_From:]", "[last_To:];tag=[call_number]carrier", "[last_Call-ID:]", "[last_CSeq:]"],
        ["Contact: <sip:[local_ip]:[local_port]>", *([extra] if extra else [])],
        sdp,
        retransmit,
    )


def reply_in_dialog(status: int, reason: str, *, sdp: str = "") -> str:
    """A response to a request inside the dialog: its To has a tag already."""
    return _send(
        f"SIP/2.0 {status} {reason}",
        ["[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]"],
        ["Contact: <sip:[local_ip]:[local_port]>"],
        sdp,
        False,
    )


def request_back(method: str, cseq: int, *, sdp: str = "") -> str:
    """A request of the called side inside the dialog (From and To turned round)."""
    return _send(
        f"{method} [next_url] SIP/2.0",
        [
            "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]",
            "From: [$local]",
            "To: [$remote]",
            "[last_Call-ID:]",
            f"CSeq: {cseq} {method}",
        ],
        ["Max-Forwards: 70", "Contact: <sip:[local_ip]:[local_port]>"],
        sdp,
        method != "ACK",
    )


def pause(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>'


def sdp(direction: str = "sendrecv", version: int = 1) -> str:
    return SDP.format(direction=direction, version=version).strip()


def invite_received() -> str:
    """An INVITE, with what later requests back need kept in variables."""
    return """<recv request="INVITE" crlf="true" rrs="true">
  <action>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="remote"/>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
    <assignstr assign_to="local" value="[$to];tag=[call_number]carrier"/>
  </action>
</recv>"""


def invite_kept() -> str:
    """An INVITE to be answered by `answer_kept` after other requests came."""
    return invite_received().replace("  </action>", '    <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="via"/>\n  </action>')


def answer_kept(status: int, reason: str, *, sdp: str = "", extra: str = "") -> str:
    """A final response to the INVITE, not to the request received last."""
    return _send(
        f"SIP/2.0 {status} {reason}",
        ["Via:[$via]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "CSeq: 1 INVITE"],
        ["Contact: <sip:[local_ip]:[local_port]>", *([extra] if extra else [])],
        sdp,
        True,
    )


# A carrier that calls us.


def invite_to(user: str, caller: str) -> str:
    return _send(
        f"INVITE sip:{user}@[remote_ip]:[remote_port] SIP/2.0",
        [
            "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]",
            f"From: <sip:{caller}@[local_ip]:[local_port]>;tag=[call_number]carrier",
            f"To: <sip:{user}@[remote_ip]:[remote_port]>",
            "Call-ID: [call_id]",
            "CSeq: 1 INVITE",
        ],
        ["Max-Forwards: 70", "Contact: <sip:[local_ip]:[local_port]>"],
        sdp(),
        True,
    )


def request_on(method: str, user: str, caller: str, cseq: int, *, body: str = "") -> str:
    """A request of the calling side inside the dialog."""
    return _send(
        f"{method} [next_url] SIP/2.0",
        [
            "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]",
            f"From: <sip:{caller}@[local_ip]:[local_port]>;tag=[call_number]carrier",
            f"To: <sip:{user}@[remote_ip]:[remote_port]>[peer_tag_param]",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
        ],
        ["Max-Forwards: 70", "Contact: <sip:[local_ip]:[local_port]>", "[routes]"],
        body,
        method != "ACK",
    )


def ack_of_refusal(user: str, caller: str) -> str:
    """Belongs to the INVITE's transaction, so with its branch and Request-URI (RFC 3261, 17.1.1.3).

    Without it we send the refusal again for 32 s, into whatever scenario has the port by then.
    """
    return _send(
        f"ACK sip:{user}@[remote_ip]:[remote_port] SIP/2.0",
        [
            "[last_Via:]",
            f"From: <sip:{caller}@[local_ip]:[local_port]>;tag=[call_number]carrier",
            f"To: <sip:{user}@[remote_ip]:[remote_port]>[peer_tag_param]",
            "Call-ID: [call_id]",
            "CSeq: 1 ACK",
        ],
        ["Max-Forwards: 70"],
        "",
        False,
    )


def cancel_of(user: str, caller: str) -> str:
    return _send(
        f"CANCEL sip:{user}@[remote_ip]:[remote_port] SIP/2.0",
        [
            "[last_Via:]",
            f"From: <sip:{caller}@[local_ip]:[local_port]>;tag=[call_number]carrier",
            f"To: <sip:{user}@[remote_ip]:[remote_port]>",
            "Call-ID: [call_id]",
            "CSeq: 1 CANCEL",
        ],
        ["Max-Forwards: 70"],
        "",
        True,
    )


def _send(first: str, headers: Sequence[str], more: Sequence[str], body: str, retransmit: bool) -> str:
    lines = [first, *headers, *more]
    if body:
        lines += ["Content-Type: application/sdp", "Content-Length: [len]", "", body]
    else:
        lines += ["Content-Length: 0", "", ""]
    text = "\n".join(lines)
    again = ' retrans="500"' if retransmit else ""
    return f"<send{again}>\n<![CDATA[\n\n{text}\n\n]]>\n</send>"


def _flag(name: str, value: bool) -> str:
    return f' {name}="true"' if value else ""


@dataclass
class Sipp:
    """A running SIPp with one scenario."""

    process: asyncio.subprocess.Process
    folder: Path

    @classmethod
    async def start(
        cls,
        folder: Path,
        scenario: Sequence[str],
        *,
        port: int,
        towards: tuple[str, int] | None = None,
        calls: int = 1,
        timeout_s: int = 25,
        echo: bool = True,
        traces: bool = True,
        options: Sequence[str] = (),
    ) -> Self:
        """Serves the scenario on 127.0.0.1:`port`, or runs it against `towards`."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "scenario.xml"
        if any('assign_to="remote"' in part for part in scenario):
            # SIPp refuses variables that nothing reads.
            scenario = [*scenario, '<Reference variables="remote,local,to"/>']
        file.write_text('<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="s">\n' + "\n".join(scenario) + "\n</scenario>\n")
        command = [
            need("sipp"), "-sf", str(file), "-i", "127.0.0.1", "-p", str(port), "-m", str(calls), "-mi", "127.0.0.1",
            "-mp", str(free_port()), "-nostdin", "-nd", "-timeout", f"{timeout_s}s", "-timeout_error", "-trace_err",
            "-error_file", str(folder / "errors.log"), *options,
        ]  # fmt: skip
        if traces:
            command += ["-trace_msg", "-message_file", str(folder / "messages.log")]
        if echo:
            command.append("-rtp_echo")
        if towards:
            command.append(f"{towards[0]}:{towards[1]}")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        sipp = cls(process, folder)
        if not towards:
            await sipp._listening(port)
        return sipp

    async def succeeded(self, timeout_s: float = 30) -> None:
        """Returns when the scenario ran to its end as written; fails the test with SIPp's own words otherwise."""
        async with asyncio.timeout(timeout_s):
            status = await self.process.wait()
        assert status == 0, f"SIPp ended with {status}:\n{self._said('errors.log')}\n{self._said('messages.log')}"

    def messages(self) -> str:
        """All SIP messages sent and received so far."""
        return self._said("messages.log", 1 << 20)

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(f"SIPp ({self.process.returncode}) said:\n{self._said('errors.log')}\n{self._said('messages.log')}")
        await self.close()

    def _said(self, name: str, limit: int = 6000) -> str:
        path = self.folder / name
        return path.read_text(errors="replace")[-limit:] if path.exists() else ""

    async def _listening(self, port: int) -> None:
        for _ in range(500):
            if holds(self.process.pid, port):
                return
            assert self.process.returncode is None, f"SIPp did not start:\n{self._said('errors.log')}"
            await asyncio.sleep(0.02)
        raise AssertionError("SIPp does not listen")


async def unasked(port: int, seconds: float) -> list[bytes]:
    """What comes at a carrier's port within so many seconds after its scenario is over."""
    loop, came = asyncio.get_running_loop(), []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.setblocking(False)
        ear.bind(("127.0.0.1", port))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    came.append(await loop.sock_recv(ear, 65_535))
    return came
