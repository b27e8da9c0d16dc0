"""By which numbers a recording is found: of every party outside whose voice may be in it, so that each can ask for it, or for its end."""

from hushwire.calls.model import Side
from hushwire.services.live import LiveCall, Party

Coming = tuple[Side, Party]
"""Who is about to take the place of which party."""


def found_by(live: LiveCall, coming: Coming | None = None) -> tuple[bytes | None, tuple[bytes, ...]]:
    """The blind index of the far party, and those of all others outside, as the call's parties are now, or once `coming` has come.

    A hidden caller's number is kept nowhere, here neither. Those of a masked session are, as they are on its calls.
    """
    parties = (coming[1] if coming is not None and coming[0] is side else live.party(side) for side in Side)
    keys = live.route.org.keys
    numbers = [party.number for party in parties if party.agent is None and party.number is not None and not party.is_withheld]
    if live.route.plan.is_room:
        numbers += live.route.others  # who was called into the conference
    known = dict.fromkeys(keys.index("calls.remote", number.reveal()) for number in numbers)
    is_as_it_began = coming is None and not live.replaced
    far = live.remote_index if is_as_it_began and live.remote_index is not None else next(iter(known), None)
    return far, tuple(index for index in known if index != far)
