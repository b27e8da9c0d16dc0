"""E-mail addresses and messages, pure: what is not safe to put into a header or an SMTP command is refused before it gets there."""

import re
import unicodedata
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final
from uuid import UUID

# RFC 5321 section 4.1.2 without quoted strings and address literals: dot-atoms of ASCII, as practically every mailbox is named.
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_DOMAIN: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LONGEST: Final = 254
_LONGEST_LOCAL: Final = 64
_POLICY: Final = SMTP.clone(cte_type="7bit", max_line_length=78)


def address(text: str) -> str:
    """The address in the one form that is kept: its domain in small letters.

    Raises ValueError (its words repeat nothing) for anything but `local@domain` in ASCII, with a domain of at least two labels.
    """
    local, at, domain = text.rpartition("@")
    fits = at and len(text) <= _LONGEST and len(local) <= _LONGEST_LOCAL
    if not fits or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("must be an e-mail address such as privacy@example.org (letters of other scripts in their xn-- form)")
    return f"{local}@{domain.lower()}"


def one_line(text: str, longest: int = 200) -> str:
    """The text on one line: line breaks, control and direction characters become blanks; cut at `longest` characters."""
    clean = "".join(" " if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter for letter in text)
    return " ".join(clean.split())[:longest].rstrip()


def message_id(notice: UUID, sender: str) -> str:
    """The same for every attempt to send one notice, so that who receives it twice shows it once (RFC 5322 section 3.6.4)."""
    return f"<{notice}@{sender.rpartition('@')[2]}>"


def composed(*, notice: UUID, sender: str, recipient: str, subject: str, body: str, at: datetime) -> bytes:
    """The message, byte for byte the same each time it is composed. Plain text, 7 bits, lines ended by CR LF.

    `sender` and `recipient` are addresses that `address` gave; `subject` is put on one line.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = one_line(subject)
    message["Date"] = at
    message["Message-ID"] = message_id(notice, sender)
    # RFC 3834: nobody's absence note answers it.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body, charset="utf-8")
    return message.as_bytes()
