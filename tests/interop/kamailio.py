"""Kamailio as a carrier's registrar: it challenges, keeps where we are, and passes calls on both ways."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.sipp import need
from tests.polling import until
from tests.ports import free_port

REALM, USER, PASSWORD = "carrier.example", "hush001", "the-trunks-password"
MODULES = ("sl", "tm", "tmx", "rr", "pv", "maxfwd", "textops", "siputils", "usrloc", "registrar", "auth", "xlog")


CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=1
auto_aliases=no
alias="{realm}"
listen=udp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
{modules}
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", {min_expires})
modparam("registrar", "default_expires", 300)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 0)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ exit; }}
        sl_send_reply("404", "Not Here"); exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{realm}", "{password}", "0")) {{ www_challenge("{realm}", "1"); exit; }}
        if ($au != "{user}" || $tU != "{user}") {{ sl_send_reply("403", "Not Yours"); exit; }}
        xlog("L_ERR", "kept: $ct\\n");
        append_to_reply("Service-Route: <sip:127.0.0.1:{port};lr>\\r\\n");
        save("location");
        exit;
    }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Not Allowed"); exit; }}
    record_route();
    if ($si == "127.0.0.1" && $sp == {network}) {{
        # From the network: whoever is called, it is our customer's number.
        $ru = "sip:{user}@{realm}";
        if (!lookup("location")) {{ sl_send_reply("480", "Nobody Registered"); exit; }}
        t_relay(); exit;
    }}
    if (!pv_proxy_authenticate("{realm}", "{password}", "0")) {{ proxy_challenge("{realm}", "1"); exit; }}
    consume_credentials();
    loose_route();
    $du = "sip:127.0.0.1:{network}";
    t_relay();
}}
"""


@dataclass
class Kamailio:
    """One that runs. `network` is the port of the telephone network behind it, `port` its own."""

    process: asyncio.subprocess.Process
    port: int
    network: int
    lines: list[str]

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@asynccontextmanager
async def kamailio(network: int, *, min_expires: int = 60) -> AsyncIterator[Kamailio]:
    """A registrar and proxy of a carrier on a free UDP port."""
    port = free_port()
    config = CONFIG.format(
        realm=REALM, user=USER, password=PASSWORD, port=port, network=network, modules=loading(MODULES), min_expires=min_expires,
    )  # fmt: skip
    async with served(config, port) as (process, lines):
        yield Kamailio(process, port, network, lines)


def loading(modules: Sequence[str]) -> str:
    """The lines of a configuration that load these modules."""
    return "\n".join(f'loadmodule "{name}.so"' for name in modules)


@asynccontextmanager
async def served(config: str, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """A Kamailio of this configuration, once it listens at its UDP port, and the lines that it says."""
    program = need("kamailio")
    folder = Path(tempfile.mkdtemp(prefix="kamailio-", dir="/tmp"))
    (folder / "kamailio.cfg").write_text(config)
    process = await asyncio.create_subprocess_exec(
        program, "-f", str(folder / "kamailio.cfg"), "-DD", "-E", "-m", "64", "-M", "8", "-Y", str(folder), "-w", str(folder),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []
    assert process.stderr is not None
    reading = asyncio.create_task(_read(process.stderr, lines))
    try:
        await until(lambda: answers(port) or process.returncode is not None, timeout_s=20, what="Kamailio listens")
        assert process.returncode is None, "\n".join(lines[-20:])
        yield process, lines
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        else:
            print(f"Kamailio ended by itself with {process.returncode}:", *lines[-20:], sep="\n")
        reading.cancel()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    """Whether the port is taken: a socket of ours can't be bound there any more."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode("utf-8", "replace").rstrip())
