"""What of messages is held up by keys that are away, for metrics and `hushwire doctor`."""

from hushwire.core.errors import Unfinished
from hushwire.store import message_parts
from hushwire.store.database import Database


class MessageTroubles:
    """Of all organisations."""

    def __init__(self, main: Database) -> None:
        self._main = main

    async def look(self) -> int:
        """0 where nothing is held up. Raises Unfinished, with how much is."""
        async with self._main.transaction() as connection:
            held_up = await message_parts.held_up(connection)
        if held_up:
            raise Unfinished(f"{sum(held_up.values())} parts of {len(held_up)} organisations wait for keys that are away")
        return 0
