"""Message waiting (RFC 3842): how many messages a mailbox holds, as the body of a NOTIFY."""

from typing import Final

from hushwire.core.values import frozen

CONTENT_TYPE: Final = "application/simple-message-summary"


@frozen
class MessageCounts:
    """What a mailbox holds. `new` were not heard yet; those of them, and of the `old`, that are urgent are counted in both."""

    new: int = 0
    old: int = 0
    urgent_new: int = 0
    urgent_old: int = 0


def message_summary(counts: MessageCounts, account: str) -> bytes:
    """The body (RFC 3842 section 5.2). `account` is the URI by which the mailbox's owner reaches it."""
    waiting = "yes" if counts.new else "no"
    voice = f"{counts.new}/{counts.old} ({counts.urgent_new}/{counts.urgent_old})"
    return f"Messages-Waiting: {waiting}\r\nMessage-Account: {account}\r\nVoice-Message: {voice}\r\n".encode()
