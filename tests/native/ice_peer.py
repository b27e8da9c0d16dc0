"""The other side of an ICE-lite leg, its checks made with aioice's STUN (which is not ours)."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field

from aioice import stun

from tests.native.call import Call, Party
from tests.native.client import Controller

Address = tuple[str, int]


@dataclass(frozen=True)
class Credentials:
    local_ufrag: str = field(default_factory=lambda: secrets.token_hex(4))
    local_password: str = field(default_factory=lambda: secrets.token_hex(12))
    remote_ufrag: str = field(default_factory=lambda: secrets.token_hex(4))

    def fields(self) -> dict[str, object]:
        return {
            "rtcp_mux": 1,
            "ice_local_ufrag": self.local_ufrag,
            "ice_local_password": self.local_password,
            "ice_remote_ufrag": self.remote_ufrag,
        }


def check(
    to: Credentials,
    *,
    nominate: bool = False,
    username: str | None = None,
    password: str | None = None,
    role: str | None = "ICE-CONTROLLING",
    has_fingerprint: bool = True,
) -> bytes:
    """A binding request as a full agent sends it."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username or f"{to.local_ufrag}:{to.remote_ufrag}"
    message.attributes["PRIORITY"] = 0x6E0001FF
    if role:
        message.attributes[role] = secrets.randbits(64)
    if nominate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity((password or to.local_password).encode())
    if not has_fingerprint:
        del message.attributes["FINGERPRINT"]
    return bytes(message)


def answer(sock: socket.socket) -> stun.Message:
    """The next STUN message that arrives; media between is dropped."""
    while True:
        data = sock.recv(4096)
        if data[0] < 4:
            return stun.parse_message(data)


def ask(sock: socket.socket, to: Address, request: bytes) -> stun.Message:
    """The answer to the request."""
    sock.sendto(request, to)
    while True:
        message = answer(sock)
        if message.transaction_id == request[8:20]:
            return message


def is_success(message: stun.Message, credentials: Credentials, sock: socket.socket) -> bool:
    """A success under the local password that names the asker's own address."""
    return (
        message.message_class == stun.Class.RESPONSE
        and message.check_message_integrity(credentials.local_password.encode())
        and "FINGERPRINT" in message.attributes
        and message.attributes["XOR-MAPPED-ADDRESS"] == sock.getsockname()[:2]
    )


class IceCall(Call):
    """A call whose leg 0 uses ICE; `a` has not sent a check yet."""

    def __init__(self, control: Controller, **changes: object) -> None:
        self.credentials = Credentials()
        self.changes = changes
        super().__init__(control)

    def set_leg(self, leg: int, **changes: object) -> None:
        if leg == 0:
            changes = {**self.credentials.fields(), "remote_ip": bytes(4), "remote_port": 9, **self.changes, **changes}
        super().set_leg(leg, **changes)

    def restart(self) -> Credentials:
        """New credentials on leg 0; returns the old ones."""
        old, self.credentials = self.credentials, Credentials()
        self.set_leg(0)
        return old

    def ask(self, request: bytes, party: Party | None = None) -> stun.Message:
        return ask((party or self.a).rtp, self.a.to, request)

    def nominate(self, party: Party | None = None) -> None:
        party = party or self.a
        reply = self.ask(check(self.credentials, nominate=True), party)
        assert is_success(reply, self.credentials, party.rtp)
