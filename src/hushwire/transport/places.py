"""How many connections there may be: of all, of one source, and of those that have not said a word of SIP yet."""

from collections import OrderedDict
from collections.abc import Callable

from hushwire.transport.sources import source_key


class Places:
    """Counts connections from before their handshake on.

    A connection that has not sent a whole message yet is unproven. Where there are more than `most_unproven` of them the oldest is given
    up: who opens thousands of silent ones loses them to the phone that comes next, and the phone is let in.
    """

    __slots__ = ("_most", "_most_per_source", "_most_unproven", "_per_source", "_taken", "_unproven")

    def __init__(self, most: int, most_per_source: int, most_unproven: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._most_unproven = most_unproven
        self._taken = 0
        self._per_source: dict[str, int] = {}
        self._unproven: OrderedDict[int, Callable[[], object]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many there are."""
        return self._taken

    def take(self, host: str, *, is_exempt: bool = False) -> bool:
        """Whether one more connection of this source may stay; it then has a place until `free`."""
        host = source_key(host)
        count = self._per_source.get(host, 0)
        if not is_exempt and (self._taken >= self._most or count >= self._most_per_source):
            return False
        self._taken += 1
        self._per_source[host] = count + 1
        return True

    def free(self, host: str) -> None:
        """A place is free again."""
        self._taken -= 1
        host = source_key(host)
        left = self._per_source.get(host, 1) - 1
        if left > 0:
            self._per_source[host] = left
        else:
            self._per_source.pop(host, None)

    def expect(self, id_: int, give_up: Callable[[], object]) -> None:
        """A connection has to prove itself from now on; `give_up` ends it. Said again it only replaces `give_up`."""
        self._unproven[id_] = give_up
        while len(self._unproven) > self._most_unproven:
            _, end = self._unproven.popitem(last=False)
            end()

    def proven(self, id_: int) -> None:
        """It sent a message, or is gone."""
        self._unproven.pop(id_, None)
