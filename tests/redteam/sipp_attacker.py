"""SIPp as an agent's phone, or a carrier, that means ill: scenarios put together from few parts, one process a trick."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.interop.sipp import Sipp, answer, receive, sdp
from tests.interop.test_subscriptions import old_stack_towards
from tests.ports import free_port
from tests.redteam.ways import HOST, whole

REFUSED = (400, 403, 404, 416, 484)
AT_ONCE = 4


def request(
    method: str,
    uri: str,
    to: str,
    cseq: int,
    more: str = "",
    body: str = "",
    *,
    user: str = "anna",
    retransmits: bool = True,
    kind: str = "application/sdp",
) -> str:
    """A request in whatever words."""
    peer = "" if method in ("INVITE", "MESSAGE") else "[peer_tag_param]"
    head = f"From: <sip:{user}@{HOST}>;tag=[call_number]s\nTo: <{to}>{peer}\nCall-ID: [call_id]\nCSeq: {cseq} {method}"
    via = "[last_Via:]" if method == "ACK" and not retransmits else "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport"
    about = f"Content-Type: {kind}\nContent-Length: [len]" if body else "Content-Length: 0"
    again = ' retrans="500"' if retransmits and method != "ACK" else ""
    contact = "Contact: <sip:sipp@[local_ip]:[local_port]>\nMax-Forwards: 70"
    return f"<send{again}>\n<![CDATA[\n\n{method} {uri} SIP/2.0\n{via}\n{head}\n{contact}\n{more}{about}\n\n{body}\n\n]]>\n</send>"


def one_of(statuses: Sequence[int], label: int) -> list[str]:
    """One of these, and on at the label."""
    return [
        *(f'<recv response="{status}" optional="true" next="{label}"/>' for status in statuses[:-1]),
        f'<recv response="{statuses[-1]}" next="{label}"/>',
    ]


def call(uri: str, statuses: Sequence[int], user: str) -> list[str]:
    """An INVITE, challenged once, and ended with one of these."""
    return [
        request("INVITE", uri, uri, 1, body=sdp(), user=user), '<recv response="100" optional="true"/>',
        '<recv response="401" auth="true"/>', request("ACK", uri, uri, 1, user=user, retransmits=False),
        request("INVITE", uri, uri, 2, "[authentication]\n", sdp(), user=user),
        '<recv response="100" optional="true"/>', '<recv response="180" optional="true"/>', '<recv response="183" optional="true"/>',
        *one_of(statuses, 1), '<label id="1"/>', request("ACK", uri, uri, 2, user=user, retransmits=False),
    ]  # fmt: skip


class Stacks:
    """SIPps of one agent's, a few at once."""

    def __init__(self, port: int, folder: Path, user: str = "anna") -> None:
        self._port = port
        self._folder = folder
        self._user = user
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def play(self, scenario: Sequence[str], uri: str) -> None:
        """One SIPp with one scenario, whose digests are for this URI; it ran as written."""
        async with self._turn, old_stack_towards(self._port) as router:
            options = ["-au", self._user, "-ap", f"{self._user}'s secret", "-auth_uri", uri.partition(":")[2]]
            stack = await Sipp.start(
                self._folder / secrets.token_hex(4), scenario, port=free_port(), towards=("127.0.0.1", router.port), options=options,
                echo=False, timeout_s=15,
            )  # fmt: skip
            await stack.succeeded()

    async def call_all(self, texts: Iterable[str], statuses: Sequence[int]) -> None:
        """Call each of these URIs."""
        await asyncio.gather(*(self.play(call(text, statuses, self._user), text) for text in texts))

    async def text(self, uri: str, statuses: Sequence[int]) -> None:
        """Send a text there."""
        scenario = [
            request("MESSAGE", uri, uri, 1, body="hello", kind="text/plain"), '<recv response="401" auth="true"/>',
            request("MESSAGE", uri, uri, 2, "[authentication]\n", "hello", kind="text/plain"), *one_of(statuses, 1), '<label id="1"/>',
        ]  # fmt: skip
        await self.play(scenario, uri)


async def redirecting(folder: Path, port: int, texts: Sequence[str]) -> Sipp:
    """Redirects the first call to the first of these, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contacts.csv").write_text("SEQUENTIAL\n" + "".join(f"{whole(text)};\n" for text in texts))
    moved = answer(302, "Moved Temporarily", retransmit=True).replace("<sip:[local_ip]:[local_port]>", "<[field0]>")
    scenario = [receive("INVITE"), moved, receive("ACK")]
    return await Sipp.start(folder, scenario, port=port, calls=len(texts), options=["-inf", str(folder / "contacts.csv")], echo=False)
