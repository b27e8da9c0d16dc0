"""Values are compared, hashed and copied as frozen dataclasses are."""

import dataclasses

import pytest

from hushwire.core.values import frozen, replace


@frozen
class Point:
    x: int
    y: int = 0
    kept: dict[str, int] = dataclasses.field(default_factory=dict, init=False, compare=False)


@frozen(repr=False)
class Secret:
    word: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named:
    name: str


def test_equal_values_are_one_in_a_dictionary() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert {Point(1, 2): "a"}[Point(1, 2)] == "a"


def test_a_copy_has_what_was_changed_and_the_rest_and_the_original_stays() -> None:
    before = Point(1, 2)
    before.kept["seen"] = 1
    after = replace(before, y=5)
    assert (after, before) == (Point(1, 5), Point(1, 2))
    assert after.kept == {}, "what is no argument is made anew"
    assert replace(Secret("a"), word="b") == Secret("b")


def test_a_field_that_is_not_there_and_arguments_without_an_order_are_refused() -> None:
    with pytest.raises(KeyError):
        replace(Point(1), z=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="without an order"):
        replace(Named(name="a"), name="b")


def test_a_value_without_a_text_shows_none_of_its_fields() -> None:
    assert "word" not in repr(Secret("hidden"))
    assert "hidden" not in repr(Secret("hidden"))
