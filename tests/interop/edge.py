"""Kamailio as the one address of several gateways: it spreads calls over them, keeps phones' flows (Path) and speaks WebSocket.

It knows no user and no password, and decides nothing: every request goes to a gateway as it came.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.authorities import Certified
from tests.interop.kamailio import loading, served
from tests.ports import free_port

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
modparam("tm", "fr_timer", 6000)
modparam("tm", "failure_reply_mode", 3)
modparam("path", "use_received", 1)
modparam("dispatcher", "list_file", "{gateways}")
modparam("dispatcher", "flags", 2)
modparam("dispatcher", "ds_ping_interval", 1)
modparam("dispatcher", "ds_probing_mode", 1)
modparam("dispatcher", "ds_probing_threshold", 3)
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

    port: int
    wss: int
    lines: list[str]


@asynccontextmanager
async def edge(gateways: Sequence[int], certified: Certified, folder: Path) -> AsyncIterator[Edge]:
    """In front of the gateways that listen at these UDP ports; their list is kept in `folder`."""
    port, wss = free_port(), free_port()
    listed = folder / "dispatcher.list"
    listed.write_text("".join(f"1 sip:127.0.0.1:{gateway} 0\n" for gateway in gateways))
    config = CONFIG.format(
        port=port, wss=wss, modules=loading(MODULES), gateways=listed, certificate=certified.certificate, key=certified.key,
    )  # fmt: skip
    async with served(config, port) as (_, lines):
        yield Edge(port, wss, lines)
