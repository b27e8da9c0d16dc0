"""Flows that devices left for others. All that is meant for a flow goes where it leads, so a flow that several were on, as behind a proxy,
leads nowhere before it is known that they all went the same way: else whoever goes elsewhere would take the others' calls along."""

from typing import Final

from hushwire.sip.flow import Flow

_MOST: Final = 4096


class LeftFlows:
    """Where the devices of a flow went, while others may still be on it."""

    def __init__(self) -> None:
        self._went: dict[Flow, Flow | None] = {}

    def leads(self, old: Flow, new: Flow, *, is_last: bool) -> bool:
        """Whether what is meant for `old` may go by `new`, now that a device went there; `is_last`: nobody is on `old` any more."""
        went = self._went.pop(old, new)
        together = new if went == new else None
        if not is_last:
            self._went[old] = together
            if len(self._went) > _MOST:
                del self._went[next(iter(self._went))]
        # A connection from the very address of the one before is a phone, or a proxy, that connected again with all that is behind it.
        is_near = old.transport.is_reliable and old.remote.host == new.remote.host
        return is_near or (is_last and together is not None)
