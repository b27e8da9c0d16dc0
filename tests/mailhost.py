"""A real SMTP server (aiosmtpd) in a thread of its own, with the moods that mail servers have."""

import asyncio
import socket
import ssl
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as POLICY
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "hushwire", "a secret of the mail server's"


@dataclass
class MailHost:
    """What it received, and how it behaves. Change the fields between two messages."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)  # 550 for these recipients
    greylist: int = 0  # 451 for so many tries of each recipient
    drops_in_data: int = 0  # hangs up in the middle of so many messages
    silent_after_data: int = 0  # takes so many messages, then hangs up without a word
    full: bool = False  # 452 for everything
    spam: bool = False  # 554 after the message
    rejects_sender: bool = False
    tried: "Counter[str]" = field(default_factory=Counter)

    def addresses(self) -> list[str]:
        return list(self.recipients)

    async def handle_MAIL(self, _s: Any, _session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if self.rejects_sender:
            return "553 5.7.1 Sender address rejected: not owned by user"
        envelope.mail_from, envelope.mail_options = address, options
        return "250 OK"

    async def handle_RCPT(self, _s: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        self.tried[address] += 1
        if address in self.refused:
            return f"550 5.1.1 {address}: no such user here"
        if self.full:
            return "452 4.2.2 mailbox full"
        if self.tried[address] <= self.greylist:
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Session, envelope: Envelope) -> str:
        if self.spam:
            return "554 5.7.1 we don't like it"
        content = cast(bytes, envelope.original_content)
        self.raw.append(content)
        self.messages.append(cast(EmailMessage, BytesParser(policy=POLICY).parsebytes(content)))
        self.recipients += envelope.rcpt_tos
        if self.silent_after_data:
            self.silent_after_data -= 1
            server.transport.abort()
        return "250 2.0.0 Ok: queued as 4F2Kx"

    def authenticate(self, _server: Any, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=(data.login.decode(), data.password.decode()) == (USER, PASSWORD), handled=False)


class _Server(SMTP):
    async def smtp_DATA(self, arg: str) -> None:
        host = cast(MailHost, self.event_handler)
        if not host.drops_in_data:
            await super().smtp_DATA(arg)
            return
        host.drops_in_data -= 1
        await self.push("354 go on")
        await self._reader.read(10)
        assert self.transport is not None
        cast(asyncio.Transport, self.transport).abort()


@contextmanager
def mail_host(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, auth: bool = False, port: int = 0
) -> Iterator[MailHost]:
    """A server on 127.0.0.1: in clear, with TLS from the start, or with STARTTLS. `auth`: nothing without a password."""
    host, loop, up = MailHost(), asyncio.new_event_loop(), threading.Event()
    listener = socket.create_server(("127.0.0.1", port))
    host.port = listener.getsockname()[1]

    def made() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aiosmtpd knows of STARTTLS only, and warns of passwords without it
            return built()

    def built() -> SMTP:
        return _Server(
            host, hostname="mx.mail.test", ident="test", tls_context=starttls, require_starttls=starttls is not None,
            auth_required=auth, auth_require_tls=starttls is not None, authenticator=host.authenticate, loop=loop,
        )  # fmt: skip

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(loop.create_server(made, sock=listener, ssl=tls))
        up.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, name="mail-host")
    thread.start()
    assert up.wait(10)
    try:
        yield host
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
