"""Somebody else's web server, in a process of its own: Python's `http.server` over TLS, which tells each request on its standard output.

A path says what is answered: `/status/503`, `/redirect`, `/slow` (never), `/first/503/<key>` (503 the first time, 200 then),
`/echo` (the request's own body), `/reply/<base64>` (that JSON), all else 200.
A line of JSON on standard output for each: method, path, headers, body.
"""

import asyncio
import base64
import http.server
import json
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar


@dataclass
class WebPeer:
    """The running server, and what it was asked."""

    port: int
    authority: Path
    asked: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    async def request(self) -> dict[str, Any]:
        """The next request that came."""
        async with asyncio.timeout(10):
            return await self.asked.get()


@asynccontextmanager
async def web_peer(folder: Path) -> AsyncIterator[WebPeer]:
    """One, until the end; its authority's certificate lies in `authority`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    from tests.sti import issue

    now = datetime.now(UTC)
    root = issue("web authority", ca=True, now=now)
    leaf = issue("hooks.example.org", root, names=[x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("hooks.example.org")], now=now)
    authority = folder / "peer-ca.pem"
    authority.write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "peer.pem").write_bytes(leaf.pem + leaf.key_pem)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", __file__, str(folder / "peer.pem"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    made = WebPeer(int(await process.stdout.readline()), authority)

    async def read() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            made.asked.put_nowait(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield made
    finally:
        process.kill()
        await process.wait()
        await reading


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[set[str]] = set()
    lock = threading.Lock()

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.lock:
            print(json.dumps({"method": self.command, "path": self.path, "headers": headers, "body": body.decode("latin-1")}), flush=True)
            is_first = self.path not in self.seen
            self.seen.add(self.path)
        words = self.path.split("/")[1:]
        status, answer = 200, b""
        if words[0] == "slow":
            threading.Event().wait()
        elif words[0] == "status" or (words[0] == "first" and is_first):
            status = int(words[1])
        elif words[0] == "echo":
            answer = body
        elif words[0] == "reply":
            answer = base64.urlsafe_b64decode(words[1])
        self.send_response(302 if words[0] == "redirect" else status)
        if words[0] == "redirect":
            self.send_header("Location", "/inner")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = _any

    def log_message(self, format: str, *args: object) -> None:
        pass


def _main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    _main()
