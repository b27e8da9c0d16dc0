"""What of messages is held up, for metrics and `hushwire doctor`: by keys that are away; and what carriers said that is set aside."""

from hushwire.core.errors import Unfinished
from hushwire.store import carrier_callbacks, message_parts
from hushwire.store.database import Database


class MessageTroubles:
    """Of all organisations."""

    def __init__(self, main: Database) -> None:
        self._main = main

    async def look(self) -> int:
        """0 where nothing is held up. Raises Unfinished, with how much is."""
        async with self._main.transaction() as connection:
            held_up = await message_parts.held_up(connection)
            aside = await carrier_callbacks.aside(connection)
        told = []
        if held_up:
            told.append(f"{sum(held_up.values())} parts of {len(held_up)} organisations wait for keys that are away")
        if aside:
            told.append(f"{aside} callbacks of carriers are set aside")
        if told:
            raise Unfinished(", ".join(told))
        return 0
