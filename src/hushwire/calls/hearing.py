"""Who hears whom, and who is recorded, where others than its two parties are in a call. Pure."""

from collections.abc import Iterable, Mapping

from hushwire.calls.model import JoinedAs

Hearing = dict[int, frozenset[int]]


def hearing(parties: Iterable[int], guests: Mapping[int, JoinedAs], *, is_sensitive: bool = False) -> Hearing:
    """For each leg those that it hears. `parties` hear each other; `guests` are further legs, by what they joined as.

    Who listens hears the parties and is heard by nobody; the agent (leg 0) alone hears who whispers; all hear who barges in, and members
    of a conference. While something sensitive is said no supervisor hears the call.
    """
    heard: Hearing = {}
    parties = frozenset(parties)
    open_guests = frozenset(leg for leg, role in guests.items() if role in (JoinedAs.BARGE, JoinedAs.MEMBER))
    whispering = frozenset(leg for leg, role in guests.items() if role is JoinedAs.WHISPER)
    for leg in parties:
        heard[leg] = (parties | open_guests | (whispering if leg == 0 else frozenset())) - {leg}
    for leg, role in guests.items():
        is_deaf = is_sensitive and role is not JoinedAs.MEMBER
        heard[leg] = frozenset() if is_deaf else (parties | open_guests) - {leg}
    return heard


def recorded(parties: Iterable[int], guests: Mapping[int, JoinedAs]) -> frozenset[int]:
    """Whose speech a recording takes in: what all of the call's parties hear, and no more."""
    return frozenset(parties) | {leg for leg, role in guests.items() if role in (JoinedAs.BARGE, JoinedAs.MEMBER)}
