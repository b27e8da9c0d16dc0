"""Asterisk as what signalling is held against: a B2BUA with digest and a port for each leg's sound, no row, no event, no recording.

Debian's stable release has no package of it, so its unstable one is unpacked into a folder (`mmdebstrap`), and runs from there with the
libraries that it was built for. Nothing of it is installed; no module is loaded that such a call does not need.
"""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from provisioned import PASSWORD
from sipclient import Wire

from tests.polling import until

MODULES = """
res_sorcery_config res_sorcery_memory res_sorcery_astdb res_sorcery_realtime res_pjproject res_statsd res_http_websocket
res_pjsip res_pjsip_session res_pjsip_pubsub res_pjsip_outbound_publish res_pjsip_authenticator_digest
res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_ip res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_rfc3326
res_pjsip_nat res_pjsip_logger res_rtp_asterisk res_timing_timerfd chan_pjsip bridge_simple bridge_native_rtp
bridge_builtin_features codec_ulaw codec_alaw format_pcm pbx_config app_dial func_callerid func_channel
"""
FILES = {
    "asterisk.conf": """\
[directories]
astetcdir => {here}
astmoddir => {libraries}/asterisk/modules
astvarlibdir => {root}/var/lib/asterisk
astdatadir => {root}/usr/share/asterisk
astkeydir => {root}/var/lib/asterisk
astagidir => {root}/usr/share/asterisk/agi-bin
astdbdir => {here}
astspooldir => {here}
astrundir => {here}
astlogdir => {here}
""",
    "modules.conf": "[modules]\nautoload=no\n" + "".join(f"load={name}.so\n" for name in MODULES.split()),
    "extensions.conf": "[agents]\nexten => _+X.,1,Dial(PJSIP/${{EXTEN}}@carrier)\n[nowhere]\n",
    "rtp.conf": "[general]\nrtpstart=30000\nrtpend=59999\n",
    "logger.conf": "[general]\n[logfiles]\nmessages => error\n",
    "pjsip.conf": """\
[global]
type=global
default_auth_algorithms_uas=SHA-256
[udp]
type=transport
protocol=udp
bind=127.0.0.1:{port}
[carrier]
type=aor
contact=sip:127.0.0.1:{carrier}
[carrier]
type=endpoint
context=nowhere
disallow=all
allow=ulaw
aors=carrier
direct_media=no
""",
}
AGENT = """\
[agent{n}]
type=auth
auth_type=userpass
username=agent{n}
password={password}
[agent{n}]
type=endpoint
context=agents
disallow=all
allow=ulaw
auth=agent{n}
direct_media=no
"""


def unpacked(root: Path) -> Path:
    """The folder with Asterisk in it, made where it is not there yet (60 MB to fetch). RuntimeError with what was said if that fails."""
    if (root / "usr/sbin/asterisk").exists():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        # A mirror may be a few weeks behind: what it holds is signed, and nothing of it serves anybody.
        ["mmdebstrap", "--quiet", "--variant=apt", '--aptopt=Acquire::Check-Valid-Until "false"', "--include=asterisk,asterisk-modules",
         "unstable", str(root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise RuntimeError(f"Asterisk could not be unpacked into {root}; remove that folder and try again: {made.stderr[-400:]}")
    return root


def _command(root: Path) -> list[str]:
    libraries = _libraries(root)
    loader = next(libraries.glob("ld-linux*.so.*"))
    return [str(loader), "--library-path", str(libraries), str(root / "usr/sbin/asterisk")]


def _libraries(root: Path) -> Path:
    return root / "usr/lib" / f"{platform.machine()}-linux-gnu"


def version(root: Path) -> str:
    """As it says itself, "Asterisk 22.1.0"."""
    said = subprocess.run([*_command(root), "-V"], capture_output=True, text=True, check=True).stdout
    return said.split("+")[0].strip()


@asynccontextmanager
async def running(root: Path, agents: int, port: int, carrier_port: int) -> AsyncIterator[int]:
    """Asterisk at 127.0.0.1:`port` with agents agent0, agent1 ... whose calls go to the carrier; its process id, once it answers."""
    with tempfile.TemporaryDirectory(prefix="hushwire-bench-asterisk-") as name:
        here, libraries = Path(name), _libraries(root)
        for file, text in FILES.items():
            (here / file).write_text(text.format(here=here, root=root, libraries=libraries, port=port, carrier=carrier_port))
        with (here / "pjsip.conf").open("a") as phones:
            phones.writelines(AGENT.format(n=n, password=PASSWORD) for n in range(agents))
        process = await asyncio.create_subprocess_exec(
            *_command(root), "-f", "-C", str(here / "asterisk.conf"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await _answers(port)
            yield process.pid
        finally:
            process.kill()
            await process.wait()


async def _answers(port: int) -> None:
    """Wait until it says something to an OPTIONS."""
    wire, heard = Wire(), asyncio.Event()
    await wire.open()
    wire.calls["up"] = lambda _text, _addr: heard.set()

    def ask() -> bool:
        wire.send(
            f"OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{wire.port};branch=z9hG4bK{os.urandom(6).hex()};rport\r\n"
            f"From: <sip:bench@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1:{port}>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
            "Content-Length: 0\r\n\r\n",
            ("127.0.0.1", port),
        )
        return heard.is_set()

    try:
        await until(ask, every_s=0.1, timeout_s=30, what="an answer of Asterisk")
    finally:
        wire.close()
