"""Personal values that can't slip into a log: printing one gives `<personal>`."""

from typing import Final, Generic, TypeVar

T = TypeVar("T")

SHOWN: Final = "<personal>"


class Personal(Generic[T]):
    """A phone number, name, address, IP or body on its way through the code.

    `str`, `repr`, `format` and pickling never show the value; `reveal` does, and is easy to find in review.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value itself. The caller answers for where it goes."""
        return self._value

    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return SHOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Personal) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Personal, self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a personal value is not pickled: seal it first")
