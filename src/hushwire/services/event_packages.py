"""What an event package is to the notifier (RFC 6665 section 5): who may watch whom, what is told, and how often at most."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from hushwire.services.lines import Line
from hushwire.services.snapshot import Agent, Organisation
from hushwire.sip.message import Request

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Watched:
    """Who watches whom, as both are known at this moment."""

    org: Organisation
    watcher: Agent
    line: Line
    entity: str
    """The address of record of who is watched."""


class EventPackage(Protocol, Generic[S]):
    """One package. Its states are compared: a state that was told already is not told again."""

    @property
    def name(self) -> str:
        """As Event names it, in lower case."""

    @property
    def content_type(self) -> str:
        """Of the documents."""

    @property
    def longest_s(self) -> int:
        """A subscription lives so long at most before it has to be refreshed."""

    @property
    def interval_s(self) -> float:
        """So much time lies between two NOTIFYs at least; what happens meanwhile is told together."""

    def may_watch(self, watched: Watched) -> bool:
        """Whether it is this watcher's to see."""

    def state(self, watched: Watched) -> S | None:
        """What there is to tell now; None where that is not known yet."""

    def write(self, watched: Watched, state: S, told: S | None, version: int) -> bytes:
        """The document. `told` is what this subscriber was told last; None: it is to be told all."""


AnyPackage = EventPackage[Any]


def accepts(request: Request, content_type: str) -> bool:
    """Whether the subscriber takes documents of this type; without Accept it takes the package's own (RFC 6665 section 3.1.3)."""
    if "Accept" not in request.headers:
        return True
    wanted = {content_type, content_type.partition("/")[0] + "/*", "*/*"}
    return any(item.partition(";")[0].strip(" \t").lower() in wanted for item in request.headers.listed("Accept"))
