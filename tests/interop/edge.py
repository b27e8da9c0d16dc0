"""Kamailio as the one address of several gateways: it spreads calls over them, keeps phones' flows (Path) and speaks WebSocket.

It knows no user and no password, and decides nothing: every request goes to a gateway as it came.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.authorities import Certified
from tests.interop.kamailio import answers
from tests.interop.sipp import free_port, need
from tests.polling import until

MODULES = (
    "tm", "sl", "tmx", "outbound", "rr", "path", "pv", "maxfwd", "textops", "siputils",
    "nathelper", "dispatcher", "xlog", "xhttp", "tls", "websocket",
)  # fmt: skip
CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
enable_tls=yes
tcp_accept_no_cl=yes
listen=udp:127.0.0.1:{port}
listen=tls:127.0.0.1:{wss}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
{modules}
modparam("tls", "certificate", "{certificate}")
modparam("tls", "private_key", "{key}")
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "verify_certificate", 0)
modparam("tm", "fr_timer", 1500)
modparam("tm", "failure_reply_mode", 3)
modparam("path", "use_received", 1)
modparam("dispatcher", "list_file", "{gateways}")
modparam("dispatcher", "flags", 2)
modparam("dispatcher", "ds_ping_interval", 1)
modparam("dispatcher", "ds_probing_mode", 1)
modparam("dispatcher", "ds_probing_threshold", 1)
modparam("dispatcher", "ds_inactive_threshold", 1)
request_route {{
    if (!mf_process_maxfwd_header("20")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (is_method("OPTIONS") && $rU == $null && !has_totag()) {{ sl_send_reply("200", "OK"); exit; }}
    if (ds_is_from_list()) {{
        # From a gateway: to whom its Route leads.
        if (!loose_route() && has_totag()) {{
            if (is_method("ACK")) {{ t_check_trans(); }} else {{ sl_send_reply("404", "Not Here"); }}
            exit;
        }}
        handle_ruri_alias();
        t_on_reply("FROM_PHONE");
        # The first request's Route named us alone: that counts as no route, though it said where to send.
        if (is_method("INVITE|SUBSCRIBE") && !has_totag()) {{ record_route(); }}
        t_relay(); exit;
    }}
    # A browser's Contact has a name that leads nowhere: its connection is written beside it.
    if ($proto =~ "ws" && !is_method("REGISTER")) {{ add_contact_alias(); }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) {{ t_relay(); exit; }}
        if (!is_method("ACK")) {{ sl_send_reply("404", "Not Here"); }}
        exit;
    }}
    remove_hf("Route");
    if (is_method("REGISTER")) {{
        if (!add_path_received()) {{ sl_send_reply("503", "No Path"); exit; }}
    }} else {{
        record_route();
    }}
    # By Call-ID: a challenge and its answer meet the same gateway.
    if (!ds_select_dst("1", "0")) {{ sl_send_reply("503", "No Gateway"); exit; }}
    t_on_failure("NEXT");
    t_relay();
}}
onreply_route[FROM_PHONE] {{
    if ($proto =~ "ws") {{ add_contact_alias(); }}
}}
failure_route[NEXT] {{
    if (t_is_canceled()) {{ exit; }}
    if (t_branch_timeout() && !t_branch_replied()) {{
        ds_mark_dst("ip");
        if (ds_next_dst()) {{ t_on_failure("NEXT"); t_relay(); exit; }}
    }}
}}
event_route[xhttp:request] {{
    if ($hdr(Upgrade) =~ "websocket" && $hdr(Connection) =~ "Upgrade") {{
        if (ws_handle_handshake()) {{ exit; }}
    }}
    xhttp_reply("404", "Not Found", "", "");
}}
"""


@dataclass
class Edge:
    """One that runs. `port` is its UDP port, `wss` that of secure WebSockets."""

    process: asyncio.subprocess.Process
    port: int
    wss: int
    lines: list[str]


@asynccontextmanager
async def edge(gateways: Sequence[int], certified: Certified) -> AsyncIterator[Edge]:
    """In front of the gateways that listen at these UDP ports."""
    program, port, wss = need("kamailio"), free_port(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="edge-", dir="/tmp"))
    listed = folder / "dispatcher.list"
    listed.write_text("".join(f"1 sip:127.0.0.1:{gateway} 0\n" for gateway in gateways))
    config = folder / "kamailio.cfg"
    config.write_text(CONFIG.format(
        port=port, wss=wss, modules="\n".join(f'loadmodule "{name}.so"' for name in MODULES), gateways=listed,
        certificate=certified.certificate, key=certified.key,
    ))  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        program, "-f", str(config), "-DD", "-E", "-m", "64", "-M", "8", "-Y", str(folder), "-w", str(folder),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    running = Edge(process, port, wss, [])
    assert process.stderr is not None
    reading = asyncio.create_task(_read(process.stderr, running.lines))
    try:
        await until(lambda: answers(port) or process.returncode is not None, timeout_s=20, what="Kamailio listens")
        assert process.returncode is None, "\n".join(running.lines[-20:])
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        reading.cancel()
        shutil.rmtree(folder, ignore_errors=True)


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode(errors="replace").rstrip())
