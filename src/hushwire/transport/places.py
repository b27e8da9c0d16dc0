"""How many connections there may be: of all, of one source, and of those that have not said a word of SIP yet."""

from collections import OrderedDict
from collections.abc import Callable

from hushwire.transport.sources import source_key


class Places:
    """Counts connections from before their handshake on.

    A connection that has not sent a whole message yet is unproven. Where there are more than `most_unproven` of them the oldest of the
    source that has most is given up: who opens thousands of silent ones loses them to the phone that comes next, and the phone is let in.
    """

    __slots__ = ("_most", "_most_per_source", "_per_source", "_taken", "_unproven")

    def __init__(self, most: int, most_per_source: int, most_unproven: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._taken = 0
        self._per_source: dict[str, int] = {}
        self._unproven = Waiting(most_unproven)

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

    def expect(self, id_: int, host: str, give_up: Callable[[], object]) -> None:
        """A connection has to prove itself from now on; `give_up` ends it. Said again it only replaces `give_up`."""
        self._unproven.put(id_, host, give_up)

    def proven(self, id_: int) -> None:
        """It sent a message, or is gone."""
        self._unproven.drop(id_)


class Waiting:
    """Connections of which something is waited for: at most so many, and so many of one source. Beyond that the oldest is given up, of
    that source, or of the one that has most of them."""

    __slots__ = ("_by_source", "_most", "_most_per_source", "_sources")

    def __init__(self, most: int, most_per_source: int | None = None) -> None:
        self._most = most
        self._most_per_source = most if most_per_source is None else most_per_source
        self._sources: dict[int, str] = {}
        self._by_source: dict[str, OrderedDict[int, Callable[[], object]]] = {}

    def put(self, id_: int, host: str, give_up: Callable[[], object]) -> None:
        """One more. Said again it only replaces `give_up`."""
        source = self._sources.setdefault(id_, source_key(host))
        own = self._by_source.setdefault(source, OrderedDict())
        own[id_] = give_up
        if len(own) > self._most_per_source:
            self._end(source)
        while len(self._sources) > self._most:
            self._end(max(self._by_source, key=lambda each: len(self._by_source[each])))

    def drop(self, id_: int) -> None:
        """It is waited for no more."""
        source = self._sources.pop(id_, None)
        if source is not None:
            own = self._by_source[source]
            del own[id_]
            if not own:
                del self._by_source[source]

    def _end(self, source: str) -> None:
        id_, give_up = next(iter(self._by_source[source].items()))
        self.drop(id_)
        give_up()
