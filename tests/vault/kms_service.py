"""A small key management service in a process of its own: one JSON line a request, over TCP. It holds versions of one key."""

import base64
import json
import secrets
import socketserver
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSIONS: dict[str, bytes] = {}


def rotate() -> dict[str, str]:
    name = f"test-key/{len(VERSIONS) + 1}"
    VERSIONS[name] = secrets.token_bytes(32)
    return {"key_id": name}


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            asked = json.loads(line)
            self.wfile.write(json.dumps(self.answer(asked)).encode() + b"\n")

    def answer(self, asked: dict[str, str]) -> dict[str, str]:
        place = base64.b64decode(asked.get("place", ""))
        data = base64.b64decode(asked.get("data", ""))
        if asked["do"] == "rotate":
            return rotate()
        if asked["do"] == "wrap":
            name, nonce = list(VERSIONS)[-1], secrets.token_bytes(12)
            return {"key_id": name, "data": base64.b64encode(nonce + AESGCM(VERSIONS[name]).encrypt(nonce, data, place)).decode()}
        try:
            return {"data": base64.b64encode(AESGCM(VERSIONS[asked["key_id"]]).decrypt(data[:12], data[12:], place)).decode()}
        except (KeyError, InvalidTag, ValueError):
            return {"refused": "does not open"}


if __name__ == "__main__":
    rotate()
    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
