"""One message to one recipient over SMTP (RFC 5321), with TLS that is verified; the server's answer as a value.

TLS from the first byte (`smtps`) or by STARTTLS, at least 1.2, certificate and name checked. Clear text is for this machine only: without
TLS to any other, nothing is sent, no name and no password either.
"""

import asyncio
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

from hushwire.core.personal import Personal

TIMEOUT_S: Final = 30.0
WHOLE_WITHIN_S: Final = 120.0
_log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """Where a server said no."""

    GREETING = "greeting"
    TLS = "tls"
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server has taken responsibility. Digests are SHA-256: of the name the server gives itself, of the message, of the reply."""

    code: int
    server_digest: str
    message_digest: str
    reply_digest: str
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The server said no, at a stage, with a code. 5xx is for good."""

    stage: Stage
    code: int

    @property
    def is_recipients_fault(self) -> bool:
        """For good, and because of this recipient or what it is sent: another one may take it."""
        return self.code >= 500 and self.stage in (Stage.RECIPIENT, Stage.CONTENT)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer, or the connection broke: whether the message arrived isn't known. `reason` is a code."""

    reason: str


Outcome = Accepted | Refused | Unreachable


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes our mail. `must_encrypt`: TLS or nothing (always, but on loopback). `context`: which authorities are trusted."""

    host: str
    port: int
    is_tls_from_start: bool
    must_encrypt: bool
    sender: str
    username: str | None = None
    password: Personal[str] | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, sender: str, password: str | None = None, authorities: str | None = None) -> "MailServer":
        """What `[mail] smtp = "smtps://user@host:465"` means; a password may also stand in it.

        `authorities`: PEM file of authorities to trust instead of the system's. Raises ValueError for a URL that says something else,
        and OSError (ssl.SSLError among them) for a file that can't be used.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError('write it as "smtps://user@mail.example.org:465"')
        is_tls, is_here = parts.scheme == "smtps", is_loopback(parts.hostname)
        context = ssl.create_default_context(cafile=authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return cls(
            host=parts.hostname,
            port=parts.port or (465 if is_tls else 25 if is_here else 587),
            is_tls_from_start=is_tls,
            must_encrypt=is_tls or not is_here,
            sender=sender,
            username=unquote(parts.username) if parts.username else None,
            password=Personal(password or unquote(parts.password or "")) if parts.username else None,
            context=context,
        )

    async def send(self, recipient: str, message: bytes) -> Outcome:
        """Hand the message over. Addresses were checked before (`privacy.mail.address`)."""
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.is_tls_from_start,
            start_tls=False,
            tls_context=self.context,
            timeout=TIMEOUT_S,
            # Not this machine's own name, and no look-up of it.
            local_hostname=self.sender.rpartition("@")[2],
        )
        try:
            async with asyncio.timeout(WHOLE_WITHIN_S):
                return await self._converse(client, recipient, message)
        except (TimeoutError, aiosmtplib.SMTPTimeoutError):
            return Unreachable("timeout")
        except aiosmtplib.SMTPServerDisconnected:
            return Unreachable("disconnected")
        except ssl.SSLError:
            return Unreachable("tls")
        except (aiosmtplib.SMTPConnectError, OSError) as error:
            return Unreachable("tls" if isinstance(error.__cause__, ssl.SSLError) else "no-connection")
        except aiosmtplib.SMTPException:
            return Unreachable("protocol")
        finally:
            client.close()

    async def _converse(self, client: aiosmtplib.SMTP, recipient: str, message: bytes) -> Outcome:
        stage = Stage.GREETING
        try:
            greeting = await client.connect()
            await client.ehlo()
            if self.must_encrypt and not self.is_tls_from_start:
                stage = Stage.TLS
                if not client.supports_extension("starttls"):
                    return Unreachable("no-tls")
                await client.starttls(tls_context=self.context)
                await client.ehlo()
            if self.username is not None:
                stage = Stage.LOGIN
                await client.login(self.username, "" if self.password is None else self.password.reveal())
            stage = Stage.SENDER
            await client.mail(self.sender)
            stage = Stage.RECIPIENT
            await client.rcpt(recipient)
            stage = Stage.CONTENT
            reply = await client.data(message)
        except aiosmtplib.SMTPResponseException as error:
            return Refused(stage, error.code)
        except aiosmtplib.SMTPNotSupported:
            return Unreachable("no-login" if stage is Stage.LOGIN else "protocol")
        # Taken: whether the server also says goodbye changes nothing.
        try:
            await client.quit()
        except (aiosmtplib.SMTPException, OSError) as error:
            _log.debug("mail.no_goodbye", error=type(error).__name__)
        named = greeting.message.split(maxsplit=1)[0] if greeting.message else self.host
        return Accepted(
            code=reply.code,
            server_digest=_digest(named.lower().encode()),
            message_digest=_digest(message),
            reply_digest=_digest(reply.message.encode()),
            is_encrypted=self.must_encrypt,
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by name or number."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
