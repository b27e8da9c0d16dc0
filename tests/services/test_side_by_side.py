"""Which bridge a call's own is opened beside."""

from typing import Any
from uuid import UUID

from hushwire.services.side_by_side import SideBySide


class Call:
    """What is looked at of a call."""

    def __init__(self, number: int, *agents: int, org: int = 1) -> None:
        self.id = UUID(int=number)
        self.route: Any = self
        self.org: Any = type("Org", (), {"id": UUID(int=1000 + org)})
        self._agents = [type("Agent", (), {"id": UUID(int=2000 + agent)}) for agent in agents]

    def agent_at(self, leg: int) -> Any:
        return self._agents[leg] if leg < len(self._agents) else None


def test_an_organisations_calls_lie_together_until_they_are_many_and_then_those_of_an_agent_do() -> None:
    places = SideBySide(most_together=3)
    calls: list[Any] = [Call(number, number) for number in range(4)]
    assert [places.place(call) for call in calls] == [None, calls[0].id, calls[1].id, None]
    assert places.place(Call(10, 3)) == calls[3].id  # type: ignore[arg-type]
    assert places.place(Call(11, 9, 1)) == calls[1].id  # type: ignore[arg-type]
    assert places.place(Call(12, 7, org=2)) is None  # type: ignore[arg-type]


def test_an_older_call_of_an_agent_is_a_neighbour_once_the_newer_one_is_over() -> None:
    places = SideBySide(most_together=0)
    first, second, third = (Call(number, 5) for number in range(3))
    assert [places.place(first), places.place(second)] == [None, first.id]  # type: ignore[arg-type]
    places.forget(second)  # type: ignore[arg-type]
    assert places.place(third) == first.id  # type: ignore[arg-type]


def test_after_the_media_process_died_calls_find_each_other_among_those_that_are_open_again() -> None:
    places = SideBySide()
    first, second, third = (Call(number, number) for number in range(3))
    for call in (first, second, third):
        places.place(call)  # type: ignore[arg-type]
    assert places.place(first) == third.id, "not open any more: wherever there is least to do"  # type: ignore[arg-type]
    assert [places.place(second), places.place(third)] == [first.id, second.id]  # type: ignore[arg-type]


def test_who_comes_into_a_call_is_known_there_and_nothing_is_kept_of_what_is_over() -> None:
    places = SideBySide(most_together=0)
    call: Any = Call(1, 1)
    places.place(call)
    call._agents = Call(0, 2)._agents
    places.note(call)
    assert places.place(Call(2, 2)) == call.id  # type: ignore[arg-type]
    assert places.place(Call(3, 1)) is None  # type: ignore[arg-type]
    for one in (call, Call(2, 2), Call(3, 1)):
        places.forget(one)
    assert places.is_empty
