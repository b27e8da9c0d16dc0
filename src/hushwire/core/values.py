"""Values: dataclasses that nobody changes, made as cheaply as Python makes objects.

A dataclass that refuses changes at run time pays for it when it is made: each field goes through `object.__setattr__`, five times the
price of a plain assignment, and a call makes hundreds of values. Here the type checker alone refuses them. What is looked up in
dictionaries or shared between calls relies on that: nothing assigns to a field of a value, ever.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

__all__ = ["frozen", "replace"]

T = TypeVar("T")


@overload
def frozen(cls: type[T], /) -> type[T]: ...
@overload
def frozen(*, repr: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T] | None = None, /, *, repr: bool = True) -> type[T] | Callable[[type[T]], type[T]]:
    """`dataclass(frozen=True, slots=True)` without the check at run time: equal and hashed by its fields, never assigned to."""
    make = dataclass(slots=True, eq=True, unsafe_hash=True, repr=repr)
    return make if cls is None else make(cls)


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: T, /, **changes: Any) -> T:
        """`dataclasses.replace`, three times as fast; for classes whose `__init__` takes its arguments by their places."""
        cls = value.__class__
        known = _FIELDS.get(cls)
        if known is None:
            known = _FIELDS[cls] = _places(cls)
        read, places = known
        arguments = list(read(value))
        for name, changed in changes.items():
            arguments[places[name]] = changed
        return cls(*arguments)


_FIELDS: dict[type, tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]] = {}


def _places(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]:
    names = [one.name for one in fields(cls) if one.init]
    if any(one.kw_only for one in fields(cls)):
        raise TypeError(f"{cls.__qualname__} has arguments without an order")
    if len(names) == 1:
        only = attrgetter(names[0])
        return (lambda value: (only(value),)), {names[0]: 0}
    return attrgetter(*names), {name: place for place, name in enumerate(names)}
