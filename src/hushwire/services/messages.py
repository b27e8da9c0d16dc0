"""Everything that the API does with messages."""

from dataclasses import dataclass

from hushwire.core.clock import Clock, Random
from hushwire.services.message_queries import MessageQueries
from hushwire.services.message_sending import MessageSending, Verdicts
from hushwire.services.message_settings import MessageSettings
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Messages:
    """Sending, reading and setting."""

    sending: MessageSending
    queries: MessageQueries
    settings: MessageSettings

    @classmethod
    def of(cls, main: Database, keyring: Keyring, verdicts: Verdicts, clock: Clock, random: Random) -> "Messages":
        """Wired."""
        return cls(
            MessageSending(main, keyring, verdicts, clock, random),
            MessageQueries(main, keyring, clock),
            MessageSettings(main, keyring, clock, random),
        )
